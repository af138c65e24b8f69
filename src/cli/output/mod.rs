//! The only code that prints: results on standard output, progress and messages on standard error.

use std::io::{self, ErrorKind, Write};

use serde::Serialize;

use super::{Format, hint};
use crate::engine::EngineInfo;
use crate::error::Error;
pub(super) use crate::operate::versioned::{SCHEMA_VERSION, Versioned};
use crate::resource::apply::{Progress, Silent};

mod failure;
mod message;
mod progress;
mod table;
mod terminal;

pub(super) use failure::Failure;
pub(super) use message::{Messages, report};
pub(super) use message::{confirm, error, foreground, is_attended, note, refusal, remember, usage};
pub(super) use table::table;

/// Where a verb shows what it found and did.
#[derive(Debug)]
pub(super) struct Output {
    format: Format,
    quiet: bool,
    every_step: bool,
}

impl Output {
    pub(super) fn new(format: Format, quiet: bool, every_step: bool) -> Self {
        Self { format, quiet, every_step }
    }

    /// The same, with results as JSON.
    pub(super) fn as_json(&self) -> Self {
        Self { format: Format::Json, ..*self }
    }

    /// True if no progress is wanted.
    pub(super) fn is_quiet(&self) -> bool {
        self.quiet
    }

    pub(super) fn json(&self) -> bool {
        self.format == Format::Json
    }

    /// The result of a verb: `human` writes it for people, the value itself is its JSON form.
    ///
    /// # Errors
    /// [`Error::Output`] if it cannot be written.
    pub(super) fn result<T: Serialize>(&self, result: &T, human: impl FnOnce(&T) -> String) -> Result<(), Error> {
        if self.json() {
            line(&serde_json::to_string_pretty(&Versioned::new(result)).map_err(|error| Error::Output(error.into()))?)
        } else {
            let text = hint::complete(human(result).trim_end()).into_owned();
            line(&terminal::fitted(&text, terminal::width(&io::stdout())))
        }
    }

    /// What a verb has changed: as [`Output::result`], but nobody who wants it quiet reads it as text.
    ///
    /// # Errors
    /// As [`Output::result`].
    pub(super) fn done<T: Serialize>(&self, done: &T, human: impl FnOnce(&T) -> String) -> Result<(), Error> {
        if self.quiet && !self.json() { Ok(()) } else { self.result(done, human) }
    }

    /// One of several results that follow each other, such as lines of a log: in JSON each is one line. False if nobody
    /// reads any more.
    ///
    /// # Errors
    /// [`Error::Output`] if it cannot be written.
    pub(super) fn entry<T: Serialize>(&self, entry: &T, human: impl FnOnce(&T) -> String) -> Result<bool, Error> {
        let text = if self.json() {
            serde_json::to_string(&Versioned::new(entry)).map_err(|error| Error::Output(error.into()))?
        } else {
            human(entry)
        };
        written(format!("{text}\n").as_bytes())
    }

    /// Shows how far a verb is: live on a terminal, line by line elsewhere.
    pub(super) fn progress(&self, engine: &EngineInfo) -> Box<dyn Progress> {
        self.progress_with(engine.has_containers())
    }

    /// The same for a verb that may need no engine.
    pub(super) fn progress_with(&self, has_containers: bool) -> Box<dyn Progress> {
        if self.quiet {
            return Box::new(Silent);
        }
        progress::shown(self.every_step, self.is_live(), has_containers)
    }
}

impl Output {
    fn is_live(&self) -> bool {
        !self.json() && terminal::is_live(&io::stderr())
    }
}

/// What people call a step on an engine: processes are not containers, and have no pod.
pub(super) fn kind(step: &'static str, has_containers: bool) -> &'static str {
    match step {
        "container" if !has_containers => "process",
        "image" if !has_containers => "program",
        "pod" if !has_containers => "ports",
        step => step,
    }
}

/// One line on standard output.
///
/// # Errors
/// [`Error::Output`] if it cannot be written, as on a full disk.
pub(super) fn line(text: &str) -> Result<(), Error> {
    raw(format!("{text}\n").as_bytes())
}

/// Text on standard output as it is.
///
/// # Errors
/// [`Error::Output`] if it cannot be written.
pub(super) fn raw(bytes: &[u8]) -> Result<(), Error> {
    written(bytes).map(drop)
}

/// A reader that went away has read enough, which is not an error: `kestack logs | head`.
fn written(bytes: &[u8]) -> Result<bool, Error> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        written => written.map(|()| true).map_err(Error::Output),
    }
}

/// A point in time for people, to the second.
pub(super) fn time(time: jiff::Timestamp) -> String {
    time.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// How long something took, for people: `850 ms`, `2.4 s`, `3 min 5 s`.
pub(super) fn span(milliseconds: u128) -> String {
    match milliseconds {
        0..1_000 => format!("{milliseconds} ms"),
        1_000..60_000 => format!("{}.{} s", milliseconds / 1_000, milliseconds % 1_000 / 100),
        _ => format!("{} min {} s", milliseconds / 60_000, milliseconds % 60_000 / 1_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_a_unit_that_people_read() {
        let shown = [0, 850, 2_449, 59_999, 185_000].map(span);
        assert_eq!(shown, ["0 ms", "850 ms", "2.4 s", "59.9 s", "3 min 5 s"]);
    }
}
