//! The command that runs once the rest of the content is there.

use std::collections::VecDeque;
use std::io::Read;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::{Child, Command};

use super::record::{Item, SeedRecord};
use crate::error::Error;
use crate::host::digest;
use crate::manifest::SeedCommand;
use crate::resource::plan::Observed;
use crate::resource::{Context, Resource};
use crate::stack::{Layout, STALE, Stack};

/// Its name in the record.
pub(super) const ID: &str = "run";

/// How much of its output is kept for the case that it fails.
const KEPT: usize = 16 << 10;

/// How long the rest of its output is waited for after its end.
const REST: Duration = Duration::from_millis(500);

/// A command that has run to its end, once for a fresh stack and again when it is another one.
pub(super) struct CommandResource {
    layout: Layout,
    command: SeedCommand,
    /// Digest of its program.
    program: Option<String>,
    /// What `kestack env` prints.
    variables: Vec<(String, String)>,
}

impl std::fmt::Debug for CommandResource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CommandResource").field("command", &self.command).finish_non_exhaustive()
    }
}

impl CommandResource {
    pub(super) fn new(stack: &Stack, command: &SeedCommand) -> Self {
        let (layout, program) = (stack.layout.clone(), stack.seed.program.clone());
        Self { layout, command: command.clone(), program, variables: stack.variables() }
    }

    async fn run(&self) -> Result<(), Error> {
        let failed = |error: std::io::Error| self.failed(&format!("cannot be run: {error}"), "");
        let (reader, writer) = std::io::pipe().map_err(failed)?;
        let output = Output::of(reader);
        let group = self.start(writer).map_err(failed)?;
        let ended = tokio::time::timeout(self.command.timeout, group.end()).await;
        let Ok(status) = ended else {
            let said = output.said().await;
            return Err(self.failed(&format!("did not end within {:?}", self.command.timeout), &said));
        };
        let status = status.map_err(failed)?;
        if status.success() {
            return Ok(());
        }
        Err(self.failed(&format!("failed: {status}"), &output.said().await))
    }

    /// Starts it in a process group of its own, which ends with the returned value.
    fn start(&self, output: std::io::PipeWriter) -> std::io::Result<Group> {
        let words = &self.command.command;
        let program = self.command.program.as_ref().map(|path| path.as_os_str());
        let name = program.or_else(|| words.first().map(AsRef::as_ref)).unwrap_or_default();
        let mut command = Command::new(name);
        command.args(words.iter().skip(1)).current_dir(&self.command.folder);
        for name in STALE {
            command.env_remove(name);
        }
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        let errors = output.try_clone()?;
        command.stdin(Stdio::null()).stdout(output).stderr(errors).process_group(0).kill_on_drop(true);
        Ok(Group(command.spawn()?))
    }

    fn failed(&self, what: &str, said: &str) -> Error {
        let said = said.trim_end();
        let shown = self.command.command.join(" ");
        Error::Environment {
            what: format!("`{shown}`, the command of `seed.run`, {what}"),
            hint: if said.is_empty() {
                "it printed nothing; `kestack up` runs it again".into()
            } else {
                format!("the end of its output:\n    {}\n  `kestack up` runs it again", said.replace('\n', "\n    "))
            },
        }
    }
}

/// A process with a group of its own. Given up before its end, it is killed with all that it started and did not put into
/// another group.
struct Group(Child);

impl Group {
    async fn end(mut self) -> std::io::Result<std::process::ExitStatus> {
        self.0.wait().await
    }
}

impl Drop for Group {
    /// Its number is known as long as it was not waited for: it is nobody else's.
    fn drop(&mut self) {
        let pid = self.0.id().and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
        if let Some(pid) = pid {
            let _ = kill_process_group(pid, Signal::KILL);
        }
    }
}

/// The end of what a command writes.
struct Output {
    kept: Arc<Mutex<VecDeque<u8>>>,
    closed: tokio::sync::oneshot::Receiver<()>,
}

