//! The stack in a Kubernetes cluster, as templates need it: names, credentials apart from configuration, certificates
//! for the names that pods have there. Stacks that cannot work in a cluster are refused here.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::identity;
use super::monitoring::{self, Monitoring};
use super::{PUBLIC, SECRET, file, refused};
use crate::error::Error;
use crate::keystore::{self, Credential, Fleet, KeystoreKind, WorkloadIdentity};
use crate::manifest::{AUTO_ENCRYPTION, BucketEncryption, CacheTimes, Manifest};
use crate::pki::{self, Leaf};
use crate::resource::{DirectoryResource, FileResource, Owner};
use crate::stack::{Layout, Material};
use crate::supply;
use crate::template::{self, KesConfigContext, KesPlace};

/// Folder in which KES finds its files in a pod, as MinIO's Operator mounts it (docs/kubernetes.md §1.5).
pub(super) const KES_FOLDER: &str = "/tmp/kes";

/// What the user wants of an export for a cluster.
#[derive(Debug, Clone)]
pub struct ClusterOptions {
    /// Namespace; the stack's name if not given.
    pub namespace: Option<String>,
    /// Domain of the cluster, normally `cluster.local`.
    pub domain: String,
    /// Image of KES that the cluster can pull.
    pub kes_image: Option<String>,
    /// Image of MinIO that the cluster can pull.
    pub minio_image: Option<String>,
    /// Secret with which images are pulled.
    pub pull_secret: Option<String>,
    /// Pods of KES.
    pub replicas: u16,
    /// Pods of MinIO.
    pub servers: u16,
    /// Volumes of each of them.
    pub volumes: u16,
    /// Size of a volume, as Kubernetes writes it.
    pub storage: String,
    /// Storage class; the cluster's default if not given.
    pub storage_class: Option<String>,
    /// Who issues certificates.
    pub certificates: Certificates,
    /// Who the pods of KES are to the keystore, where the manifest has no credentials.
    pub workload_identity: Option<String>,
    /// Workload identity pool and provider of a fleet of Google's.
    pub fleet: Option<Fleet>,
    /// Whether Prometheus watches KES.
    pub monitoring: Option<Monitoring>,
}

/// Who issues certificates in a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Certificates {
    /// The stack's own authority.
    Own,
    /// The cluster, asked by the Operator.
    Cluster,
    /// cert-manager: kind and name of the issuer.
    CertManager {
        /// `Issuer` or `ClusterIssuer`.
        kind: String,
        /// Its name.
        name: String,
    },
}

/// A stack in a cluster.
#[derive(Debug)]
pub struct Cluster {
    pub(super) manifest: Manifest,
    pub(super) material: Material,
    pub(super) options: ClusterOptions,
    pub(super) namespace: String,
    pub(super) kes_image: String,
    pub(super) minio_image: String,
    /// The section as KES reads it in a pod.
    pub(super) section: Value,
    pub(super) credentials: Vec<Credential>,
    /// Files of the keystore by name.
    pub(super) files: BTreeMap<&'static str, Zeroizing<String>>,
    pub(super) identity: WorkloadIdentity,
    /// Certificate of Prometheus, if it watches KES.
    pub(super) monitor: Option<Leaf>,
}

impl Cluster {
    /// Resolves a manifest for a cluster.
    ///
    /// # Errors
    /// [`Error::Usage`] with what cannot work there, why, and what to do.
    pub fn resolve(manifest: Manifest, material: Material, options: ClusterOptions) -> Result<Self, Error> {
        let namespace = options.namespace.clone().unwrap_or_else(|| manifest.name.to_string());
        check_label("the stack's name", manifest.name.as_str())?;
        check_label("--namespace", &namespace)?;
        if let Some(monitoring) = &options.monitoring {
            check_label("--monitoring", &monitoring.namespace)?;
        }
        check_keystore(&manifest.keystore)?;
        check_drives(&options)?;
        let kes_image = kes_image(&manifest, &options)?;
        let named = options.minio_image.as_deref().or(manifest.minio.image.as_deref());
        let minio_image = supply::minio_image(named).reference().to_owned();
        let identity = identity::resolve(&manifest.keystore, &options)?;
        let section = keystore::with_files(&manifest.keystore, |name| format!("{KES_FOLDER}/{name}"));
        let (section, credentials) = keystore::without_credentials(&section);
        let files = files(&manifest.keystore)?;
        let monitor = options.monitoring.as_ref().map(|wanted| wanted.leaf(&material.authority)).transpose()?;
        Ok(Self {
            manifest,
            material,
            options,
            namespace,
            kes_image,
            minio_image,
            section,
            credentials,
            files,
            identity,
            monitor,
        })
    }

    /// The name of the stack.
    pub fn name(&self) -> &str {
        self.manifest.name.as_str()
    }

    /// The service account of KES.
    pub(super) fn account(&self) -> String {
        format!("{}-kes", self.name())
    }

