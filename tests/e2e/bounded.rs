//! Programs that are waited for with a bound. A program that hangs fails its test, which says where it hangs; without a
//! bound it would take the time of all tests.

use std::fmt::Write as _;
use std::io::Read;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// Longer than the longest call of any test takes on a machine that does other things, too.
const LIMIT: Duration = Duration::from_secs(300);

/// A program that must end.
pub(crate) trait Bounded {
    /// Runs it to its end, with what it printed.
    fn finished(&mut self) -> Output;
}

impl Bounded for Command {
    fn finished(&mut self) -> Output {
        self.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap().finished()
    }
}

impl Bounded for Child {
    /// Both pipes are read until nobody holds them any more: a process that was left behind with one of them shows here.
    fn finished(&mut self) -> Output {
        let end = Instant::now() + LIMIT;
        let stdout = collect(self.stdout.take());
        let stderr = collect(self.stderr.take());
        let status = ended_by(self, end);
        let rest = |pipe: Receiver<Vec<u8>>, name: &str| {
            let left = end.saturating_duration_since(Instant::now()).max(Duration::from_secs(5));
            pipe.recv_timeout(left)
                .unwrap_or_else(|_| panic!("it ended ({status}), and {name} is still held:\n{}", everybody()))
        };
        Output { status, stdout: rest(stdout, "stdout"), stderr: rest(stderr, "stderr") }
    }
}

/// Waits until the program has ended.
pub(crate) fn ended(child: &mut Child) -> ExitStatus {
    ended_by(child, Instant::now() + LIMIT)
}

fn ended_by(child: &mut Child, end: Instant) -> ExitStatus {
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        if Instant::now() > end {
            let said = everybody();
            let _ = child.kill();
            panic!("process {} did not end within {LIMIT:?}:\n{said}", child.id());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn collect(pipe: Option<impl Read + Send + 'static>) -> Receiver<Vec<u8>> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            let _ = pipe.read_to_end(&mut bytes);
        }
        let _ = sender.send(bytes);
    });
    receiver
}

/// Every process with where it waits in the kernel, and the system calls of kestack's threads.
fn everybody() -> String {
    let list = Command::new("ps").args(["-eo", "pid,ppid,pgid,stat,wchan:20,etimes,args", "--cols", "200"]).output();
    let mut said =
        list.map_or_else(|error| error.to_string(), |list| String::from_utf8_lossy(&list.stdout).into_owned());
    for process in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let name = std::fs::read_to_string(process.path().join("comm")).unwrap_or_default();
        if name.trim() != "kestack" {
            continue;
        }
        for thread in std::fs::read_dir(process.path().join("task")).into_iter().flatten().flatten() {
            let call = std::fs::read_to_string(thread.path().join("syscall")).unwrap_or_default();
            let _ = writeln!(said, "{}: {}", thread.path().display(), call.trim());
        }
        for descriptor in std::fs::read_dir(process.path().join("fd")).into_iter().flatten().flatten() {
            let target = std::fs::read_link(descriptor.path()).unwrap_or_default();
            let _ = writeln!(said, "{} -> {}", descriptor.path().display(), target.display());
        }
    }
    said
}
