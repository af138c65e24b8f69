//! The smallest set of permissions that KES needs in a keystore: policies, and the commands that put them in force
//! (docs/keystores-protocol.md §3 to §9). Nothing here is secret.

use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::cluster::Cluster;
use super::document::Document;
use super::refused;
use crate::error::Error;
use crate::keystore::text;
use crate::template::shell_word;

/// The documents for the cluster's keystore.
///
/// # Errors
/// [`Error::Usage`] for a keystore without accounts.
pub fn iam(cluster: &Cluster) -> Result<Vec<Document>, Error> {
    let section = &cluster.section;
    let document = |name: &str, text: String| vec![Document::public(name, Zeroizing::new(text))];
    if section.get("aws").is_some() {
        return Ok(aws(cluster));
    }
    if section.get("azure").is_some() {
        return Ok(document("iam-azure.sh", azure(cluster)));
    }
    if section.get("gcp").is_some() {
        return Ok(document("iam-gcp.sh", gcp(cluster)));
    }
    if section.get("vault").is_some() {
        return Ok(vault(cluster));
    }
    let rights = if section.get("entrust").is_some() {
        "Entrust KeyControl: a user of the vault whose policy on the box of `box_id` allows: check out, create, delete \
         and list secrets.\n"
    } else if section.get("gemalto").is_some() {
        "Thales CipherTrust: a user (of the token) in the group Key Users of the domain, allowed to create, read, export \
         and delete secrets of type opaque; refresh tokens of it must not expire.\n"
    } else if section.get("fortanix").is_some() {
        "Fortanix DSM: an application with an API key, whose default group is `group_id`, with the permissions of that \
         group: create, get, export, delete secrets and list them.\n"
    } else {
        return Err(refused("the fs keystore has no accounts", "leave out --with-iam"));
    };
    Ok(document("iam.md", rights.into()))
}

/// Only secrets with the names of the manifest's keys, and of those that MinIO is asked to make later with the same
/// beginning.
fn aws(cluster: &Cluster) -> Vec<Document> {
    let at = |pointer: &str| text(&cluster.section, pointer);
    let region = at("/aws/secretsmanager/region").unwrap_or("*");
    // a name ends with six random characters there
    let secrets: Vec<_> = cluster
        .manifest
        .keys
        .iter()
        .map(|key| format!("arn:aws:secretsmanager:{region}:*:secret:{key}-??????"))
        .collect();
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
    let mut documents = vec![json_document("iam-policy.json", &policy)];
    if cluster.identity.account {
        documents.push(json_document("iam-trust.json", &aws_trust(cluster)));
    }
    documents
}

