//! What most work on a stack needs first: the manifest, the engine, the stack.

use std::path::PathBuf;

use crate::engine::discover::{self, Connection, EngineOptions};
use crate::error::Error;
use crate::keystore::from_here;
use crate::manifest::{EngineKind, Manifest};
use crate::resource::interface::Launch;
use crate::stack::{Home, Layout, Origin};

mod all;
mod back;
mod keys_folder;
mod named;
mod opening;
mod restore;
mod round_trip;
mod snapshots;
mod up;

pub(crate) use all::{All, Scope};
pub(crate) use opening::{Intent, Opened, Reached, Session, check_running};
pub(crate) use restore::restore;
pub(crate) use up::{Resolved, bring_up, resolve};

/// The environment is read here and nowhere else. A variable that is empty counts as one that is not set.
#[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
pub(crate) fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// The names of all variables of the environment.
pub(crate) fn environment_names() -> Vec<String> {
    std::env::vars_os().filter_map(|(name, _)| name.into_string().ok()).collect()
}

/// What a keystore's backend finds in the environment where KES runs: none of this shell's variables, in a container
/// as in a process. Everything that it must know is in the manifest, so that whoever starts it again starts the same.
pub(crate) fn keystore_environment(manifest: &Manifest) -> kes_server::keystore::Environment {
    let variables = manifest.kes.env.clone();
    kes_server::keystore::Environment::new(move |name| variables.get(name).map(|value| from_here(value)))
}

/// The manifest with what the command line, or a program, changes, and the folder of all stacks.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    pub(crate) manifest: Manifest,
    /// The file that it was read from, as a canonical path.
    pub(crate) path: Option<PathBuf>,
    /// True if the stack may be one that was brought up from another manifest.
    pub(crate) adopt: bool,
    pub(crate) base: PathBuf,
    /// Where its files are, if that is not a folder of its name below `base`.
    pub(crate) place: Option<Layout>,
    /// Socket of the engine.
    pub(crate) host: Option<String>,
    /// The program `kestack`, if not this one.
    pub(crate) program: Option<PathBuf>,
    /// True if no snapshot is to be taken before another MinIO gets the data.
    pub(crate) without_snapshot: bool,
    /// How the HTTP interface is started; `None` in a library, a drill, and the interface itself.
    pub(crate) launch: Option<Launch>,
}

/// What only whoever starts and stops an exported stack can do; `hint` says what to do instead.
pub(crate) fn run_by_others(hint: &str) -> Error {
    Error::Usage { what: "this is an exported stack, which others start and stop".into(), hint: hint.into() }
}

impl Options {
    /// A stack of its own below `base`, as a program brings it up: from no file, and with nothing that the user chose.
    pub(crate) fn of(manifest: Manifest, base: PathBuf) -> Self {
        Self {
            manifest,
            path: None,
            adopt: false,
            base,
            place: None,
            host: None,
            program: None,
            without_snapshot: false,
            launch: None,
        }
    }

    /// The same of a stack that is there, whatever it was brought up from, and whose data needs no snapshot.
    pub(crate) fn of_existing(manifest: Manifest, base: PathBuf) -> Self {
        Self { adopt: true, without_snapshot: true, ..Self::of(manifest, base) }
    }

    pub(crate) fn layout(&self) -> Layout {
        self.place.clone().unwrap_or_else(|| Layout::new(&self.base, self.manifest.name.as_str()))
    }

    /// Refuses what a stack in the foreground does not do: its servers start and stop with it, and only with it.
    ///
    /// # Errors
    /// [`Error::Usage`] for such a stack.
    pub(crate) fn refuse_served(&self) -> Result<(), Error> {
        if !self.layout().is_served() {
            return Ok(());
        }
        Err(Error::Usage {
            what: "this stack runs in the foreground, where kestack cannot stop one server without the other".into(),
            hint: "bring a stack up with `kestack up` for that".into(),
        })
    }

    /// Refuses a stack that was brought up from another manifest. One that does not say so is everybody's.
    fn check_origin(&self) -> Result<(), Error> {
        let Some(origin) = Origin::load(&self.layout())? else { return Ok(()) };
        if self.adopt || origin.is(self.path.as_deref()) { Ok(()) } else { Err(self.foreign(&origin)) }
    }

    fn foreign(&self, origin: &Origin) -> Error {
        let stack = self.manifest.name.to_string();
        let gone =
            origin.manifest.as_ref().filter(|path| !path.exists()).map(|_| ", which is gone").unwrap_or_default();
        let mine = self.path.as_ref().map(|path| format!(", not from '{}'", path.display())).unwrap_or_default();
        let own = match &origin.manifest {
            Some(path) if gone.is_empty() => format!("work on it with `--name {stack} --file {}`", path.display()),
            Some(_) => "bring its manifest back".to_owned(),
            None => format!("work on it with `--name {stack}` in a folder without a kestack.yaml"),
        };
        Error::Foreign {
            what: format!("was brought up from {origin}{gone}{mine}"),
            hint: format!(
                "{own}, give this one another name (`--name`, or `name:` in kestack.yaml), or take it over with `--adopt`"
            ),
            stack,
        }
    }

    async fn connect(&self) -> Result<Connection, Error> {
        let layout = self.layout();
        Ok(discover::connect(&self.engine(&layout)?).await?)
    }

    fn engine<'a>(&'a self, layout: &'a Layout) -> Result<EngineOptions<'a>, Error> {
        // `auto` is the engine that the stack is up on, if it is
        let kind = match (self.manifest.engine, Home::recorded(layout)?) {
            (EngineKind::Auto, Some(home)) => home.kind,
            (kind, _) => kind,
        };
        Ok(EngineOptions {
            kind,
            host: self.host.clone(),
            env: &environment,
            stack: layout.root(),
            program: self.program.as_deref(),
        })
    }

    /// The options with the address of the engine, if that is another machine's: ports are published there, whatever address
    /// of this machine the manifest names.
    ///
    /// # Errors
    /// [`Error::Engine`] if an engine is named that cannot be used.
    pub(crate) fn at_engine(mut self) -> Result<Self, Error> {
        let layout = self.layout();
        if let Some(address) = discover::address_elsewhere(&self.engine(&layout)?)? {
            self.manifest.host = address;
            self.manifest.ports.elsewhere = true;
        }
        Ok(self)
    }
}
