//! Processor time of the servers and of the machine, from `/proc` (proc(5)).

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::time::Duration;

use crate::engine::{LABEL_ROLE, PodState};

/// The first processes of each server.
#[derive(Debug, Default)]
pub(super) struct Processors {
    minio: Vec<i32>,
    kes: Vec<i32>,
}

/// What was spent up to a moment.
#[derive(Debug)]
pub(super) struct Reading {
    minio: Threads,
    kes: Threads,
    own: Threads,
    machine: Option<Machine>,
}

/// Ticks in a second: the unit of `/proc/stat` on every processor that kestack is built for.
const TICKS: f64 = 100.0;

/// Nanoseconds by thread.
type Threads = BTreeMap<i32, u64>;

/// Ticks of all processors: those that were used, and all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Machine {
    used: u64,
    all: u64,
}

/// What was spent between two moments.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Spent {
    /// By MinIO; `None` where its processes cannot be seen from here.
    pub(super) minio: Option<Duration>,
    /// By KES.
    pub(super) kes: Option<Duration>,
    /// Share of the machine that neither the servers nor this program used; `None` unless the time of both servers is known.
    pub(super) others: Option<f64>,
}

impl Processors {
    /// The servers of a pod. On an engine in a virtual machine or on another host they cannot be seen.
    pub(super) fn of(pod: Option<&PodState>) -> Self {
        let first = |wanted: &str| {
            let containers = pod.iter().flat_map(|pod| &pod.containers);
            let of_role = containers.filter(|one| one.labels.get(LABEL_ROLE).is_some_and(|role| role == wanted));
            of_role.filter_map(|container| container.pid).collect()
        };
        Self { minio: first("minio"), kes: first("kes") }
    }

    pub(super) fn read(&self) -> Reading {
        Reading {
            minio: threads_of(&self.minio, is_minio),
            kes: threads_of(&self.kes, is_kes),
            own: threads(&[i32::try_from(std::process::id()).unwrap_or_default()]),
            machine: fs::read_to_string("/proc/stat").ok().and_then(|text| Machine::read(&text)),
        }
    }

    /// What was spent since then.
    pub(super) fn since(&self, before: &Reading) -> Spent {
        let now = self.read();
        let (minio, kes) = (spent(&before.minio, &now.minio), spent(&before.kes, &now.kes));
        let machine = before.machine.zip(now.machine);
        let ours = minio.zip(kes).map(|(minio, kes)| minio + kes + spent(&before.own, &now.own).unwrap_or_default());
        let others = machine.zip(ours).and_then(|((before, now), ours)| before.others(now, ours));
        Spent { minio, kes, others }
    }
}

impl Machine {
    /// The first line of `/proc/stat`: user, nice, system, idle, iowait, irq, softirq, steal, and two that user includes.
    fn read(stat: &str) -> Option<Self> {
        let line = stat.lines().next()?.strip_prefix("cpu ")?;
        let ticks: Vec<u64> = line.split_whitespace().take(8).map_while(|ticks| ticks.parse().ok()).collect();
        let all = ticks.iter().sum();
        let waiting: u64 = ticks.iter().skip(3).take(2).sum();
        Some(Self { used: all - waiting, all })
    }

    /// The share of others until `now`, if ours used that much.
    fn others(self, now: Self, ours: Duration) -> Option<f64> {
        let all = now.all.checked_sub(self.all).filter(|all| *all > 0)?;
        let used = now.used.saturating_sub(self.used);
        #[expect(clippy::cast_precision_loss, reason = "a share")]
        let share = (used as f64 - ours.as_secs_f64() * TICKS) / all as f64;
        Some(share.max(0.0))
    }
}

/// The threads of those processes that are a server. An engine on another machine has numbers of its own, which others have
/// here, and a number is given out again once its process has ended.
fn threads_of(first: &[i32], is_server: fn(&str) -> bool) -> Threads {
    let first: Vec<_> = first.iter().copied().filter(|process| runs(*process, is_server)).collect();
    threads(&first)
}

