//! The same calls for tests without an async runtime.
//!
//! ```no_run
//! # fn test() -> Result<(), kestack::Error> {
//! use kestack::testing::blocking::Stack;
//!
//! let stack = Stack::up(Stack::builder().bucket("invoices"))?;
//! let sandbox = stack.sandbox()?;
//! let client = (stack.s3_endpoint(), sandbox.credentials(), sandbox.bucket());
//! sandbox.remove()?;
//! stack.down()?;
//! # Ok(()) }
//! ```

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};

use super::{Credentials, Error, Fault, StackBuilder};
use crate::error;

/// A stack that is up: [`super::Stack`] with calls that block. They must not be made inside an async runtime.
#[derive(Debug)]
pub struct Stack {
    // first, so that it is dropped before its runtime
    inner: Inner,
    runtime: Arc<Runtime>,
}

#[derive(Debug)]
enum Inner {
    Own(Box<super::Stack>),
    Shared(&'static super::Stack),
}

/// A sandbox: [`super::Sandbox`] with calls that block.
#[derive(Debug)]
pub struct Sandbox {
    inner: super::Sandbox,
    runtime: Arc<Runtime>,
}

impl Stack {
    /// A stack to be, as [`super::Stack::builder`].
    pub fn builder() -> StackBuilder {
        StackBuilder::default()
    }

    /// Brings it up; returns when S3 and KMS answer.
    ///
    /// # Errors
    /// As [`StackBuilder::up`].
    pub fn up(builder: StackBuilder) -> Result<Self, Error> {
        let runtime = runtime()?;
        let inner = runtime.block_on(builder.up())?;
        Ok(Self { inner: Inner::Own(Box::new(inner)), runtime })
    }

    /// The stack that all tests of this test binary share, as [`super::Stack::shared`].
    ///
    /// # Errors
    /// As [`StackBuilder::up`].
    pub fn shared() -> Result<&'static Self, Error> {
        static SHARED: OnceLock<Stack> = OnceLock::new();
        if let Some(stack) = SHARED.get() {
            return Ok(stack);
        }
        let runtime = runtime()?;
        let inner = runtime.block_on(super::Stack::shared())?;
        Ok(SHARED.get_or_init(|| Self { inner: Inner::Shared(inner), runtime }))
    }

    /// Its name, endpoints, credentials and variables: all that needs no call.
    pub fn get(&self) -> &super::Stack {
        match &self.inner {
            Inner::Own(stack) => stack,
            Inner::Shared(stack) => stack,
        }
    }

    /// URL of S3.
    pub fn s3_endpoint(&self) -> String {
        self.get().s3_endpoint()
    }

    /// Its root user, who may do everything.
    pub fn credentials(&self) -> Credentials {
        self.get().credentials()
    }

    /// As [`super::Stack::sandbox`].
    ///
    /// # Errors
    /// As there.
    pub fn sandbox(&self) -> Result<Sandbox, Error> {
        let inner = self.runtime.block_on(self.get().sandbox())?;
        Ok(Sandbox { inner, runtime: Arc::clone(&self.runtime) })
    }

    /// As [`super::Stack::verify`].
    ///
    /// # Errors
    /// As there.
    pub fn verify(&self) -> Result<(), Error> {
        self.runtime.block_on(self.get().verify())
    }

    /// As [`super::Stack::snapshot`].
    ///
    /// # Errors
    /// As there.
    pub fn snapshot(&self, name: &str) -> Result<(), Error> {
        self.runtime.block_on(self.get().snapshot(name))
    }

    /// As [`super::Stack::restore`].
    ///
    /// # Errors
    /// As there; [`ErrorKind::Usage`](super::ErrorKind::Usage) for a stack that others share.
    pub fn restore(&mut self, name: &str) -> Result<(), Error> {
        match &mut self.inner {
            Inner::Own(stack) => self.runtime.block_on(stack.restore(name)),
            Inner::Shared(_) => Err(belongs_to_all("restore a snapshot")),
        }
    }

    /// As [`super::Stack::chaos`]: blocks until the fault is repaired, so run it on a thread next to the code under test.
    ///
    /// # Errors
    /// As there.
    pub fn chaos(&self, fault: Fault, time: Duration) -> Result<(), Error> {
        self.runtime.block_on(self.get().chaos(fault, time))
    }

    /// As [`super::Stack::reset`].
    ///
    /// # Errors
    /// As there.
    pub fn reset(&self) -> Result<(), Error> {
        self.runtime.block_on(self.get().reset())
    }

    /// As [`super::Stack::down`].
    ///
    /// # Errors
    /// As there.
    pub fn down(self) -> Result<(), Error> {
        match self.inner {
            Inner::Own(stack) => self.runtime.block_on(stack.down()),
            Inner::Shared(_) => Err(belongs_to_all("remove it")),
        }
    }

    /// As [`super::Stack::keep`].
    pub fn keep(&mut self) {
        if let Inner::Own(stack) = &mut self.inner {
            stack.keep();
        }
    }
}

impl Sandbox {
    /// Its bucket, key, user and variables: all that needs no call.
    pub fn get(&self) -> &super::Sandbox {
        &self.inner
    }

    /// Its bucket.
    pub fn bucket(&self) -> &str {
        self.inner.bucket()
    }

    /// Its user.
    pub fn credentials(&self) -> Credentials {
        self.inner.credentials()
    }

    /// As [`super::Sandbox::remove`].
    ///
    /// # Errors
    /// As there.
    pub fn remove(self) -> Result<(), Error> {
        self.runtime.block_on(self.inner.remove())
    }
}

fn runtime() -> Result<Arc<Runtime>, Error> {
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build();
    Ok(Arc::new(runtime.map_err(error::Error::file("start", "a runtime"))?))
}

fn belongs_to_all(what: &str) -> Error {
    let what = format!("a test cannot {what} while others share the stack");
    error::Error::Usage { what, hint: "bring up a stack of its own with `Stack::up`".into() }.into()
}
