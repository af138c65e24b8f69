//! What the command line says of the stack that a verb works on.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Globals, output};
use crate::engine::process::own_program;
use crate::error::Error;
use crate::host::lock::Hold;
use crate::manifest::{self, EngineKind, KeystoreKind, Loaded, Manifest, StackName};
pub(super) use crate::operate::session::{
    All, Intent, Opened, Options, Reached, Scope, Session, environment, keystore_environment,
};
use crate::resource::interface::Launch;
use crate::stack::{Clients, Home, Layout, Origin, Stack};

/// How long a KES that runs may take to answer whether it is the stack's; a slower one is looked for through the engine.
const GLANCE: Duration = Duration::from_secs(1);

impl Options {
    /// What the command line asks for. Without a manifest, the one that the stack was brought up from counts.
    pub(super) fn load(globals: &Globals, intent: Intent) -> Result<Self, Error> {
        let here = std::env::current_dir().map_err(Error::file("find", "."))?;
        let loaded = manifest::load(globals.file.as_deref(), &here, &environment)?;
        let loaded = Loaded { path: loaded.path.map(canonical), ..loaded };
        let dir = globals.dir.clone().or_else(|| loaded.manifest.dir.clone());
        let name = name(globals, &loaded, &Layout::all(dir.as_deref(), environment)?)?;
        let base = Layout::base(dir.as_deref(), name.as_str(), environment)?;
        let layout = Layout::new(&base, name.as_str());
        layout.check_version()?;
        let origin = Origin::load(&layout)?;
        let Loaded { mut manifest, path } = match &origin {
            Some(origin) if !origin.is(loaded.path.as_deref()) => counting(globals, loaded, origin, intent)?,
            _ => loaded,
        };
        manifest.name = name;
        manifest.engine = globals.engine.unwrap_or(manifest.engine);
        if let Some(kind) = globals.keystore {
            manifest.keystore = manifest::section_of(kind, &environment)?;
        }
        manifest.ports.any = origin.is_some_and(|origin| origin.any_ports);
        let mut options = Self { path, adopt: globals.adopt, host: globals.host.clone(), ..Self::of(manifest, base) };
        options.launch = Some(options.launch_of(globals.keystore)?);
        if globals.file.is_none() {
            options.check_named_files()?;
        }
        Ok(options)
    }
}

impl Options {
    /// The call by which an interface of this very stack listens, from wherever it is made.
    fn launch_of(&self, keystore: Option<KeystoreKind>) -> Result<Launch, Error> {
        let base = std::path::absolute(&self.base).map_err(Error::file("find", &self.base))?;
        let (mut arguments, program) = (Vec::new(), own_program().map_err(Error::file("find", "/proc/self/exe"))?);
        let mut add = |name: &str, value: OsString| arguments.extend([name.into(), value]);
        add("--name", self.manifest.name.as_str().into());
        add("--dir", base.into());
        if let Some(path) = &self.path {
            add("--file", path.into());
        }
        if let Some(host) = &self.host {
            add("--host", host.into());
        }
        if let Some(keystore) = keystore {
            add("--keystore", keystore.word().into());
        }
        arguments.extend(["--adopt", "ui"].map(OsString::from));
        let engine = self.manifest.engine.word();
        // while the stack is up, its folder names the same engine, and no other one is let in
        let named = EngineKind::chosen(engine).map(|_| ["--engine", engine].map(OsString::from));
        Ok(Launch { program, arguments, on_record: named.into_iter().flatten().collect() })
    }
}

fn canonical(path: PathBuf) -> PathBuf {
    path.canonicalize().unwrap_or(path)
}

/// The name on the command line, else the manifest's. An older kestack called every stack `minio-kes` whose manifest does
/// not name it: kestack still finds such a stack if there is no other.
fn name(globals: &Globals, loaded: &Loaded, base: &Path) -> Result<StackName, Error> {
    if let Some(name) = &globals.stack {
        return name.parse().map_err(|error| Error::Usage {
            what: format!("--name: {error}"),
            hint: "use lower-case letters, digits, `-` and `_`".into(),
        });
    }
    let (own, former) = (loaded.manifest.name.clone(), StackName::default());
    let is_there = |name: &StackName| Layout::new(base, name.as_str()).root().is_dir();
    if loaded.manifest.is_named || loaded.path.is_none() || is_there(&own) || !is_there(&former) {
        return Ok(own);
    }
    match Origin::load(&Layout::new(base, former.as_str()))? {
        Some(origin) if origin.is(loaded.path.as_deref()) => Ok(former),
        Some(_) => Ok(own),
        None => {
            tracing::warn!(
                "this is stack '{former}', which an older kestack brought up; a new stack of this manifest would be '{own}'"
            );
            Ok(former)
        }
    }
}

/// The manifest that counts for a stack that was not brought up from the one that was found. A manifest that was merely
/// found does not count for a stack that is only read by its name.
fn counting(globals: &Globals, found: Loaded, origin: &Origin, intent: Intent) -> Result<Loaded, Error> {
    let (is_named, is_looked_at) = (globals.stack.is_some(), intent == Intent::Read);
    let counts = match found.path {
        Some(_) => globals.file.is_some() || !(is_named && is_looked_at),
        // nobody means another's stack who names none
        None => !is_named && !is_looked_at,
    };
    if counts {
        if is_looked_at {
            tracing::warn!("this stack was brought up from {origin}, not from this manifest");
        }
        return Ok(found);
    }
    let Some(path) = &origin.manifest else { return Ok(Loaded { manifest: Manifest::default(), path: None }) };
    if !path.exists() {
        tracing::warn!("this stack was brought up from {origin}, which no longer exists; the defaults apply");
        return Ok(Loaded { manifest: Manifest::default(), path: None });
    }
    Ok(manifest::load(Some(path), Path::new("/"), &environment)?)
}

