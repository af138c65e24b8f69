//! Buckets in a variable: `name[:policy]` or, in kestack's own, `name[:policy][?key=K&versioning=on&encryption=sse-s3]`,
//! with commas, semicolons or blanks between them.

use kes_server::auth::KeyName;

use super::setup::PROBE;
use crate::manifest::{Bucket, BucketEncryption, BucketName};

/// Names of buckets that MinIO and kestack keep for themselves.
const RESERVED: [&str; 2] = ["minio", PROBE];

/// What anybody may do with a bucket, by the words of `mc anonymous set`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PublicAccess {
    /// Read and list.
    Download,
    /// Write.
    Upload,
    /// Both.
    Public,
}

/// One bucket as a variable names it.
#[derive(Debug, Clone)]
pub(super) struct Named {
    /// The bucket.
    pub(super) bucket: Bucket,
    /// What anybody may do with it; `None` for nobody but users.
    pub(super) access: Option<PublicAccess>,
}

/// Reads the buckets of the variable `name`. Every mistake is added to `mistakes`.
pub(super) fn read(name: &str, value: &str, has_settings: bool, mistakes: &mut Vec<String>) -> Vec<Named> {
    let mut all: Vec<Named> = Vec::new();
    let words = value.split(|sign: char| sign == ',' || sign == ';' || sign.is_whitespace());
    for word in words.filter(|word| !word.is_empty()) {
        match one(word, has_settings) {
            Ok(named) if all.iter().any(|other| other.bucket.name == named.bucket.name) => {
                mistakes.push(format!("{name}: bucket '{}' is named twice", named.bucket.name));
            }
            Ok(named) => all.push(named),
            Err(why) => mistakes.push(format!("{name}: `{word}`: {why}")),
        }
    }
    all
}

fn one(word: &str, has_settings: bool) -> Result<Named, String> {
    let (head, settings) = word.split_once('?').map_or((word, None), |(head, rest)| (head, Some(rest)));
    let (name, policy) = head.split_once(':').map_or((head, None), |(name, policy)| (name, Some(policy)));
    if RESERVED.contains(&name) {
        return Err(format!("the name '{name}' is reserved; choose another one"));
    }
    let access = match policy {
        None | Some("none" | "private") => None,
        Some("download") => Some(PublicAccess::Download),
        Some("upload") => Some(PublicAccess::Upload),
        Some("public") => Some(PublicAccess::Public),
        Some(other) => return Err(format!("'{other}' is not a policy: write none, download, upload or public")),
    };
    let name: BucketName = name.parse()?;
    let mut bucket = Bucket::named(name);
    match settings {
        Some(_) if !has_settings => return Err("settings behind `?` are read in KESTACK_BUCKETS only".to_owned()),
        Some(settings) => settings.split('&').try_for_each(|setting| set(&mut bucket, setting))?,
        None => {}
    }
    Ok(Named { bucket, access })
}

fn set(bucket: &mut Bucket, setting: &str) -> Result<(), String> {
    let (name, value) = setting.split_once('=').unwrap_or((setting, ""));
    match (name, value) {
        ("key", key) => bucket.key = Some(key.parse::<KeyName>().map_err(|why| why.to_string())?),
        ("versioning", "on") => bucket.versioning = true,
        ("versioning", "off") => bucket.versioning = false,
        ("encryption", "sse-kms") => bucket.encryption = BucketEncryption::SseKms,
        ("encryption", "sse-s3") => bucket.encryption = BucketEncryption::SseS3,
        _ => return Err(format!("'{setting}' is not known: write key=NAME, versioning=on or encryption=sse-s3")),
    }
    bucket.said.versioning |= name == "versioning";
    bucket.said.encryption |= name != "versioning";
    Ok(())
}

impl PublicAccess {
    /// The policy of a bucket that gives everybody this access.
    pub(super) fn policy(self, bucket: &str) -> String {
        let (mut of_bucket, mut of_objects) = (vec!["s3:GetBucketLocation"], Vec::new());
        if self != Self::Upload {
            of_bucket.push("s3:ListBucket");
            of_objects.push("s3:GetObject");
        }
        if self != Self::Download {
            of_bucket.push("s3:ListBucketMultipartUploads");
            of_objects.extend([
                "s3:PutObject",
                "s3:DeleteObject",
                "s3:AbortMultipartUpload",
                "s3:ListMultipartUploadParts",
            ]);
        }
        let statement = |actions: &[&str], resource: String| {
            serde_json::json!({
                "Effect": "Allow", "Principal": { "AWS": ["*"] }, "Action": actions, "Resource": [resource],
            })
        };
        serde_json::json!({
            "Version": "2012-10-17",
            "Statement": [
                statement(&of_bucket, format!("arn:aws:s3:::{bucket}")),
                statement(&of_objects, format!("arn:aws:s3:::{bucket}/*")),
            ],
        })
        .to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::Said;

    #[test]
    fn names_come_with_policies_and_settings() {
        let mut mistakes = Vec::new();
        let found =
            read("V", "abc:public,def;ghi:none  jkl:download\nmno:upload?key=k1&versioning=on", true, &mut mistakes);
        assert!(mistakes.is_empty(), "{mistakes:?}");
        let shown: Vec<_> = found.iter().map(|named| (named.bucket.name.as_str(), named.access)).collect();
        let expected = [
            ("abc", Some(PublicAccess::Public)),
            ("def", None),
            ("ghi", None),
            ("jkl", Some(PublicAccess::Download)),
            ("mno", Some(PublicAccess::Upload)),
        ];
        assert_eq!(shown, expected);
        let last = &found[4].bucket;
        assert_eq!((last.key.as_ref().unwrap().as_str(), last.versioning), ("k1", true));
        assert_eq!(last.said, Said { encryption: true, versioning: true });
        assert_eq!(found[0].bucket.said, Said::default());
        let sealed = read("V", "abc?encryption=sse-s3", true, &mut mistakes);
        assert_eq!(sealed[0].bucket.encryption, BucketEncryption::SseS3);
    }

    #[test]
    fn every_mistake_is_named_with_its_word() {
        let mut mistakes = Vec::new();
        read("V", "A,minio,abc:write,abc,abc,xyz?key=a b,def?speed=9,ghi?key=", true, &mut mistakes);
        let said = [
            "`A`: 'A' is not a valid name",
            "the name 'minio' is reserved",
            "'write' is not a policy",
            "named twice",
            "'b' is not a valid name",
            "'speed=9' is not known",
            "`ghi?key=`",
        ];
        assert_eq!(mistakes.len(), said.len(), "{mistakes:#?}");
        for (mistake, said) in mistakes.iter().zip(said) {
            assert!(mistake.starts_with("V: ") && mistake.contains(said), "{mistake}");
        }
        mistakes.clear();
        read("MINIO_DEFAULT_BUCKETS", "abc?key=k", false, &mut mistakes);
        assert!(mistakes[0].contains("KESTACK_BUCKETS only"), "{mistakes:?}");
    }

    #[test]
    fn a_policy_allows_what_its_word_says() {
        let (download, upload, public) =
            (PublicAccess::Download.policy("b"), PublicAccess::Upload.policy("b"), PublicAccess::Public.policy("b"));
        assert!(download.contains("s3:GetObject") && !download.contains("s3:PutObject"));
        assert!(!upload.contains("s3:GetObject") && upload.contains("s3:PutObject"));
        assert!(public.contains("s3:GetObject") && public.contains("s3:PutObject"));
        assert!(public.contains("arn:aws:s3:::b/*"));
    }
}
