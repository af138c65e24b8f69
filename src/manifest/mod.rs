//! kestack.yaml: what the user asks for.
//!
//! The file is strict and versioned; everything in it has a default. [`load`] finds it, reads it and reports every
//! mistake at once, each with its line. The `keystore` section is KES's own, byte for byte.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use kes_server::auth::KeyName;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};
use zeroize::Zeroizing;

mod cache;
mod check;
mod edit;
mod find;
mod names;
mod schema;
mod sections;
mod seed;
mod tree;
mod variables;

pub use crate::keystore::KeystoreKind;
pub use cache::CacheTimes;
pub use edit::{Uneditable, with_key};
pub(crate) use sections::is_secret;
pub(crate) use variables::{AUTO_ENCRYPTION, WITHOUT_SCANNER, carried, check_variable, is_off, is_on};

pub use names::{BucketName, HostName, StackName};
pub use seed::{LifecycleRule, NotificationRule, Seed, SeedAccessKey, SeedCommand, SeedObjects, SeedPolicy, SeedUser};

/// A stack as its user wants it.
#[derive(Debug, Clone)]
pub struct Manifest {
    /// Name of the stack and of its pod.
    pub name: StackName,
    /// True if the file gives that name; else it is that of the file's folder.
    pub is_named: bool,
    /// Kind of container engine.
    pub engine: EngineKind,
    /// Folder of all stacks, if not the default.
    pub dir: Option<PathBuf>,
    /// Address that ports are published on.
    pub host: IpAddr,
    /// KES's keystore section, variables of the environment put in.
    pub keystore: Value,
    /// Encryption keys that must exist; at least one.
    pub keys: Vec<KeyName>,
    /// Key of MinIO's backend, of SSE-S3, and of buckets without a key of their own; one of `keys`.
    pub default_key: KeyName,
    /// KES.
    pub kes: KesSection,
    /// MinIO.
    pub minio: MinioSection,
    /// Buckets that must exist.
    pub buckets: Vec<Bucket>,
    /// Which of the ports count as they are written.
    pub ports: PortRules,
    /// Whether MinIO encrypts, with the default key, what is put into buckets without an encryption of their own. `None`
    /// if the file does not say: [`Manifest::auto_encryption`] decides.
    pub auto_encryption: Option<bool>,
    /// Whether `up` also offers the HTTP interface.
    pub ui: bool,
    /// Content that it holds from its start.
    pub seed: Seed,
}

/// Kind of engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum EngineKind {
    /// The first one that works.
    Auto,
    /// Podman.
    Podman,
    /// Docker.
    Docker,
    /// No containers: local processes.
    Process,
    /// The units of an exported stack. Nobody chooses it: the stack's folder says so.
    #[schemars(skip)]
    #[cfg_attr(feature = "cli", value(skip))]
    Systemd,
}

impl EngineKind {
    /// Those that a user may choose, by their words.
    pub const CHOICES: [(&'static str, Self); 4] =
        [("auto", Self::Auto), ("podman", Self::Podman), ("docker", Self::Docker), ("process", Self::Process)];

    /// The one that a word of the user's names.
    pub fn chosen(word: &str) -> Option<Self> {
        Self::CHOICES.into_iter().find_map(|(known, kind)| (known == word).then_some(kind))
    }

    /// The one that the folder of a stack names.
    pub fn recorded(word: &str) -> Option<Self> {
        Self::chosen(word).or_else(|| (word == Self::Systemd.word()).then_some(Self::Systemd))
    }

    /// Its word in files, labels and messages.
    pub fn word(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Podman => "podman",
            Self::Docker => "docker",
            Self::Process => "process",
            Self::Systemd => "systemd",
        }
    }
}

impl fmt::Display for EngineKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// Which of a manifest's ports count as they are written. Others are preferred: a stack that is up keeps those that it has,
/// and gets free ones where its defaults are taken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "one for each port of the manifest, and one for all")]
pub struct PortRules {
    /// True if the file gives `kes.port`.
    pub kes: bool,
    /// True if the file gives `minio.port`.
    pub s3: bool,
    /// True if the file gives `minio.console_port`.
    pub console: bool,
    /// True if none of them counts: all ports are kestack's to choose.
    pub any: bool,
    /// True if the ports are those of another machine, where kestack cannot test whether they are free.
    pub elsewhere: bool,
}

/// What is wanted of one port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PortChoice {
    /// This one and no other.
    Exactly(u16),
    /// This one if it is free.
    Rather(u16),
    /// Any free one.
    Any,
}

