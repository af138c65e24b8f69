//! The smallest set of permissions that KES needs in its keystore: policies, and the commands that put them in force.

use kes_server::auth::KeyName;
use zeroize::Zeroizing;

use super::cluster::Cluster;
use super::document::Document;
use super::refused;
use crate::error::Error;
use crate::keystore::{self, Subject};

/// The documents for the cluster's keystore. Nothing in them is secret.
///
/// # Errors
/// [`Error::Usage`] for a keystore without accounts.
pub fn iam(cluster: &Cluster) -> Result<Vec<Document>, Error> {
    let account = cluster.account();
    let policies = keystore::policies(&Subject {
        section: &cluster.section,
        keys: cluster.manifest.keys.iter().map(KeyName::as_str).collect(),
        name: cluster.name(),
        namespace: &cluster.namespace,
        account: &account,
        has_account: cluster.identity.account,
        pool: cluster.identity.fleet.as_ref().map(|fleet| fleet.pool.as_str()),
        workload_identity: cluster.options.workload_identity.as_deref(),
    });
    let policies = policies.ok_or_else(|| refused("the fs keystore has no accounts", "leave out --with-iam"))?;
    Ok(policies.into_iter().map(|policy| Document::public(policy.name, Zeroizing::new(policy.text))).collect())
}
