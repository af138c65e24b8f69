//! The permission that each call to a keystore needs, by the name that its administrator knows
//! (docs/keystores-protocol.md §13).

use serde_json::Value;

use crate::keystore::text;

/// What KES does with a keystore.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Call {
    Create,
    Get,
    List,
    Delete,
}

impl Call {
    pub(super) fn verb(self) -> &'static str {
        match self {
            Self::Create => "create a key",
            Self::Get => "read a key",
            Self::List => "list keys",
            Self::Delete => "delete a key",
        }
    }
}

/// The right that a call needs in the keystore of this section.
pub(super) fn needed(section: &Value, call: Call) -> String {
    let kind = section.as_object().and_then(|kinds| kinds.keys().next()).map_or("", String::as_str);
    match kind {
        "vault" => vault(section, call),
        "aws" => aws(section, call),
        "gcp" => fixed(
            call,
            [
                "secretmanager.secrets.create and secretmanager.versions.add on the project",
                "secretmanager.versions.access on the project",
                "secretmanager.secrets.list on the project",
                "secretmanager.secrets.delete on the project",
            ],
        ),
        "azure" => fixed(
            call,
            [
                "the secret permissions Get, Set and Purge",
                "the secret permissions Get and List",
                "the secret permission List",
                "the secret permissions Delete and Purge",
            ],
        ),
        "gemalto" => fixed(
            call,
            [
                "CreateKey on kylo:kylo:vault:secrets:*",
                "ReadKey and ExportKey on kylo:kylo:vault:secrets:*",
                "ReadKey on kylo:kylo:vault:secrets:*",
                "DeleteKey on kylo:kylo:vault:secrets:*",
            ],
        ),
        "entrust" => "the role Vault User for all secrets of the box".into(),
        "fortanix" => "create, export, delete and list rights of the app in its group".into(),
        _ => "read and write access to the folder for the user that KES runs as".into(),
    }
}

fn fixed(call: Call, [create, get, list, delete]: [&'static str; 4]) -> String {
    let right = match call {
        Call::Create => create,
        Call::Get => get,
        Call::List => list,
        Call::Delete => delete,
    };
    right.to_owned()
}

fn vault(section: &Value, call: Call) -> String {
    let engine = text(section, "/vault/engine").unwrap_or("kv");
    let prefix = text(section, "/vault/prefix").map(|prefix| format!("{}/", prefix.trim_matches('/')));
    let prefix = prefix.unwrap_or_default();
    let is_v2 = text(section, "/vault/version") == Some("v2");
    let (data, metadata) =
        if is_v2 { (format!("{engine}/data"), format!("{engine}/metadata")) } else { (engine.into(), engine.into()) };
    let transit = text(section, "/vault/transit/key").map(|key| {
        let engine = text(section, "/vault/transit/engine").unwrap_or("transit");
        let verb = if call == Call::Create { "encrypt" } else { "decrypt" };
        format!(", and update on {engine}/{verb}/{key}")
    });
    match call {
        Call::Create => format!("create and read on {data}/{prefix}*{}", transit.unwrap_or_default()),
        Call::Get => format!("read on {data}/{prefix}*{}", transit.unwrap_or_default()),
        Call::List => format!("list on {metadata}/{prefix}"),
        Call::Delete => format!("delete on {metadata}/{prefix}*"),
    }
}

fn aws(section: &Value, call: Call) -> String {
    let key = text(section, "/aws/secretsmanager/kmskey");
    let kms = |actions: &str| key.map(|key| format!(", and {actions} on the KMS key {key}")).unwrap_or_default();
    match call {
        Call::Create => format!("secretsmanager:CreateSecret{}", kms("kms:GenerateDataKey and kms:Decrypt")),
        Call::Get => format!("secretsmanager:GetSecretValue{}", kms("kms:Decrypt")),
        Call::List => "secretsmanager:ListSecrets on *".into(),
        Call::Delete => "secretsmanager:DeleteSecret".into(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_right_is_named_as_the_administrator_knows_it() {
        let vault = json!({ "vault": { "version": "v2", "prefix": "/team/", "transit": { "key": "k" } } });
        assert_eq!(needed(&vault, Call::Create), "create and read on kv/data/team/*, and update on transit/encrypt/k");
        assert_eq!(needed(&vault, Call::List), "list on kv/metadata/team/");
        let aws = json!({ "aws": { "secretsmanager": { "kmskey": "alias/k" } } });
        assert_eq!(needed(&aws, Call::Get), "secretsmanager:GetSecretValue, and kms:Decrypt on the KMS key alias/k");
        assert_eq!(needed(&json!({ "azure": {} }), Call::List), "the secret permission List");
    }
}
