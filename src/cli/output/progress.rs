//! How far a verb is: by default one line per part of the stack, with `--verbose` one per step.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::message::note;
use super::{kind, span, terminal};
use crate::resource::apply::{Progress, Step};
use crate::resource::plan::Decision;
use crate::supply::Waiting;

/// Spinners, if a terminal shows any.
static BARS: OnceLock<MultiProgress> = OnceLock::new();

/// Writes something without disturbing the spinners.
pub(super) fn aside(write: impl FnOnce()) {
    match BARS.get() {
        Some(bars) => bars.suspend(write),
        None => write(),
    }
}

/// Progress as this standard error can show it.
pub(super) fn shown(every_step: bool, live: bool, has_containers: bool) -> Box<dyn Progress> {
    let bars = live.then(|| BARS.get_or_init(MultiProgress::new).clone());
    Box::new(Shown { every_step, has_containers, bars, begun: Instant::now(), work: Mutex::default() })
}

/// What people call a part of the stack, in the order in which the parts become ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Part {
    Certificates,
    Kes,
    Minio,
    Buckets,
    Interface,
}

impl Part {
    fn of(step: &Step) -> Self {
        let is_minio =
            || step.name == "MinIO" || step.name.starts_with("minio ") || step.name.ends_with("-minio-server");
        match step.kind {
            "file" | "folder" => Self::Certificates,
            "bucket" => Self::Buckets,
            "guard" => Self::Minio,
            "interface" => Self::Interface,
            "container" | "image" | "service" | "start" if is_minio() => Self::Minio,
            _ => Self::Kes,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Certificates => "certificates",
            Self::Kes => "KES",
            Self::Minio => "MinIO",
            Self::Buckets => "buckets",
            Self::Interface => "HTTP interface",
        }
    }
}

struct Shown {
    every_step: bool,
    has_containers: bool,
    bars: Option<MultiProgress>,
    begun: Instant,
    work: Mutex<Work>,
}

/// What is being done.
#[derive(Default)]
struct Work {
    /// When the first step of each part began that is not shown as ready yet, and when its last one ended.
    parts: HashMap<Part, (Instant, Instant)>,
    buckets: BTreeSet<String>,
    spinners: HashMap<String, ProgressBar>,
    /// Whether anything changed.
    changed: bool,
}

impl Shown {
    fn work(&self) -> MutexGuard<'_, Work> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn spin(&self, name: &str, template: &str) {
        let Some(bars) = &self.bars else { return };
        self.work().spinners.entry(name.to_owned()).or_insert_with(|| {
            let bar = bars.add(ProgressBar::new_spinner());
            bar.set_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner()));
            bar.set_message(name.to_owned());
            bar.enable_steady_tick(Duration::from_millis(80));
            bar
        });
    }

    fn stop(&self, name: &str) {
        if let Some(bar) = self.work().spinners.remove(name) {
            bar.finish_and_clear();
        }
    }

    /// The part is ready: one line.
    fn ready(&self, part: Part, name: &str) {
        let began = self.work().parts.remove(&part);
        self.stop(part.name());
        if let Some((began, ended)) = began {
            done(name, ended.duration_since(began));
        }
    }

    /// Files are written while the pod is made: they are all there when a server is.
    fn files_are_ready(&self, step: &Step) {
        if !matches!(step.kind, "file" | "folder" | "image" | "pod") {
            self.ready(Part::Certificates, "certificates and configuration");
        }
    }

    fn step(&self, step: &Step, took: Duration) {
        let did = format!("{}, {}", did(step), span(took.as_millis()));
        let width = terminal::width(&io::stderr());
        let room = width.map(|width| width.saturating_sub("✓ container  ".len() + did.len()).max(8));
        let kind = kind(step.kind, self.has_containers);
        note(&format!("✓ {kind:<9} {} {did}", shortened(&step.name, room)));
    }
}

impl Waiting for Shown {
    fn waits(&self, what: &str, elapsed: Duration) {
        if self.bars.is_some() {
            return self.spin(what, "{spinner} {wide_msg} {elapsed}");
        }
        let since = elapsed.as_secs();
        let since = if since == 0 { String::new() } else { format!(" ({}:{:02} so far)", since / 60, since % 60) };
        note(&format!("{what}{since}"));
    }

    fn waited(&self, what: &str) {
        self.stop(what);
    }
}

