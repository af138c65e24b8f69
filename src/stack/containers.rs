//! The pod and the two containers of a stack, with their digests.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::marker::Marker;
use super::view::{View, shown};
use super::{Images, Replica, Stack};
use crate::engine::{
    ContainerSpec, LABEL_DIGEST, LABEL_EXPIRES, LABEL_FOLDER, LABEL_ID, LABEL_ROLE, LABEL_STACK, LABEL_VERSION, Mount,
    PodSpec, PodState,
};
use crate::error::Error;
use crate::host::digest;
use crate::keystore;
use crate::resource::{ContainerResource, FileResource, PodResource, Probe, Resource, ServiceResource};

impl Stack {
    pub(super) fn pod(&self, marker: &Marker) -> PodResource {
        let ports = self.ports.mappings();
        let mut labels = self.labels();
        labels.insert(LABEL_ID.into(), marker.id.clone());
        labels.insert(LABEL_DIGEST.into(), digest::of(&(self.manifest.name.as_str(), &ports)));
        // not in the digest: neither is a reason to make a pod again
        labels.insert(LABEL_FOLDER.into(), self.layout.root().display().to_string());
        if let Some(expires) = self.expires {
            labels.insert(LABEL_EXPIRES.into(), expires.to_string());
        }
        PodResource { spec: PodSpec { name: self.manifest.name.to_string(), labels, ports } }
    }

    pub(super) fn containers(
        &self,
        pod: &PodResource,
        files: &[FileResource],
        images: &Images,
        view: &View,
    ) -> Vec<Box<dyn Resource>> {
        let replicas = self.replicas().into_iter().map(|replica| self.kes_spec(&replica, images.kes.reference(), view));
        let specs = replicas.chain([self.minio_spec(images.minio.reference(), view)]);
        specs
            .map(|spec| Box::new(ContainerResource { spec: self.sealed(spec, pod, files) }) as Box<dyn Resource>)
            .collect()
    }

    /// True if a server of KES runs.
    pub(crate) fn kes_runs(&self, pod: Option<&PodState>) -> bool {
        let names: Vec<_> = self.replicas().into_iter().map(|replica| replica.container).collect();
        let mut containers = pod.iter().flat_map(|pod| &pod.containers);
        containers.any(|container| names.contains(&container.name) && container.running)
    }

    /// True if MinIO's container runs.
    pub(crate) fn minio_runs(&self, pod: Option<&PodState>) -> bool {
        runs(pod, &self.minio_container())
    }

    pub(super) fn kes_services(&self) -> Result<Vec<Box<dyn Resource>>, Error> {
        let minio = self.material.minio_identity()?;
        let service = |replica: Replica| {
            let probe = Probe::Kes { name: replica.name, endpoint: replica.endpoint, minio: minio.clone() };
            self.service(replica.container, probe)
        };
        Ok(self.replicas().into_iter().map(service).collect())
    }

    pub(crate) fn minio_service(&self) -> Box<dyn Resource> {
        self.service(self.minio_container(), Probe::Minio)
    }

    pub(super) fn minio_started(&self) -> Box<dyn Resource> {
        self.service(self.minio_container(), Probe::Started)
    }

    fn service(&self, container: String, probe: Probe) -> Box<dyn Resource> {
        Box::new(ServiceResource { container, pod: self.manifest.name.to_string(), probe })
    }

    /// The container of one server of KES.
    pub(crate) fn kes_spec(&self, replica: &Replica, image: &str, view: &View) -> ContainerSpec {
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
        let mut command = vec!["server".into(), "--config".into(), shown(&view.kes_config)];
        if replica.is_one_of_several {
            // one configuration for all of them, for they must not differ
            command.extend(["--addr".into(), view.kes_address(replica).to_string()]);
            command.insert(0, "supervise".into());
        }
        ContainerSpec {
            name: replica.container.clone(),
            pod: self.manifest.name.to_string(),
            image: image.to_owned(),
            command,
            env: self.manifest.kes.env.clone(),
            labels: self.role("kes"),
            mounts,
            capabilities: vec!["IPC_LOCK".into()],
            // a supervisor gives its server five seconds
            stop_timeout: if replica.is_one_of_several { 8 } else { 5 },
        }
    }

    /// The container of MinIO. No terminal: with one, MinIO waits five seconds for it to answer.
    pub(crate) fn minio_spec(&self, image: &str, view: &View) -> ContainerSpec {
        ContainerSpec {
            name: self.minio_container(),
            pod: self.manifest.name.to_string(),
            image: image.to_owned(),
            command: self.minio_command(view),
            env: BTreeMap::from([("MINIO_CONFIG_ENV_FILE".into(), shown(&view.minio_env))]),
            labels: self.role("minio"),
            mounts: self.minio_mounts(view),
            capabilities: vec![],
            stop_timeout: 10,
        }
    }

    fn minio_command(&self, view: &View) -> Vec<String> {
        let mut command = vec!["server".to_owned()];
        if self.manifest.minio.tls {
            command.extend(["--certs-dir".into(), shown(&view.s3_certs())]);
        }
        command.extend_from_slice(&view.minio_arguments);
        command
    }

    fn minio_mounts(&self, view: &View) -> Vec<Mount> {
        let mut mounts = vec![
            read_only(self.layout.minio_key(), view.certs.join("minio-kes.key")),
            read_only(self.layout.minio_cert(), view.certs.join("minio-kes.cert")),
            read_only(self.layout.ca_cert(), view.certs.join("ca.cert")),
            read_only(self.layout.minio_env(), view.minio_env.clone()),
            Mount { source: self.layout.drive(), target: view.drive.clone(), read_only: false },
        ];
        if self.manifest.minio.tls {
            mounts.push(read_only(self.layout.s3_cert(), view.s3_certs().join("public.crt")));
            mounts.push(read_only(self.layout.s3_key(), view.s3_certs().join("private.key")));
        }
        mounts
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
    /// so that a change restarts exactly its readers (docs/architecture.md §3.4). kestack's own version does not count.
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

fn runs(pod: Option<&PodState>, name: &str) -> bool {
    pod.iter().flat_map(|pod| &pod.containers).any(|container| container.name == name && container.running)
}

fn read_only(source: PathBuf, target: PathBuf) -> Mount {
    Mount { source, target, read_only: true }
}
