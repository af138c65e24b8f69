//! A stack that is up.

use std::fmt;
use std::time::Duration;

use super::removal::{Removal, remove};
use super::shared::Users;
use super::{Credentials, Error, Sandbox, StackBuilder, work};
use crate::error;
use crate::host::interrupt::Interrupt;
use crate::host::lock::Hold;
use crate::operate::chaos::{self, Fault};
use crate::operate::reset;
use crate::operate::sandbox::{SandboxName, SandboxOptions, Sandboxes};
use crate::operate::session::{Reached, Session, restore};
use crate::operate::snapshot::{Snapshot, SnapshotName};
use crate::operate::verify;
use crate::resource::apply::Silent;
use crate::stack;

/// A stack that is up, for tests. It has ports, credentials, keys and a folder of its own.
///
/// It is removed when it is dropped, unless it was there before: see [`Stack::keep`] and [`Stack::down`].
pub struct Stack {
    /// No connection: those end with the runtime of the test that made them.
    pub(super) this: stack::Stack,
    pub(super) lease: Duration,
    pub(super) removal: Removal,
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
        self.this.manifest.name.as_str()
    }

    /// URL of S3: `http://127.0.0.1:9000`, or `https://…` after [`StackBuilder::tls`].
    pub fn s3_endpoint(&self) -> String {
        self.this.s3_endpoint()
    }

    /// URL of KES: `https://127.0.0.1:7373`.
    pub fn kes_endpoint(&self) -> String {
        self.this.kes_endpoints()
    }

    /// Certificate (PEM) of the stack's own authority, which signs the certificates of the servers.
    pub fn authority(&self) -> &str {
        &self.this.material.authority.cert_pem
    }

    /// Its root user, who may do everything.
    pub fn credentials(&self) -> Credentials {
        let root = &self.this.material.credentials;
        Credentials { access_key: root.user.clone(), secret_key: root.password.clone() }
    }

    /// The variables that `kestack env` prints: what AWS SDKs, `mc` and `kes` read. They hold secrets.
    pub fn environment(&self) -> Vec<(String, String)> {
        self.this.variables()
    }

    /// Makes a sandbox with the stack's lease, in milliseconds.
    ///
    /// # Errors
    /// Those of KES and MinIO; what was made by then is removed again.
    pub async fn sandbox(&self) -> Result<Sandbox, Error> {
        let all = Sandboxes::of(&self.this, self.this.clients()?);
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
        let findings = self.work(Hold::Fault, async |reached: Reached, interrupt: Interrupt| {
            let Session { stack, context, .. } = &interrupt.ends(reached.session()).await?;
            verify::stack(stack, context, None, &interrupt).await
        });
        let findings = findings.await?;
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
        self.work(Hold::Change, async move |reached: Reached, interrupt: Interrupt| {
            reached.save_snapshot(&name, &interrupt, &Silent).await.map(drop)
        })
        .await
    }

    /// Restores a snapshot; everything that was written since is lost.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](super::ErrorKind::Usage) if there is none of that name. After other errors the stack is as it
    /// was, or the next `kestack up` completes it.
    pub async fn restore(&mut self, name: &str) -> Result<(), Error> {
        let name = snapshot_name(name)?;
        Snapshot::find(&self.removal.options.layout(), &name)?;
        let restored = self.work(Hold::Change, async move |reached: Reached, interrupt: Interrupt| {
            restore(&reached, &name, &interrupt, &Silent).await?;
            Ok(reached.session().await?.require_running().await?.stack)
        });
        self.this = restored.await?;
        Ok(())
    }

    /// Breaks something for that long and repairs it; returns when both servers answer again. Run it next to the code
    /// under test. If the future is dropped before its end, the drop repairs the fault; if the program is killed, the next
    /// [`Stack::chaos`] or `kestack chaos heal` does.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](super::ErrorKind::Usage) or [`ErrorKind::Environment`](super::ErrorKind::Environment) if this
    /// fault is impossible with this stack.
    pub async fn chaos(&self, fault: Fault, time: Duration) -> Result<(), Error> {
        self.work(Hold::Fault, async move |reached: Reached, interrupt: Interrupt| {
            let Session { stack, context, .. } = &interrupt.ends(reached.session()).await?;
            let played = interrupt.ends(chaos::play(stack, context, fault, fastrand::u64(..), time)).await;
            chaos::heal(stack, context).await?;
            played
        })
        .await
    }

    /// Back to the fresh stack: an empty drive, the builder's keys and buckets, and nothing else. Sandboxes are gone.
    ///
    /// # Errors
    /// Those of the engine and of both servers.
    pub async fn reset(&self) -> Result<(), Error> {
        self.work(Hold::Change, async |reached: Reached, interrupt: Interrupt| {
            let Session { stack, context, .. } = &interrupt.ends(reached.session()).await?;
            // once MinIO is stopped, only the end of the reset starts it again
            reset::in_place(stack, context, false, &Silent).await.map(drop)
        })
        .await
    }

    /// Removes the stack with its keys, data and snapshots.
    ///
    /// # Errors
    /// Those of the engine and of its files.
    pub async fn down(mut self) -> Result<(), Error> {
        // also if this call fails or is dropped
        self.removal.is_due = true;
        let reached = work::reach(self.removal.options.clone(), Hold::Change).await?;
        remove(&reached.options, reached.engine().as_ref()).await?;
        self.removal.is_due = false;
        Ok(())
    }

    /// Keeps the stack running after it is dropped, until its lease is over, so that you can look at it after a failed
    /// test.
    pub fn keep(&mut self) {
        self.removal.is_due = false;
    }

    async fn work<T: Send + 'static>(
        &self,
        hold: Hold,
        work: impl AsyncFnOnce(Reached, Interrupt) -> Result<T, error::Error> + Send + 'static,
    ) -> Result<T, Error> {
        Ok(work::done(self.removal.options.clone(), hold, work).await?)
    }
}

fn snapshot_name(name: &str) -> Result<SnapshotName, Error> {
    let wrong = |what: String| error::Error::Usage { what, hint: "choose another name for the snapshot".into() };
    Ok(name.parse().map_err(wrong)?)
}