impl Progress for Shown {
    fn began(&self, step: &Step) {
        let part = Part::of(step);
        if self.every_step {
            return self.spin(&format!("{} {}", step.kind, step.name), "{spinner} {wide_msg}");
        }
        self.files_are_ready(step);
        let now = Instant::now();
        self.work().parts.entry(part).or_insert((now, now));
        self.spin(part.name(), "{spinner} {wide_msg}");
    }

    fn settled(&self, step: &Step, took: Duration) {
        if step.decision == Decision::Keep {
            return;
        }
        self.work().changed = true;
        if self.every_step {
            self.stop(&format!("{} {}", step.kind, step.name));
            return self.step(step, took);
        }
        if let Some((_, ended)) = self.work().parts.get_mut(&Part::of(step)) {
            *ended = Instant::now();
        }
        match (Part::of(step), step.kind) {
            (Part::Buckets, _) => drop(self.work().buckets.insert(step.name.clone())),
            (Part::Interface, _) => self.ready(Part::Interface, Part::Interface.name()),
            (part, "service") => self.ready(part, &step.name),
            _ => {}
        }
    }

    fn finished(&self) {
        if !self.work().changed {
            return;
        }
        if !self.every_step {
            self.ready(Part::Certificates, "certificates and configuration");
            let buckets = std::mem::take(&mut self.work().buckets);
            match buckets.first() {
                Some(only) if buckets.len() == 1 => self.ready(Part::Buckets, &format!("bucket {only}")),
                _ => self.ready(Part::Buckets, &format!("{} buckets", buckets.len())),
            }
        }
        done("ready", self.begun.elapsed());
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        for (_, bar) in self.work().spinners.drain() {
            bar.finish_and_clear();
        }
    }
}

fn done(name: &str, took: Duration) {
    note(&format!("✓ {name:<32} {:>7}", span(took.as_millis())));
}

fn did(step: &Step) -> &'static str {
    match step.decision {
        _ if step.kind == "service" => "ready",
        _ if step.kind == "start" => "started",
        Decision::Create => "created",
        Decision::Ensure | Decision::Keep => "kept",
        Decision::Replace => "replaced",
    }
}

/// The name in so many columns, without its middle if it is too long: the ends of a path say most.
fn shortened(name: &str, room: Option<usize>) -> String {
    let Some(room) = room else { return format!("{name:<40}") };
    let length = name.chars().count();
    if length <= room {
        return format!("{name:<room$}");
    }
    let start: String = name.chars().take((room - 1) / 3).collect();
    let end: String = name.chars().skip(length - (room - 1 - start.chars().count())).collect();
    format!("{start}…{end}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(kind: &'static str, name: &str) -> Step {
        Step { kind, name: name.to_owned(), decision: Decision::Create }
    }

    #[test]
    fn steps_belong_to_the_parts_that_people_know() {
        for (kind, name, part) in [
            ("file", "/a/certs/ca.crt", Part::Certificates),
            ("image", "minio pulled from quay.io/minio/minio", Part::Minio),
            ("image", "kes composed from /minio/kes", Part::Kes),
            ("container", "kes-a-minio-server", Part::Minio),
            ("container", "minio-kes-kes-server", Part::Kes),
            ("service", "KES-2", Part::Kes),
            ("service", "MinIO", Part::Minio),
            ("bucket", "encrypted", Part::Buckets),
        ] {
            assert_eq!(Part::of(&step(kind, name)), part, "{kind} {name}");
        }
    }

    #[test]
    fn a_long_name_loses_its_middle() {
        assert_eq!(shortened("/home/me/stacks/a/certs/minio/ca.crt", Some(16)), "/home…nio/ca.crt");
        assert_eq!(shortened("kes", Some(5)), "kes  ");
    }

    #[test]
    fn every_part_is_shown_once() {
        let shown = Shown {
            every_step: false,
            has_containers: true,
            bars: None,
            begun: Instant::now(),
            work: Mutex::default(),
        };
        for (kind, name) in [("file", "/a/ca.crt"), ("container", "a-kes-server"), ("service", "KES"), ("bucket", "b")]
        {
            shown.began(&step(kind, name));
            shown.settled(&step(kind, name), Duration::ZERO);
        }
        assert_eq!(shown.work().parts.keys().collect::<Vec<_>>(), [&Part::Buckets], "the others are ready");
        shown.finished();
        assert!(shown.work().parts.is_empty());
    }
}
