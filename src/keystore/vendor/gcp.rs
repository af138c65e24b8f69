//! GCP Secret Manager.

use super::{Setting, Use, Vendor, nothing};
use crate::host::quote::shell_word;
use crate::keystore::identity::{Fleet, FleetIdentity, Login, WorkloadIdentity};
use crate::keystore::policy::{Policy, Subject, comment, script};
use crate::keystore::section::text;

/// GCP Secret Manager (docs/keystores-protocol.md).
pub(in crate::keystore) const GCP: Vendor = Vendor {
    word: "gcp",
    settings: &[
        Setting::required("/gcp/secretmanager/project_id", &["GOOGLE_CLOUD_PROJECT", "GCP_PROJECT_ID"]),
        Setting::optional("/gcp/secretmanager/endpoint", &["GCP_SECRETMANAGER_ENDPOINT"]),
        Setting::credential(Use::Required, "/gcp/secretmanager/credentials/client_email", &["GCP_CLIENT_EMAIL"]),
        Setting::credential(Use::Required, "/gcp/secretmanager/credentials/client_id", &["GCP_CLIENT_ID"]),
        Setting::credential(Use::Required, "/gcp/secretmanager/credentials/private_key_id", &["GCP_PRIVATE_KEY_ID"]),
        Setting::credential(Use::Required, "/gcp/secretmanager/credentials/private_key", &["GCP_PRIVATE_KEY"]),
    ],
    files: &[],
    part: None,
    complete: nothing,
    right: |_, call| {
        call.choose([
            "secretmanager.secrets.create and secretmanager.versions.add on the project",
            "secretmanager.versions.access on the project",
            "secretmanager.secrets.list on the project",
            "secretmanager.secrets.delete on the project",
        ])
    },
    login: |section| match text(section, "/gcp/secretmanager/credentials/private_key") {
        Some(_) => Login::Credentials,
        None => Login::Identity("SERVICE-ACCOUNT-EMAIL"),
    },
    identity,
    policies: |subject| Some(vec![Policy::new("iam-gcp.sh", commands(subject))]),
};

fn identity(who: &str, fleet: Option<&Fleet>) -> WorkloadIdentity {
    let account = WorkloadIdentity { account: true, ..WorkloadIdentity::default() };
    match fleet {
        Some(fleet) => WorkloadIdentity { fleet: Some(FleetIdentity::new(fleet, who)), ..account },
        None => WorkloadIdentity { annotation: Some(("iam.gke.io/gcp-service-account", who.into())), ..account },
    }
}

fn commands(subject: &Subject<'_>) -> String {
    let project = text(subject.section, "/gcp/secretmanager/project_id").unwrap_or_default();
    let who = subject.workload_identity.unwrap_or("SERVICE-ACCOUNT-EMAIL");
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
    if subject.has_account {
        let pool = subject.pool.map_or_else(|| format!("{project}.svc.id.goog"), str::to_owned);
        let member = format!("serviceAccount:{pool}[{}/{}]", subject.namespace, subject.account);
        lines.push(format!(
            "gcloud iam service-accounts add-iam-policy-binding {account} --role roles/iam.workloadIdentityUser \
             --member {}",
            shell_word(&member)
        ));
    }
    script(&lines)
}