    /// `server-config.yaml`, parsed by KES's own parser. `identities` have MinIO's policy.
    pub(super) fn kes_config(&self, origin: &str, identities: Vec<String>) -> Result<Zeroizing<String>, Error> {
        let values = KesConfigContext {
            address: "0.0.0.0:7373".into(),
            // keys are made by MinIO, and by the list of the configuration: nobody needs to do everything
            admin: "disabled".into(),
            identities,
            monitors: match &self.monitor {
                Some(monitor) => vec![pki::identity(&monitor.cert_pem)?.to_string()],
                None => vec![],
            },
            keys: self.manifest.keys.iter().map(ToString::to_string).collect(),
            read_only: false,
            keystore: self.section.clone(),
        };
        let (key, cert) = (format!("{KES_FOLDER}/server.key"), format!("{KES_FOLDER}/server.crt"));
        let place = KesPlace { origin, tls_key: &key, tls_cert: &cert, cache: Some(CacheTimes::DOCUMENTED) };
        Ok(template::render_kes_config(&values, &place)?)
    }

    /// What the next export to the same folder takes up again: authority, MinIO's identity, the root user, and whether all
    /// is encrypted.
    pub fn keepsakes(&self, folder: &Path) -> (Vec<DirectoryResource>, Vec<FileResource>) {
        let (layout, material) = (Layout::new(folder, self.name()), &self.material);
        let root = &material.credentials;
        let all = if material.auto_encryption { format!("{AUTO_ENCRYPTION}=on\n") } else { String::new() };
        let env = format!("MINIO_ROOT_USER={}\nMINIO_ROOT_PASSWORD={}\n{all}", root.user, *root.password);
        let env = Zeroizing::new(env);
        let mut files = vec![
            file(layout.ca_cert(), &material.authority.cert_pem, PUBLIC),
            file(layout.ca_key(), &material.authority.key_pem, SECRET),
            file(layout.minio_cert(), &material.minio.cert_pem, PUBLIC),
            file(layout.minio_key(), &material.minio.key_pem, SECRET),
            file(layout.minio_env(), &env, SECRET),
        ];
        files.extend(self.monitor.iter().flat_map(|monitor| monitoring::keepsakes(monitor, &layout)));
        let folders = [layout.certs(), layout.config()].map(|path| DirectoryResource::new(path, Owner::Caller));
        (folders.into(), files)
    }

    /// What templates of all targets use.
    pub(super) fn values(&self) -> Value {
        let options = &self.options;
        json!({
            "name": self.name(),
            "namespace": self.namespace,
            // one that was named may be others', too: it is neither labelled nor, with the export, deleted
            "makes_namespace": options.namespace.is_none(),
            "domain": options.domain,
            "kes_image": self.kes_image,
            "minio_image": self.minio_image,
            "pull_secret": options.pull_secret,
            "replicas": options.replicas,
            "servers": options.servers,
            "volumes": options.volumes,
            "storage": options.storage,
            "storage_class": options.storage_class,
            "default_key": self.manifest.default_key.as_str(),
            "certificates": options.certificates.word(),
            "issuer": options.certificates.issuer(),
            "credentials": self.credentials.iter().map(|(name, value)| json!([name, value.as_str()])).collect::<Vec<_>>(),
            "files": self.files.iter().map(|(name, content)| json!([name, content.as_str()])).collect::<Vec<_>>(),
            "identity": self.identity,
            "kes_env": self.manifest.kes.env,
            "monitoring": options.monitoring.as_ref().map(|monitoring| &monitoring.namespace),
        })
    }

    /// Commands that make the manifest's buckets through a port forward.
    pub(super) fn client_commands(&self) -> Vec<String> {
        let mut commands = vec![
            "mc alias set --insecure k8s https://localhost:9000   # asks for the root user, which is in secrets.yaml"
                .into(),
            format!("mc admin kms key status --insecure k8s {}", self.manifest.default_key),
        ];
        for bucket in &self.manifest.buckets {
            let name = &bucket.name;
            let key = bucket.key.as_ref().unwrap_or(&self.manifest.default_key);
            commands.push(format!("mc mb --insecure --ignore-existing k8s/{name}"));
            match bucket.encryption {
                BucketEncryption::SseKms => {
                    commands.push(format!("mc encrypt set --insecure sse-kms {key} k8s/{name}"));
                }
                BucketEncryption::SseS3 => commands.push(format!("mc encrypt set --insecure sse-s3 k8s/{name}")),
                BucketEncryption::None => {}
            }
            if bucket.versioning {
                commands.push(format!("mc version enable --insecure k8s/{name}"));
            }
        }
        commands
    }

    /// The image of MinIO that the pods run.
    pub fn minio_image(&self) -> &str {
        &self.minio_image
    }

