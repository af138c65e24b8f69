//! The one way to a stack. Every verb takes the same steps in the same order and stops where it has what it needs:
//! [`Opened`] holds the lock, [`Reached`] speaks to the engine, [`Session`] has the stack that is there.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::Options;
use crate::engine::discover::Connection;
use crate::engine::{Engine, PodState};
use crate::error::Error;
use crate::host::lock::{Hold, Holder, StackLock};
use crate::manifest::EngineKind;
use crate::operate::snapshot;
use crate::resource::Context;
use crate::resource::probe;
use crate::stack::seed::Content;
use crate::stack::{Home, Stack, own_pod};

/// How long an orchestrator may take to start an exported stack.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a verb does with a stack, and so what it must hold meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Intent {
    /// Looks at it, whosever it is.
    Read,
    /// Changes something in it that is made to be changed by many at once, such as sandboxes: keeps nobody out.
    Share,
    /// Changes it in a way that its lock must know of.
    Write(Hold),
}

/// A stack whose lock is held, if the verb needs it. Nobody was asked anything yet.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) options: Options,
    lock: Option<StackLock>,
}

/// A stack whose engine answers. Whether the stack is there is not known yet.
#[derive(Debug)]
pub(crate) struct Reached {
    pub(crate) options: Options,
    connection: Connection,
    lock: Option<StackLock>,
}

/// A stack that was brought up before, and the connection to its engine.
pub(crate) struct Session {
    pub(crate) stack: Stack,
    pub(crate) context: Context,
    pub(crate) pod: Option<PodState>,
    /// Keeps an engine service of our own alive.
    _connection: Option<Connection>,
    _lock: Option<StackLock>,
}

impl Opened {
    /// Takes the lock that `intent` needs, waiting for it if another kestack has it.
    ///
    /// # Errors
    /// [`Error::Foreign`] if the caller wants to change a stack that was brought up from another manifest.
    pub(crate) async fn new(options: Options, intent: Intent) -> Result<Self, Error> {
        Self::within(options, intent, None).await
    }

    /// The same for a caller who waits for the lock no longer than `patience`, if there is one.
    ///
    /// # Errors
    /// [`Error::Busy`] with who has the lock, and those of [`Opened::new`].
    pub(crate) async fn within(options: Options, intent: Intent, patience: Option<Duration>) -> Result<Self, Error> {
        options.layout().check_version()?;
        let lock = match intent {
            Intent::Read | Intent::Share => None,
            Intent::Write(hold) => Some(locked(&options, hold, patience).await?),
        };
        if intent != Intent::Read {
            options.check_origin()?;
        }
        Ok(Self { options: options.at_engine()?, lock })
    }

    /// Connects to the stack's engine: looked for under the lock, so that it cannot change any more.
    ///
    /// # Errors
    /// Those of the engine, and [`Error::Environment`] if the stack is up on another one.
    pub(crate) async fn connect(self) -> Result<Reached, Error> {
        let connection = self.options.connect().await?;
        self.over(connection).await
    }

    /// The same for who can go on without an engine: if none answers, the lock is kept, and the second part says why.
    ///
    /// # Errors
    /// [`Error::Environment`] if the stack is up on another engine.
    pub(crate) async fn connect_or_keep(self) -> Result<Result<Reached, (Self, Error)>, Error> {
        match self.options.connect().await {
            Ok(connection) => self.over(connection).await.map(Ok),
            Err(error) => Ok(Err((self, error))),
        }
    }

    async fn over(self, connection: Connection) -> Result<Reached, Error> {
        let Self { options, lock } = self;
        let (engine, name) = (connection.engine.as_ref(), options.manifest.name.as_str());
        Box::pin(Home::check(engine, &options.layout(), name)).await?;
        Ok(Reached { options, connection, lock })
    }
}

impl Opened {
    /// The running stack with the content that a reset brings back: mistakes in that are found before anything is lost.
    ///
    /// # Errors
    /// [`Error::NotRunning`], also if a restore was interrupted; those of the content's files.
    pub(crate) async fn ready_to_reset(self) -> Result<Session, Error> {
        if snapshot::is_pending(&self.options.layout()) {
            return Err(Error::NotRunning(self.options.manifest.name.to_string()));
        }
        let content = Content::load(&self.options.manifest.seed)?;
        let mut session = self.connect().await?.session().await?.require_running().await?;
        session.stack.seed = content;
        Ok(session)
    }
}

