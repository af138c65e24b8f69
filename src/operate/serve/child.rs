//! The servers as children of this process. Each starts through kestack itself, so that it ends with kestack even if that
//! is killed ([`crate::engine::process::become_child`]).

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitOptions, getpid, kill_process, waitpid};
use tokio::process::{Child, Command};

use crate::engine::process::{CHILD, own_program};
use crate::error::Error;

/// How long a server may take to end after it was killed.
const KILLED: Duration = Duration::from_secs(2);

/// A command that starts `program` with these arguments, and with this process's environment.
pub(super) fn command(
    program: &Path,
    arguments: impl IntoIterator<Item = impl AsRef<OsStr>>,
) -> Result<Command, Error> {
    let mut command = Command::new(own_program().map_err(Error::file("find", "/proc/self/exe"))?);
    command.arg(CHILD).arg(getpid().as_raw_nonzero().to_string()).arg(program).args(arguments);
    // signals of a terminal are for kestack, which ends the servers in their order
    command.stdin(Stdio::null()).process_group(0).kill_on_drop(true);
    Ok(command)
}

/// Starts it.
pub(super) fn spawn(command: &mut Command, program: &Path) -> Result<Child, Error> {
    command.spawn().map_err(Error::file("run", program))
}

/// Tells a child to end, and kills it if it does not in time.
pub(super) async fn end(child: &mut Child, grace: Duration) {
    tell(child, Signal::TERM);
    // one that is stopped would not hear it
    tell(child, Signal::CONT);
    if tokio::time::timeout(grace, child.wait()).await.is_err() {
        tell(child, Signal::KILL);
        let _ = tokio::time::timeout(KILLED, child.wait()).await;
    }
}

/// Our child cannot be mistaken: its number is kept until we have waited for it.
fn tell(child: &Child, signal: Signal) {
    if let Some(pid) = child.id().and_then(|id| Pid::from_raw(id.cast_signed())) {
        let told = kill_process(pid, signal);
        tracing::debug!(?pid, ?signal, ?told, "told a server");
    }
}

/// The exit code of an ended server as a shell gives it: 128 and the signal if one killed it.
pub(super) fn code(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(1);
    u8::try_from(code).unwrap_or(1)
}

/// Waits for every ended process that was handed to this one, as process 1 gets the orphans of a container. `known` are
/// the servers, which others wait for.
pub(super) fn reap(known: &[u32]) {
    let tasks = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    for task in tasks {
        let children = std::fs::read_to_string(task.path().join("children")).unwrap_or_default();
        let orphans = children.split_whitespace().filter_map(|pid| pid.parse::<u32>().ok());
        for pid in orphans.filter(|pid| !known.contains(pid)).filter_map(|pid| Pid::from_raw(pid.cast_signed())) {
            let reaped = waitpid(Some(pid), WaitOptions::NOHANG);
            tracing::debug!(?pid, ?reaped, "an orphan");
        }
    }
}

/// Becomes another program, with all of this process's environment. Returns only if that fails.
pub(super) fn become_program(program: &Path, arguments: &[OsString]) -> io::Error {
    use std::os::unix::process::CommandExt as _;
    std::process::Command::new(program).arg0("minio").args(arguments).exec()
}