/// What differs for KES.
#[derive(Debug, Clone)]
pub struct KesSection {
    /// Host port of the first replica, the others' follow it; 0 means any free ones.
    pub port: u16,
    /// How many servers share the keystore on this machine; at least one.
    pub replicas: u16,
    /// Image instead of the one composed from `kes`.
    pub image: Option<String>,
    /// The `kes` program to compose the image from.
    pub binary: Option<PathBuf>,
    /// Names and addresses beyond this machine's by which clients reach KES: its certificate is for them, too.
    pub names: Vec<HostName>,
    /// Variables of KES's environment: proxies, hosts of clouds; never secrets, everybody can look at them.
    pub env: BTreeMap<String, String>,
    /// Whether the keys of the stack's own folder are sealed under a master key. `None` leaves them as they are; those of
    /// a new stack are in clear then.
    pub seal: Option<bool>,
}

/// What differs for MinIO.
#[derive(Clone)]
pub struct MinioSection {
    /// Host port of S3; 0 means any free one.
    pub port: u16,
    /// Host port of the console; 0 means any free one.
    pub console_port: u16,
    /// Image instead of the one that kestack finds or composes.
    pub image: Option<String>,
    /// The `minio` program to compose the image from.
    pub binary: Option<PathBuf>,
    /// Access key of the root user, if not a random one.
    pub root_user: Option<String>,
    /// Secret key of the root user, if not a random one.
    pub root_password: Option<Zeroizing<String>>,
    /// Whether S3 and the console speak TLS, with a certificate of the stack's own authority.
    pub tls: bool,
    /// Names and addresses beyond this machine's by which clients reach S3: its certificate is for them, too.
    pub names: Vec<HostName>,
    /// More variables of MinIO's environment.
    pub env: BTreeMap<String, String>,
}

/// A bucket that must exist.
#[derive(Debug, Clone)]
pub struct Bucket {
    /// Its name.
    pub name: BucketName,
    /// Its default encryption.
    pub encryption: BucketEncryption,
    /// The key for SSE-KMS, if not the default key.
    pub key: Option<KeyName>,
    /// Whether it keeps versions.
    pub versioning: bool,
    /// The settings that are given, and not left to the defaults.
    pub said: Said,
}

/// Which settings of a bucket its declaration names.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Said {
    /// Its default encryption, or a key for it.
    pub encryption: bool,
    /// Whether it keeps versions.
    pub versioning: bool,
}

/// Default encryption of a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum BucketEncryption {
    /// With a key of its own.
    SseKms,
    /// With MinIO's default key.
    SseS3,
    /// Not at all.
    None,
}

/// A manifest and where it was found.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// What it says.
    pub manifest: Manifest,
    /// The file; `None` if there is none and the defaults apply.
    pub path: Option<PathBuf>,
}

/// Everything that is wrong with a manifest.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// The file cannot be read.
    #[error("cannot read '{}': {source}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// Variables from which a keystore section should be made are not set.
    #[error("--keystore {keystore}: not set: {variables}\n  set them, or write a keystore section into kestack.yaml")]
    Missing {
        /// The word of `--keystore`.
        keystore: String,
        /// Their names.
        variables: String,
    },
    /// Other users can change a file that was found, not named.
    #[error(
        "'{path}' is not used: it, or its folder, {why}\n  remove that right with `chmod go-w`, or, if you trust it, \
         name it with `--file '{path}'` or KESTACK_FILE", path = path.display()
    )]
    Untrusted {
        /// Which file.
        path: PathBuf,
        /// Who can change it.
        why: String,
    },
    /// Mistakes, one per line: `file:line:column: what is wrong`.
    #[error("{}\n  `kestack config schema` prints the allowed settings", .0.join("\n"))]
    Mistakes(Vec<String>),
}

