//! Stacks for test suites in Rust: what `kestack up`, `sandbox`, `chaos`, `reset` and `down` do, as calls.
//!
//! ```no_run
//! # async fn test() -> Result<(), kestack::Error> {
//! use std::time::Duration;
//!
//! use kestack::testing::{Fault, Stack};
//!
//! let stack = Stack::builder().bucket("invoices").up().await?;
//! let client = (stack.s3_endpoint(), stack.environment());
//! stack.chaos(Fault::KesDown, Duration::from_secs(2)).await?;
//! stack.reset().await?;
//! stack.down().await?;
//! # Ok(()) }
//! ```
//!
//! A stack that is dropped without [`Stack::down`], as by a test that panics, goes on running: dropping never waits. It
//! is removed when its lease is over, by the next [`StackBuilder::up`] on that engine or by `kestack gc`.

use std::time::Duration;

use zeroize::Zeroizing;

use crate::error::Error;
use crate::host::lock::Hold;
use crate::operate::chaos;
use crate::operate::reset;
use crate::operate::sandbox::{SandboxName, SandboxOptions, SandboxUser, Sandboxes};
use crate::operate::session::{Intent, Opened, Options, Session};
use crate::operate::teardown;
use crate::resource::apply::Silent;
use crate::stack;

mod builder;

pub use crate::manifest::EngineKind;
pub use crate::operate::chaos::Fault;
pub use builder::StackBuilder;

/// A stack that is up, for tests. It has ports, credentials, keys and a folder of its own.
pub struct Stack {
    session: Session,
    options: Options,
    lease: Duration,
}

/// A bucket, the key that encrypts it, and a user that may use these two and nothing else, inside a stack. What is not
/// dropped by [`Sandbox::remove`] goes with its stack.
#[derive(Debug)]
pub struct Sandbox {
    all: Sandboxes,
    this: crate::operate::sandbox::Sandbox,
    user: SandboxUser,
}

/// The credentials of a user of a stack or a sandbox.
#[derive(Clone)]
pub struct Credentials {
    /// Access key.
    pub access_key: String,
    /// Secret key.
    pub secret_key: Zeroizing<String>,
}

impl std::fmt::Debug for Stack {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stack").field("name", &self.name()).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Credentials(..)")
    }
}

impl Stack {
    /// A stack to be: a random name, free ports, one bucket `encrypted`, a lease of an hour.
    pub fn builder() -> StackBuilder {
        StackBuilder::default()
    }

    /// Its name.
    pub fn name(&self) -> &str {
        self.stack().manifest.name.as_str()
    }

    /// URL of S3: `http://127.0.0.1:9000`, or `https://…` after [`StackBuilder::tls`].
    pub fn s3_endpoint(&self) -> String {
        self.stack().s3_endpoint()
    }

    /// Certificate (PEM) of the stack's own authority, which its servers prove themselves by.
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
        let sandboxes = Sandboxes::of(self.stack(), self.stack().clients()?);
        let options = SandboxOptions { name: SandboxName::random()?, lease: Some(self.lease), versioning: false };
        let (sandbox, user) = sandboxes.create(&options).await?;
        Ok(Sandbox { all: sandboxes, this: sandbox, user })
    }

    /// Breaks something for that long and repairs it; returns when both servers are well again. Run it next to the code
    /// under test. Dropped before its end, it leaves the repairing to the next [`Stack::chaos`], or to `kestack chaos
    /// heal`.
    ///
    /// # Errors
    /// [`Error::Usage`] or [`Error::Environment`] if this fault is impossible with this stack.
    pub async fn chaos(&self, fault: Fault, time: Duration) -> Result<(), Error> {
        let _opened = self.open(Hold::Fault).await?;
        let (stack, context) = (self.stack(), &self.session.context);
        let played = chaos::play(stack, context, fault, fastrand::u64(..), time).await;
        chaos::heal(stack, context).await?;
        played
    }

    /// Back to the fresh stack: an empty drive, the builder's keys and buckets, and nothing else. Sandboxes are gone.
    ///
    /// # Errors
    /// Those of the engine and of both servers.
    pub async fn reset(&self) -> Result<(), Error> {
        let _opened = self.open(Hold::Change).await?;
        reset::in_place(self.stack(), &self.session.context, false, &Silent).await.map(drop)
    }

    /// Removes the stack with its keys and data.
    ///
    /// # Errors
    /// Those of the engine and of its files.
    pub async fn down(self) -> Result<(), Error> {
        let _opened = self.open(Hold::Change).await?;
        let engine = self.session.context.engine.as_ref();
        teardown::stack(engine, &self.options.layout(), self.name(), true).await.map(drop)
    }

    async fn open(&self, hold: Hold) -> Result<Opened, Error> {
        Opened::new(self.options.clone(), Intent::Write(hold)).await
    }

    fn stack(&self) -> &stack::Stack {
        &self.session.stack
    }
}

impl Sandbox {
    /// Its bucket; what is put there is encrypted.
    pub fn bucket(&self) -> &str {
        &self.this.bucket
    }

    /// Its key in KES.
    pub fn key(&self) -> &str {
        &self.this.key
    }

    /// Its user, who may use bucket and key and nothing else.
    pub fn credentials(&self) -> Credentials {
        Credentials { access_key: self.user.access_key.clone(), secret_key: self.user.secret_key.clone() }
    }

    /// The variables that `kestack sandbox env` prints. They hold secrets.
    pub fn environment(&self) -> Vec<(String, String)> {
        self.this.variables(&self.user)
    }

    /// Removes it with all it holds.
    ///
    /// # Errors
    /// Those of KES and MinIO; the next attempt finishes it.
    pub async fn remove(self) -> Result<(), Error> {
        self.all.drop(&self.this.name).await.map(drop)
    }
}
