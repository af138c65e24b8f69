//! Finds problems and says how to repair them: the engine, the programs, folder, ports, certificates, and above all the
//! keystore, on which everything else depends.

use serde::Serialize;

mod host;
pub mod keystore;

pub use host::examine;

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct Finding {
    /// What was looked at.
    pub what: String,
    /// How it is.
    pub state: State,
    /// What was seen.
    pub seen: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
}

/// How something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// As it should be.
    Good,
    /// Works, but not everything will.
    Warning,
    /// The stack cannot run so.
    Bad,
}

impl Finding {
    /// Something that is as it should be.
    pub fn good(what: &str, seen: impl Into<String>) -> Self {
        Self { what: what.into(), state: State::Good, seen: seen.into(), advice: None }
    }

    /// Something that somebody will miss.
    pub fn warning(what: &str, seen: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { what: what.into(), state: State::Warning, seen: seen.into(), advice: Some(advice.into()) }
    }

    /// Something that keeps the stack from running.
    pub fn bad(what: &str, seen: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { what: what.into(), state: State::Bad, seen: seen.into(), advice: Some(advice.into()) }
    }

    /// True if the stack cannot run so.
    pub fn is_bad(&self) -> bool {
        self.state == State::Bad
    }
}
