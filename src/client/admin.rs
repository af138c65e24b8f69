//! The calls to MinIO's admin API that sandboxes need. Users, policies and who has which come as one archive, which
//! `mc admin cluster iam import` sends too: a single call, and the only one of the API that takes a new user without
//! an encryption of its own around the request.

use bytes::Bytes;
use reqwest::Method;
use serde::Deserialize;

use super::s3::{S3Client, S3Error};

/// MinIO's report of an import. MinIO answers 200 also if a part of it failed.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Imported {
    /// What could not be imported, by kind.
    failed: serde_json::Map<String, serde_json::Value>,
}

impl Imported {
    /// True if everything was.
    pub fn whole(&self) -> bool {
        self.failed.is_empty()
    }

    /// The kinds of what was not: `policies`, `users`, `userPolicies`. Nothing of their content: it may be secret.
    pub fn missing(&self) -> String {
        self.failed.keys().map(String::as_str).collect::<Vec<_>>().join(", ")
    }
}

impl S3Client {
    /// Imports an archive of users, policies and mappings.
    pub async fn import_iam(&self, archive: Vec<u8>) -> Result<Imported, S3Error> {
        let path = "minio/admin/v3/import-iam-v2";
        let answer = self.call(Method::PUT, path, "", Bytes::from(archive)).await?;
        serde_json::from_slice(&answer.body)
            .map_err(|error| S3Error::Invalid { call: format!("PUT /{path}"), cause: error.to_string() })
    }

    /// Removes a user and whatever was given to it; one that is absent is removed.
    pub async fn remove_user(&self, user: &str) -> Result<(), S3Error> {
        let query = format!("accessKey={user}");
        match self.call(Method::DELETE, "minio/admin/v3/remove-user", &query, Bytes::new()).await {
            Err(S3Error::Refused { status: 404, .. }) => Ok(()),
            answer => answer.map(drop),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test")]
    use super::*;

    #[test]
    fn an_import_that_failed_in_part_says_in_which() {
        let answer =
            r#"{"added":{"users":["a"]},"failed":{"userPolicies":[{"name":"a","policies":["p"],"error":{}}]}}"#;
        let imported: Imported = serde_json::from_str(answer).unwrap();
        assert!(!imported.whole());
        assert_eq!(imported.missing(), "userPolicies");
        let imported: Imported = serde_json::from_str(r#"{"added":{"users":["a"]},"failed":{}}"#).unwrap();
        assert!(imported.whole());
    }
}
