//! Certificates of the stack's own authority for the names that pods have in a cluster.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::Certificates;
use super::cluster::Cluster;
use crate::error::Error;
use crate::manifest::Manifest;
use crate::pki::{Leaf, LeafSpec};
use crate::stack::certificates::GivenNames;

/// Names under which servers are dialled: in a cluster, and those that the manifest gives them.
pub(super) struct Names {
    kes: GivenNames,
    minio: GivenNames,
}

impl Names {
    /// With the names that they have in a cluster.
    pub(super) fn of(manifest: &Manifest, kes: Vec<String>, minio: Vec<String>) -> Self {
        let both = |mut dns: Vec<String>, given: GivenNames| {
            dns.extend(given.dns);
            // in their order, which says what they are for
            let mut seen = BTreeSet::new();
            dns.retain(|name| seen.insert(name.clone()));
            GivenNames { dns, ip: given.ip }
        };
        Self { kes: both(kes, GivenNames::of_kes(manifest)), minio: both(minio, GivenNames::of_minio(manifest)) }
    }

    /// As templates need them.
    pub(super) fn values(&self) -> Value {
        let values = |names: &GivenNames| json!({ "dns": names.dns, "ip": names.ip });
        json!({ "kes": values(&self.kes), "minio": values(&self.minio) })
    }
}

/// Authority, servers and client as PEM; `null` where others issue them.
pub(super) fn own(cluster: &Cluster, names: &Names) -> Result<Value, Error> {
    if cluster.options.certificates != Certificates::Own {
        return Ok(Value::Null);
    }
    let (kes, minio) = (issue(cluster, "kes", &names.kes)?, issue(cluster, "minio", &names.minio)?);
    Ok(json!({
        "ca": cluster.material.authority.cert_pem,
        "kes": pair(&kes),
        "minio": pair(&minio),
        "client": client(cluster),
    }))
}

/// MinIO's certificate towards KES, whose hash is its identity there.
pub(super) fn client(cluster: &Cluster) -> Value {
    pair(&cluster.material.minio)
}

fn issue(cluster: &Cluster, common_name: &str, names: &GivenNames) -> Result<Leaf, Error> {
    let GivenNames { dns, ip } = names;
    let (dns, ip) = (dns.clone(), ip.clone());
    let spec = LeafSpec { common_name: common_name.into(), dns, ip, server: true, client: false };
    Ok(cluster.material.authority.issue(&spec, Timestamp::now())?)
}

fn pair(leaf: &Leaf) -> Value {
    json!({ "cert": leaf.cert_pem, "key": leaf.key_pem.as_str() })
}
