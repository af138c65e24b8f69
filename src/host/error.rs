//! Why something of this host does not work.

use std::io;
use std::path::PathBuf;

use super::interrupt::Cause;

/// An error of files, locks, owners or signals.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// Something is in the way: an owner, a lock, a folder.
    #[error("{what}\n  {hint}")]
    Environment {
        /// What is wrong.
        what: String,
        /// What to do about it.
        hint: String,
    },
    /// A file or folder could not be read or written.
    #[error("cannot {action} '{}': {source}", path.display())]
    File {
        /// What was tried: `read`, `write`, `create`, …
        action: &'static str,
        /// Which file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A signal ended the work.
    #[error("interrupted by {0}")]
    Interrupted(Cause),
    /// The system does not let us wait for signals.
    #[error("cannot wait for signals: {0}")]
    Signals(#[source] io::Error),
    /// A file that somebody named must not be used.
    #[error("{what}\n  {hint}")]
    Untrusted {
        /// Which one, and why.
        what: String,
        /// What would be right.
        hint: String,
    },
}

impl HostError {
    /// Shorthand for [`HostError::File`].
    pub(crate) fn file(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { action, path, source }
    }
}
