//! A process that is paused for moments. Whatever ends this program meanwhile, the process goes on: a helper waits for
//! that end and wakes it.

#[cfg(target_os = "linux")]
pub(crate) use linux::{Freezer, wake_at_end};
#[cfg(not(target_os = "linux"))]
pub(crate) use other::{Freezer, wake_at_end};

#[cfg(target_os = "linux")]
mod linux {
    use std::io::{self, Read as _, Write as _};
    use std::os::fd::OwnedFd;
    use std::os::unix::process::CommandExt as _;
    use std::path::Path;
    use std::process::{Child, Command, Stdio};
    use std::time::{Duration, Instant};

    use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

    /// Longest time for all threads of a process to pause; most do at once, one that writes finishes that.
    const STANDS: Duration = Duration::from_secs(1);
    /// How often they are looked at meanwhile.
    const LOOK: Duration = Duration::from_micros(200);

    /// A process that can be frozen.
    #[derive(Debug)]
    pub(crate) struct Freezer {
        pid: i32,
        /// Stays with the process, whoever gets its number later.
        handle: OwnedFd,
        /// Wakes the process once its standard input is closed.
        helper: Child,
    }

    impl Freezer {
        /// Prepares to freeze a process, with `program`, which is kestack, as its helper.
        ///
        /// # Errors
        /// If this user may not, or the process has children, which would go on.
        pub(crate) fn of(pid: i32, program: &Path) -> io::Result<Self> {
            let handle = opened(pid)?;
            // SIGCONT does nothing to a process that runs
            pidfd_send_signal(&handle, Signal::CONT)?;
            if has_children(pid)? {
                return Err(io::Error::other("it has children"));
            }
            let mut helper = Command::new(program)
                .args(["process-wake", &pid.to_string()])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                // a signal from the terminal is for kestack
                .process_group(0)
                .spawn()?;
            let mut ready = [0];
            let said = helper.stdout.take().map(|mut said| said.read_exact(&mut ready));
            said.unwrap_or_else(|| Err(io::ErrorKind::BrokenPipe.into()))?;
            Ok(Self { pid, handle, helper })
        }

        /// Does some work while the process is paused, and says for how long.
        ///
        /// # Errors
        /// If it does not pause in time; then nothing was done.
        pub(crate) fn while_frozen<T>(&self, work: impl FnOnce() -> T) -> io::Result<(T, Duration)> {
            let start = Instant::now();
            let woken = Woken(&self.handle);
            pidfd_send_signal(&self.handle, Signal::STOP)?;
            while !stands_still(self.pid)? {
                if start.elapsed() > STANDS {
                    return Err(io::Error::new(io::ErrorKind::TimedOut, "it does not stop in time"));
                }
                std::thread::sleep(LOOK);
            }
            let done = work();
            drop(woken);
            Ok((done, start.elapsed()))
        }
    }

    impl Drop for Freezer {
        fn drop(&mut self) {
            drop(self.helper.stdin.take());
            let _ = self.helper.wait();
        }
    }

