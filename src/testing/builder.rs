//! The wanted state of a stack for tests.

use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;

use super::removal::Removal;
use super::shared::{self, Users};
use super::{Error, Stack};
use crate::engine::host::{find_program, is_executable};
use crate::error;
use crate::host::lock::Hold;
use crate::manifest::{self, EngineKind, Manifest};
use crate::operate::sandbox::{SandboxName, end_of};
use crate::operate::session::{Intent, Opened, Options, Reached, bring_up, environment};
use crate::operate::teardown;
use crate::resource::apply::Silent;
use crate::stack::Layout;

/// How long a stack is kept by default.
const LEASE: Duration = Duration::from_secs(60 * 60);

/// The wanted state of a stack. [`StackBuilder::up`] reports all mistakes in it at once.
#[derive(Debug, Clone)]
#[must_use = "nothing runs before `up`"]
pub struct StackBuilder {
    name: Option<String>,
    engine: Option<EngineKind>,
    default_bucket: bool,
    buckets: Vec<String>,
    keys: Vec<String>,
    lease: Duration,
    tls: bool,
    folder: Option<PathBuf>,
    program: Option<PathBuf>,
    shared: bool,
}

impl Default for StackBuilder {
    fn default() -> Self {
        Self {
            name: None,
            engine: None,
            default_bucket: true,
            buckets: vec![],
            keys: vec![],
            lease: LEASE,
            tls: false,
            folder: None,
            program: None,
            shared: false,
        }
    }
}

impl StackBuilder {
    /// Its name, instead of a random one. A stack of that name that is up is used as it is; one that was there, running or not,
    /// is not removed when it is dropped, but by [`Stack::down`].
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// The engine that runs it, instead of the one that `KESTACK_ENGINE` names or the first one that works.
    pub fn engine(mut self, engine: EngineKind) -> Self {
        self.engine = Some(engine);
        self
    }

    /// One more bucket, encrypted with the stack's default key.
    pub fn bucket(mut self, name: impl Into<String>) -> Self {
        self.buckets.push(name.into());
        self
    }

    /// Without the bucket `encrypted`, which every stack has otherwise.
    pub fn no_default_bucket(mut self) -> Self {
        self.default_bucket = false;
        self
    }

    /// One more encryption key, next to the default key.
    pub fn key(mut self, name: impl Into<String>) -> Self {
        self.keys.push(name.into());
        self
    }

    /// S3 speaks TLS: clients trust [`Stack::authority`], which [`Stack::environment`] names to SDKs.
    pub fn tls(mut self) -> Self {
        self.tls = true;
        self
    }

    /// How long it may be needed, instead of an hour.
    pub fn lease(mut self, lease: Duration) -> Self {
        self.lease = lease;
        self
    }

    /// Folder in which it keeps its files, in one of its name; instead of `KESTACK_DIR` or the user's data folder.
    pub fn folder(mut self, folder: impl Into<PathBuf>) -> Self {
        self.folder = Some(folder.into());
        self
    }

    /// The program `kestack`, instead of the one in `PATH`: it looks after processes, and `kes` is next to it.
    pub fn program(mut self, program: impl Into<PathBuf>) -> Self {
        self.program = Some(program.into());
        self
    }

