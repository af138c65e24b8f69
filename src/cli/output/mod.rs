//! The only code that prints: results on standard output, progress and messages on standard error.

use std::io::{self, ErrorKind, IsTerminal as _, Write};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use serde::Serialize;
use std::collections::HashMap;
use std::sync::Mutex;

use super::{Format, hint};
use crate::apply::{Progress, Silent, Step};
use crate::error::Error;
use crate::plan::Decision;
use crate::supply::Waiting;

/// Version of the JSON that `--output json` prints; grows when a field changes its meaning or goes.
const SCHEMA_VERSION: u32 = 1;

/// Where a verb shows what it found and did.
#[derive(Debug)]
pub(super) struct Output {
    format: Format,
    quiet: bool,
}

#[derive(Serialize)]
struct Versioned<'a, T> {
    schema_version: u32,
    #[serde(flatten)]
    result: &'a T,
}

impl Output {
    pub(super) fn new(format: Format, quiet: bool) -> Self {
        Self { format, quiet }
    }

    /// The same, with results as JSON.
    pub(super) fn as_json(&self) -> Self {
        Self { format: Format::Json, quiet: self.quiet }
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
            let versioned = Versioned { schema_version: SCHEMA_VERSION, result };
            line(&serde_json::to_string_pretty(&versioned).map_err(|error| Error::Output(error.into()))?)
        } else {
            line(&hint::complete(human(result).trim_end()))
        }
    }

    /// Lines for resources as they are settled: live on a terminal, plain elsewhere.
    pub(super) fn progress(&self) -> Box<dyn Progress> {
        if self.quiet {
            Box::new(Silent)
        } else if io::stderr().is_terminal() && !is_set("CI") {
            Box::new(Live { bars: MultiProgress::new(), running: Mutex::default(), waiting: Mutex::default() })
        } else {
            Box::new(Plain)
        }
    }
}

/// One line on standard output.
///
/// # Errors
/// [`Error::Output`] if it cannot be written, as on a full disk.
pub(super) fn line(text: &str) -> Result<(), Error> {
    line_is_read(text).map(drop)
}

/// The same; false if nobody reads any more.
pub(super) fn line_is_read(text: &str) -> Result<bool, Error> {
    written(format!("{text}\n").as_bytes())
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

/// True if a variable of the environment has a value.
fn is_set(name: &str) -> bool {
    std::env::var_os(name).is_some_and(|value| !value.is_empty())
}

/// A point in time for people, to the second.
pub(super) fn time(time: jiff::Timestamp) -> String {
    time.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// A message for people, on standard error. Who closed that does not want to know.
pub(super) fn message(text: &str) {
    let _ = writeln!(Messages, "{text}");
}

/// Standard error. Writing to it never fails: `kestack up 2>&1 | head -1` brings the stack up.
#[derive(Debug)]
pub struct Messages;

impl Write for Messages {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_all(bytes).map(|()| bytes.len())
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        let text = String::from_utf8_lossy(bytes);
        let _ = io::stderr().write_all(hint::complete(&text).as_bytes());
        Ok(())
    }

    /// Whole, so that a command in it is seen whole.
    fn write_fmt(&mut self, text: std::fmt::Arguments<'_>) -> io::Result<()> {
        self.write_all(text.to_string().as_bytes())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// True if somebody sits at a terminal who can be asked.
pub(super) fn is_attended() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// Asks for a yes. On a thread of its own that nobody waits for: a signal ends the program meanwhile.
pub(super) async fn confirm(question: &str) -> bool {
    let _ = write!(Messages, "{question} [y/N] ");
    let (sender, answer) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let mut line = String::new();
        let _ = io::stdin().read_line(&mut line);
        let _ = sender.send(["y", "yes"].contains(&line.trim().to_lowercase().as_str()));
    });
    answer.await.unwrap_or(false)
}

/// Prints what the parser of arguments has to say, help as well as mistakes, and returns the exit code.
pub(super) fn usage(said: &clap::Error) -> u8 {
    match said.print() {
        Err(failed) if !said.use_stderr() && failed.kind() != ErrorKind::BrokenPipe => {
            let failed = Error::Output(failed);
            error(&failed.to_string());
            failed.exit_code()
        }
        _ => u8::try_from(said.exit_code()).unwrap_or(u8::MAX),
    }
}

pub(super) fn error(text: &str) {
    let colour = io::stderr().is_terminal() && !is_set("NO_COLOR");
    let mark = if colour { "\u{1b}[31;1merror:\u{1b}[0m" } else { "error:" };
    message(&format!("{mark} {text}"));
}

/// Columns side by side, as wide as their widest cell.
pub(super) fn table(header: &[&str], rows: &[Vec<String>]) -> String {
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::NOTHING).set_header(header.iter().map(|cell| cell.to_uppercase()));
    for row in rows {
        table.add_row(row);
    }
    let lines: Vec<_> =
        table.lines().map(|line| line.strip_prefix(' ').unwrap_or(&line).trim_end().to_owned()).collect();
    lines.join("\n")
}

