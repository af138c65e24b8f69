//! The calls to MinIO's admin API that sandboxes and declared content need. Users, policies and who has which come as one archive, which
//! `mc admin cluster iam import` sends too: a single call, and the only one of the API that takes a new user without
//! an encryption of its own around the request.

use std::io::{Cursor, Write as _};

use bytes::Bytes;
use reqwest::Method;
use serde::Deserialize;
use serde_json::Value;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use super::s3::{S3Client, S3Error};

/// MinIO's report of an import. MinIO answers 200 also if a part of it failed.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Imported {
    /// What could not be imported, by kind.
    failed: serde_json::Map<String, Value>,
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

    /// The policy of that name, as MinIO writes it; `None` if there is none.
    ///
    /// # Errors
    /// Those of the call.
    pub async fn policy(&self, name: &str) -> Result<Option<String>, S3Error> {
        let policy = self.described("minio/admin/v3/info-canned-policy", &format!("name={}&v=2", query(name))).await?;
        Ok(policy.map(|policy| policy.get("Policy").map(ToString::to_string).unwrap_or_default()))
    }

    /// The policies of a user, and whether it may come in; `None` if there is no such user.
    ///
    /// # Errors
    /// Those of the call.
    pub async fn user(&self, name: &str) -> Result<Option<String>, S3Error> {
        let user = self.described("minio/admin/v3/user-info", &format!("accessKey={}", query(name))).await?;
        let text = |user: &Value, field| user.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
        Ok(user.map(|user| format!("{} {}", text(&user, "policyName"), text(&user, "status"))))
    }

    /// True if a bucket may not grow without end.
    pub(super) async fn bucket_has_quota(&self, bucket: &str) -> Result<bool, S3Error> {
        let quota = self.described("minio/admin/v3/get-bucket-quota", &format!("bucket={}", query(bucket))).await?;
        let is_set = |quota: &Value| ["quota", "size"].iter().any(|of| quota.get(of).and_then(Value::as_u64) > Some(0));
        Ok(quota.is_some_and(|quota| is_set(&quota)))
    }

    async fn described(&self, path: &str, query: &str) -> Result<Option<Value>, S3Error> {
        let answer = match self.call(Method::GET, path, query, Bytes::new()).await {
            Err(S3Error::Refused { status: 404, .. }) => return Ok(None),
            answer => answer?,
        };
        let described = serde_json::from_slice(&answer.body);
        described.map(Some).map_err(|error| S3Error::Invalid { call: format!("GET /{path}"), cause: error.to_string() })
    }

    /// Whether an access key has that secret key; `None` if there is no such access key.
    ///
    /// # Errors
    /// Those of the call.
    pub async fn lets_in(&self, access_key: &str, secret_key: &str) -> Result<Option<bool>, S3Error> {
        match self.of(access_key, secret_key).list_buckets().await {
            Ok(_) => Ok(Some(true)),
            Err(error) => match error.code() {
                "AccessDenied" => Ok(Some(true)),
                "SignatureDoesNotMatch" => Ok(Some(false)),
                "InvalidAccessKeyId" => Ok(None),
                _ => Err(error),
            },
        }
    }

    /// Removes a user and whatever was given to it; one that is absent is removed.
    pub async fn remove_user(&self, user: &str) -> Result<(), S3Error> {
        let query = format!("accessKey={}", query(user));
        match self.call(Method::DELETE, "minio/admin/v3/remove-user", &query, Bytes::new()).await {
            Err(S3Error::Refused { status: 404, .. }) => Ok(()),
            answer => answer.map(drop),
        }
    }
}

/// A value of a query.
fn query(value: &str) -> String {
    form_urlencoded::byte_serialize(value.as_bytes()).collect()
}

/// An archive for [`S3Client::import_iam`] with those files.
///
/// # Errors
/// Those of the archive's writer.
pub(crate) fn archive(files: &[(&str, Value)]) -> std::io::Result<Vec<u8>> {
    let files: Vec<_> =
        files.iter().map(|(name, content)| (format!("iam-assets/{name}"), content.to_string())).collect();
    zipped(&files)
}

/// Files by name, as one archive.
///
/// # Errors
/// Those of the archive's writer.
pub(super) fn zipped<T: AsRef<str>>(files: &[(String, T)]) -> std::io::Result<Vec<u8>> {
    let stored = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in files {
        zip.start_file(name.as_str(), stored)?;
        zip.write_all(content.as_ref().as_bytes())?;
    }
    Ok(zip.finish()?.into_inner())
}

#[cfg(test)]
mod tests {
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