    /// Brings it up; returns when S3 and KMS answer. Stacks whose lease is over are removed before. If it fails or is dropped,
    /// what it made is removed. If the process has no default provider of rustls, aws-lc becomes the default provider.
    ///
    /// # Errors
    /// [`ErrorKind::Manifest`](super::ErrorKind::Manifest) for names that cannot be used; else those of `kestack up`.
    pub async fn up(self) -> Result<Stack, Error> {
        // a `reqwest` without TLS in the user's tests shares our features, and makes no client without a provider
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let (lease, shared) = (self.lease, self.shared);
        let expires = end_of(lease, Timestamp::now())?;
        let options = self.options()?;
        let reached = Opened::new(options.clone(), Intent::Read).await?.connect().await?;
        let engine = reached.engine().clone();
        if engine.info().kind == EngineKind::Process && options.program.is_none() {
            return Err(error::Error::Environment {
                what: "the process engine needs the program `kestack`, which looks after its servers".into(),
                hint: "put it into PATH, or name it with `StackBuilder::program`".into(),
            }
            .into());
        }
        // what killed test runs left on this engine; another run may be removing the same
        if let Err(error) = teardown::remove_all_expired(engine.as_ref(), Timestamp::now()).await {
            tracing::warn!(%error, "stacks whose lease is over stay");
        }
        // dropped after the lock, which it takes
        let mut removal = Removal { options, is_due: false };
        let reached = reached.lock(Hold::Change).await?;
        let was_there = is_there(&reached).await?;
        reached.recover().await?;
        let users = if shared { Some(Users::join(&reached).await?) } else { None };
        removal.is_due = !shared && !was_there;
        Box::pin(bring_up(removal.options.clone(), engine, Some(expires), &Silent)).await?;
        let users = users.map(|users| users.of(&removal.options.layout()));
        let stack = reached.session().await?.require_running().await?.stack;
        Ok(Stack { this: stack, lease, removal, _users: users })
    }

    /// The stack that a test binary shares.
    pub(super) fn shared() -> Result<Self, error::Error> {
        let builder = Self { lease: shared::LEASE, shared: true, ..Self::default() };
        Ok(builder.name(shared::name()?))
    }

    fn options(self) -> Result<Options, error::Error> {
        let name = self.name.clone().map_or_else(|| SandboxName::random().map(|name| format!("test-{name}")), Ok)?;
        let program = self.kestack()?;
        let mut manifest = self.manifest(&name)?;
        manifest.minio.tls = self.tls;
        manifest.engine = self.engine.map_or_else(engine, Ok)?;
        // what the variable names counts, unless the test names a program
        if self.program.is_some() || environment("KESTACK_KES_BINARY").is_none() {
            manifest.kes.binary = program.as_deref().and_then(kes_next_to);
        }
        let folder = self.folder.or_else(|| environment("KESTACK_DIR").map(PathBuf::from));
        let base = Layout::base(folder.as_deref(), &name, environment)?;
        let host = environment("KESTACK_HOST");
        Ok(Options { host, program, ..Options::of(manifest, base) })
    }

    /// The program `kestack` by a path that holds in every folder: supervisors are started in another one.
    fn kestack(&self) -> Result<Option<PathBuf>, error::Error> {
        let Some(named) = &self.program else {
            let found = find_program("kestack", environment("PATH").as_deref());
            return found.map(absolute).transpose();
        };
        let program = absolute(named.clone())?;
        if is_executable(&program) {
            return Ok(Some(program));
        }
        Err(error::Error::Usage {
            what: format!("`StackBuilder::program` names '{}', which is not an executable file", program.display()),
            hint: "name the program `kestack`, or leave it out to have the one in PATH".into(),
        })
    }

    /// The names go through the manifest's own reader: one set of rules, and every mistake at once.
    fn manifest(&self, name: &str) -> Result<Manifest, error::Error> {
        let default = Manifest::default();
        let own = default.buckets.iter().map(|bucket| bucket.name.to_string()).filter(|_| self.default_bucket);
        let buckets: Vec<_> = own.chain(self.buckets.clone()).map(|name| json!({ "name": name })).collect();
        let keys: Vec<_> = [default.default_key.to_string()].into_iter().chain(self.keys.clone()).collect();
        let wanted = json!({
            "name": name,
            "kes": { "port": 0 },
            "minio": { "port": 0, "console_port": 0 },
            "keys": keys,
            "buckets": buckets,
        });
        // JSON is YAML
        manifest::parse(&wanted.to_string(), Path::new("/"), &environment)
            .map_err(|mistakes| manifest::ManifestError::Mistakes(mistakes).into())
    }
}