impl Output {
    /// Reads on a thread of its own: whoever inherits the pipe may keep it open forever.
    fn of(mut from: impl Read + Send + 'static) -> Self {
        let kept = Arc::new(Mutex::new(VecDeque::new()));
        let (sender, closed) = tokio::sync::oneshot::channel();
        let keep = kept.clone();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(length @ 1..) = from.read(&mut buffer) {
                let mut kept = keep.lock().unwrap_or_else(PoisonError::into_inner);
                kept.extend(buffer.iter().take(length));
                let much = kept.len().saturating_sub(KEPT);
                kept.drain(..much);
            }
            drop(sender);
        });
        Self { kept, closed }
    }

    async fn said(self) -> String {
        let _ = tokio::time::timeout(REST, self.closed).await;
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(kept.make_contiguous())
            .chars()
            .filter(|sign| !sign.is_control() || *sign == '\n')
            .collect()
    }
}

#[async_trait]
impl Resource for CommandResource {
    fn kind(&self) -> &'static str {
        "run"
    }

    fn name(&self) -> String {
        self.command.command.join(" ")
    }

    fn wanted(&self) -> String {
        digest::of(&(&self.command.command, &self.program))
    }

    /// Its arguments are on screen and in the list of processes anyway: they are not secret.
    async fn observe(&self, _: &Context) -> Result<Observed, Error> {
        let item = SeedRecord::load(&self.layout)?.items.remove(ID);
        Ok(item.map_or(Observed::Absent, |item| Observed::ready(item.declared)))
    }

    async fn create(&self, _: &Context) -> Result<(), Error> {
        self.run().await?;
        SeedRecord::add(&self.layout, [(ID.to_owned(), Item { declared: self.wanted(), ..Item::default() })])
    }

    async fn remove(&self, _: &Context) -> Result<(), Error> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    fn command(script: &str, timeout: Duration) -> CommandResource {
        let folder = tempfile::tempdir().unwrap();
        let words = ["sh", "-c", script].map(str::to_owned).to_vec();
        CommandResource {
            layout: Layout::new(folder.path(), "a"),
            command: SeedCommand { command: words, program: None, folder: "/".into(), timeout },
            program: None,
            variables: vec![("AWS_SECRET_ACCESS_KEY".into(), "s3cret".into())],
        }
    }

    const LONG: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn a_command_has_the_variables_and_its_failure_shows_the_end_of_its_output() {
        command("test \"$AWS_SECRET_ACCESS_KEY\" = s3cret && pwd | grep -qx /", LONG).run().await.unwrap();
        let script = "seq 100000; echo last words >&2; exit 3";
        let error = command(script, LONG).run().await.unwrap_err().to_string();
        assert!(error.contains("exit status: 3") && error.contains("last words"), "{error}");
        assert!(error.len() < 40_000 && !error.contains("\n    1\n"), "{}", error.len());
    }

    #[tokio::test]
    async fn a_command_ends_with_all_that_it_started_when_its_time_is_over() {
        let folder = tempfile::tempdir().unwrap();
        let pid = folder.path().join("pid");
        let script = format!("sleep 300 & echo $! > {}; wait", pid.display());
        let start = Instant::now();
        let error = command(&script, Duration::from_secs(1)).run().await.unwrap_err().to_string();
        assert!(error.contains("did not end within 1s"), "{error}");
        assert!(start.elapsed() < Duration::from_secs(30));
        let left: i32 = std::fs::read_to_string(pid).unwrap().trim().parse().unwrap();
        let gone = || std::fs::read_to_string(format!("/proc/{left}/stat")).map_or(true, |stat| stat.contains(") Z "));
        let waited = Instant::now();
        while !gone() && waited.elapsed() < Duration::from_secs(10) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert!(gone(), "a process of the command is still there");
    }

    #[tokio::test]
    async fn a_daemon_that_keeps_the_output_open_does_not_hold_it_up() {
        let start = Instant::now();
        let error = command("setsid sleep 20 & exit 1", LONG).run().await.unwrap_err().to_string();
        assert!(error.contains("exit status: 1"), "{error}");
        assert!(start.elapsed() < Duration::from_secs(15), "{:?}", start.elapsed());
    }
}
