//! Work on a stack that no dropped call cuts short: a test that panics, or waits no longer, must not leave KES or MinIO
//! stopped.

use std::thread::{Builder, JoinHandle};

use tokio::sync::oneshot;

use crate::error::Error;
use crate::host::interrupt::{Caller, Interrupt};
use crate::host::lock::Hold;
use crate::operate::session::{Intent, Opened, Options, Reached};

/// Does the work under the stack's lock, on a thread with a runtime and connections of its own: those of the caller end with
/// its test. If the call is dropped, the work learns it by its interrupt and is waited for, so that it can give back what it
/// changed.
///
/// # Errors
/// Those of the engine and of the work.
pub(super) async fn done<T: Send + 'static>(
    options: Options,
    hold: Hold,
    work: impl AsyncFnOnce(Reached, Interrupt) -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    let (caller, interrupt) = Interrupt::of_caller();
    let (sender, result) = oneshot::channel();
    let work = move || {
        let done = block_on(async {
            let reached = interrupt.ends(reach(options, hold)).await?;
            work(reached, interrupt.clone()).await
        });
        // whoever dropped the call wants to know nothing
        let _ = sender.send(done);
    };
    let thread = Builder::new().name("kestack".into()).spawn(work).map_err(Error::file("start", "a thread"))?;
    let _waits = Waits { caller: Some(caller), thread: Some(thread) };
    let ended = |_| Err(Error::file("finish", "the work")(std::io::Error::other("its thread has ended")));
    result.await.unwrap_or_else(ended)
}

/// Takes the lock and connects to the engine.
///
/// # Errors
/// Those of [`Opened::new`] and of the engine.
pub(super) async fn reach(options: Options, hold: Hold) -> Result<Reached, Error> {
    Opened::new(options, Intent::Write(hold)).await?.connect().await
}

/// Does the work on a runtime of its own.
///
/// # Errors
/// Those of the work; [`Error::File`] if there can be no runtime.
pub(super) fn block_on<T>(work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(Error::file("start", "a runtime"))?.block_on(work)
}

/// Waits for a thread when it is dropped, after it has let the thread know that nobody else does.
struct Waits {
    caller: Option<Caller>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Waits {
    fn drop(&mut self) {
        drop(self.caller.take());
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::warn!("work on a stack has ended with a panic");
        }
    }
}
