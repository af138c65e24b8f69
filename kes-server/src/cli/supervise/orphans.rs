//! Children that we did not start: the first process of a container gets all whose parents have ended, and whoever does
//! not ask how they ended keeps them forever.

use std::fs;

use rustix::process::{Pid, WaitOptions, waitpid};

/// Forgets those that have ended, all but the server, whose end is waited for elsewhere. `waitpid` for any child would
/// take that away.
pub(super) fn reap(server: Option<u32>) {
    let server = server.and_then(|id| i32::try_from(id).ok());
    for child in children().into_iter().filter(|child| Some(*child) != server) {
        // One that still runs is left alone; one that is no longer there needs nothing.
        let _: rustix::io::Result<_> = waitpid(Pid::from_raw(child), WaitOptions::NOHANG);
    }
}

/// All children of this process; none where the system does not tell.
fn children() -> Vec<i32> {
    let threads = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let lists = threads.filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    lists.flat_map(|list| list.split_whitespace().filter_map(|id| id.parse().ok()).collect::<Vec<_>>()).collect()
}
