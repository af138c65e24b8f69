//! What the command line says of the stack that a verb works on.

use std::time::Duration;

use super::Globals;
use crate::error::Error;
use crate::lock::Hold;
use crate::manifest::{self, EngineKind};
pub(super) use crate::session::{Intent, Opened, Reached, Session, Wish, environment, keystore_environment};
use crate::stack::{Clients, Home, Layout, Stack};

/// How long a KES that runs may take to answer whether it is the stack's; a slower one is looked for through the engine.
const GLANCE: Duration = Duration::from_secs(1);

impl Wish {
    pub(super) fn load(globals: &Globals) -> Result<Self, Error> {
        let here = std::env::current_dir().map_err(Error::file("find", "."))?;
        let manifest::Loaded { mut manifest, path } = manifest::load(globals.file.as_deref(), &here, &environment)?;
        if let Some(name) = &globals.stack {
            manifest.name = name.parse().map_err(|error| Error::Usage {
                what: format!("--name: {error}"),
                hint: "use letters, digits, `-` and `_`".into(),
            })?;
        }
        manifest.engine = globals.engine.unwrap_or(manifest.engine);
        if let Some(kind) = globals.keystore {
            manifest.keystore = kind.section(&environment)?;
        }
        let dir = globals.dir.clone().or_else(|| manifest.dir.clone());
        let base = Layout::base(dir.as_deref(), manifest.name.as_str(), environment)?;
        let wish = Self { manifest, path, base, host: globals.host.clone(), program: None };
        if globals.file.is_none() {
            wish.check_named_files()?;
        }
        Ok(wish)
    }
}

/// Any part of the stack may change.
pub(super) const CHANGE: Intent = Intent::Write(Hold::Change);
/// Keys and buckets are added.
pub(super) const ADD: Intent = Intent::Write(Hold::Add);
/// A part of the stack is broken and repaired.
pub(super) const FAULT: Intent = Intent::Write(Hold::Fault);

impl Opened {
    /// The stack that the command line means.
    pub(super) async fn of(globals: &Globals, intent: Intent) -> Result<Self, Error> {
        Self::new(Wish::load(globals)?, intent).await
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
    async fn recorded(wish: &Wish) -> Result<Option<Self>, Error> {
        let layout = wish.layout();
        let (home, held) = (Home::recorded(&layout)?, Home::ports(&layout)?);
        let engine = home.and_then(|home| EngineKind::named(&home.kind));
        // another engine than the recorded one is refused when it is asked
        let meant = [Some(EngineKind::Auto), engine].contains(&Some(wish.manifest.engine));
        if held.is_empty() || !meant {
            return Ok(None);
        }
        let known = Self::new(Stack::existing_at(wish.manifest.clone(), &wish.base, &held)?)?;
        let answered = tokio::time::timeout(GLANCE, known.clients.kes.version()).await;
        Ok(matches!(answered, Ok(Ok(_))).then_some(known))
    }
}

/// A stack that was brought up before, running or not, without its engine: that is asked only for ports that it chose,
/// and only if what stands in the stack's folder is not so any more.
pub(super) async fn known(globals: &Globals) -> Result<Known, Error> {
    let opened = Opened::of(globals, Intent::Read).await?;
    let wish = opened.wish.clone();
    let automatic = wish.manifest.kes.port == 0 || wish.manifest.minio.port == 0;
    if !automatic {
        return Known::new(Stack::existing(wish.manifest, &wish.base, None)?);
    }
    if let Some(known) = Known::recorded(&wish).await? {
        return Ok(known);
    }
    Known::new(opened.connect().await?.session().await?.stack)
}

/// A duration on the command line: `90s`, `30m`, `2h`, `1d`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let duration: Option<jiff::SignedDuration> = text.parse().ok();
    let duration = duration.and_then(|duration| Duration::try_from(duration).ok());
    duration
        .filter(|duration| !duration.is_zero())
        .ok_or_else(|| format!("'{text}' is no duration: write 90s, 30m, 2h"))
}
