//! `export kubernetes`: plain manifests, without an Operator (docs/kubernetes.md §2.3).

use std::path::PathBuf;

use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::certificates::{self, Names};
use super::cluster::{Cluster, ordinals};
use super::document::{self, Document, rendered};
use super::monitoring::{self, Place};
use super::{Certificates, refused};
use crate::error::Error;
use crate::host::digest::sha256;
use crate::pki;
use crate::template::{self, MinioEnvContext, MinioPaths};

const SECRETS: &str = "export/kubernetes/secrets.yaml.tera";
const STACK: &str = "export/kubernetes/stack.yaml.tera";

/// The manifests: secrets, and the rest, which can be committed.
///
/// # Errors
/// [`Error::Usage`] if the cluster is to issue certificates: without the Operator nobody asks it.
pub fn kubernetes(cluster: &Cluster) -> Result<Vec<Document>, Error> {
    if cluster.options.certificates == Certificates::Cluster {
        return Err(refused(
            "only MinIO's Operator asks the cluster for certificates",
            "use --certificates own, or cert-manager with --issuer",
        ));
    }
    let values = values(cluster)?;
    let secrets = rendered(SECRETS, include_str!("../../../templates/export/kubernetes/secrets.yaml.tera"), &values)?;
    let stack = rendered(STACK, include_str!("../../../templates/export/kubernetes/stack.yaml.tera"), &values)?;
    let mut documents = vec![Document::secret("secrets.yaml", secrets), Document::public("stack.yaml", stack)];
    documents.extend(monitoring::documents(cluster, &place(cluster))?);
    Ok(documents)
}

fn place(cluster: &Cluster) -> Place {
    Place {
        pods: ("app.kubernetes.io/name", "kes".into()),
        server: format!("kes.{}.svc.{}", cluster.namespace, cluster.options.domain),
        ca: ("kes-tls".into(), "ca.crt"),
    }
}

/// What to do once the documents are written.
pub fn kubernetes_next(cluster: &Cluster, files: &[PathBuf]) -> Vec<String> {
    let namespace = &cluster.namespace;
    let mut next = document::apply_commands(files, namespace);
    next.push(format!("kubectl rollout status -n {namespace} statefulset/kes statefulset/minio --timeout=10m"));
    next.push(format!("kubectl port-forward -n {namespace} svc/minio 9000:443"));
    next.extend(cluster.client_commands());
    next
}

/// What the user must know of exported manifests.
pub fn kubernetes_notes(cluster: &Cluster) -> Vec<String> {
    let mut notes = vec![format!(
        "after a change of secrets.yaml restart their readers: `kubectl rollout restart -n {} statefulset/kes \
         statefulset/minio`",
        cluster.namespace
    )];
    notes.extend(cluster.notes());
    notes
}

fn values(cluster: &Cluster) -> Result<Value, Error> {
    let identity = pki::identity(&cluster.material.minio.cert_pem)?.to_string();
    let config = cluster.kes_config("`kestack export kubernetes`", vec![identity])?;
    let names = names(cluster);
    let drives: Vec<_> = (0..cluster.options.volumes).map(|index| format!("data{index}")).collect();
    let more = json!({
        "minio_env": minio_env(cluster)?.as_str(),
        "config_hash": sha256(config.as_bytes()),
        "kes_config": config.as_str(),
        "names": names.values(),
        "own": certificates::own(cluster, &names)?,
        "client": certificates::client(cluster),
        "drives": drives,
    });
    let mut values = cluster.values();
    if let (Value::Object(values), Value::Object(more)) = (&mut values, more) {
        values.extend(more);
    }
    Ok(values)
}

/// Service `kes`, its pods, and this machine through a port forward; the same for MinIO.
fn names(cluster: &Cluster) -> Names {
    let domain = format!("{}.svc.{}", cluster.namespace, cluster.options.domain);
    let short = format!("minio.{}.svc", cluster.namespace);
    let kes = vec![format!("*.kes.{domain}"), format!("kes.{domain}"), "localhost".into()];
    let minio =
        vec![format!("*.minio-hl.{domain}"), format!("minio.{domain}"), short, "minio".into(), "localhost".into()];
    Names::of(&cluster.manifest, kes, minio)
}

fn minio_env(cluster: &Cluster) -> Result<Zeroizing<String>, Error> {
    let options = &cluster.options;
    let domain = format!("{}.svc.{}", cluster.namespace, options.domain);
    let drive = if options.volumes > 1 { format!("/data{}", ordinals(options.volumes)) } else { "/data0".into() };
    let drive = match options.servers {
        1 => drive,
        servers => format!("https://minio-{}.minio-hl.{domain}:9000{drive}", ordinals(servers)),
    };
    let root = &cluster.material.credentials;
    Ok(template::render_minio_env(&MinioEnvContext {
        root_user: root.user.clone(),
        root_password: root.password.clone(),
        kes_endpoint: format!("https://kes-{}.kes.{domain}:7373", ordinals(options.replicas)),
        paths: MinioPaths {
            drive: Some(drive),
            cert: "/kes-client/tls.crt".into(),
            key: Some("/kes-client/tls.key".into()),
            ca: "/kes-client/ca.crt".into(),
        },
        default_key: cluster.manifest.default_key.to_string(),
        auto_encryption: cluster.material.auto_encryption,
        console_redirect: None,
        env: cluster.manifest.minio.env.clone(),
    })?)
}