impl Scope {
    /// All stacks of this user; with `--dir` those below that folder.
    ///
    /// # Errors
    /// [`Error::Environment`] if there is no such folder, or an engine could not take its path.
    pub(super) fn of(globals: &Globals) -> Result<Self, Error> {
        Ok(Self {
            base: Layout::all(globals.dir.as_deref(), environment)?,
            is_bounded: globals.dir.is_some(),
            kind: globals.engine.unwrap_or(EngineKind::Auto),
            host: globals.host.clone(),
        })
    }
}

/// Any part of the stack may change.
pub(super) const CHANGE: Intent = Intent::Write(Hold::Change);
/// Keys and buckets are added.
pub(super) const ADD: Intent = Intent::Write(Hold::Add);
/// A part of the stack is broken and repaired.
pub(super) const FAULT: Intent = Intent::Write(Hold::Fault);

impl Opened {
    /// The stack that the command line means. If another manifest brought it up, kestack asks the user at the terminal
    /// whether to take it over.
    pub(super) async fn of(globals: &Globals, intent: Intent) -> Result<Self, Error> {
        let options = Options::load(globals, intent)?;
        match Self::new(options.clone(), intent).await {
            Err(Error::Foreign { stack, what, .. }) if output::is_attended() => {
                if !output::confirm(&format!("stack '{stack}' {what}; take it over?")).await {
                    return Err(Error::Declined);
                }
                Self::new(Options { adopt: true, ..options }, intent).await
            }
            opened => opened,
        }
    }
}

impl Reached {
    /// The stack that the command line means, over its engine.
    pub(super) async fn of(globals: &Globals, intent: Intent) -> Result<Self, Error> {
        Opened::of(globals, intent).await?.connect().await
    }
}

impl Session {
    /// Opens an existing stack, running or not.
    pub(super) async fn of(globals: &Globals, intent: Intent) -> Result<Self, Error> {
        Reached::of(globals, intent).await?.session().await
    }

    /// Opens a stack whose two servers run, or one that an orchestrator runs.
    ///
    /// # Errors
    /// [`Error::NotRunning`] otherwise.
    pub(super) async fn running(globals: &Globals, intent: Intent) -> Result<Self, Error> {
        Self::of(globals, intent).await?.require_running().await
    }
}

/// A stack that was brought up before, running or not, and who speaks to it.
pub(super) struct Known {
    pub(super) stack: Stack,
    pub(super) clients: Clients,
}

impl Known {
    fn new(stack: Stack) -> Result<Self, Error> {
        Ok(Self { clients: stack.clients()?, stack })
    }

    /// The stack on the ports that it had when it was brought up, if its KES answers there. Nobody else can be taken for
    /// that: the stack's own authority has signed its certificate. What is asked next goes over the same connection.
    async fn recorded(options: &Options) -> Result<Option<Self>, Error> {
        let layout = options.layout();
        let (home, held) = (Home::recorded(&layout)?, Home::ports(&layout)?);
        let engine = home.map(|home| home.kind);
        // another engine than the recorded one is refused when it is asked
        let meant = [Some(EngineKind::Auto), engine].contains(&Some(options.manifest.engine));
        if held.is_empty() || !meant {
            return Ok(None);
        }
        let known = Self::new(Stack::existing_at(options.manifest.clone(), &options.base, &held)?)?;
        let answered = tokio::time::timeout(GLANCE, known.clients.kes.version()).await;
        Ok(matches!(answered, Ok(Ok(_))).then_some(known))
    }
}

/// A stack that was brought up before, running or not, without its engine: that is asked only for ports that it chose,
/// and only if what is in the stack's folder is not so any more.
///
/// # Errors
/// [`Error::NotRunning`] if there is no stack, or one that has given back the ports that it chose: others may have them.
pub(super) async fn known(globals: &Globals, intent: Intent) -> Result<Known, Error> {
    let opened = Opened::of(globals, intent).await?;
    let options = opened.options.clone();
    let layout = options.layout();
    let has_choice = options.manifest.leaves_ports() && !layout.is_exported();
    if !layout.admin_key().exists() || !has_choice {
        return Known::new(Stack::existing(options.manifest, &options.base, None)?);
    }
    if let Some(known) = Known::recorded(&options).await? {
        return Ok(known);
    }
    let Session { stack, pod, .. } = opened.connect().await?.session().await?;
    if pod.is_none() {
        return Err(Error::NotRunning(stack.manifest.name.to_string()));
    }
    Known::new(stack)
}

/// A duration on the command line: `90s`, `30m`, `2h`, `1d`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let duration: Option<jiff::SignedDuration> = text.parse().ok();
    let duration = duration.and_then(|duration| Duration::try_from(duration).ok());
    duration
        .filter(|duration| !duration.is_zero())
        .ok_or_else(|| format!("'{text}' is not a valid duration: write 90s, 30m or 2h"))
}
