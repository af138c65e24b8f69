//! The user of a sandbox, as an archive for [`S3Client::import_iam`].
//!
//! Why a user and not temporary credentials of STS: those made by the root user may revoke each other and list the
//! root user's access keys, whatever their session policy denies, and they cannot be taken back one by one.
//!
//! [`S3Client::import_iam`]: crate::servers::s3::S3Client::import_iam

use serde_json::{Value, json};

use crate::error::Error;
use crate::servers::admin;

/// The policy of all sandboxes: `${aws:username}` is the name of the user, and of its bucket and key. What makes a
/// bucket a sandbox (its tags, its encryption, its existence) and every admin call is denied; so is another key than
/// its own, see [`other_keys`].
fn policy() -> Value {
    let (bucket, objects) = ("arn:aws:s3:::${aws:username}", "arn:aws:s3:::${aws:username}/*");
    let mut statements = vec![
        json!({ "Effect": "Allow", "Action": ["s3:*"], "Resource": [bucket, objects] }),
        json!({
            "Effect": "Deny",
            "Action": [
                "s3:CreateBucket", "s3:DeleteBucket", "s3:ForceDeleteBucket", "s3:PutBucketTagging",
                "s3:PutEncryptionConfiguration", "s3:PutBucketPolicy", "s3:DeleteBucketPolicy",
                "s3:PutReplicationConfiguration",
            ],
            "Resource": [bucket],
        }),
        json!({ "Effect": "Deny", "Action": ["admin:*"] }),
    ];
    let denied = |condition: Value| json!({ "Effect": "Deny", "Action": ["s3:PutObject"], "Resource": [objects], "Condition": condition });
    statements.extend(other_keys().map(denied));
    json!({ "Version": "2012-10-17", "Statement": statements })
}

/// Conditions of uploads that would be sealed with another key than the sandbox's, and outlive it. MinIO takes the stack's
/// default key, not the bucket's, for `AES256` and for `aws:kms` without a key ID, so a request that asks for an
/// encryption must ask for `aws:kms` and name the sandbox's key. `ForAllValues` because a header may be there twice, and
/// MinIO takes the first one. What an HTML form asks for no policy can see, so there are no such uploads.
fn other_keys() -> [Value; 4] {
    const SSE: &str = "s3:x-amz-server-side-encryption";
    const KEY: &str = "s3:x-amz-server-side-encryption-aws-kms-key-id";
    [
        json!({ "ForAllValues:StringNotEquals": { KEY: ["${aws:username}", "arn:aws:kms:${aws:username}"] } }),
        json!({ "ForAllValues:StringNotEquals": { SSE: ["aws:kms"] } }),
        json!({ "Null": { SSE: "false", KEY: "true" } }),
        json!({ "StringEquals": { "s3:authType": ["POST"] } }),
    ]
}

/// Name of the policy: another content is another policy, so that an older kestack's stays as it was.
fn policy_name() -> String {
    let digest = crate::host::digest::of(&policy());
    format!("kestack-sandboxes-{}", digest.get(..8).unwrap_or_default())
}

/// A user with its password and the policy of sandboxes; with `policy` the policy itself too, which the first sandbox
/// of a stack must bring.
pub(super) fn archive(user: &str, password: &str, with_policy: bool) -> Result<Vec<u8>, Error> {
    let name = policy_name();
    let mut files = vec![
        ("users.json", json!({ user: { "secretKey": password, "status": "enabled" } })),
        ("user_mappings.json", json!({ user: { "version": 1, "policy": name } })),
    ];
    if with_policy {
        files.push(("policies.json", json!({ name: policy() })));
    }
    admin::archive(&files).map_err(Error::file("pack", "iam-assets.zip"))
}

#[cfg(test)]
mod tests {
    use std::io::{Cursor, Read as _};

    use super::*;

    #[test]
    fn the_archive_holds_one_user_and_what_it_may() {
        let files = |with_policy| {
            let mut zip = zip::ZipArchive::new(Cursor::new(archive("u", "secret", with_policy).unwrap())).unwrap();
            let mut users = String::new();
            zip.by_name("iam-assets/users.json").unwrap().read_to_string(&mut users).unwrap();
            assert_eq!(users, r#"{"u":{"secretKey":"secret","status":"enabled"}}"#);
            (zip.len(), zip.by_name("iam-assets/policies.json").is_ok())
        };
        assert_eq!((files(false), files(true)), ((2, false), (3, true)));
    }
}