/// Reads variables of the environment.
pub type Environment<'a> = &'a (dyn Fn(&str) -> Option<String> + Sync);

/// The keystore section that the environment gives: `--keystore vault` and the like.
///
/// # Errors
/// [`ManifestError::Missing`] naming every variable that is missing.
pub fn section_of(kind: KeystoreKind, env: Environment<'_>) -> Result<Value, ManifestError> {
    let missing = |variables: Vec<String>| ManifestError::Missing {
        keystore: kind.word().into(),
        variables: variables.join(", "),
    };
    kind.section(env).map_err(missing)
}

/// Reads the named file, else the one found upwards from `here`, else takes the defaults. A file is found only where it
/// is the caller's or root's; a named one is used in any case.
///
/// # Errors
/// All mistakes at once, or why the file is not taken.
pub fn load(file: Option<&Path>, here: &Path, env: Environment<'_>) -> Result<Loaded, ManifestError> {
    let found = match file {
        Some(file) => Some(here.join(file)),
        None => find::find(here)?,
    };
    let Some(path) = found else {
        return Ok(Loaded { manifest: Manifest::default(), path: None });
    };
    let text = std::fs::read_to_string(&path).map_err(|source| ManifestError::Read { path: path.clone(), source })?;
    let shown = path.strip_prefix(here).unwrap_or(&path).display().to_string();
    let folder = path.parent().unwrap_or(here);
    let mut manifest = parse(&text, folder, env).map_err(|mistakes| {
        ManifestError::Mistakes(mistakes.into_iter().map(|mistake| format!("{shown}:{mistake}")).collect())
    })?;
    if !manifest.is_named {
        let folder = if folder.as_os_str().is_empty() { here } else { folder };
        manifest.name = StackName::of_folder(&folder.canonicalize().unwrap_or_else(|_| folder.to_owned()));
    }
    Ok(Loaded { manifest, path: Some(path) })
}

/// Reads the text of a manifest; relative paths in it start at `folder`.
///
/// # Errors
/// All mistakes as `line:column: text`, in the order of lines.
pub fn parse(text: &str, folder: &Path, env: Environment<'_>) -> Result<Manifest, Vec<String>> {
    check::read(text, folder, env)
}

/// The JSON schema of the file, for editors.
pub fn schema() -> Value {
    schema::schema()
}

impl Default for Manifest {
    fn default() -> Self {
        Self {
            name: StackName::default(),
            is_named: false,
            engine: EngineKind::Auto,
            dir: None,
            host: Ipv4Addr::LOCALHOST.into(),
            keystore: json!({ "fs": {} }),
            keys: vec![KeyName::minio_backend()],
            default_key: KeyName::minio_backend(),
            kes: KesSection::default(),
            minio: MinioSection::default(),
            buckets: vec![Bucket::named(BucketName::default())],
            ports: PortRules::default(),
            auto_encryption: None,
            ui: false,
            seed: Seed::default(),
        }
    }
}

impl Default for KesSection {
    fn default() -> Self {
        Self { port: 7373, replicas: 1, image: None, binary: None, names: Vec::new(), env: BTreeMap::new(), seal: None }
    }
}

impl PortRules {
    /// All ports count as they are written.
    pub const FIXED: Self = Self { kes: true, s3: true, console: true, any: false, elsewhere: false };

    fn choice(self, port: u16, is_given: bool) -> PortChoice {
        match port {
            0 => PortChoice::Any,
            _ if self.any => PortChoice::Any,
            port if is_given => PortChoice::Exactly(port),
            port => PortChoice::Rather(port),
        }
    }
}

