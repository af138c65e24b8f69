//! The process that becomes a server. Before that it records its identity: so every server can be found and ended from
//! its first moment.

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use kes_server::child::STARTED_AGAIN;

use super::STARTED;
use super::identity::Identity;
use super::member::Member;

/// Becomes the server of the member in this folder; `parent` is its supervisor. Returns only if that fails.
pub(super) fn serve(folder: PathBuf, parent: i32) -> io::Error {
    let mut command = match prepared(&Member::at(folder), parent) {
        Ok(command) => command,
        Err(error) => return error,
    };
    let error = command.exec();
    io::Error::new(error.kind(), format!("cannot run '{}': {error}", command.get_program().display()))
}

/// Becomes that program, as a child which ends with `parent`. Returns only if that fails.
pub(super) fn become_child(parent: i32, program: &Path, arguments: &[OsString]) -> io::Error {
    match die_with(parent) {
        Ok(()) => Command::new(program).args(arguments).exec(),
        Err(error) => error,
    }
}

fn prepared(member: &Member, parent: i32) -> io::Result<Command> {
    die_with(parent)?;
    let spec = member.spec()?.ok_or_else(|| io::Error::other("this folder holds no server to start"))?;
    let mut command = Command::new(crate::engine::image::program_of(&spec.image));
    // Only what the recipe says: the caller's MINIO_* or proxies would make it another server.
    command.args(&spec.command).env_clear().envs(&spec.env).env("HOME", member.folder());
    // KES must not take a start after a crash for its first one
    command.envs(std::env::var_os(STARTED_AGAIN).map(|value| (STARTED_AGAIN, value)));
    command.current_dir(member.folder());
    member.introduce_server(&Identity::own()?)?;
    let mut stdout = io::stdout();
    writeln!(stdout, "{STARTED}")?;
    stdout.flush()?;
    Ok(command)
}

/// A supervisor that was killed takes its server with it: nobody would keep its log or start it again.
#[cfg(target_os = "linux")]
fn die_with(parent: i32) -> io::Result<()> {
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::TERM))?;
    let now = rustix::process::getppid().map(|pid| pid.as_raw_nonzero().get());
    if now == Some(parent) { Ok(()) } else { Err(io::Error::other("the supervisor is gone")) }
}

/// Elsewhere a server is without a supervisor until the next `up` or `down` finds its record.
#[cfg(not(target_os = "linux"))]
fn die_with(_: i32) -> io::Result<()> {
    Ok(())
}
