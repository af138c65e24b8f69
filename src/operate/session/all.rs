//! Every stack of this user, and the engines that they are on.

use std::path::{Path, PathBuf};

use super::environment;
use crate::engine::Engine;
use crate::engine::discover::{self, EngineOptions, Every};
use crate::error::Error;
use crate::manifest::EngineKind;
use crate::operate::stacks::{self, Listed};
use crate::stack::Home;

/// Which stacks are looked for.
#[derive(Debug, Clone)]
pub(crate) struct Scope {
    /// The folder of stacks, in which those that are down are found.
    pub(crate) base: PathBuf,
    /// Whether only stacks below that folder are meant.
    pub(crate) is_bounded: bool,
    pub(crate) kind: EngineKind,
    /// Socket of the engine, if only that one is meant.
    pub(crate) host: Option<String>,
}

/// Stacks, and all engines that answer.
pub(crate) struct All {
    pub(crate) stacks: Vec<Listed>,
    pub(crate) engines: Every,
}

impl All {
    pub(crate) async fn of(scope: &Scope) -> Result<Self, Error> {
        let Scope { base, is_bounded, kind, host } = scope;
        let any = base.join("any");
        let options = EngineOptions { kind: *kind, host: host.clone(), env: &environment, stack: &any, program: None };
        let engines = discover::every(&options).await;
        let answering: Vec<_> = engines.connections.iter().map(|connection| connection.engine.as_ref()).collect();
        let stacks = stacks::all(&answering, base, is_bounded.then_some(base.as_path())).await?;
        Ok(Self { stacks, engines })
    }

    /// The engine that a stack is on; for one that is down, any that may remove its files.
    pub(crate) fn engine_of(&self, stack: &Listed, folder: &Path) -> Option<&dyn Engine> {
        let mut engines = self.engines.connections.iter().map(|connection| connection.engine.as_ref());
        engines.find(|engine| {
            let info = engine.info();
            let is_home = stack.home.as_ref().is_none_or(|home| home.is(&Home::of(info)));
            is_home && (info.has_containers() || folder.parent() == Some(Path::new(&info.address)))
        })
    }
}
