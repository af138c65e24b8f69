//! Identifies a process for certain: its number, and the moment when it started.

use std::io;

use rustix::process::{Pid, Signal};
use serde::{Deserialize, Serialize};

/// A process number and the moment the process was born. Numbers are given out again, moments are not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    /// The process number.
    pub(crate) pid: i32,
    /// When it was born, in the system's own terms.
    born: String,
}

impl Identity {
    /// The process of that number; `None` if there is none, or only its exit code is left.
    pub(crate) fn of(pid: i32) -> Option<Self> {
        born(pid).map(|born| Self { pid, born })
    }

    /// This process.
    pub(crate) fn own() -> io::Result<Self> {
        let pid = rustix::process::getpid().as_raw_nonzero().get();
        Self::of(pid).ok_or_else(|| io::Error::other("the system does not tell when this process was started"))
    }

    /// True if it lives, and is not another one that got its number later.
    pub(crate) fn alive(&self) -> bool {
        born(self.pid).as_ref() == Some(&self.born)
    }

    /// Sends it a signal; one that is gone gets none, and nobody else does.
    pub(crate) fn signal(&self, signal: Signal) -> io::Result<()> {
        let Some(pid) = Pid::from_raw(self.pid) else { return Ok(()) };
        match send(self, pid, signal) {
            Err(rustix::io::Errno::SRCH) => Ok(()),
            other => Ok(other?),
        }
    }
}

/// Through a handle that stays with the process, taken before looking whether it is the right one.
#[cfg(target_os = "linux")]
fn send(identity: &Identity, pid: Pid, signal: Signal) -> rustix::io::Result<()> {
    use rustix::process::{PidfdFlags, pidfd_open, pidfd_send_signal};
    match pidfd_open(pid, PidfdFlags::empty()) {
        Ok(handle) if identity.alive() => pidfd_send_signal(handle, signal),
        // before Linux 5.3
        Err(rustix::io::Errno::NOSYS) if identity.alive() => rustix::process::kill_process(pid, signal),
        Ok(_) => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(not(target_os = "linux"))]
fn send(identity: &Identity, pid: Pid, signal: Signal) -> rustix::io::Result<()> {
    if identity.alive() { rustix::process::kill_process(pid, signal) } else { Ok(()) }
}

/// Boot and ticks since then (proc(5): fields 3, 20 and 22 of `stat`; the name before them may hold blanks and
/// parentheses).
#[cfg(target_os = "linux")]
fn born(pid: i32) -> Option<String> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
    let (state, threads, ticks) = (fields.next()?, fields.nth(16)?, fields.nth(1)?);
    // While other threads have yet to end, files and ports are still held.
    if matches!(state, "Z" | "X") && matches!(threads, "0" | "1") {
        return None;
    }
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(format!("{ticks} {}", boot.trim()))
}

#[cfg(not(target_os = "linux"))]
fn born(pid: i32) -> Option<String> {
    born_by_ps(pid)
}

/// Where there is no `/proc`: what ps(1) says, to the second.
#[cfg(any(test, not(target_os = "linux")))]
fn born_by_ps(pid: i32) -> Option<String> {
    let mut command = std::process::Command::new("ps");
    let output = command.args(["-o", "state=,lstart=", "-p", &pid.to_string()]).env("LC_ALL", "C").output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let (state, start) = text.trim().split_once(' ')?;
    (output.status.success() && !state.starts_with('Z')).then(|| start.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_process_is_itself_and_no_other() {
        let own = Identity::own().unwrap();
        assert!(own.alive());
        let other = Identity { born: "1 elsewhere".into(), ..own };
        assert!(!other.alive());
        other.signal(Signal::KILL).unwrap();
    }

    #[test]
    fn the_dead_are_not_alive_and_get_no_signals() {
        let mut child = Command::new("sleep").arg("100").spawn().unwrap();
        let identity = Identity::of(i32::try_from(child.id()).unwrap()).unwrap();
        assert_eq!(born_by_ps(identity.pid).unwrap().split_whitespace().count(), 5);
        identity.signal(Signal::KILL).unwrap();
        while identity.alive() {
            std::thread::yield_now();
        }
        assert_eq!(born_by_ps(identity.pid), None, "only its exit code is left");
        child.wait().unwrap();
        identity.signal(Signal::KILL).unwrap();
        assert_eq!(Identity::of(identity.pid), None);
    }
}