fn described(step: &Step, took: Duration) -> String {
    let done = match step.decision {
        _ if step.kind == "service" => "ready",
        _ if step.kind == "start" => "started",
        Decision::Create => "created",
        Decision::Ensure | Decision::Keep => "kept",
        Decision::Replace => "replaced",
    };
    format!("{:<9} {:<58} {done} {:>5} ms", step.kind, step.name, took.as_millis())
}

/// One line per resource that changed.
struct Plain;

impl Waiting for Plain {
    fn waits(&self, what: &str, elapsed: Duration) {
        let since = elapsed.as_secs();
        let since = if since == 0 { String::new() } else { format!(" ({}:{:02} so far)", since / 60, since % 60) };
        message(&format!("{what}{since}"));
    }

    fn waited(&self) {}
}

impl Progress for Plain {
    fn began(&self, _: &Step) {}

    fn settled(&self, step: &Step, took: Duration) {
        if step.decision != Decision::Keep {
            message(&described(step, took));
        }
    }
}

/// A spinner per resource in work, replaced by its line when it is done.
struct Live {
    bars: MultiProgress,
    running: Mutex<HashMap<String, ProgressBar>>,
    waiting: Mutex<Option<ProgressBar>>,
}

impl Waiting for Live {
    fn waits(&self, what: &str, _: Duration) {
        let Ok(mut waiting) = self.waiting.lock() else { return };
        if waiting.is_some() {
            return;
        }
        let bar = self.bars.add(ProgressBar::new_spinner());
        let style = ProgressStyle::with_template("{spinner} {wide_msg} {elapsed}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
        bar.set_message(what.to_owned());
        bar.enable_steady_tick(Duration::from_millis(80));
        *waiting = Some(bar);
    }

    fn waited(&self) {
        if let Some(bar) = self.waiting.lock().ok().and_then(|mut waiting| waiting.take()) {
            bar.finish_and_clear();
        }
    }
}

impl Progress for Live {
    fn began(&self, step: &Step) {
        let bar = self.bars.add(ProgressBar::new_spinner());
        bar.set_style(ProgressStyle::default_spinner());
        bar.set_message(format!("{} {}", step.kind, step.name));
        bar.enable_steady_tick(Duration::from_millis(80));
        if let Ok(mut running) = self.running.lock() {
            running.insert(format!("{} {}", step.kind, step.name), bar);
        }
    }

    fn settled(&self, step: &Step, took: Duration) {
        let bar = self.running.lock().ok().and_then(|mut all| all.remove(&format!("{} {}", step.kind, step.name)));
        if let Some(bar) = bar {
            bar.finish_and_clear();
            let _ = self.bars.println(format!("✓ {}", described(step, took)));
        }
    }
}
