//! Blocking work, away from the runtime's threads, which watch for signals and drive connections.

use std::path::Path;

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
    let ended = |error| Err(HostError::file(action, path)(std::io::Error::other(error)).into());
    tokio::task::spawn_blocking(work).await.unwrap_or_else(ended)
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
}
