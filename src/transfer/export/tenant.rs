//! `export tenant`: a Tenant of MinIO's Operator, with KES next to it (docs/kubernetes.md §1, §2).

use std::path::PathBuf;

use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::certificates::{self, Names};
use super::cluster::{Cluster, ordinals};
use super::document::{self, Document, rendered};
use super::monitoring::{self, Place};
use super::{Certificates, refused};
use crate::error::Error;
use crate::manifest::AUTO_ENCRYPTION;
use crate::stack::certificates::GivenNames;

const SECRETS: &str = "export/tenant/secrets.yaml.tera";
const TENANT: &str = "export/tenant/tenant.yaml.tera";
const VALUES: &str = "export/tenant/values.yaml.tera";

/// The Tenant and all it names: secrets, and the rest, which can be committed.
///
/// # Errors
/// [`Error::Usage`] for values that the Operator's environment file cannot carry.
pub fn tenant(cluster: &Cluster) -> Result<Vec<Document>, Error> {
    let values = values(cluster)?;
    let secrets = rendered(SECRETS, include_str!("../../../templates/export/tenant/secrets.yaml.tera"), &values)?;
    let tenant = rendered(TENANT, include_str!("../../../templates/export/tenant/tenant.yaml.tera"), &values)?;
    let mut documents = vec![Document::secret("secrets.yaml", secrets), Document::public("tenant.yaml", tenant)];
    documents.extend(monitoring::documents(cluster, &place(cluster))?);
    Ok(documents)
}

/// Values of the Operator's tenant chart in place of the Tenant; everything else that they need is in `secrets.yaml`.
///
/// # Errors
/// [`Error::Usage`] for what the chart cannot express.
pub fn helm_values(cluster: &Cluster) -> Result<Vec<Document>, Error> {
    if cluster.identity.fleet.is_some() {
        return Err(refused(
            "the Operator's tenant chart cannot express gcpCredentialSecretName and gcpWorkloadIdentityPool",
            "use `kestack export tenant` without --helm-values, or an identity of GKE without --fleet",
        ));
    }
    if cluster.options.certificates != Certificates::Cluster {
        return Err(refused(
            "the Operator's tenant chart cannot express externalClientCertSecret, MinIO's certificate towards KES",
            "use --certificates cluster, or `kestack export tenant` without --helm-values",
        ));
    }
    let mut values = values(cluster)?;
    let (kes, minio) = (image_parts(&cluster.kes_image), image_parts(&cluster.minio_image));
    if let Some(values) = values.as_object_mut() {
        values.insert("helm".into(), json!({ "kes": kes, "minio": minio }));
    }
    let secrets = rendered(SECRETS, include_str!("../../../templates/export/tenant/secrets.yaml.tera"), &values)?;
    let chart = rendered(VALUES, include_str!("../../../templates/export/tenant/values.yaml.tera"), &values)?;
    let mut documents = vec![Document::secret("secrets.yaml", secrets), Document::public("values.yaml", chart)];
    documents.extend(monitoring::documents(cluster, &place(cluster))?);
    Ok(documents)
}

/// The Operator's label of KES's pods, and the name that its certificates have.
fn place(cluster: &Cluster) -> Place {
    let name = cluster.name();
    Place {
        pods: ("v1.min.io/kes", format!("{name}-kes")),
        server: format!("{name}-kes-hl-svc.{}.svc.{}", cluster.namespace, cluster.options.domain),
        ca: match cluster.options.certificates {
            Certificates::CertManager { .. } => (format!("{name}-kes-server-tls"), "ca.crt"),
            _ => (format!("{name}-ca"), "public.crt"),
        },
    }
}

/// What to do once the documents are written; `files` are their names, none if they were printed.
pub fn tenant_next(cluster: &Cluster, files: &[PathBuf]) -> Vec<String> {
    let (name, namespace) = (cluster.name(), &cluster.namespace);
    let mut next: Vec<_> = document::apply_commands(files, namespace);
    if cluster.options.certificates == Certificates::Own {
        next.push(format!(
            "kubectl get secret {name}-ca -n {namespace} -o jsonpath='{{.data.public\\.crt}}' | base64 -d > ca.crt; \
             kubectl create secret generic operator-ca-tls-{name} -n minio-operator --from-file=ca.crt"
        ));
    }
    next.push(format!(
        "kubectl wait -n {namespace} tenant/{name} --for=jsonpath='{{.status.healthStatus}}'=green --timeout=10m"
    ));
    next.push(format!("kubectl port-forward -n {namespace} svc/minio 9000:443"));
    next.extend(cluster.client_commands());
    next
}

