//! The servers as children of this process. Each starts through kestack itself, so that it ends with kestack even if that
//! is killed ([`crate::engine::process::become_child`]).

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::Path;
use std::process::{ExitStatus, Stdio};

use rustix::process::getpid;
use tokio::process::{Child, Command};

use crate::engine::process::{CHILD, own_program};
use crate::error::Error;

/// A command that starts `program` with these arguments, and with this process's environment.
pub(in crate::operate) fn command(
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
pub(in crate::operate) fn spawn(command: &mut Command, program: &Path) -> Result<Child, Error> {
    command.spawn().map_err(Error::file("run", program))
}

/// The exit code of an ended server as a shell gives it.
pub(in crate::operate) fn code(status: ExitStatus) -> u8 {
    kes_server::child::code(status).and_then(|code| u8::try_from(code).ok()).unwrap_or(1)
}

/// Becomes another program, with all of this process's environment. Returns only if that fails.
pub(super) fn become_program(program: &Path, arguments: &[OsString]) -> io::Error {
    use std::os::unix::process::CommandExt as _;
    std::process::Command::new(program).arg0("minio").args(arguments).exec()
}
