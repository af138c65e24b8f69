//! The pod and the two containers of a stack, with their digests.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::view::{View, shown};
use super::{Images, Stack, keystore};
use crate::digest;
use crate::engine::{ContainerSpec, LABEL_DIGEST, LABEL_ROLE, LABEL_STACK, LABEL_VERSION, Mount, PodSpec, PodState};
use crate::error::Error;
use crate::resource::{ContainerResource, FileResource, PodResource, Probe, Resource, ServiceResource};

impl Stack {
    pub(super) fn pod(&self) -> PodResource {
        let ports = self.ports.mappings();
        let mut labels = self.labels();
        labels.insert(LABEL_DIGEST.into(), digest::of(&(self.manifest.name.as_str(), &ports)));
        PodResource { spec: PodSpec { name: self.manifest.name.to_string(), labels, ports } }
    }

    pub(super) fn containers(
        &self,
        pod: &PodResource,
        files: &[FileResource],
        images: &Images,
        view: &View,
    ) -> Vec<Box<dyn Resource>> {
        let specs = [self.kes_spec(images.kes.reference(), view), self.minio_spec(images.minio.reference(), view)];
        specs
            .into_iter()
            .map(|spec| Box::new(ContainerResource { spec: self.sealed(spec, pod, files) }) as Box<dyn Resource>)
            .collect()
    }

    /// True if KES's container runs.
    pub(crate) fn kes_runs(&self, pod: Option<&PodState>) -> bool {
        let name = self.kes_container();
        pod.iter().flat_map(|pod| &pod.containers).any(|container| container.name == name && container.running)
    }

    pub(super) fn kes_service(&self) -> Result<Box<dyn Resource>, Error> {
        Ok(self.service(self.kes_container(), Probe::Kes(self.material.minio_identity()?)))
    }

    pub(super) fn minio_service(&self) -> Box<dyn Resource> {
        self.service(self.minio_container(), Probe::Minio)
    }

    pub(super) fn minio_started(&self) -> Box<dyn Resource> {
        self.service(self.minio_container(), Probe::Started)
    }

    fn service(&self, container: String, probe: Probe) -> Box<dyn Resource> {
        Box::new(ServiceResource { container, pod: self.manifest.name.to_string(), probe })
    }

    /// The container of KES.
    pub(crate) fn kes_spec(&self, image: &str, view: &View) -> ContainerSpec {
        let mut mounts = vec![
            read_only(self.layout.kes_key(), view.certs.join("kes-server.key")),
            read_only(self.layout.kes_cert(), view.certs.join("kes-server.cert")),
            read_only(self.layout.kes_config(), view.kes_config.clone()),
            Mount { source: self.keys_folder(), target: view.keys.clone(), read_only: false },
        ];
        mounts.extend(
            keystore::files(&self.manifest.keystore).into_iter().map(|file| {
                read_only(self.layout.keystore_files().join(file.name), view.keystore_files.join(file.name))
            }),
        );
        ContainerSpec {
            name: self.kes_container(),
            pod: self.manifest.name.to_string(),
            image: image.to_owned(),
            command: vec!["server".into(), "--config".into(), shown(&view.kes_config)],
            env: self.manifest.kes.env.clone(),
            labels: self.role("kes"),
            mounts,
            capabilities: vec!["IPC_LOCK".into()],
            stop_timeout: 5,
        }
    }

    /// The container of MinIO. No terminal: with one, MinIO waits five seconds for it to answer.
    pub(crate) fn minio_spec(&self, image: &str, view: &View) -> ContainerSpec {
        ContainerSpec {
            name: self.minio_container(),
            pod: self.manifest.name.to_string(),
            image: image.to_owned(),
            command: [&["server".to_owned()], view.minio_arguments.as_slice()].concat(),
            env: BTreeMap::from([("MINIO_CONFIG_ENV_FILE".into(), shown(&view.minio_env))]),
            labels: self.role("minio"),
            mounts: vec![
                read_only(self.layout.minio_key(), view.certs.join("minio-kes.key")),
                read_only(self.layout.minio_cert(), view.certs.join("minio-kes.cert")),
                read_only(self.layout.ca_cert(), view.certs.join("ca.cert")),
                read_only(self.layout.minio_env(), view.minio_env.clone()),
                Mount { source: self.layout.drive(), target: view.drive.clone(), read_only: false },
            ],
            capabilities: vec![],
            stop_timeout: 10,
        }
    }

    fn labels(&self) -> BTreeMap<String, String> {
        BTreeMap::from([
            (LABEL_STACK.into(), self.manifest.name.to_string()),
            (LABEL_VERSION.into(), env!("CARGO_PKG_VERSION").into()),
        ])
    }

    fn role(&self, role: &str) -> BTreeMap<String, String> {
        let mut labels = self.labels();
        labels.insert(LABEL_ROLE.into(), role.into());
        labels
    }

    /// Puts the digest on a container: of its specification, of the pod it lives in and of the files it reads,
    /// so that a change restarts exactly its readers (design.md D4). kestack's own version does not count.
    fn sealed(&self, mut spec: ContainerSpec, pod: &PodResource, files: &[FileResource]) -> ContainerSpec {
        let key = self.material.digests();
        let read: Vec<_> = files
            .iter()
            .filter(|file| spec.mounts.iter().any(|mount| mount.source == file.path))
            .map(|file| key.tag(&file.content))
            .collect();
        let mut counted = spec.clone();
        counted.labels.remove(LABEL_VERSION);
        let digest = digest::of(&(counted, pod.wanted(), read));
        spec.labels.insert(LABEL_DIGEST.into(), digest);
        spec
    }
}

fn read_only(source: PathBuf, target: PathBuf) -> Mount {
    Mount { source, target, read_only: true }
}