/// What the user must know of an exported Tenant.
pub fn tenant_notes(cluster: &Cluster) -> Vec<String> {
    let mut notes = vec![
        format!(
            "the Operator does not restart KES when Secrets change: `kubectl rollout restart -n {} statefulset/{}-kes`",
            cluster.namespace,
            cluster.name()
        ),
        "the Operator gives KES no probes; `kes` ends itself when it stalls, and is started again".into(),
    ];
    if cluster.options.certificates == Certificates::Cluster {
        notes.push(format!(
            "the Operator never renews the certificates of KES: within a year delete the Secrets {0}-kes-tls and \
             {0}-client-tls and restart KES and MinIO, or use --certificates cert-manager",
            cluster.name()
        ));
        let given = [GivenNames::of_kes(&cluster.manifest), GivenNames::of_minio(&cluster.manifest)];
        let given = given
            .into_iter()
            .flat_map(|names| names.dns.into_iter().chain(names.ip.into_iter().map(|address| address.to_string())));
        let given: Vec<_> = given.collect();
        if !given.is_empty() {
            notes.push(format!(
                "certificates of the cluster hold its own names only, not {}: for these use --certificates own or cert-manager",
                given.join(", ")
            ));
        }
    }
    notes.extend(cluster.notes());
    notes
}

fn values(cluster: &Cluster) -> Result<Value, Error> {
    let (name, namespace, domain) = (cluster.name(), &cluster.namespace, &cluster.options.domain);
    let service = format!("{name}-kes-hl-svc.{namespace}.svc.{domain}");
    let mut values = cluster.values();
    let names = Names::of(&cluster.manifest, kes_names(cluster), minio_names(cluster));
    let more = json!({
        "config_env": config_env(cluster)?.as_str(),
        // the Operator puts the hash of MinIO's certificate there
        "kes_config": cluster.kes_config("`kestack export tenant`", vec!["${MINIO_KES_IDENTITY}".into()])?.as_str(),
        "endpoint": format!("https://{name}-kes-{}.{service}:7373", ordinals(cluster.options.replicas)),
        "names": names.values(),
        "own": certificates::own(cluster, &names)?,
    });
    if let (Value::Object(values), Value::Object(more)) = (&mut values, more) {
        values.extend(more);
    }
    Ok(values)
}

/// The headless Service, which the Operator tells MinIO, and each pod, which the list of endpoints names.
fn kes_names(cluster: &Cluster) -> Vec<String> {
    let service = format!("{}-kes-hl-svc.{}.svc.{}", cluster.name(), cluster.namespace, cluster.options.domain);
    vec![format!("*.{service}"), service, "localhost".into()]
}

fn minio_names(cluster: &Cluster) -> Vec<String> {
    let (name, namespace, domain) = (cluster.name(), &cluster.namespace, &cluster.options.domain);
    let mut names: Vec<_> = ["minio".to_owned(), format!("minio.{namespace}"), format!("minio.{namespace}.svc")].into();
    names.push(format!("minio.{namespace}.svc.{domain}"));
    names.push(format!("*.{name}-hl.{namespace}.svc.{domain}"));
    names.push(format!("{name}-hl.{namespace}.svc.{domain}"));
    names.push("localhost".into());
    names
}

/// `config.env`, which two parsers read: only `export NAME="value"`, and nothing is unescaped (docs/kubernetes.md
/// §1.2).
fn config_env(cluster: &Cluster) -> Result<Zeroizing<String>, Error> {
    let root = &cluster.material.credentials;
    let own =
        [("MINIO_ROOT_USER", root.user.as_str()), ("MINIO_ROOT_PASSWORD", &root.password), ("MINIO_UPDATE", "off")];
    let all = cluster.material.auto_encryption.then_some((AUTO_ENCRYPTION, "on"));
    let theirs = cluster.manifest.minio.env.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let mut lines = Zeroizing::new(Vec::new());
    for (name, value) in own.into_iter().chain(all).chain(theirs) {
        if value.contains(['\n', '\r', '\0']) || value.starts_with('"') || value.ends_with('"') {
            return Err(refused(
                format!(
                    "config.env of the Operator cannot carry the value of {name}: a line break, or a quote at an end"
                ),
                "choose another value in kestack.yaml",
            ));
        }
        lines.push(format!("export {name}=\"{value}\"\n"));
    }
    Ok(Zeroizing::new(lines.concat()))
}

/// Repository and tag, or the digest as the chart wants it.
fn image_parts(image: &str) -> Value {
    if let Some((repository, digest)) = image.split_once("@sha256:") {
        return json!({ "repository": format!("{repository}@sha256"), "tag": null, "digest": digest });
    }
    let after_slash = image.rfind('/').map_or(0, |slash| slash + 1);
    match image.rfind(':').filter(|colon| *colon > after_slash) {
        Some(colon) => json!({ "repository": image.get(..colon), "tag": image.get(colon + 1..) }),
        None => json!({ "repository": image, "tag": "latest" }),
    }
}
