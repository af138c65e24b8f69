//! The files and ports as the two servers see them: those of their containers, or of the host.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use super::{Replica, Stack, ports};
use crate::engine::EngineInfo;
use crate::error::Error;
use crate::template::MinioPaths;

/// Paths and addresses as the servers use them.
#[derive(Debug)]
pub(crate) struct View {
    /// Folder of certificates and their keys.
    pub(super) certs: PathBuf,
    /// Folder of the files that the keystore section names.
    pub(super) keystore_files: PathBuf,
    /// KES's configuration.
    pub(super) kes_config: PathBuf,
    /// Folder of the fs keystore.
    pub(super) keys: PathBuf,
    /// MinIO's environment file.
    pub(super) minio_env: PathBuf,
    /// MinIO's drive.
    pub(super) drive: PathBuf,
    /// Address that KES listens on.
    kes_host: IpAddr,
    /// True if the servers share the network of a pod, with ports of its own.
    in_pod: bool,
    /// MinIO's arguments after `server`.
    pub(super) minio_arguments: Vec<String>,
    /// True if the arguments name the drive; else the environment file does.
    drive_is_argument: bool,
}

impl View {
    /// What the servers of `stack` see on that engine.
    ///
    /// # Errors
    /// [`Error::Environment`] if MinIO would take the drive's path for a pattern.
    pub(super) fn of(stack: &Stack, engine: &EngineInfo) -> Result<Self, Error> {
        if engine.has_containers() { Ok(Self::in_containers()) } else { Self::on_host(stack) }
    }

    /// As in the documented procedure. Inside the pod nothing depends on the host's ports, so they may change.
    pub(crate) fn in_containers() -> Self {
        Self {
            certs: "/certs".into(),
            keystore_files: "/certs/keystore".into(),
            kes_config: "/etc/default/kes-config.yaml".into(),
            keys: "/mnt/keys".into(),
            minio_env: "/etc/default/minio".into(),
            drive: "/mnt/minio".into(),
            kes_host: Ipv4Addr::UNSPECIFIED.into(),
            in_pod: true,
            minio_arguments: vec!["--console-address".into(), format!(":{}", ports::CONSOLE_PORT)],
            drive_is_argument: false,
        }
    }

    fn on_host(stack: &Stack) -> Result<Self, Error> {
        let (layout, ports) = (&stack.layout, &stack.ports);
        let drive = layout.drive().display().to_string();
        if drive.contains('{') {
            return Err(Error::Environment {
                what: format!("MinIO reads '{drive}' as a pattern of several drives"),
                hint: "choose a folder without `{` in its path with --dir, KESTACK_DIR or `dir:` in kestack.yaml"
                    .into(),
            });
        }
        let address = |port| SocketAddr::new(ports.host, port).to_string();
        Ok(Self {
            certs: layout.certs(),
            keystore_files: layout.keystore_files(),
            kes_config: layout.kes_config(),
            keys: stack.keys_folder(),
            minio_env: layout.minio_env(),
            kes_host: ports.host,
            in_pod: false,
            // an argument, because MINIO_VOLUMES is split at blanks
            minio_arguments: vec![
                "--address".into(),
                address(ports.s3),
                "--console-address".into(),
                address(ports.console),
                drive,
            ],
            drive_is_argument: true,
            drive: layout.drive(),
        })
    }

    /// Folder of MinIO's certificate as a server.
    pub(super) fn s3_certs(&self) -> PathBuf {
        self.certs.join("s3")
    }

    /// Where a replica of KES listens.
    pub(super) fn kes_address(&self, replica: &Replica) -> SocketAddr {
        SocketAddr::new(self.kes_host, if self.in_pod { replica.port } else { replica.host_port })
    }

    /// Where MinIO finds the replicas of KES.
    pub(super) fn kes_endpoints(&self, stack: &Stack) -> String {
        let host = ports::reachable(self.kes_host);
        let endpoint = |replica| format!("https://{}", SocketAddr::new(host, self.kes_address(&replica).port()));
        stack.replicas().into_iter().map(endpoint).collect::<Vec<_>>().join(",")
    }

    /// What MinIO's environment file names.
    pub(crate) fn minio_paths(&self) -> MinioPaths {
        MinioPaths {
            drive: (!self.drive_is_argument).then(|| shown(&self.drive)),
            cert: shown(&self.certs.join("minio-kes.cert")),
            key: Some(shown(&self.certs.join("minio-kes.key"))),
            ca: shown(&self.certs.join("ca.cert")),
        }
    }
}

/// A path as files and arguments carry it.
pub(super) fn shown(path: &Path) -> String {
    path.display().to_string()
}
