//! AWS Secrets Manager.

use serde_json::{Value, json};

use super::{Setting, Use, Vendor};
use crate::keystore::call::Call;
use crate::keystore::identity::{Login, WorkloadIdentity};
use crate::keystore::policy::{Policy, Subject};
use crate::keystore::section::{put, text};

/// AWS Secrets Manager (docs/keystores-protocol.md).
pub(in crate::keystore) const AWS: Vendor = Vendor {
    word: "aws",
    settings: &[
        Setting::optional("/aws/secretsmanager/endpoint", &["AWS_ENDPOINT_URL_SECRETS_MANAGER", "AWS_ENDPOINT_URL"]),
        Setting::required("/aws/secretsmanager/region", &["AWS_REGION", "AWS_DEFAULT_REGION"]),
        Setting::optional("/aws/secretsmanager/kmskey", &["AWS_KMS_KEY_ID"]),
        Setting::credential(Use::Required, "/aws/secretsmanager/credentials/accesskey", &["AWS_ACCESS_KEY_ID"]),
        Setting::credential(Use::Required, "/aws/secretsmanager/credentials/secretkey", &["AWS_SECRET_ACCESS_KEY"]),
        Setting::credential(Use::Optional, "/aws/secretsmanager/credentials/token", &["AWS_SESSION_TOKEN"]),
    ],
    files: &[],
    part: Some("/aws/secretsmanager"),
    complete,
    right,
    login: |section| match text(section, "/aws/secretsmanager/credentials/accesskey") {
        Some(_) => Login::Credentials,
        None => Login::Identity("ROLE-ARN"),
    },
    identity: |who, _| WorkloadIdentity {
        account: true,
        annotation: Some(("eks.amazonaws.com/role-arn", who.into())),
        ..WorkloadIdentity::default()
    },
    policies: |subject| Some(policies(subject)),
};

/// The endpoint follows from the region.
fn complete(section: &mut Value) {
    if text(section, "/aws/secretsmanager/endpoint").is_none() {
        let region = text(section, "/aws/secretsmanager/region").unwrap_or_default();
        let endpoint = format!("https://secretsmanager.{region}.amazonaws.com");
        put(section, "/aws/secretsmanager/endpoint", Some(endpoint));
    }
}

fn right(section: &Value, call: Call) -> String {
    let key = text(section, "/aws/secretsmanager/kmskey");
    let kms = |actions: &str| key.map(|key| format!(", and {actions} on the KMS key {key}")).unwrap_or_default();
    match call {
        Call::Create => format!("secretsmanager:CreateSecret{}", kms("kms:GenerateDataKey and kms:Decrypt")),
        Call::Get => format!("secretsmanager:GetSecretValue{}", kms("kms:Decrypt")),
        Call::List => "secretsmanager:ListSecrets on *".into(),
        Call::Delete => "secretsmanager:DeleteSecret".into(),
    }
}

/// Only secrets with the names of the manifest's keys, and of those that MinIO is asked to make later with the same
/// beginning.
fn policies(subject: &Subject<'_>) -> Vec<Policy> {
    let at = |place: &str| text(subject.section, place);
    let region = at("/aws/secretsmanager/region").unwrap_or("*");
    // a name ends with six random characters there
    let secrets: Vec<_> =
        subject.keys.iter().map(|key| format!("arn:aws:secretsmanager:{region}:*:secret:{key}-??????")).collect();
    let mut statements = vec![
        json!({
            "Sid": "Keys", "Effect": "Allow", "Resource": secrets,
            "Action": ["secretsmanager:CreateSecret", "secretsmanager:GetSecretValue", "secretsmanager:DeleteSecret"],
        }),
        json!({ "Sid": "List", "Effect": "Allow", "Action": "secretsmanager:ListSecrets", "Resource": "*" }),
    ];
    if let Some(key) = at("/aws/secretsmanager/kmskey") {
        let resource =
            if key.starts_with("arn:") { key.to_owned() } else { format!("arn:aws:kms:{region}:*:key/{key}") };
        statements.push(json!({
            "Sid": "KmsKey", "Effect": "Allow", "Resource": resource,
            "Action": ["kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey"],
        }));
    }
    let policy = json!({ "Version": "2012-10-17", "Statement": statements });
    let mut documents = vec![Policy::json("iam-policy.json", &policy)];
    if subject.has_account {
        documents.push(Policy::json("iam-trust.json", &trust(subject)));
    }
    documents
}

/// Lets the service account of KES take the role, and nobody else.
fn trust(subject: &Subject<'_>) -> Value {
    let account = format!("system:serviceaccount:{}:{}", subject.namespace, subject.account);
    json!({
        "Version": "2012-10-17",
        "Statement": [{
            "Effect": "Allow",
            "Principal": { "Federated": "arn:aws:iam::ACCOUNT:oidc-provider/OIDC-PROVIDER" },
            "Action": "sts:AssumeRoleWithWebIdentity",
            "Condition": { "StringEquals": {
                "OIDC-PROVIDER:sub": account, "OIDC-PROVIDER:aud": "sts.amazonaws.com",
            } },
        }],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_right_is_named_as_the_administrator_knows_it() {
        let aws = json!({ "aws": { "secretsmanager": { "kmskey": "alias/k" } } });
        assert_eq!(right(&aws, Call::Get), "secretsmanager:GetSecretValue, and kms:Decrypt on the KMS key alias/k");
    }
}