/// Lets the service account of KES take the role, and nobody else.
fn aws_trust(cluster: &Cluster) -> Value {
    let account = format!("system:serviceaccount:{}:{}", cluster.namespace, cluster.account());
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

fn azure(cluster: &Cluster) -> String {
    let endpoint = text(&cluster.section, "/azure/keyvault/endpoint").unwrap_or_default();
    let vault = shell_word(endpoint.trim_start_matches("https://").split('.').next().unwrap_or_default());
    let who = shell_word(cluster.options.workload_identity.as_deref().unwrap_or("CLIENT-ID"));
    let mut lines = vec![
        comment(&format!(
            "What KES needs of Azure Key Vault {vault}. List: it reads the oldest version of a key; purge: a key"
        )),
        "# that is deleted can be made again.".into(),
        "set -eu".into(),
        format!("az keyvault set-policy --name {vault} --spn {who} --secret-permissions get list set delete purge"),
    ];
    if cluster.identity.account {
        let (namespace, account) = (&cluster.namespace, cluster.account());
        lines.push(
            "issuer=$(az aks show --resource-group \"$RESOURCE_GROUP\" --name \"$CLUSTER\" --query \
             oidcIssuerProfile.issuerUrl -o tsv)"
                .into(),
        );
        lines.push(format!(
            "az identity federated-credential create --name kes --identity-name \"$IDENTITY\" --resource-group \
             \"$RESOURCE_GROUP\" --issuer \"$issuer\" --subject system:serviceaccount:{namespace}:{account} --audience \
             api://AzureADTokenExchange"
        ));
    }
    script(&lines)
}

fn gcp(cluster: &Cluster) -> String {
    let project = text(&cluster.section, "/gcp/secretmanager/project_id").unwrap_or_default();
    let who = cluster.options.workload_identity.as_deref().unwrap_or("SERVICE-ACCOUNT-EMAIL");
    let (word, account) = (shell_word(project), shell_word(who));
    let mut lines = vec![
        comment(&format!("What KES needs of Secret Manager in {project}.")),
        "set -eu".into(),
        format!(
            "gcloud iam roles create kes --project {word} --title KES --permissions \
             secretmanager.secrets.create,secretmanager.secrets.delete,secretmanager.secrets.get,\
             secretmanager.secrets.list,secretmanager.versions.access,secretmanager.versions.add"
        ),
        format!(
            "gcloud projects add-iam-policy-binding {word} --role {} --member {}",
            shell_word(&format!("projects/{project}/roles/kes")),
            shell_word(&format!("serviceAccount:{who}"))
        ),
    ];
    if cluster.identity.account {
        let fleet = cluster.identity.fleet.as_ref().map(|fleet| fleet.pool.clone());
        let pool = fleet.unwrap_or_else(|| format!("{project}.svc.id.goog"));
        let member = format!("serviceAccount:{pool}[{}/{}]", cluster.namespace, cluster.account());
        lines.push(format!(
            "gcloud iam service-accounts add-iam-policy-binding {account} --role roles/iam.workloadIdentityUser \
             --member {}",
            shell_word(&member)
        ));
    }
    script(&lines)
}

fn vault(cluster: &Cluster) -> Vec<Document> {
    let at = |pointer: &str| text(&cluster.section, pointer);
    let name = format!("kes-{}", cluster.name());
    let mut lines = vec![
        "# What KES needs of Vault or OpenBao.".to_owned(),
        "set -eu".into(),
        format!("vault policy write {name} iam-policy.hcl"),
    ];
    if let Some(role) = at("/vault/kubernetes/role") {
        let (method, namespace) = (at("/vault/kubernetes/engine").unwrap_or("kubernetes"), &cluster.namespace);
        let role = shell_word(&format!("auth/{method}/role/{role}"));
        lines.push(format!(
            "vault write {role} bound_service_account_names={} \
             bound_service_account_namespaces={namespace} token_policies={name} token_ttl=20m",
            cluster.account(),
        ));
    } else {
        let method = at("/vault/approle/engine").unwrap_or("approle");
        let path = |below: &str| shell_word(&format!("auth/{method}/role/kes{below}"));
        let role = path("");
        lines.push(format!("vault write {role} token_policies={name} token_ttl=20m secret_id_num_uses=0"));
        lines.push(format!("vault read {}", path("/role-id")));
        lines.push(format!("vault write -f {}", path("/secret-id")));
    }
    vec![
        Document::public("iam-policy.hcl", Zeroizing::new(vault_policy(cluster))),
        Document::public("iam-vault.sh", Zeroizing::new(script(&lines))),
    ]
}

fn vault_policy(cluster: &Cluster) -> String {
    let at = |pointer: &str| text(&cluster.section, pointer);
    let engine = at("/vault/engine").unwrap_or("kv");
    let prefix = at("/vault/prefix").map(|prefix| format!("{}/", prefix.trim_matches('/'))).unwrap_or_default();
    // a text of HCL is one of JSON
    let may = |path: String, what: &str| format!("path {} {{ capabilities = [{what}] }}\n", Value::from(path));
    let mut policy = if at("/vault/version") == Some("v2") {
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

/// One line of a script, whatever is named in it.
fn comment(text: &str) -> String {
    format!("# {}", text.replace(char::is_control, " "))
}

fn script(lines: &[String]) -> String {
    format!("#!/bin/sh\n{}\n", lines.join("\n"))
}

fn json_document(name: &str, value: &Value) -> Document {
    Document::public(name, Zeroizing::new(serde_json::to_string_pretty(value).unwrap_or_default() + "\n"))
}