    /// What holds for every cluster.
    pub(super) fn notes(&self) -> Vec<String> {
        let mut notes = monitoring::notes(self);
        if self.options.namespace.is_some() {
            notes.push(format!(
                "namespace '{}' must be there: an export makes only a namespace of the stack's own name; one stack to a \
                 namespace, for names such as Service minio are the same in each",
                self.namespace
            ));
        }
        if self.manifest.minio.root_user.is_none() || self.manifest.minio.root_password.is_none() {
            notes.push(
                "each export makes a new root user and a new certificate of MinIO, unless --output-dir keeps them or \
                 `kestack up` has made them here"
                    .into(),
            );
        }
        if self.options.certificates == Certificates::Own {
            notes.push(
                "the servers' certificates are valid for a year: export to the same folder again before they expire"
                    .into(),
            );
        }
        notes
    }
}

impl Certificates {
    pub(super) fn word(&self) -> &'static str {
        match self {
            Self::Own => "own",
            Self::Cluster => "cluster",
            Self::CertManager { .. } => "cert-manager",
        }
    }

    fn issuer(&self) -> Value {
        match self {
            Self::CertManager { kind, name } => json!({ "kind": kind, "name": name }),
            _ => Value::Null,
        }
    }
}

/// `{0...2}` for three, as MinIO counts; `0` for one.
pub(super) fn ordinals(count: u16) -> String {
    if count > 1 { format!("{{0...{}}}", count - 1) } else { "0".into() }
}

fn files(section: &Value) -> Result<BTreeMap<&'static str, Zeroizing<String>>, Error> {
    let read = |file: keystore::KeystoreFile| {
        let text = std::fs::read_to_string(&file.source).map_err(Error::file("read", &file.source))?;
        Ok((file.name, Zeroizing::new(text)))
    };
    keystore::files(section).into_iter().map(read).collect()
}

/// A DNS label: it becomes the name of Services and a part of certificates.
fn check_label(what: &str, name: &str) -> Result<(), Error> {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let starts = name.starts_with(|letter: char| letter.is_ascii_lowercase());
    if starts && name.len() <= 40 && name.bytes().all(plain) && !name.ends_with('-') {
        return Ok(());
    }
    Err(refused(
        format!("{what} '{name}' cannot name things in a cluster"),
        "use 1 to 40 lower-case letters, digits and `-`, a letter first",
    ))
}

fn check_keystore(section: &Value) -> Result<(), Error> {
    if section.get("fs").is_some() {
        let others: Vec<_> = KeystoreKind::ALL.iter().map(|kind| kind.word()).filter(|word| *word != "fs").collect();
        return Err(refused(
            "the fs keystore cannot serve a cluster: its pods share no folder, and the Operator gives KES no volume, so \
             keys, and with them all data, would be lost with a pod",
            format!(
                "name another keystore in kestack.yaml ({}); `kes migrate` brings the keys over",
                others.join(", ")
            ),
        ));
    }
    let endpoint = section.as_object().into_iter().flatten().find_map(|(_, kind)| {
        let direct = kind.get("endpoint");
        let nested = || kind.as_object()?.values().find_map(|inner| inner.get("endpoint"));
        direct.or_else(nested)?.as_str()
    });
    match endpoint.filter(|endpoint| endpoint.starts_with("http://")) {
        Some(endpoint) => Err(refused(
            format!("the keystore's endpoint '{endpoint}' has no TLS: keys would cross the network unencrypted"),
            "give the keystore a certificate and write https://; a CA of its own goes to tls.ca of the keystore section",
        )),
        None => Ok(()),
    }
}

/// MinIO's documentation asks for at least four drives wherever there are several; its Operator refuses three servers with
/// fewer than six.
fn check_drives(options: &ClusterOptions) -> Result<(), Error> {
    let why = match (options.servers, options.volumes) {
        _ if options.replicas == 0 => "KES needs at least one pod: give --kes-replicas 1 or more",
        (0, _) | (_, 0) => "a cluster without servers or volumes stores nothing",
        (1, 2 | 3) => "MinIO needs at least 4 drives, or a single one: give --volumes 1, or 4 and more",
        (2, 1) => "MinIO needs at least 4 drives, and these are 2: give --volumes 2 or more",
        (3, 1) => {
            "MinIO needs at least 4 drives, and these are 3; its Operator needs at least 6 for 3 servers: give --volumes 2 or \
             more, or --servers 4"
        }
        _ => return Ok(()),
    };
    Err(refused(
        format!(
            "{} servers of {} volumes and {} of KES cannot work",
            options.servers, options.volumes, options.replicas
        ),
        why,
    ))
}

/// Images that only this machine has are of no use there.
fn kes_image(manifest: &Manifest, options: &ClusterOptions) -> Result<String, Error> {
    let image = options.kes_image.clone().or_else(|| manifest.kes.image.clone());
    match image.filter(|image| !image.starts_with("localhost/")) {
        Some(image) => Ok(image),
        None => Err(refused(
            "the cluster needs an image of KES that it can pull, and this version has none",
            "push the one that `kestack up` composed to a registry of yours (`podman image ls localhost/kestack/kes`, \
             `podman push localhost/kestack/kes:… registry/kes:v1.0.0`) and name it with --kes-image",
        )),
    }
}
