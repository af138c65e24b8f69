//! Azure Key Vault.

use serde_json::Value;

use super::{Setting, Use, Vendor, nothing};
use crate::host::quote::shell_word;
use crate::keystore::identity::{Login, WorkloadIdentity};
use crate::keystore::policy::{Policy, Subject, comment, script};
use crate::keystore::section::text;

/// Azure Key Vault (docs/keystores-protocol.md).
pub(in crate::keystore) const AZURE: Vendor = Vendor {
    word: "azure",
    settings: &[
        Setting::required("/azure/keyvault/endpoint", &["AZURE_KEYVAULT_URL"]),
        Setting::credential(Use::Required, "/azure/keyvault/credentials/tenant_id", &["AZURE_TENANT_ID"]),
        Setting::credential(Use::Required, "/azure/keyvault/credentials/client_id", &["AZURE_CLIENT_ID"]),
        Setting::credential(Use::Required, "/azure/keyvault/credentials/client_secret", &["AZURE_CLIENT_SECRET"]),
    ],
    files: &[],
    part: Some("/azure/keyvault"),
    complete: nothing,
    right: |_, call| {
        call.choose([
            "the secret permissions Get, Set and Purge",
            "the secret permissions Get and List",
            "the secret permission List",
            "the secret permissions Delete and Purge",
        ])
    },
    login,
    identity: |who, _| WorkloadIdentity {
        account: true,
        annotation: Some(("azure.workload.identity/client-id", who.into())),
        label: Some(("azure.workload.identity/use", "true")),
        ..WorkloadIdentity::default()
    },
    policies: |subject| Some(vec![Policy::new("iam-azure.sh", commands(subject))]),
};

fn login(section: &Value) -> Login<'_> {
    if section.pointer("/azure/keyvault/managed_identity").is_some() {
        return Login::Node;
    }
    match text(section, "/azure/keyvault/credentials/client_secret") {
        Some(_) => Login::Credentials,
        None => Login::Identity("CLIENT-ID"),
    }
}

fn commands(subject: &Subject<'_>) -> String {
    let endpoint = text(subject.section, "/azure/keyvault/endpoint").unwrap_or_default();
    let vault = shell_word(endpoint.trim_start_matches("https://").split('.').next().unwrap_or_default());
    let who = shell_word(subject.workload_identity.unwrap_or("CLIENT-ID"));
    let mut lines = vec![
        comment(&format!(
            "What KES needs of Azure Key Vault {vault}. List: it reads the oldest version of a key; purge: a key"
        )),
        "# that is deleted can be made again.".into(),
        "set -eu".into(),
        format!("az keyvault set-policy --name {vault} --spn {who} --secret-permissions get list set delete purge"),
    ];
    if subject.has_account {
        let (namespace, account) = (subject.namespace, subject.account);
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
