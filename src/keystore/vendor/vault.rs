//! `HashiCorp` Vault and `OpenBao`.

use serde_json::Value;

use super::{Named, Setting, Use, Vendor, authority, nothing};
use crate::host::quote::shell_word;
use crate::keystore::call::Call;
use crate::keystore::identity::{Login, WorkloadIdentity};
use crate::keystore::policy::{Policy, Subject, script};
use crate::keystore::section::text;

/// Vault and `OpenBao` (docs/keystores-protocol.md).
pub(in crate::keystore) const VAULT: Vendor = Vendor {
    word: "vault",
    settings: &[
        Setting::required("/vault/endpoint", &["VAULT_ADDR"]),
        Setting::optional("/vault/namespace", &["VAULT_NAMESPACE"]),
        Setting::optional("/vault/engine", &["VAULT_KV_ENGINE"]),
        Setting::optional("/vault/version", &["VAULT_KV_VERSION"]),
        Setting::optional("/vault/prefix", &["VAULT_KV_PREFIX"]),
        Setting::credential(Use::Required, "/vault/approle/id", &["VAULT_ROLE_ID"]),
        Setting::credential(Use::Required, "/vault/approle/secret", &["VAULT_SECRET_ID"]),
        Setting::optional("/vault/tls/ca", &["VAULT_CACERT"]),
        // a token, or the file that Kubernetes writes it to and renews
        Setting::credential(Use::Never, "/vault/kubernetes/jwt", &["VAULT_JWT"]),
    ],
    files: &[
        authority("/vault/tls/ca"),
        Named { place: "/vault/tls/cert", name: "client.crt", is_secret: false },
        Named { place: "/vault/tls/key", name: "client.key", is_secret: true },
    ],
    part: None,
    complete: nothing,
    right,
    login,
    identity: |_, _| WorkloadIdentity { account: true, token: true, ..WorkloadIdentity::default() },
    policies: |subject| Some(policies(subject)),
};

fn login(section: &Value) -> Login<'_> {
    match text(section, "/vault/kubernetes/jwt").filter(|path| path.contains('/')) {
        Some(path) => Login::TokenFile(path),
        None => Login::Credentials,
    }
}

fn right(section: &Value, call: Call) -> String {
    let engine = text(section, "/vault/engine").unwrap_or("kv");
    let prefix = prefix(section);
    let (data, metadata) = if is_v2(section) {
        (format!("{engine}/data"), format!("{engine}/metadata"))
    } else {
        (engine.into(), engine.into())
    };
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

fn policies(subject: &Subject<'_>) -> Vec<Policy> {
    let at = |place: &str| text(subject.section, place);
    let name = format!("kes-{}", subject.name);
    let mut lines = vec![
        "# What KES needs of Vault or OpenBao.".to_owned(),
        "set -eu".into(),
        format!("vault policy write {name} iam-policy.hcl"),
    ];
    if let Some(role) = at("/vault/kubernetes/role") {
        let (method, namespace) = (at("/vault/kubernetes/engine").unwrap_or("kubernetes"), subject.namespace);
        let role = shell_word(&format!("auth/{method}/role/{role}"));
        lines.push(format!(
            "vault write {role} bound_service_account_names={} \
             bound_service_account_namespaces={namespace} token_policies={name} token_ttl=20m",
            subject.account,
        ));
    } else {
        let method = at("/vault/approle/engine").unwrap_or("approle");
        let path = |below: &str| shell_word(&format!("auth/{method}/role/kes{below}"));
        let role = path("");
        lines.push(format!("vault write {role} token_policies={name} token_ttl=20m secret_id_num_uses=0"));
        lines.push(format!("vault read {}", path("/role-id")));
        lines.push(format!("vault write -f {}", path("/secret-id")));
    }
    vec![Policy::new("iam-policy.hcl", rules(subject.section)), Policy::new("iam-vault.sh", script(&lines))]
}

fn rules(section: &Value) -> String {
    let at = |place: &str| text(section, place);
    let engine = at("/vault/engine").unwrap_or("kv");
    let prefix = prefix(section);
    // a text of HCL is one of JSON
    let may = |path: String, what: &str| format!("path {} {{ capabilities = [{what}] }}\n", Value::from(path));
    let mut policy = if is_v2(section) {
        may(format!("{engine}/data/{prefix}*"), "\"create\", \"read\"")
            + &may(format!("{engine}/metadata/{prefix}*"), "\"list\", \"delete\"")
    } else {
        may(format!("{engine}/{prefix}*"), "\"create\", \"read\", \"list\", \"delete\"")
    };
    if let Some(key) = at("/vault/transit/key") {
        let transit = at("/vault/transit/engine").unwrap_or("transit");
        policy += &may(format!("{transit}/encrypt/{key}"), "\"update\"");
        policy += &may(format!("{transit}/decrypt/{key}"), "\"update\"");
    }
    policy
}

fn is_v2(section: &Value) -> bool {
    text(section, "/vault/version") == Some("v2")
}

fn prefix(section: &Value) -> String {
    text(section, "/vault/prefix").map(|prefix| format!("{}/", prefix.trim_matches('/'))).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_right_is_named_as_the_administrator_knows_it() {
        let vault = json!({ "vault": { "version": "v2", "prefix": "/team/", "transit": { "key": "k" } } });
        assert_eq!(right(&vault, Call::Create), "create and read on kv/data/team/*, and update on transit/encrypt/k");
        assert_eq!(right(&vault, Call::List), "list on kv/metadata/team/");
    }
}