/// True if the process or a child of it, such as that of a supervisor, runs such a program.
fn runs(process: i32, is_server: fn(&str) -> bool) -> bool {
    let tasks = fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
    let mut children = tasks.flat_map(|task| children(&task.path()));
    let is = |process| program(process).is_some_and(|name| is_server(&name));
    is(process) || children.any(is)
}

/// The processes that a thread has started, by its folder.
fn children(task: &Path) -> Vec<i32> {
    let children = fs::read_to_string(task.join("children")).unwrap_or_default();
    children.split_whitespace().filter_map(|child| child.parse().ok()).collect()
}

/// The file name of the program by which a process was started.
fn program(process: i32) -> Option<String> {
    let words = fs::read(format!("/proc/{process}/cmdline")).ok()?;
    let first = words.split(|byte| *byte == 0).next()?;
    Some(Path::new(OsStr::from_bytes(first)).file_name()?.to_string_lossy().into_owned())
}

/// MinIO and what is made of it, such as `minio.RELEASE.…`.
fn is_minio(program: &str) -> bool {
    ["minio", "silo"].iter().any(|name| program.contains(name))
}

fn is_kes(program: &str) -> bool {
    program.strip_prefix("kes").is_some_and(|rest| !rest.starts_with(|sign: char| sign.is_ascii_alphanumeric()))
}

/// All threads of processes and their children, with the time that each has run.
fn threads(first: &[i32]) -> Threads {
    let mut threads = Threads::new();
    let mut processes = first.to_vec();
    while let Some(process) = processes.pop() {
        let Ok(entries) = fs::read_dir(format!("/proc/{process}/task")) else { continue };
        for entry in entries.flatten() {
            let Some(thread) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
            let read = |file: &str| fs::read_to_string(entry.path().join(file)).unwrap_or_default();
            let time = read("schedstat").split_whitespace().next().and_then(|time| time.parse().ok());
            if let Some(time) = time
                && threads.insert(thread, time).is_none()
            {
                processes.extend(children(&entry.path()));
            }
        }
    }
    threads
}

/// What the threads of `now` have run since `before`. Those that ended meanwhile had nothing to do.
fn spent(before: &Threads, now: &Threads) -> Option<Duration> {
    let since = |(thread, time): (&i32, &u64)| time.saturating_sub(before.get(thread).copied().unwrap_or_default());
    (!now.is_empty()).then(|| Duration::from_nanos(now.iter().map(since).sum()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_time_of_this_process_and_of_the_machine() {
        let own = i32::try_from(std::process::id()).unwrap();
        let before = threads(&[own]);
        let mut sum = 0_u64;
        for number in 0..3_000_000_u64 {
            sum = std::hint::black_box(sum ^ number);
        }
        let spent = spent(&before, &threads(&[own])).unwrap();
        assert!(spent > Duration::from_micros(100), "{spent:?}");
    }

    #[test]
    fn a_number_that_another_program_has_counts_as_not_seen() {
        let own = i32::try_from(std::process::id()).unwrap();
        assert!(program(own).unwrap().starts_with("kestack"));
        let servers = Processors { minio: vec![own], kes: vec![own] };
        let spent = servers.since(&servers.read());
        assert_eq!((spent.minio, spent.kes, spent.others), (None, None, None));
        assert!(!threads_of(&[own], |name| name.starts_with("kestack")).is_empty());
        assert!(["minio", "minio.RELEASE.2025-01-01T00-00-00Z", "silo-amd64"].into_iter().all(is_minio));
        assert!(["kes", "kes-v0.1", "kes.new"].into_iter().all(is_kes));
        assert!(!["kestack", "keskes", "sh"].into_iter().any(is_kes) && !is_minio("mc"));
    }

    #[test]
    fn the_share_of_others_is_what_is_used_without_ours() {
        let before = Machine::read("cpu  100 0 100 700 100 0 0 0 0 0\ncpu0 1\n").unwrap();
        assert_eq!(before, Machine { used: 200, all: 1000 });
        let now = Machine { used: 300, all: 1200 };
        let share = before.others(now, Duration::from_millis(500)).unwrap();
        assert!((share - 0.25).abs() < 0.001, "{share}");
        assert_eq!(before.others(before, Duration::ZERO), None);
        assert_eq!(Machine::read("intr 1"), None);
    }
}
