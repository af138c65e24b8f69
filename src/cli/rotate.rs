//! `kestack key rotate`

use std::fmt::Write as _;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use clap::Args;
use indicatif::BinaryBytes;
use kes_server::auth::KeyName;

use super::Globals;
use super::output::{Output, note, span};
use super::session::{CHANGE, Opened};
use crate::error::Error;
use crate::host::interrupt::Interrupt;
use crate::operate::rotate::{self, Left, Meter, Moved, Report, Request};

/// How often it is said how far it is.
const EVERY: Duration = Duration::from_secs(2);

/// Names that an error shows; the report has all of them.
const SHOWN: usize = 10;

#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "switches of the command line")]
pub(super) struct Rotate {
    /// Name of the key to replace
    old: KeyName,
    /// Name of the key that replaces it, made if it does not exist [default: the old name with a counter, such as
    /// `name-2`]
    new: Option<KeyName>,
    /// Maximum number of objects whose keys are exchanged during one pause of MinIO; no pause is longer than two
    /// seconds in any case
    #[arg(long, value_name = "OBJECTS", default_value_t = 1000)]
    slice: u32,
    /// Do not take a snapshot first
    #[arg(long)]
    no_snapshot: bool,
    /// How many seconds to wait for unfinished uploads
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    wait: u32,
    /// Show what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// Delete the replaced key in the end, if nothing needs it; MinIO is stopped for a moment
    #[arg(long, conflicts_with = "dry_run")]
    delete_old: bool,
    /// Undo the last rotation of this key, complete or not; data that was written since is kept
    #[arg(long, conflicts_with = "dry_run")]
    undo: bool,
}

impl Rotate {
    pub(super) async fn run(&self, globals: &Globals, output: &Output, interrupt: &Interrupt) -> Result<(), Error> {
        let reached = interrupt.ends(async { Opened::of(globals, CHANGE).await?.connect().await }).await?;
        let progress = output.progress(reached.engine().info());
        let meter = Shown { begun: Instant::now(), last: Mutex::new(Instant::now()), quiet: output.is_quiet() };
        let request = self.request();
        let rotation = rotate::rotate(reached, &request, interrupt, progress.as_ref(), &meter);
        let report = Box::pin(rotation).await?;
        if report.dry_run {
            return output.result(&report, human);
        }
        output.done(&report, human)?;
        match (&report.left[..], &report.kept) {
            ([], None) => Ok(()),
            ([], Some(why)) => Err(Error::Guard(why.clone())),
            (left, _) => Err(Error::Guard(needed(&report.old, left))),
        }
    }

    fn request(&self) -> Request {
        Request {
            old: self.old.clone(),
            new: self.new.clone(),
            slice: self.slice as usize,
            snapshot: !self.no_snapshot,
            wait: Duration::from_secs(self.wait.into()),
            dry_run: self.dry_run,
            delete_old: self.delete_old,
            undo: self.undo,
        }
    }
}

fn human(report: &Report) -> String {
    let Moved { versions, minio_files, bytes, pauses, longest_pause_milliseconds } = &report.moved;
    let what = format!(
        "{} of {} and {} of MinIO",
        counted(*versions, "version"),
        BinaryBytes(*bytes),
        counted(*minio_files, "file")
    );
    if report.dry_run {
        let file = if report.manifest { "; kestack.yaml would name the new key" } else { "" };
        return format!(
            "key '{}' would replace '{}': {what}{file}{}\nnothing was changed",
            report.new,
            report.old,
            listed(report)
        );
    }
    let rate = u128::from(*versions) * 1000 / report.milliseconds.max(1);
    let mut text = format!(
        "key '{}' replaces '{}': {what} in {}, {rate} versions a second{}",
        report.new,
        report.old,
        span(report.milliseconds),
        listed(report)
    );
    let _ = write!(
        text,
        "\n  MinIO was paused {}, at most for {}",
        counted(*pauses, "time"),
        span(*longest_pause_milliseconds)
    );
    if let Some(away) = report.restart_milliseconds {
        let _ = write!(text, "\n  the servers took over the changed kestack.yaml in {}", span(away));
    }
    if let Some(snapshot) = &report.snapshot {
        let _ = write!(text, "\n  snapshot '{snapshot}' has everything as it was before");
    }
    if report.left.is_empty() {
        let end = if report.deleted { "which is deleted" } else { "which can be deleted" };
        let _ = write!(text, "\nproven: nothing on the drive needs key '{}', {end}", report.old);
    }
    text
}

fn counted(count: u64, word: &str) -> String {
    format!("{count} {word}{}", if count == 1 { "" } else { "s" })
}

/// What else changes, or stays.
fn listed(report: &Report) -> String {
    let mut text = String::new();
    if !report.buckets.is_empty() {
        let names: Vec<_> = report.buckets.iter().map(|name| format!("'{name}'")).collect();
        let _ = write!(text, "\n  new objects of {} get the new key", names.join(", "));
    }
    if report.client_key_versions > 0 {
        let _ = write!(
            text,
            "\n  under keys of clients (SSE-C), not touched: {}",
            counted(report.client_key_versions, "version")
        );
    }
    text
}

fn needed(old: &str, left: &[Left]) -> String {
    let mut text = format!("key '{old}' is still needed");
    for Left { name, reason } in left.iter().take(SHOWN) {
        let _ = write!(text, "\n  '{name}': {reason}");
    }
    if left.len() > SHOWN {
        let _ = write!(text, "\n  and {} more, which --json lists", left.len() - SHOWN);
    }
    let _ = write!(text, "\n  run the same command again once this is settled: it goes on");
    text
}

/// Says now and then how far it is.
struct Shown {
    begun: Instant,
    last: Mutex<Instant>,
    quiet: bool,
}

impl Meter for Shown {
    fn moved(&self, moved: &Moved, total: u64) {
        let Ok(mut last) = self.last.lock() else { return };
        if self.quiet || last.elapsed() < EVERY {
            return;
        }
        *last = Instant::now();
        note(&far(moved, total, self.begun.elapsed()));
    }
}

/// How far it is: objects, bytes, rate and the time that is left.
fn far(moved: &Moved, total: u64, elapsed: Duration) -> String {
    let done = moved.versions + moved.minio_files;
    let milliseconds = elapsed.as_millis().max(1);
    let left = u128::from(total.saturating_sub(done)) * milliseconds / u128::from(done.max(1));
    let rate = u128::from(done) * 1000 / milliseconds;
    format!("{done} of {total}, {}, {rate} a second, {} left", BinaryBytes(moved.bytes), span(left))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_how_far_it_is_and_how_long_it_will_take() {
        let moved = Moved { versions: 990, minio_files: 10, bytes: 4 << 20, ..Moved::default() };
        assert_eq!(far(&moved, 4000, Duration::from_secs(2)), "1000 of 4000, 4.00 MiB, 500 a second, 6.0 s left");
        assert_eq!(far(&Moved::default(), 4000, Duration::ZERO), "0 of 4000, 0 B, 0 a second, 4.0 s left");
    }

    #[test]
    fn what_is_left_is_named_and_bounded() {
        let left: Vec<_> = (0..12).map(|n| Left { name: format!("b/{n}"), reason: "why".into() }).collect();
        let text = needed("a", &left);
        assert!(text.contains("'b/9': why") && !text.contains("'b/10'") && text.contains("and 2 more"), "{text}");
    }
}