async fn locked(options: &Options, hold: Hold, patience: Option<Duration>) -> Result<StackLock, Error> {
    let name = &options.manifest.name;
    let (layout, seen) = (options.layout(), OnceLock::new());
    let waiting = |holder: &Holder| {
        let _ = seen.set(holder.to_string());
        if patience.is_none() {
            tracing::info!("stack '{name}': waiting for {holder}");
        }
    };
    let lock = async {
        if layout.is_served() {
            StackLock::in_foreground(layout.root(), hold, waiting).await
        } else {
            StackLock::acquire(layout.root(), hold, waiting).await
        }
    };
    let Some(patience) = patience else { return Ok(lock.await?) };
    match tokio::time::timeout(patience, lock).await {
        Ok(lock) => Ok(lock?),
        Err(_) => Err(Error::Busy {
            stack: name.to_string(),
            holder: seen.into_inner().unwrap_or_else(|| "another kestack".into()),
        }),
    }
}

impl Reached {
    /// The engine.
    pub(crate) fn engine(&self) -> &Arc<dyn Engine> {
        &self.connection.engine
    }

    /// The same stack under a lock, for who had to do something on its engine before.
    ///
    /// # Errors
    /// [`Error::Environment`] if the stack came up on another engine meanwhile.
    pub(crate) async fn lock(self, hold: Hold) -> Result<Self, Error> {
        Opened::new(self.options, Intent::Write(hold)).await?.over(self.connection).await
    }

    /// Ends what a killed `snapshot` left. The lock is held.
    pub(crate) async fn recover(&self) -> Result<(), Error> {
        let name = self.options.manifest.name.as_str();
        snapshot::recover(&self.options.layout(), self.engine().as_ref(), name).await
    }

    /// The existing stack, running or not.
    ///
    /// # Errors
    /// [`Error::NotRunning`] if it was never brought up.
    pub(crate) async fn session(self) -> Result<Session, Error> {
        let Self { options, connection, lock } = self;
        let engine = connection.engine.clone();
        let pod = own_pod(engine.as_ref(), &options.layout(), options.manifest.name.as_str()).await?;
        let stack = Stack::existing(options.manifest, &options.base, pod.as_ref())?;
        let context = stack.context(engine)?;
        Ok(Session { stack, context, pod, _connection: Some(connection), _lock: lock })
    }
}

impl Session {
    /// A stack in the foreground, whose servers are children of this very process.
    pub(crate) fn served(stack: Stack, context: Context) -> Self {
        Self { stack, context, pod: None, _connection: None, _lock: None }
    }

    /// The same stack without its lock: others may change it from now on.
    pub(crate) fn unlocked(self) -> Self {
        Self { _lock: None, ..self }
    }

    /// Requires that the stack's two servers run, or that an orchestrator runs it: such a one is known by its answers.
    ///
    /// # Errors
    /// [`Error::NotRunning`] otherwise.
    pub(crate) async fn require_running(self) -> Result<Self, Error> {
        check_running(&self.stack, &self.context, self.pod.as_ref()).await?;
        Ok(self)
    }
}

/// Requires that the two servers of a stack run, whose pod that is.
///
/// # Errors
/// [`Error::NotRunning`] otherwise.
pub(crate) async fn check_running(stack: &Stack, context: &Context, pod: Option<&PodState>) -> Result<(), Error> {
    let up = pod.is_some_and(|pod| {
        pod.running
            && pod.containers.len() > stack.ports.kes.len()
            && pod.containers.iter().all(|container| container.running)
    });
    if stack.layout.is_exported() {
        check_containers(context.engine.info().kind)?;
        let s3 = &context.s3;
        // a signed call too: MinIO answers that it is ready before it knows its users
        probe::until_ready("MinIO of the exported stack", PATIENCE, || async {
            s3.health("ready").await?;
            s3.list_buckets().await
        })
        .await?;
    } else if !up && !stack.layout.is_served() {
        return Err(Error::NotRunning(stack.manifest.name.to_string()));
    }
    Ok(())
}

/// An exported stack runs in containers, and so must what speaks to its KES.
fn check_containers(engine: EngineKind) -> Result<(), Error> {
    if engine != EngineKind::Process {
        return Ok(());
    }
    Err(Error::Usage {
        what: "this is an exported stack, which runs in containers".into(),
        hint: "name the engine that runs it: --engine podman or --engine docker".into(),
    })
}
