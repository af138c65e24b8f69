//! What most work on a stack needs first: the manifest, the engine, the stack.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::doctor::keystore::from_here;
use crate::engine::discover::{self, Connection, EngineWish};
use crate::engine::{Engine, PodState};
use crate::error::Error;
use crate::lock::StackLock;
use crate::manifest::{EngineKind, Manifest};
use crate::probe;
use crate::resource::Context;
use crate::snapshot;
use crate::stack::{Home, Layout, Stack};

mod up;

pub(crate) use up::{bring_up, resolve};

/// How long an orchestrator may take to start an exported stack.
const PATIENCE: Duration = Duration::from_secs(60);

/// The environment is read here and nowhere else.
#[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
pub(crate) fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// What a keystore's backend finds in the environment where KES runs: none of this shell's variables, in a container
/// as in a process. What it shall know stands in the manifest, so that whoever starts it anew starts the same.
pub(crate) fn keystore_environment(manifest: &Manifest) -> kes_server::keystore::Environment {
    let variables = manifest.kes.env.clone();
    kes_server::keystore::Environment::new(move |name| variables.get(name).map(|value| from_here(value)))
}

/// The manifest with what the command line, or a program, changes, and the folder of all stacks.
#[derive(Debug, Clone)]
pub(crate) struct Wish {
    pub(crate) manifest: Manifest,
    /// The file that it was read from.
    pub(crate) path: Option<PathBuf>,
    pub(crate) base: PathBuf,
    /// Socket of the engine.
    pub(crate) host: Option<String>,
    /// The program `kestack`, if not this one.
    pub(crate) program: Option<PathBuf>,
}

impl Wish {
    pub(crate) fn layout(&self) -> Layout {
        Layout::new(&self.base, self.manifest.name.as_str())
    }

    pub(crate) async fn connect(&self) -> Result<Connection, Error> {
        let layout = self.layout();
        // `auto` is the engine that the stack is up on, if it is
        let kind = match (self.manifest.engine, Home::recorded(&layout)?) {
            (EngineKind::Auto, Some(home)) => EngineKind::named(&home.kind).unwrap_or(EngineKind::Auto),
            (kind, _) => kind,
        };
        let wish = EngineWish {
            kind,
            host: self.host.clone(),
            env: &environment,
            stack: layout.root(),
            program: self.program.as_deref(),
        };
        let connection = discover::connect(&wish).await?;
        self.check_home(connection.engine.as_ref())?;
        Ok(connection)
    }

    /// Refuses a stack that is up on another engine than this one; asked again under the lock.
    pub(crate) fn check_home(&self, engine: &dyn Engine) -> Result<(), Error> {
        Home::of(engine.info()).check(&self.layout())
    }

    /// Ends what a killed `snapshot` left. The stack's lock is held.
    pub(crate) async fn recover(&self, engine: &dyn Engine) -> Result<(), Error> {
        snapshot::recover(&self.layout(), engine, self.manifest.name.as_str()).await
    }

    pub(crate) async fn lock(&self) -> Result<StackLock, Error> {
        let layout = self.layout();
        StackLock::acquire(layout.root(), || tracing::warn!("another kestack works on this stack; waiting for it"))
            .await
    }
}

/// A stack that was brought up before, and the connection to its engine.
pub(crate) struct Session {
    pub(crate) stack: Stack,
    pub(crate) context: Context,
    pub(crate) pod: Option<PodState>,
    /// Keeps an engine service of our own alive.
    _connection: Connection,
}

impl Session {
    /// Opens an existing stack, running or not.
    pub(crate) async fn of(wish: Wish) -> Result<Self, Error> {
        let connection = wish.connect().await?;
        Self::over(wish, connection).await
    }

    /// Opens an existing stack over a connection that is there already.
    pub(crate) async fn over(wish: Wish, connection: Connection) -> Result<Self, Error> {
        let engine: Arc<dyn Engine> = connection.engine.clone();
        let pod = engine.pod(wish.manifest.name.as_str()).await?;
        let stack = Stack::existing(wish.manifest, &wish.base, pod.as_ref())?;
        let context = stack.context(engine)?;
        Ok(Self { stack, context, pod, _connection: connection })
    }

    /// Requires that the stack's two servers run, or that an orchestrator runs it: such a one is known by its answers.
    ///
    /// # Errors
    /// [`Error::NotRunning`] otherwise.
    pub(crate) async fn require_running(self) -> Result<Self, Error> {
        let up = self.pod.as_ref().is_some_and(|pod| {
            pod.running
                && pod.containers.len() > self.stack.ports.kes.len()
                && pod.containers.iter().all(|container| container.running)
        });
        if self.stack.layout.exported().exists() {
            check_containers(self.context.engine.info().kind)?;
            let s3 = &self.context.s3;
            // a signed call too: MinIO answers that it is ready before it knows its users
            probe::until_ready("MinIO of the exported stack", PATIENCE, || async {
                s3.health("ready").await?;
                s3.list_buckets().await
            })
            .await?;
        } else if !up {
            return Err(Error::NotRunning(self.stack.manifest.name.to_string()));
        }
        Ok(self)
    }
}

/// An exported stack runs in containers, and so must what speaks to its KES.
fn check_containers(engine: &str) -> Result<(), Error> {
    if engine != crate::engine::process::KIND {
        return Ok(());
    }
    Err(Error::Usage {
        what: "this stack is an exported one, which runs in containers".into(),
        hint: "name the engine that runs it: --engine podman or --engine docker".into(),
    })
}
