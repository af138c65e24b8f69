//! Rules of buckets: expiry, and notifications.

use bytes::Bytes;
use reqwest::Method;
use serde::Serialize;

use super::{S3Client, S3Error};
use crate::manifest::{LifecycleRule, NotificationRule};

impl S3Client {
    /// The lifecycle of a bucket as MinIO writes it; `None` if it has none.
    ///
    /// # Errors
    /// Those of the call.
    pub async fn bucket_lifecycle(&self, bucket: &str) -> Result<Option<String>, S3Error> {
        match self.call(Method::GET, bucket, "lifecycle=", Bytes::new()).await {
            Err(error) if error.code() == "NoSuchLifecycleConfiguration" => Ok(None),
            answer => Ok(Some(String::from_utf8_lossy(&answer?.body).into_owned())),
        }
    }

    /// Gives a bucket these rules and no others.
    ///
    /// # Errors
    /// Those of the call.
    pub async fn put_bucket_lifecycle(&self, bucket: &str, rules: &[LifecycleRule]) -> Result<(), S3Error> {
        let rule = rules.iter().enumerate().map(|(index, rule)| Rule::of(index, rule)).collect();
        let body = xml("LifecycleConfiguration", &Lifecycle { rule })?;
        self.put_checked(bucket, "lifecycle=", body).await
    }

    /// The notification targets of a bucket, as MinIO writes them.
    ///
    /// # Errors
    /// Those of the call.
    pub async fn bucket_notifications(&self, bucket: &str) -> Result<String, S3Error> {
        let answer = self.call(Method::GET, bucket, "notification=", Bytes::new()).await?;
        Ok(String::from_utf8_lossy(&answer.body).into_owned())
    }

    /// True if a bucket replicates to another.
    ///
    /// # Errors
    /// Those of the call.
    pub(crate) async fn bucket_replicates(&self, bucket: &str) -> Result<bool, S3Error> {
        match self.call(Method::GET, bucket, "replication=", Bytes::new()).await {
            Err(error) if error.code() == "ReplicationConfigurationNotFoundError" => Ok(false),
            answer => answer.map(|_| true),
        }
    }

    /// Gives a bucket these notifications and no others.
    ///
    /// # Errors
    /// Those of the call: MinIO refuses a target that it does not have.
    pub async fn put_bucket_notifications(&self, bucket: &str, rules: &[NotificationRule]) -> Result<(), S3Error> {
        let queue = rules.iter().enumerate().map(|(index, rule)| Notification::of(index, rule)).collect();
        let body = xml("NotificationConfiguration", &Notifications { queue })?;
        self.put_checked(bucket, "notification=", body).await
    }
}

fn xml(root: &str, value: &impl Serialize) -> Result<Bytes, S3Error> {
    let text = quick_xml::se::to_string_with_root(root, value);
    text.map(Bytes::from).map_err(|error| S3Error::Invalid { call: format!("write {root}"), cause: error.to_string() })
}

#[derive(Serialize)]
struct Lifecycle {
    #[serde(rename = "Rule")]
    rule: Vec<Rule>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Rule {
    #[serde(rename = "ID")]
    id: String,
    status: &'static str,
    filter: Filter,
    #[serde(skip_serializing_if = "Option::is_none")]
    expiration: Option<Expiration>,
    #[serde(skip_serializing_if = "Option::is_none")]
    noncurrent_version_expiration: Option<Noncurrent>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Filter {
    prefix: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Expiration {
    days: u16,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Noncurrent {
    #[serde(skip_serializing_if = "Option::is_none")]
    noncurrent_days: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    newer_noncurrent_versions: Option<u16>,
}

impl Rule {
    fn of(index: usize, rule: &LifecycleRule) -> Self {
        let noncurrent = Noncurrent {
            noncurrent_days: rule.expire_noncurrent_days,
            newer_noncurrent_versions: rule.keep_noncurrent,
        };
        let has_noncurrent = rule.expire_noncurrent_days.is_some() || rule.keep_noncurrent.is_some();
        Self {
            id: format!("kestack-{}", index + 1),
            status: "Enabled",
            filter: Filter { prefix: rule.prefix.clone() },
            expiration: rule.expire_days.map(|days| Expiration { days }),
            noncurrent_version_expiration: has_noncurrent.then_some(noncurrent),
        }
    }
}

#[derive(Serialize)]
struct Notifications {
    #[serde(rename = "QueueConfiguration")]
    queue: Vec<Notification>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Notification {
    id: String,
    #[serde(rename = "Queue")]
    target: String,
    event: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    filter: Option<KeyFilter>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct KeyFilter {
    s3_key: FilterRules,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct FilterRules {
    filter_rule: Vec<FilterRule>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct FilterRule {
    name: &'static str,
    value: String,
}

impl Notification {
    fn of(index: usize, rule: &NotificationRule) -> Self {
        let filters = [("prefix", &rule.prefix), ("suffix", &rule.suffix)].into_iter();
        let filters = filters.filter(|(_, value)| !value.is_empty());
        let filter_rule: Vec<_> = filters.map(|(name, value)| FilterRule { name, value: value.clone() }).collect();
        Self {
            id: format!("kestack-{}", index + 1),
            target: rule.target.clone(),
            event: rule.events.clone(),
            filter: (!filter_rule.is_empty()).then_some(KeyFilter { s3_key: FilterRules { filter_rule } }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_written_as_s3_wants_them() {
        let rule = LifecycleRule {
            bucket: "abc".parse().unwrap(),
            prefix: "a&b/".into(),
            expire_days: Some(3),
            expire_noncurrent_days: None,
            keep_noncurrent: Some(2),
        };
        let text = xml("LifecycleConfiguration", &Lifecycle { rule: vec![Rule::of(0, &rule)] }).unwrap();
        assert_eq!(
            text,
            "<LifecycleConfiguration><Rule><ID>kestack-1</ID><Status>Enabled</Status><Filter><Prefix>a&amp;b/</Prefix></Filter>\
             <Expiration><Days>3</Days></Expiration><NoncurrentVersionExpiration><NewerNoncurrentVersions>2\
             </NewerNoncurrentVersions></NoncurrentVersionExpiration></Rule></LifecycleConfiguration>"
        );
        let rule = NotificationRule {
            bucket: "abc".parse().unwrap(),
            target: "arn:minio:sqs::primary:webhook".into(),
            events: vec!["s3:ObjectCreated:*".into(), "s3:ObjectRemoved:*".into()],
            prefix: String::new(),
            suffix: ".jpg".into(),
        };
        let text =
            xml("NotificationConfiguration", &Notifications { queue: vec![Notification::of(0, &rule)] }).unwrap();
        assert_eq!(
            text,
            "<NotificationConfiguration><QueueConfiguration><Id>kestack-1</Id><Queue>arn:minio:sqs::primary:webhook</Queue>\
             <Event>s3:ObjectCreated:*</Event><Event>s3:ObjectRemoved:*</Event><Filter><S3Key><FilterRule><Name>suffix</Name>\
             <Value>.jpg</Value></FilterRule></S3Key></Filter></QueueConfiguration></NotificationConfiguration>"
        );
    }
}
