//! A stack that is up.

use std::fmt;
use std::time::Duration;

use super::shared::Users;
use super::{Credentials, Error, Sandbox, StackBuilder};
use crate::engine::Engine;
use crate::error;
use crate::host::interrupt::Interrupt;
use crate::host::lock::Hold;
use crate::operate::chaos::{self, Fault};
use crate::operate::reset;
use crate::operate::sandbox::{SandboxName, SandboxOptions, Sandboxes};
use crate::operate::session::{Intent, Opened, Options, Reached, Session, restore};
use crate::operate::snapshot::{self, Snapshot, SnapshotName};
use crate::operate::teardown;
use crate::operate::verify;
use crate::resource::Context;
use crate::resource::apply::Silent;
use crate::stack;

/// How long the removal of a dropped stack may take.
const REMOVAL: Duration = Duration::from_secs(30);

/// A stack that is up, for tests. It has ports, credentials, keys and a folder of its own.
///
/// It is removed when it is dropped: see [`Stack::keep`] and [`Stack::down`].
pub struct Stack {
    pub(super) session: Session,
    pub(super) options: Options,
    pub(super) lease: Duration,
    /// True until nobody has to remove it any more.
    pub(super) owned: bool,
    /// Of a shared one: keeps others from replacing it.
    pub(super) _users: Option<Users>,
}

impl fmt::Debug for Stack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stack").field("name", &self.name()).finish_non_exhaustive()
    }
}

impl Stack {
    /// A stack to be: a random name, free ports, one bucket `encrypted`, a lease of an hour.
    pub fn builder() -> StackBuilder {
        StackBuilder::default()
    }

