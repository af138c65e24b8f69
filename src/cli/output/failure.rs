//! Errors for programs.

use schemars::JsonSchema;
use serde::Serialize;

use super::super::hint;
use crate::error::Error;

/// An error, as `--output json` writes it to standard error: one line.
#[derive(Debug, Serialize, JsonSchema)]
pub(in crate::cli) struct Failure {
    /// What failed.
    pub(in crate::cli) error: Described,
}

/// What failed, and what to do about it.
#[derive(Debug, Serialize, JsonSchema)]
pub(in crate::cli) struct Described {
    /// A word for each kind of error, such as `not_running`; it does not change.
    pub(in crate::cli) kind: &'static str,
    /// What happened.
    pub(in crate::cli) message: String,
    /// What to do next.
    pub(in crate::cli) hint: Option<String>,
    /// The exit code of the process.
    pub(in crate::cli) exit_code: u8,
}

impl Failure {
    pub(in crate::cli) fn of(error: &Error) -> Self {
        let (message, hint) = parts(error);
        Self::new(kind(error), &message, hint.as_deref(), error.exit_code())
    }

    /// What the parser of arguments refuses.
    pub(in crate::cli) fn usage(said: &str, exit_code: u8) -> Self {
        let said = said.trim_start_matches("error: ").trim_end();
        let (message, rest) = said.split_once("\n\n").unwrap_or((said, ""));
        let hint = rest.split("\n\n").map(str::trim).filter(|part| !part.is_empty()).collect::<Vec<_>>().join("; ");
        Self::new("usage", message, Some(hint.as_str()).filter(|hint| !hint.is_empty()), exit_code)
    }

    fn new(kind: &'static str, message: &str, hint: Option<&str>, exit_code: u8) -> Self {
        let complete = |text: &str| hint::complete(text).into_owned();
        let error = Described { kind, message: complete(message), hint: hint.map(complete), exit_code };
        Self { error }
    }
}

/// What happened, and what to do: that is the last part of a text, from the first line on that is set in.
fn parts(error: &Error) -> (String, Option<String>) {
    let text = error.to_string();
    let hint = match error {
        Error::Ended { .. } => None,
        Error::Environment { hint, .. }
        | Error::Foreign { hint, .. }
        | Error::Served { hint, .. }
        | Error::Usage { hint, .. } => Some(hint.clone()),
        Error::Faulty { fault, .. } => Some(fault.clone()),
        _ => text.rsplit_once("\n  ").map(|(_, hint)| hint.to_owned()),
    };
    let message = hint.as_deref().and_then(|hint| text.strip_suffix(hint)).unwrap_or(&text);
    (message.trim_end().to_owned(), hint)
}

fn kind(error: &Error) -> &'static str {
    match error {
        Error::Declined => "declined",
        Error::Ended { .. } => "server_ended",
        Error::Engine(_) => "engine",
        Error::Environment { .. } => "environment",
        Error::Faulty { .. } => "fault_in_force",
        Error::File { .. } => "file",
        Error::Foreign { .. } => "foreign_stack",
        Error::Guard(_) => "keys_missing",
        Error::Image(_) => "image",
        Error::Interrupted(_) | Error::Unfinished(_) => "interrupted",
        Error::Kes(_) => "kes",
        Error::Manifest(_) => "manifest",
        Error::NotReady { .. } => "not_ready",
        Error::NotRunning(_) => "not_running",
        Error::Output(_) => "output",
        Error::Pki(_) => "certificates",
        Error::S3(_) => "s3",
        Error::Served { .. } => "served",
        Error::Signals(_) => "signals",
        Error::Supply(_) => "supply",
        Error::Template(_) => "template",
        Error::Unhealthy(_) => "unhealthy",
        Error::Usage { .. } => "usage",
        Error::Verification(_) => "not_proven",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_has_its_hint_apart() {
        let of = |error: &Error| {
            let Described { kind, message, hint, exit_code } = Failure::of(error).error;
            (kind, message, hint, exit_code)
        };
        assert_eq!(
            of(&Error::NotRunning("a".into())),
            ("not_running", "stack 'a' is not running".into(), Some("start it with `kestack up`".into()), 3)
        );
        let hint = "look here\n  and there".to_owned();
        let environment = Error::Environment { what: "two\n  lines".into(), hint: hint.clone() };
        assert_eq!(of(&environment), ("environment", "two\n  lines".into(), Some(hint), 6));
        assert_eq!(of(&Error::Declined).2, None);
        let said =
            "error: unexpected argument '--x' found\n\nUsage: kestack up\n\nFor more information, try '--help'.\n";
        let usage = Failure::usage(said, 2).error;
        assert_eq!((usage.kind, usage.message.as_str()), ("usage", "unexpected argument '--x' found"));
        assert_eq!(usage.hint.as_deref(), Some("Usage: kestack up; For more information, try '--help'."));
    }
}