fn absolute(path: PathBuf) -> Result<PathBuf, error::Error> {
    std::path::absolute(&path).map_err(error::Error::file("find", path))
}

/// The `kes` next to a program, or next to the one that a link leads to.
fn kes_next_to(program: &Path) -> Option<PathBuf> {
    let places = [Some(program.to_owned()), program.canonicalize().ok()];
    places.into_iter().flatten().map(|program| program.with_file_name("kes")).find(|kes| kes.is_file())
}

/// True if there is a stack of that name, or something in its folder. The lock is held.
async fn is_there(reached: &Reached) -> Result<bool, error::Error> {
    let layout = reached.options.layout();
    let has_files = std::fs::read_dir(layout.root()).is_ok_and(|mut entries| entries.next().is_some());
    Ok(has_files || reached.engine().pod(reached.options.manifest.name.as_str()).await?.is_some())
}

/// The engine that `KESTACK_ENGINE` names, else the first one that works.
fn engine() -> Result<EngineKind, error::Error> {
    let Some(word) = environment("KESTACK_ENGINE").filter(|word| !word.is_empty()) else { return Ok(EngineKind::Auto) };
    EngineKind::chosen(&word).ok_or_else(|| error::Error::Usage {
        what: format!("KESTACK_ENGINE is '{word}'"),
        hint: "use auto, podman, docker or process".into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_is_named_for_every_folder() {
        let program = |path: &str| Stack::builder().name("a").program(path).options().map(|options| options.program);
        let here = std::env::current_dir().unwrap();
        assert_eq!(program("tests/run").unwrap(), Some(here.join("tests/run")));
        let error = program("Cargo.toml").unwrap_err().to_string();
        assert!(error.contains("`StackBuilder::program` names '/") && error.contains("not an executable"), "{error}");
    }

    #[test]
    fn the_kes_next_to_a_program_is_found_behind_a_link() {
        let folder = tempfile::tempdir().unwrap();
        let (kestack, link) = (folder.path().join("opt/kestack"), folder.path().join("kestack"));
        std::fs::create_dir(folder.path().join("opt")).unwrap();
        std::fs::write(&kestack, "").unwrap();
        std::os::unix::fs::symlink(&kestack, &link).unwrap();
        assert_eq!(kes_next_to(&link), None);
        std::fs::write(kestack.with_file_name("kes"), "").unwrap();
        assert_eq!(kes_next_to(&link), Some(folder.path().canonicalize().unwrap().join("opt/kes")));
    }

    #[test]
    fn names_follow_the_rules_of_the_manifest() {
        let options = Stack::builder().name("a").key("one").key("two").bucket("first").options().unwrap();
        let names = |options: &Options| {
            let buckets: Vec<_> = options.manifest.buckets.iter().map(|bucket| bucket.name.to_string()).collect();
            let keys: Vec<_> = options.manifest.keys.iter().map(ToString::to_string).collect();
            (keys.join(" "), buckets.join(" "))
        };
        assert_eq!(options.manifest.default_key.to_string(), "minio-backend-key");
        assert_eq!(names(&options), ("minio-backend-key one two".into(), "encrypted first".into()));
        let bare = Stack::builder().name("a").no_default_bucket().options().unwrap();
        assert_eq!(names(&bare), ("minio-backend-key".into(), String::new()));
        assert_eq!((options.manifest.kes.port, options.manifest.minio.port), (0, 0));
        let wrong = Stack::builder().name("a b").bucket("No").options().unwrap_err().to_string();
        assert!(wrong.contains("'a b'") && wrong.contains("'No'"), "{wrong}");
        let names: Vec<_> = (0..2).map(|_| Stack::builder().options().unwrap().manifest.name).collect();
        assert!(names.iter().all(|name| name.as_str().starts_with("test-")) && names.first() != names.get(1));
    }
}
