//! Children of a process that supervises servers: `kes supervise`, and kestack's own.

use std::{fs, os::unix::process::ExitStatusExt as _, process::ExitStatus};

use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use tokio::process::Child;

/// Sends a signal to a child; one whose end was waited for gets none. Our child cannot be mistaken: its number is kept until
/// then.
///
/// # Errors
/// That of kill(2).
pub fn tell(child: &Child, signal: Signal) -> rustix::io::Result<()> {
    child.id().and_then(|id| Pid::from_raw(id.cast_signed())).map_or(Ok(()), |pid| kill_process(pid, signal))
}

/// The exit code as a shell gives it: 128 and the number of the signal if one ended the child.
pub fn code(status: ExitStatus) -> Option<i32> {
    status.code().or_else(|| status.signal().map(|signal| 128 + signal))
}

/// Forgets all children that have ended, but those that are `known`, whose end is waited for elsewhere: the first process
/// of a container gets all whose parents have ended, and whoever does not ask how they ended keeps them forever. `waitpid`
/// for any child would take the known ones away.
pub fn reap(known: &[u32]) {
    for child in children().into_iter().filter(|child| !known.contains(child)) {
        // One that still runs is left alone; one that is no longer there needs nothing.
        let _: rustix::io::Result<_> = waitpid(Pid::from_raw(child.cast_signed()), WaitOptions::NOHANG);
    }
}

/// All children of this process; none where the system does not tell.
fn children() -> Vec<u32> {
    let threads = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let lists = threads.filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    lists.flat_map(|list| list.split_whitespace().filter_map(|id| id.parse().ok()).collect::<Vec<_>>()).collect()
}