    /// Wakes the process, also after a panic.
    struct Woken<'a>(&'a OwnedFd);

    impl Drop for Woken<'_> {
        fn drop(&mut self) {
            if let Err(error) = pidfd_send_signal(self.0, Signal::CONT) {
                tracing::debug!(%error, "the process is gone");
            }
        }
    }

    /// What the helper does: says that it is ready, waits until its standard input ends, and wakes the process.
    ///
    /// # Errors
    /// If the process is gone, or another user's.
    pub(crate) fn wake_at_end(pid: i32) -> io::Result<()> {
        let handle = opened(pid)?;
        let mut stdout = io::stdout();
        stdout.write_all(b"\n").and_then(|()| stdout.flush())?;
        io::copy(&mut io::stdin(), &mut io::sink())?;
        Ok(pidfd_send_signal(&handle, Signal::CONT)?)
    }

    fn opened(pid: i32) -> io::Result<OwnedFd> {
        let pid = Pid::from_raw(pid).ok_or(io::ErrorKind::InvalidInput)?;
        Ok(pidfd_open(pid, PidfdFlags::empty())?)
    }

    fn has_children(pid: i32) -> io::Result<bool> {
        let children = |task: &Path| std::fs::read_to_string(task.join("children")).unwrap_or_default();
        Ok(tasks(pid)?.iter().any(|task| !children(task).trim().is_empty()))
    }

    /// True if no thread runs or waits: proc(5), the third field of `stat`, behind a name that may hold anything.
    fn stands_still(pid: i32) -> io::Result<bool> {
        let state = |task: &std::path::PathBuf| {
            let stat = std::fs::read_to_string(task.join("stat")).unwrap_or_default();
            stat.rsplit_once(')').and_then(|(_, rest)| rest.trim_start().chars().next())
        };
        Ok(tasks(pid)?.iter().filter_map(state).all(|state| "TtZX".contains(state)))
    }

    fn tasks(pid: i32) -> io::Result<Vec<std::path::PathBuf>> {
        std::fs::read_dir(format!("/proc/{pid}/task"))?.map(|task| Ok(task?.path())).collect()
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        /// A helper that says that it is ready and waits, as `process-wake` does.
        fn helper(folder: &Path) -> std::path::PathBuf {
            use std::os::unix::fs::PermissionsExt as _;
            let path = folder.join("helper");
            std::fs::write(&path, "#!/bin/sh\necho\ncat\nkill -CONT $2\n").unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
            path
        }

        #[test]
        fn a_process_stands_still_while_work_is_done_and_goes_on() {
            let folder = tempfile::tempdir().unwrap();
            let mut child = Command::new("sh").args(["-c", "while :; do :; done"]).spawn().unwrap();
            let pid = i32::try_from(child.id()).unwrap();
            let freezer = Freezer::of(pid, &helper(folder.path())).unwrap();
            for _ in 0..3 {
                let (stands, _) = freezer.while_frozen(|| stands_still(pid).unwrap()).unwrap();
                assert!(stands);
                assert!(!stands_still(pid).unwrap(), "it goes on");
            }
            pidfd_send_signal(&freezer.handle, Signal::STOP).unwrap();
            drop(freezer);
            let start = Instant::now();
            while stands_still(pid).unwrap() {
                assert!(start.elapsed() < Duration::from_secs(10), "its helper wakes it");
                std::thread::sleep(LOOK);
            }
            child.kill().unwrap();
            child.wait().unwrap();
        }

        #[test]
        fn a_process_with_children_is_refused() {
            let folder = tempfile::tempdir().unwrap();
            let mut child = Command::new("sh").args(["-c", "sleep 60; true"]).process_group(0).spawn().unwrap();
            let pid = i32::try_from(child.id()).unwrap();
            let start = Instant::now();
            while !has_children(pid).unwrap() {
                assert!(start.elapsed() < Duration::from_secs(10));
                std::thread::sleep(LOOK);
            }
            let error = Freezer::of(pid, &helper(folder.path())).unwrap_err();
            assert!(error.to_string().contains("children"), "{error}");
            rustix::process::kill_process_group(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
            child.wait().unwrap();
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod other {
    use std::io;
    use std::path::Path;
    use std::time::Duration;

    /// No process can be frozen here: what its threads do cannot be seen.
    #[derive(Debug)]
    pub(crate) enum Freezer {}

    impl Freezer {
        pub(crate) fn of(_: i32, _: &Path) -> io::Result<Self> {
            Err(io::ErrorKind::Unsupported.into())
        }

        pub(crate) fn while_frozen<T>(&self, _: impl FnOnce() -> T) -> io::Result<(T, Duration)> {
            match *self {}
        }
    }

    pub(crate) fn wake_at_end(_: i32) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}
