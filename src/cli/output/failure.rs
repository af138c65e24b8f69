//! Errors for programs.

use schemars::JsonSchema;
use serde::Serialize;

use super::super::hint;
use crate::error::{Error, ErrorKind};

/// An error, as `--output json` writes it to standard error: one line.
#[derive(Debug, Serialize, JsonSchema)]
pub(in crate::cli) struct Failure {
    /// What failed.
    pub(in crate::cli) error: Described,
}

/// What failed, and what to do about it.
#[derive(Debug, Serialize, JsonSchema)]
pub(in crate::cli) struct Described {
    /// What it is about.
    pub(in crate::cli) kind: ErrorKind,
    /// What happened.
    pub(in crate::cli) message: String,
    /// What to do next.
    pub(in crate::cli) hint: Option<String>,
    /// The exit code of the process.
    pub(in crate::cli) exit_code: u8,
}

impl Failure {
    pub(in crate::cli) fn of(error: &Error) -> Self {
        let (message, hint) = error.parts();
        Self::new(error.kind(), &message, hint.as_deref(), error.exit_code())
    }

    /// What the parser of arguments refuses.
    pub(in crate::cli) fn usage(said: &str, exit_code: u8) -> Self {
        let said = said.trim_start_matches("error: ").trim_end();
        let (message, rest) = said.split_once("\n\n").unwrap_or((said, ""));
        let hint = rest.split("\n\n").map(str::trim).filter(|part| !part.is_empty()).collect::<Vec<_>>().join("; ");
        Self::new(ErrorKind::Usage, message, Some(hint.as_str()).filter(|hint| !hint.is_empty()), exit_code)
    }

    fn new(kind: ErrorKind, message: &str, hint: Option<&str>, exit_code: u8) -> Self {
        let complete = |text: &str| hint::complete(text).into_owned();
        let error = Described { kind, message: complete(message), hint: hint.map(complete), exit_code };
        Self { error }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::EngineError;
    use crate::engine::discover::ADVICE;
    use crate::supply::SupplyError;

    #[test]
    fn what_was_tried_is_not_the_advice() {
        let of = |error: Error| {
            let Described { message, hint, .. } = Failure::of(&error).error;
            (message, hint.unwrap())
        };
        let advice = "do one of:\n  this\n  that";
        let tried = vec!["KESTACK_KES_BINARY: not set".to_owned(), "`kes` in PATH: none".to_owned()];
        let exhausted = SupplyError::Exhausted { what: "KES", tried, advice };
        let message = "no KES is available; tried\n  KESTACK_KES_BINARY: not set\n  `kes` in PATH: none";
        assert_eq!(of(exhausted.into()), (message.into(), advice.into()));
        let nobody = format!("no container engine answers; tried\n  /a: cannot connect\n{ADVICE}this\n  that");
        let message = "no container engine answers; tried\n  /a: cannot connect";
        assert_eq!(of(EngineError::NotFound(nobody).into()), (message.into(), format!("{ADVICE}this\n  that")));
        let named = "--host names /a, but it cannot be reached\n  unset it";
        let parts = ("--host names /a, but it cannot be reached".into(), "unset it".into());
        assert_eq!(of(EngineError::NotFound(named.into()).into()), parts);
    }

    #[test]
    fn an_error_has_its_hint_apart() {
        let of = |error: &Error| {
            let Described { kind, message, hint, exit_code } = Failure::of(error).error;
            (kind, message, hint, exit_code)
        };
        assert_eq!(
            of(&Error::NotRunning("a".into())),
            (ErrorKind::NotRunning, "stack 'a' is not running".into(), Some("start it with `kestack up`".into()), 3)
        );
        let hint = "look here\n  and there".to_owned();
        let environment = Error::Environment { what: "two\n  lines".into(), hint: hint.clone() };
        assert_eq!(of(&environment), (ErrorKind::Environment, "two\n  lines".into(), Some(hint), 6));
        assert_eq!(of(&Error::Declined).2, None);
        let said =
            "error: unexpected argument '--x' found\n\nUsage: kestack up\n\nFor more information, try '--help'.\n";
        let usage = Failure::usage(said, 2).error;
        assert_eq!((usage.kind, usage.message.as_str()), (ErrorKind::Usage, "unexpected argument '--x' found"));
        assert_eq!(usage.hint.as_deref(), Some("Usage: kestack up; For more information, try '--help'."));
    }
}
