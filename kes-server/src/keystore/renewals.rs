//! Warnings of tokens and credentials that are not renewed: the first failure is reported, then one every few minutes.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::Environment;

/// Shortest time between two warnings. Attempts follow each other within seconds.
const PAUSE: Duration = Duration::from_secs(300);

/// What the log says of the renewals of one thing.
pub(super) struct Renewals {
    /// Such as `the token for Vault`.
    what: &'static str,
    environment: Environment,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Attempts that failed since the last one that did not.
    failures: u64,
    /// When a failure was reported for the last time.
    last: Option<Instant>,
    /// A failure was reported since the last success.
    is_open: bool,
}

impl Renewals {
    /// Of `what`, with warnings to whoever `environment` says.
    pub(super) fn of(what: &'static str, environment: &Environment) -> Self {
        Self { what, environment: environment.clone(), state: Mutex::default() }
    }

    /// An attempt failed; what there was until now is still valid for this time, `None` if nobody knows.
    pub(super) fn failed(&self, why: &dyn fmt::Display, rest: Option<Duration>) {
        if let Some(tally) = self.environment.tally() {
            tally.renewed(false);
        }
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.failures += 1;
        if state.last.is_some_and(|last| last.elapsed() < PAUSE) {
            return;
        }
        (state.last, state.is_open) = (Some(Instant::now()), true);
        let (what, failures) = (self.what, state.failures);
        drop(state);
        let validity = match rest.map(|rest| rest.as_secs()) {
            Some(0) => "not valid any more".to_owned(),
            Some(seconds) => format!("valid for another {seconds} s"),
            None => "valid until an unknown time".to_owned(),
        };
        self.environment.warn(&format!("cannot renew {what} ({validity}, failures in a row: {failures}): {why}"));
    }

    /// An attempt succeeded.
    pub(super) fn succeeded(&self) {
        if let Some(tally) = self.environment.tally() {
            tally.renewed(true);
        }
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let State { failures, is_open, .. } = *state;
        (state.failures, state.is_open) = (0, false);
        drop(state);
        if is_open {
            self.environment.warn(&format!("{}: renewed again, after {failures} failures", self.what));
        }
    }
}

impl fmt::Debug for Renewals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.what)
    }
}
