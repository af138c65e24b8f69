//! Facts of the operating system about this process.

use std::{
    fs::File,
    io::Read as _,
    sync::{LazyLock, Mutex, PoisonError},
    thread::available_parallelism,
    time::{Duration, Instant},
};

use rustix::process::{DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit};

/// Resources in use; zero where the system does not tell.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Usage {
    /// Logical CPUs of the machine.
    pub(crate) cpus: u64,
    /// Logical CPUs that this process may use.
    pub(crate) usable_cpus: u64,
    pub(crate) threads: u64,
    /// Bytes of memory that belong to this process alone.
    pub(crate) heap: u64,
    /// Bytes of the main thread's stack.
    pub(crate) stack: u64,
}

/// Keeps what is in memory from everyone but root: the process leaves no core dump, however it ends, and no other process
/// of its user can read its memory or attach a debugger to it.
pub(crate) fn keep_memory_private() {
    // It cannot fail for this value (prctl(2)), and there is nothing to do about it if it does.
    let _: rustix::io::Result<()> = set_dumpable_behavior(DumpableBehavior::NotDumpable);
}

/// Lets the process open as many files as the system allows it at all; how many that is. The usual limit is meant for
/// programs that call `select`.
pub fn raise_file_limit() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    }
    .unwrap_or(u64::MAX)
}

/// CPUs of the machine and those that this process may use, as they were at the first question: to find out takes a
/// dozen files of control groups, and health checks ask several times a second.
static CPUS: LazyLock<(u64, u64)> = LazyLock::new(|| {
    let usable = available_parallelism().map_or(1, |cpus| cpus.get() as u64);
    (cpus().unwrap_or(usable), usable)
});

/// What was in use at the last question, and when that was.
static LAST: Mutex<Option<(Instant, Usage)>> = Mutex::new(None);

/// What is in use now, or was a tenth of a second ago: many ask at once, and the kernel counts for each of them.
pub(crate) fn usage() -> Usage {
    let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, usage)) = last.filter(|(asked, _)| asked.elapsed() < Duration::from_millis(100)) {
        return usage;
    }
    let usage = read_usage();
    *last = Some((Instant::now(), usage));
    usage
}

fn read_usage() -> Usage {
    let (cpus, usable_cpus) = *CPUS;
    let status = status();
    let field = |name: &str| number(&status, name).unwrap_or_default();
    Usage {
        cpus,
        usable_cpus,
        threads: field("Threads:"),
        heap: field("RssAnon:") * 1024,
        stack: field("VmStk:") * 1024,
    }
}

/// The kernel's summary of this process: some 1,500 bytes, in one read.
fn status() -> String {
    let mut text = Vec::with_capacity(4096);
    let read = File::open("/proc/self/status").and_then(|file| file.take(4096).read_to_end(&mut text));
    read.map(|_| String::from_utf8_lossy(&text).into_owned()).unwrap_or_default()
}

/// CPUs that are online, also those that this process may not use.
fn cpus() -> Option<u64> {
    let ranges = std::fs::read_to_string("/sys/devices/system/cpu/online").ok()?;
    ranges.trim().split(',').map(range_len).sum()
}

/// The length of `3` or `0-7`.
fn range_len(range: &str) -> Option<u64> {
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    let (first, last): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
    last.checked_sub(first).map(|gap| gap + 1)
}

/// The number of a line such as `VmStk:      132 kB`.
fn number(status: &str, name: &str) -> Option<u64> {
    status.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_linux_writes() {
        assert_eq!(number("Name:\tkes\nVmStk:\t     132 kB\nThreads:\t3\n", "VmStk:"), Some(132));
        assert_eq!(number("Threads:\t3\n", "VmStk:"), None);
        assert_eq!((range_len("3"), range_len("0-7"), range_len("7-0")), (Some(1), Some(8), None));
        assert!(usage().usable_cpus > 0);
    }
}
