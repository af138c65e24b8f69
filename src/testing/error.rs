//! The error of the library.

use std::fmt;

use crate::error::{self, ErrorKind};

/// Why a call failed: what happened, and what to do about it.
///
/// `Display` and `Debug` show both, so that the output of a test that unwraps it says enough.
pub struct Error(Box<error::Error>);

impl Error {
    /// What it is about.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind()
    }

    /// What happened.
    pub fn message(&self) -> String {
        self.0.parts().0
    }

    /// What to do about it, if there is something to do.
    pub fn hint(&self) -> Option<String> {
        self.0.parts().1
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.kind(), self.0)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source()
    }
}

#[doc(hidden)]
impl From<error::Error> for Error {
    fn from(error: error::Error) -> Self {
        Self(Box::new(error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_says_what_happened_and_what_to_do() {
        let error = Error::from(error::Error::NotRunning("a".into()));
        assert_eq!(error.kind(), ErrorKind::NotRunning);
        assert_eq!(error.message(), "stack 'a' is not running");
        assert_eq!(error.hint().as_deref(), Some("start it with `kestack up`"));
        assert_eq!(format!("{error:?}"), "NotRunning: stack 'a' is not running\n  start it with `kestack up`");
        let file = error::Error::file("read", "/x")(std::io::ErrorKind::NotFound.into());
        assert!(std::error::Error::source(&Error::from(file)).is_some());
    }
}
