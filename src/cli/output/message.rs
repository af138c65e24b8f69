//! Messages for people on standard error, all in one style; with `--output json` each is one line of JSON.

use std::fmt::{self, Write as _};
use std::io::{self, ErrorKind, IsTerminal as _, Write as _};
use std::sync::OnceLock;

use serde::Serialize;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use super::super::{Format, hint};
use super::failure::Failure;
use super::{SCHEMA_VERSION, Versioned, progress, terminal};
use crate::error::Error;

/// In which form messages are written.
static FORMAT: OnceLock<Format> = OnceLock::new();

/// Decides the form of all messages.
pub(in crate::cli) fn remember(format: Format) {
    let _ = FORMAT.set(format);
}

fn is_json() -> bool {
    FORMAT.get() == Some(&Format::Json)
}

/// A message for programs.
#[derive(Serialize)]
struct Line<'a> {
    schema_version: u32,
    level: &'a str,
    message: &'a str,
}

/// Writes to standard error. That never fails: `kestack up 2>&1 | head -1` brings the stack up.
fn write(text: &str) {
    progress::aside(|| drop(io::stderr().write_all(text.as_bytes())));
}

/// Says something under a mark such as `warning`; `note` has none.
fn say(level: &str, text: &str) {
    let text = hint::complete(text.trim_end());
    if is_json() {
        let line = Line { schema_version: SCHEMA_VERSION, level, message: &text };
        return write(&format!("{}\n", serde_json::to_string(&line).unwrap_or_default()));
    }
    let marked = if level == "note" { text.into_owned() } else { format!("{level}: {text}") };
    let mut shown = terminal::fitted(&marked, terminal::width(&io::stderr()));
    if let Some(colour) = colour(level).filter(|_| terminal::has_colours(&io::stderr())) {
        let rest = shown.split_off(level.len() + 1);
        shown = format!("\u{1b}[{colour}m{shown}\u{1b}[0m{rest}");
    }
    write(&format!("{shown}\n"));
}

/// The colour of a mark, as the escape sequence of a terminal.
fn colour(level: &str) -> Option<&'static str> {
    match level {
        "error" => Some("31;1"),
        "warning" => Some("33;1"),
        "debug" => Some("2"),
        _ => None,
    }
}

/// A message for people, without a mark.
pub(in crate::cli) fn note(text: &str) {
    say("note", text);
}

/// A line of its own among those of MinIO, whose form it has: as it is, or as a line of MinIO's JSON.
pub(in crate::cli) fn foreground(json: bool, text: &str) {
    let line = || serde_json::json!({ "level": "INFO", "time": jiff::Timestamp::now().to_string(), "message": text });
    let line = if json { line().to_string() } else { text.to_owned() };
    write(&format!("{line}\n"));
}

/// Something failed, but the verb goes on.
pub(in crate::cli) fn error(text: &str) {
    say("error", text);
}

/// Prints an error the way all verbs do: what happened, then what to do.
pub(in crate::cli) fn report(failed: &Error) {
    if is_json() { failure(&Failure::of(failed)) } else { error(&failed.to_string()) }
}

/// Prints an error and returns its exit code.
pub(in crate::cli) fn refusal(error: &Error) -> u8 {
    report(error);
    error.exit_code()
}

fn failure(failure: &Failure) {
    write(&format!("{}\n", serde_json::to_string(&Versioned::new(failure)).unwrap_or_default()));
}

/// Prints what the parser of arguments says, help as well as mistakes, and returns the exit code.
pub(in crate::cli) fn usage(said: &clap::Error) -> u8 {
    let code = u8::try_from(said.exit_code()).unwrap_or(u8::MAX);
    if said.use_stderr() && is_json() {
        failure(&Failure::usage(&said.render().to_string(), code));
        return code;
    }
    match said.print() {
        Err(failed) if !said.use_stderr() && failed.kind() != ErrorKind::BrokenPipe => {
            let failed = Error::Output(failed);
            report(&failed);
            failed.exit_code()
        }
        _ => code,
    }
}

/// True if somebody sits at a terminal who can be asked.
pub(in crate::cli) fn is_attended() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// Asks for a yes. On a thread of its own that nobody waits for: a signal ends the program meanwhile.
pub(in crate::cli) async fn confirm(question: &str) -> bool {
    write(&format!("{} [y/N] ", hint::complete(question)));
    let (sender, answer) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let mut line = String::new();
        let _ = io::stdin().read_line(&mut line);
        let _ = sender.send(["y", "yes"].contains(&line.trim().to_lowercase().as_str()));
    });
    answer.await.unwrap_or(false)
}

/// Shows events of the library as messages: `warning: …`, without times, modules and names of fields.
#[derive(Debug, Clone, Copy)]
pub(in crate::cli) struct Messages;

impl<S: Subscriber> Layer<S> for Messages {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let metadata = event.metadata();
        let mut said = Said::default();
        event.record(&mut said);
        let text = format!("{}{}{}", said.message, said.fields, said.cause);
        match *metadata.level() {
            Level::ERROR => say("error", &text),
            Level::WARN => say("warning", &text),
            Level::INFO => note(&text),
            _ if metadata.target().starts_with("kestack") => say("debug", &text),
            _ => say("debug", &format!("{}: {text}", metadata.target())),
        }
    }
}

/// The parts of an event.
#[derive(Default)]
struct Said {
    message: String,
    fields: String,
    cause: String,
}

impl Visit for Said {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            "error" => write!(self.cause, ": {value:?}"),
            name => write!(self.fields, ", {name} {value:?}"),
        };
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    /// Keeps what an event says.
    struct Kept(Arc<Mutex<Vec<String>>>);

    impl<S: Subscriber> Layer<S> for Kept {
        fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
            let mut said = Said::default();
            event.record(&mut said);
            self.0.lock().unwrap().push(format!("{}{}{}", said.message, said.fields, said.cause));
        }
    }

    #[test]
    fn events_are_sentences_without_names_of_fields() {
        let kept = Arc::default();
        let subscriber = tracing_subscriber::registry().with(Kept(Arc::clone(&kept)));
        tracing::subscriber::with_default(subscriber, || {
            let error = io::Error::other("no such pod");
            tracing::warn!(%error, "the pod is still there");
            tracing::debug!(port = 9000, "a port is free");
        });
        assert_eq!(*kept.lock().unwrap(), ["the pod is still there: no such pod", "a port is free, port 9000"]);
    }
}
