//! Blocking work, away from the runtime's threads, which watch for signals and drive connections.

use std::io;
use std::path::Path;

use tokio::sync::oneshot;

use super::error::HostError;

/// Does the work on a thread of its own.
///
/// # Errors
/// Those of the work; [`HostError::File`] of `action` and `path` if it panicked.
pub(crate) async fn blocking<T, E>(
    action: &'static str,
    path: &Path,
    work: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Result<T, E>
where
    T: Send + 'static,
    E: From<HostError> + Send + 'static,
{
    let ended = |error| Err(HostError::file(action, path)(io::Error::other(error)).into());
    tokio::task::spawn_blocking(work).await.unwrap_or_else(ended)
}

/// Does the work on a thread that nothing waits for, not even the end of the program: a disk may never answer.
///
/// # Errors
/// If there is no thread for it, or the work panicked.
pub(crate) async fn detached<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
    let (sender, answer) = oneshot::channel();
    // whoever asked may be gone by then
    std::thread::Builder::new().spawn(move || drop(sender.send(work())))?;
    answer.await.map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn work_that_panics_is_an_error_that_names_its_file() {
        let path = Path::new("/a/file");
        assert_eq!(blocking("read", path, || Ok::<_, HostError>(7)).await.unwrap(), 7);
        let error = blocking("read", path, || -> Result<(), HostError> { panic!("on purpose") }).await.unwrap_err();
        assert!(error.to_string().starts_with("cannot read '/a/file': "), "{error}");
    }

    #[test]
    fn detached_work_that_hangs_keeps_no_runtime_from_its_end() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (release, hangs) = std::sync::mpsc::channel::<()>();
        runtime.block_on(async {
            assert_eq!(detached(|| 7).await.unwrap(), 7);
            let work = detached(move || hangs.recv().is_ok());
            assert!(tokio::time::timeout(std::time::Duration::from_millis(20), work).await.is_err());
            assert!(detached(|| panic!("on purpose")).await.is_err());
        });
        drop(runtime);
        assert!(release.send(()).is_ok(), "it still hangs");
    }
}
