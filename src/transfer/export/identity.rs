//! The identity of KES's pods at their keystore.

use serde_json::Value;

use super::cluster::ClusterOptions;
use super::refused;
use crate::error::Error;
use crate::keystore::{self, Login, WorkloadIdentity};

/// Where Kubernetes writes the token of a pod's service account.
const TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";

/// Decides how KES shows itself.
///
/// # Errors
/// [`Error::Usage`] if the manifest has credentials and an identity is given, or neither.
pub(super) fn resolve(section: &Value, options: &ClusterOptions) -> Result<WorkloadIdentity, Error> {
    match (keystore::login(section), &options.workload_identity) {
        (Login::Credentials, Some(_)) => Err(refused(
            "the keystore section carries credentials, and --workload-identity is given: one of them would not be used",
            "remove the credentials from kestack.yaml, or the option",
        )),
        (Login::Credentials | Login::Node, None) => Ok(WorkloadIdentity::default()),
        (Login::Node, Some(_)) => Err(refused(
            "the keystore section names a managed identity of the nodes: pods do not need another one",
            "remove managed_identity from kestack.yaml, or the option --workload-identity",
        )),
        (Login::TokenFile(path), _) if path != TOKEN => Err(refused(
            format!("keystore.vault.kubernetes.jwt names '{path}', which pods of KES do not have"),
            format!("write {TOKEN}, where Kubernetes keeps the token of a pod"),
        )),
        (Login::TokenFile(_), _) => Ok(keystore::identity(section, "", None)),
        (Login::Identity(what), None) => Err(refused(
            format!("the keystore section has no credentials, and pods have none by themselves ({what} is missing)"),
            format!("give --workload-identity {what}, or write credentials to the keystore section of kestack.yaml"),
        )),
        (Login::Identity(_), Some(who)) => Ok(keystore::identity(section, who, options.fleet.as_ref())),
    }
}