impl KesSection {
    /// Host port of each replica; 0 means any free one.
    pub fn ports(&self) -> impl Iterator<Item = u16> + use<> {
        let (first, replicas) = (self.port, self.replicas);
        (0..replicas).map(move |index| if first == 0 { 0 } else { first.saturating_add(index) })
    }
}

impl Default for MinioSection {
    fn default() -> Self {
        Self {
            port: 9000,
            console_port: 9001,
            image: None,
            binary: None,
            root_user: None,
            root_password: None,
            tls: false,
            names: Vec::new(),
            env: BTreeMap::new(),
        }
    }
}

impl fmt::Debug for MinioSection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MinioSection")
            .field("port", &self.port)
            .field("console_port", &self.console_port)
            .field("image", &self.image)
            .field("binary", &self.binary)
            .field("tls", &self.tls)
            .finish_non_exhaustive()
    }
}

impl Bucket {
    /// A bucket with its name and no other setting.
    pub(crate) fn named(name: BucketName) -> Self {
        let (encryption, said) = (BucketEncryption::SseKms, Said::default());
        Self { name, encryption, key: None, versioning: false, said }
    }

    /// True if what is put into it is encrypted by default.
    pub fn encrypts(&self) -> bool {
        self.encryption != BucketEncryption::None
    }
}

impl Manifest {
    /// The port of each replica of KES.
    pub fn kes_ports(&self) -> impl Iterator<Item = PortChoice> + use<> {
        let rules = self.ports;
        self.kes.ports().map(move |port| rules.choice(port, rules.kes))
    }

    /// The port of S3.
    pub fn s3_port(&self) -> PortChoice {
        self.ports.choice(self.minio.port, self.ports.s3)
    }

    /// The port of the console.
    pub fn console_port(&self) -> PortChoice {
        self.ports.choice(self.minio.console_port, self.ports.console)
    }

    /// True if the manifest leaves a choice of ports to kestack.
    pub fn leaves_ports(&self) -> bool {
        let mut all = self.kes_ports().chain([self.s3_port(), self.console_port()]);
        all.any(|port| !matches!(port, PortChoice::Exactly(_)))
    }

    /// Whether MinIO encrypts new objects in buckets without an encryption of their own. `former` is how the stack has
    /// it, `None` for a new one. A new stack encrypts everything, unless a bucket is declared not to: MinIO knows no
    /// exception for single buckets. A stack that exists stays as it is until the file says otherwise.
    pub fn auto_encryption(&self, former: Option<bool>) -> bool {
        let everything = self.buckets.iter().all(Bucket::encrypts);
        self.auto_encryption.unwrap_or_else(|| everything && former.unwrap_or(true))
    }

    /// The declared bucket of that name.
    pub fn bucket(&self, name: &str) -> Option<&Bucket> {
        self.buckets.iter().find(|bucket| bucket.name.as_str() == name)
    }

    /// True if keys are kept in a folder of this host.
    pub fn keystore_is_fs(&self) -> bool {
        self.keystore.get("fs").is_some()
    }

    /// True if keys are kept in the stack's own folder.
    pub fn keys_are_own(&self) -> bool {
        self.keystore_is_fs() && self.fs_path().is_none()
    }

    /// Times of KES's cache, if not its own.
    pub fn cache_times(&self) -> Option<CacheTimes> {
        (self.kes.replicas > 1 && self.keystore_is_fs()).then_some(CacheTimes::SHARED_FOLDER)
    }

    /// Where the keys are, for people.
    pub fn keystore_name(&self) -> String {
        match (self.keystore_is_fs(), self.fs_path()) {
            (false, _) => crate::keystore::name(&self.keystore),
            (true, None) => "the stack's own folder".into(),
            (true, Some(folder)) => format!("folder {}", folder.display()),
        }
    }

    /// The folder of keys that the user named.
    pub fn fs_path(&self) -> Option<PathBuf> {
        self.keystore.get("fs")?.get("path")?.as_str().map(PathBuf::from)
    }
}
