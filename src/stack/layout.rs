//! Where a stack keeps its files (docs/architecture.md §5).

use std::path::{Path, PathBuf};

use super::Written;
use super::units::{CONFIG, DRIVE, KES_CERT, KEYS};
use crate::engine::units;
use crate::error::Error;

/// The folder tree of one stack.
#[derive(Debug, Clone)]
pub struct Layout {
    root: PathBuf,
    /// True if systemd runs the stack, with drive, keys and configuration where its units have them.
    by_units: bool,
    /// The drive of a stack in the foreground. Everything that must outlast the stack is on it; the rest goes with it.
    served: Option<PathBuf>,
    /// Its further drives.
    further: Vec<PathBuf>,
}

/// Folder on the drive of a stack in the foreground for what must outlast the stack. No bucket has such a name.
const ON_DRIVE: &str = ".kestack";
/// Fingerprints of the keys.
const RECORD: &str = "guard.json";

macro_rules! paths {
    ($($(#[$doc:meta])* $name:ident => $path:literal;)*) => {
        impl Layout {
            $($(#[$doc])* pub fn $name(&self) -> PathBuf { self.root.join($path) })*
        }
    };
}

paths! {
    /// Certificates and their keys.
    certs => "certs";
    /// Certificate of the stack's own authority.
    ca_cert => "certs/ca.cert";
    /// Key of the stack's own authority.
    ca_key => "certs/ca.key";
    /// Server key of KES.
    kes_key => "certs/kes-server.key";
    /// Client certificate of MinIO towards KES.
    minio_cert => "certs/minio-kes.cert";
    /// Client key of MinIO towards KES.
    minio_key => "certs/minio-kes.key";
    /// Client certificate of the stack's admin towards KES.
    admin_cert => "certs/admin.cert";
    /// Client key of the stack's admin towards KES.
    admin_key => "certs/admin.key";
    /// Folder of MinIO's certificate as a server, with the names that MinIO wants in it.
    s3_certs => "certs/s3";
    /// Server certificate of MinIO; there is one only with TLS.
    s3_cert => "certs/s3/public.crt";
    /// Server key of MinIO.
    s3_key => "certs/s3/private.key";
    /// Certificates and keys that KES needs towards its keystore.
    keystore_files => "certs/keystore";
    /// The master key of the stack's own keys, if they are sealed.
    master_key => "certs/keystore/master.key";
    /// Configuration files.
    config => "config";
    /// MinIO's environment file.
    minio_env => "config/minio";
    /// Says which engine runs the stack, while one does.
    engine => "config/engine";
    /// Says which fault `kestack chaos` has in force.
    fault => "config/fault.json";
    /// Asks `kestack chaos` to end the fault that it has in force.
    fault_end => "config/fault.end";
    /// Says which key was replaced by which, and how far that is.
    rotation => "config/rotation.json";
    /// Random key under which secrets enter digests.
    digest_key => "config/digest.key";
    /// Shows that this is a stack's folder.
    marker => "stack.json";
    /// Says which MinIO has the drive.
    minio_record => "minio.json";
    /// Says what the stack was brought up from.
    origin => "origin.json";
    /// Snapshots, each in a folder of its own.
    snapshots => "snapshots";
    /// How the drive was when it was fresh.
    fresh => "fresh.json";
    /// Copies of the stack that `kestack drill` has made.
    drills => "drill.json";
    /// Folders of the user's in which clones of the drive were made.
    clones => "clones.json";
    /// Address and token of the HTTP interface, while one listens.
    interface => "interface.json";
    /// What a restore has prepared.
    restore => "restore";
    /// What a restore is exchanging.
    journal => "restore.json";
    /// Drive content on its way out during a reset.
    trash => "trash";
}

impl Layout {
    /// The tree of stack `name` below `base`.
    pub fn new(base: &Path, name: &str) -> Self {
        Self::at(&base.join(name))
    }

    /// The tree at `root`.
    pub(crate) fn at(root: &Path) -> Self {
        Self { root: root.to_owned(), by_units: false, served: None, further: Vec::new() }
    }

    /// The tree of a stack in the foreground, at `root`, with its data on `drive`.
    pub(crate) fn served(root: &Path, drive: &Path) -> Self {
        Self { served: Some(drive.to_owned()), ..Self::at(root) }
    }

    /// The same with further drives, of which each holds what must last.
    pub(crate) fn with_drives(self, further: Vec<PathBuf>) -> Self {
        Self { further, ..self }
    }

    /// All drives, the first one first.
    pub(crate) fn drives(&self) -> Vec<PathBuf> {
        [self.drive()].into_iter().chain(self.further.iter().cloned()).collect()
    }

    /// True if the stack runs in the foreground.
    pub(crate) fn is_served(&self) -> bool {
        self.served.is_some()
    }

    /// The tree as its servers see it, whoever runs them.
    pub(crate) fn seen_by_servers(self) -> Self {
        Self { by_units: units::is_there(&self.root), ..self }
    }

    /// Server certificate of KES.
    pub fn kes_cert(&self) -> PathBuf {
        self.place("certs/kes-server.cert", KES_CERT)
    }

    /// Configuration of KES.
    pub fn kes_config(&self) -> PathBuf {
        self.place("config/kes-config.yaml", CONFIG)
    }

    /// Keys of the fs keystore.
    pub fn keys(&self) -> PathBuf {
        self.served.as_deref().map_or_else(|| self.place("keys", KEYS), Self::keys_on)
    }

    /// MinIO's drive.
    pub fn drive(&self) -> PathBuf {
        self.served.clone().unwrap_or_else(|| self.place("minio", DRIVE))
    }

    /// Fingerprints of the keys that the drive's content was written under.
    pub fn guard(&self) -> PathBuf {
        self.served.as_deref().map_or_else(|| self.root.join(RECORD), Self::record_on)
    }

    /// What of the declared content was made.
    pub fn seed(&self) -> PathBuf {
        self.lasting("config/seed.json", "seed.json")
    }

    /// Credentials of declared users and access keys.
    pub fn credentials(&self) -> PathBuf {
        self.lasting("config/credentials", "credentials")
    }

    /// Buckets that `kestack bench` has made.
    pub fn bench(&self) -> PathBuf {
        self.lasting("bench.json", "bench.json")
    }

    /// Figures of the last `kestack bench`.
    pub fn measured(&self) -> PathBuf {
        self.lasting("measured.json", "measured.json")
    }

    /// Folder on the drive for what must outlast a stack in the foreground.
    pub(crate) fn on_drive(drive: &Path) -> PathBuf {
        drive.join(ON_DRIVE)
    }

    /// Folder of the keys on a drive of a stack in the foreground.
    pub(crate) fn keys_on(drive: &Path) -> PathBuf {
        Self::on_drive(drive).join("keys")
    }

    /// The record of the keys on such a drive.
    pub(crate) fn record_on(drive: &Path) -> PathBuf {
        Self::on_drive(drive).join(RECORD)
    }

    /// True if an export runs this stack instead of `up`.
    pub fn is_exported(&self) -> bool {
        self.exported().exists()
    }

    /// Says which export runs this stack instead of `up`.
    pub fn exported(&self) -> PathBuf {
        self.root.join(units::RECORD)
    }

    /// Makes sure that this kestack understands the folder.
    ///
    /// # Errors
    /// [`Error::Environment`] naming its version and this one.
    pub(crate) fn check_version(&self) -> Result<(), Error> {
        Written::check(&self.marker(), &self.root)
    }

    fn place(&self, own: &str, of_units: &str) -> PathBuf {
        if self.by_units { of_units.into() } else { self.root.join(own) }
    }

    fn lasting(&self, own: &str, on_drive: &str) -> PathBuf {
        match &self.served {
            Some(drive) => Self::on_drive(drive).join(on_drive),
            None => self.root.join(own),
        }
    }

    /// The folder that holds everything of the stack.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Makes sure that the tree can be made, before anything of it is.
    ///
    /// # Errors
    /// [`Error::Environment`] naming the folder that may not be written.
    pub fn check_writable(&self) -> Result<(), Error> {
        let Some(nearest) = self.root.ancestors().find(|folder| folder.exists()) else { return Ok(()) };
        let problem = if nearest.is_dir() {
            // the only way to know, also for root: read-only file systems, quotas, /proc
            match tempfile::tempdir_in(nearest) {
                Ok(_) => return Ok(()),
                Err(error) => error.to_string(),
            }
        } else {
            "it is not a folder".to_owned()
        };
        Err(Error::Environment {
            what: format!("cannot write to '{}': {problem}", nearest.display()),
            hint: "choose another place with --dir, KESTACK_DIR or `dir:` in kestack.yaml".into(),
        })
    }
}
