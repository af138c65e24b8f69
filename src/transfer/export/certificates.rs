//! Certificates of the stack's own authority for the names that pods have in a cluster.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::Certificates;
use super::cluster::Cluster;
use crate::error::Error;
use crate::pki::{Leaf, LeafSpec};

/// Names under which servers are dialled in a cluster.
pub(super) struct Names {
    pub(super) kes: Vec<String>,
    pub(super) minio: Vec<String>,
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

fn issue(cluster: &Cluster, common_name: &str, dns: &[String]) -> Result<Leaf, Error> {
    let spec = LeafSpec { common_name: common_name.into(), dns: dns.to_vec(), ip: vec![], server: true, client: false };
    Ok(cluster.material.authority.issue(&spec, Timestamp::now())?)
}

fn pair(leaf: &Leaf) -> Value {
    json!({ "cert": leaf.cert_pem, "key": leaf.key_pem.as_str() })
}
