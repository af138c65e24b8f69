//! What the command line says of the stack that a verb works on.

use std::time::Duration;

use super::Globals;
use crate::error::Error;
use crate::manifest;
pub(super) use crate::session::{Session, Wish, environment, keystore_environment};
use crate::stack::{Layout, Stack};

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
        let base = Layout::base(dir.as_deref(), environment);
        Ok(Self { manifest, path, base, host: globals.host.clone(), program: None })
    }
}

impl Session {
    /// Opens an existing stack, running or not.
    pub(super) async fn open(globals: &Globals) -> Result<Self, Error> {
        Self::of(Wish::load(globals)?).await
    }

    /// Opens a stack whose two servers run, or one that an orchestrator runs.
    ///
    /// # Errors
    /// [`Error::NotRunning`] otherwise.
    pub(super) async fn running(globals: &Globals) -> Result<Self, Error> {
        Self::open(globals).await?.require_running().await
    }
}

/// A stack that was brought up before, running or not, without its engine: that is asked only for ports that it chose.
pub(super) async fn known(globals: &Globals) -> Result<Stack, Error> {
    let wish = Wish::load(globals)?;
    let automatic = wish.manifest.kes.port == 0 || wish.manifest.minio.port == 0;
    let pod = if automatic { wish.connect().await?.engine.pod(wish.manifest.name.as_str()).await? } else { None };
    Stack::existing(wish.manifest, &wish.base, pod.as_ref())
}

/// A duration on the command line: `90s`, `30m`, `2h`, `1d`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let duration: Option<jiff::SignedDuration> = text.parse().ok();
    let duration = duration.and_then(|duration| Duration::try_from(duration).ok());
    duration
        .filter(|duration| !duration.is_zero())
        .ok_or_else(|| format!("'{text}' is no duration: write 90s, 30m, 2h"))
}
