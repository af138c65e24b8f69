//! `--monitoring` of exports for a cluster: Prometheus may ask KES, and finds it, its alerts and its dashboard there.
//!
//! The alerts and the dashboard are the files of `deploy/monitoring/`, which tests fire and read.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde_json::json;
use zeroize::Zeroizing;

use super::cluster::Cluster;
use super::document::{Document, rendered};
use super::{Certificates, PUBLIC, SECRET, file};
use crate::error::Error;
use crate::pki::{Authority, Leaf, LeafSpec};
use crate::resource::FileResource;
use crate::stack::Layout;

const SECRET_OF_PROMETHEUS: &str = "export/monitoring/secret.yaml.tera";
const MONITORING: &str = "export/monitoring/monitoring.yaml.tera";
const ALERTS: &str = include_str!("../../../deploy/monitoring/kes-alerts.yaml");
const DASHBOARD: &str = include_str!("../../../deploy/monitoring/kes-dashboard.json");

/// What the user wants of monitoring.
#[derive(Debug, Clone)]
pub struct Monitoring {
    /// Namespace of Prometheus, from which KES can be reached.
    pub namespace: String,
    /// The certificate of Prometheus of an earlier export.
    former: Option<Leaf>,
}

/// Where KES is, which each target says.
pub(super) struct Place {
    /// Label of its pods.
    pub(super) pods: (&'static str, String),
    /// A name in its certificate.
    pub(super) server: String,
    /// The Secret with its certificate authority, and the key in it, if the stack or cert-manager issues its certificate.
    pub(super) ca: (String, &'static str),
}

impl Monitoring {
    /// Reads what an earlier export left.
    ///
    /// # Errors
    /// If a file is there and cannot be read.
    pub fn new(namespace: String, layout: &Layout) -> Result<Self, Error> {
        let [cert, key] = paths(layout).map(|path| read(&path));
        let former = cert?.zip(key?).map(|(cert, key_pem)| Leaf { cert_pem: cert.to_string(), key_pem });
        Ok(Self { namespace, former })
    }

    /// The certificate of Prometheus, for the key that it has: its hash is its identity at KES.
    pub(super) fn leaf(&self, authority: &Authority) -> Result<Leaf, Error> {
        let spec = LeafSpec { common_name: "prometheus".into(), dns: vec![], ip: vec![], server: false, client: true };
        Ok(match &self.former {
            Some(former) => authority.reissue(former, &spec, Timestamp::now())?,
            None => authority.issue(&spec, Timestamp::now())?,
        })
    }
}

/// The documents; none if nobody wants them.
pub(super) fn documents(cluster: &Cluster, place: &Place) -> Result<Vec<Document>, Error> {
    let Some(monitor) = &cluster.monitor else { return Ok(Vec::new()) };
    let ca = match cluster.options.certificates {
        Certificates::Cluster => json!({ "kind": "configMap", "name": "kube-root-ca.crt", "key": "ca.crt" }),
        _ => json!({ "kind": "secret", "name": place.ca.0, "key": place.ca.1 }),
    };
    let values = json!({
        "name": cluster.name(),
        "namespace": cluster.namespace,
        "monitor": { "cert": monitor.cert_pem, "key": monitor.key_pem.as_str() },
        "pods": [place.pods.0, place.pods.1],
        "server": place.server,
        "ca": ca,
        "rules": indented(ALERTS),
        "dashboard": DASHBOARD,
    });
    let secret = include_str!("../../../templates/export/monitoring/secret.yaml.tera");
    let monitoring = include_str!("../../../templates/export/monitoring/monitoring.yaml.tera");
    Ok(vec![
        Document::secret("monitoring-secret.yaml", rendered(SECRET_OF_PROMETHEUS, secret, &values)?),
        Document::public("monitoring.yaml", rendered(MONITORING, monitoring, &values)?),
    ])
}

/// What the next export to the same folder takes up again.
pub(super) fn keepsakes(monitor: &Leaf, layout: &Layout) -> [FileResource; 2] {
    let [cert, key] = paths(layout);
    [file(cert, &monitor.cert_pem, PUBLIC), file(key, &monitor.key_pem, SECRET)]
}

/// What the user must know.
pub(super) fn notes(cluster: &Cluster) -> Vec<String> {
    let Some(monitoring) = &cluster.options.monitoring else { return Vec::new() };
    let (name, namespace) = (cluster.name(), &cluster.namespace);
    let mut notes = vec![format!(
        "Prometheus must be in namespace '{}' and select {name}-kes in '{namespace}': the chart kube-prometheus-stack selects \
         objects with its own label, `kubectl label -n {namespace} servicemonitor/{name}-kes prometheusrule/{name}-kes \
         release=NAME`",
        monitoring.namespace
    )];
    if cluster.options.certificates == Certificates::Cluster {
        notes.push(
            "Prometheus checks KES's certificate by the ConfigMap kube-root-ca.crt; if the cluster signs with another CA, \
             name that in the ServiceMonitor"
                .into(),
        );
    }
    notes
}

fn paths(layout: &Layout) -> [PathBuf; 2] {
    ["monitor.cert", "monitor.key"].map(|name| layout.certs().join(name))
}

fn read(path: &Path) -> Result<Option<Zeroizing<String>>, Error> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(Zeroizing::new(text))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::file("read", path)(error)),
    }
}

/// The text two columns further to the right, as the value of a field.
fn indented(text: &str) -> String {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| if line.is_empty() { String::new() } else { format!("  {line}") }).collect::<Vec<_>>().join("\n")
}
