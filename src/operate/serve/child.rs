//! The servers as children of this process. Each starts through kestack itself, so that it ends with kestack even if that
//! is killed ([`crate::engine::process::become_child`]).

use std::ffi::{OsStr, OsString};
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::process::{ExitStatus, Stdio};

use rustix::process::getpid;
use tokio::process::{Child, Command};

use crate::engine::process::{CHILD, own_program};
use crate::error::Error;
use crate::manifest::Manifest;
use crate::operate::session::environment;

/// The most that is shown of a log.
const SAID: u64 = 2048;

/// Variables that KES may need to reach its keystore, and that hold nothing of the stack.
const NETWORK: [&str; 10] = [
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "no_proxy",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
];

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

/// A command that starts KES for a manifest. It gets nothing of the environment but what leads to its keystore.
pub(in crate::operate) fn kes(
    program: &Path,
    config: &Path,
    home: &Path,
    manifest: &Manifest,
) -> Result<Command, Error> {
    let mut command = command(program, ["server".as_ref(), "--config".as_ref(), config.as_os_str()])?;
    command.env_clear().env("HOME", home).current_dir("/");
    if !manifest.keystore_is_fs() {
        command.envs(NETWORK.iter().filter_map(|name| Some((name, environment(name)?))));
    }
    command.envs(&manifest.kes.env);
    Ok(command)
}

/// Has it write its words to a new file that only this user reads; [`said`] gives the last of them.
pub(in crate::operate) fn speak_to(command: &mut Command, log: &Path) -> Result<(), Error> {
    let opened = || {
        let log = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(log)?;
        Ok((log.try_clone()?, log))
    };
    let (out, err) = opened().map_err(Error::file("write", log))?;
    command.stdout(out).stderr(err);
    Ok(())
}

/// The end of its log.
pub(in crate::operate) fn said(log: &Path) -> String {
    let read = || {
        let mut file = File::open(log)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(SAID)))?;
        let mut text = Vec::new();
        file.take(SAID).read_to_end(&mut text)?;
        Ok::<_, io::Error>(String::from_utf8_lossy(&text).trim().replace('\n', "\n  "))
    };
    read().unwrap_or_default()
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