    /// The stack that all tests of this test binary share, in one process or in many. The first call brings it up, in about
    /// a second; it stays for the next run, which has it in milliseconds, until its lease of four hours is over. Give each
    /// test a [`Stack::sandbox`] in it.
    ///
    /// # Errors
    /// As [`StackBuilder::up`].
    pub async fn shared() -> Result<&'static Self, Error> {
        super::shared::shared().await
    }

    /// Its name.
    pub fn name(&self) -> &str {
        self.stack().manifest.name.as_str()
    }

    /// URL of S3: `http://127.0.0.1:9000`, or `https://…` after [`StackBuilder::tls`].
    pub fn s3_endpoint(&self) -> String {
        self.stack().s3_endpoint()
    }

    /// URL of KES: `https://127.0.0.1:7373`.
    pub fn kes_endpoint(&self) -> String {
        self.stack().kes_endpoints()
    }

    /// Certificate (PEM) of the stack's own authority, which signs the certificates of the servers.
    pub fn authority(&self) -> &str {
        &self.stack().material.authority.cert_pem
    }

    /// Its root user, who may do everything.
    pub fn credentials(&self) -> Credentials {
        let root = &self.stack().material.credentials;
        Credentials { access_key: root.user.clone(), secret_key: root.password.clone() }
    }

    /// The variables that `kestack env` prints: what AWS SDKs, `mc` and `kes` read. They hold secrets.
    pub fn environment(&self) -> Vec<(String, String)> {
        self.stack().variables()
    }

    /// Makes a sandbox with the stack's lease, in milliseconds.
    ///
    /// # Errors
    /// Those of KES and MinIO; what was made by then is removed again.
    pub async fn sandbox(&self) -> Result<Sandbox, Error> {
        let all = Sandboxes::of(self.stack(), self.stack().clients()?);
        let options = SandboxOptions { name: SandboxName::random()?, lease: Some(self.lease), versioning: false };
        let (this, user) = all.create(&options).await?;
        Ok(Sandbox { all, this, user })
    }

    /// Proves that the stack encrypts: no byte of an object is in clear on the drive, KES takes part in every read and
    /// write, and nothing can be read while KES refuses. Objects cannot be read meanwhile, for about half a second for
    /// each bucket.
    ///
    /// # Errors
    /// [`ErrorKind::NotProven`](super::ErrorKind::NotProven) with each claim that is not true.
    pub async fn verify(&self) -> Result<(), Error> {
        let _opened = self.open(Hold::Fault).await?;
        let (stack, context) = (self.stack(), self.context()?);
        let findings = verify::stack(stack, &context, None, &Interrupt::default()).await?;
        if findings.proven() {
            return Ok(());
        }
        let failures = findings.failures().collect::<Vec<_>>().join("; ");
        Err(error::Error::Verification(failures).into())
    }

    /// Takes a snapshot of keys, objects and configuration together. MinIO is stopped for a moment.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](super::ErrorKind::Usage) if the name is taken, or cannot be one.
    pub async fn snapshot(&self, name: &str) -> Result<(), Error> {
        let name = snapshot_name(name)?;
        let reached = self.reach(Hold::Change).await?;
        reached.recover().await?;
        snapshot::save(self.stack(), &self.context()?, &name, &Interrupt::default(), &Silent).await?;
        Ok(())
    }

    /// Restores a snapshot; everything that was written since is lost.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](super::ErrorKind::Usage) if there is none of that name. After other errors the stack is as it
    /// was, or the next `kestack up` completes it.
    pub async fn restore(&mut self, name: &str) -> Result<(), Error> {
        let name = snapshot_name(name)?;
        Snapshot::find(&self.options.layout(), &name)?;
        let reached = self.reach(Hold::Change).await?;
        restore(&reached, &name, &Interrupt::default(), &Silent).await?;
        self.session = reached.session().await?.require_running().await?.unlocked();
        Ok(())
    }

    /// Breaks something for that long and repairs it; returns when both servers answer again. Run it next to the code
    /// under test. If the future is dropped before its end, the next [`Stack::chaos`] or `kestack chaos heal` repairs
    /// the fault.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](super::ErrorKind::Usage) or [`ErrorKind::Environment`](super::ErrorKind::Environment) if this
    /// fault is impossible with this stack.
    pub async fn chaos(&self, fault: Fault, time: Duration) -> Result<(), Error> {
        let _opened = self.open(Hold::Fault).await?;
        let (stack, context) = (self.stack(), self.context()?);
        let played = chaos::play(stack, &context, fault, fastrand::u64(..), time).await;
        chaos::heal(stack, &context).await?;
        Ok(played?)
    }

    /// Back to the fresh stack: an empty drive, the builder's keys and buckets, and nothing else. Sandboxes are gone.
    ///
    /// # Errors
    /// Those of the engine and of both servers.
    pub async fn reset(&self) -> Result<(), Error> {
        let _opened = self.open(Hold::Change).await?;
        reset::in_place(self.stack(), &self.context()?, false, &Silent).await?;
        Ok(())
    }

    /// Removes the stack with its keys, data and snapshots.
    ///
    /// # Errors
    /// Those of the engine and of its files.
    pub async fn down(mut self) -> Result<(), Error> {
        self.owned = false;
        let reached = self.reach(Hold::Change).await?;
        Ok(remove(&reached.options, reached.engine().as_ref()).await?)
    }

    /// Keeps the stack running after it is dropped, until its lease is over, so that you can look at it after a failed
    /// test.
    pub fn keep(&mut self) {
        self.owned = false;
    }

    async fn open(&self, hold: Hold) -> Result<Opened, Error> {
        Ok(Opened::new(self.options.clone(), Intent::Write(hold)).await?)
    }

    async fn reach(&self, hold: Hold) -> Result<Reached, Error> {
        Ok(self.open(hold).await?.connect().await?)
    }

    fn stack(&self) -> &stack::Stack {
        &self.session.stack
    }

    /// With its own connections: each test has its own runtime, and connections end with the runtime that made them.
    fn context(&self) -> Result<Context, Error> {
        Ok(self.stack().context(self.session.context.engine.clone())?)
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        if !self.owned {
            return;
        }
        let options = self.options.clone();
        // on a thread and a runtime of its own: this one may be about to end
        let removed = std::thread::spawn(move || remove_dropped(options)).join();
        if let Ok(Err(error)) = removed {
            tracing::warn!("stack '{}' stays until its lease is over: {error}", self.name());
        }
    }
}

fn remove_dropped(options: Options) -> Result<(), error::Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let work = async {
        let reached = Opened::new(options, Intent::Write(Hold::Change)).await?.connect().await?;
        remove(&reached.options, reached.engine().as_ref()).await
    };
    runtime.map_err(error::Error::file("start", "a runtime"))?.block_on(async {
        tokio::time::timeout(REMOVAL, work).await.unwrap_or_else(|_| {
            Err(error::Error::Environment {
                what: format!("it could not be removed within {} s", REMOVAL.as_secs()),
                hint: "remove it with `kestack gc` once its lease is over".into(),
            })
        })
    })
}

/// Removes the stack with all it has. Its lock is held.
async fn remove(options: &Options, engine: &dyn Engine) -> Result<(), error::Error> {
    let layout = options.layout();
    for found in Snapshot::list(&layout)? {
        Snapshot::remove(&layout, &found.name)?;
    }
    teardown::stack(engine, &layout, options.manifest.name.as_str(), true).await.map(drop)
}

fn snapshot_name(name: &str) -> Result<SnapshotName, Error> {
    let wrong = |what: String| error::Error::Usage { what, hint: "choose another name for the snapshot".into() };
    Ok(name.parse().map_err(wrong)?)
}
