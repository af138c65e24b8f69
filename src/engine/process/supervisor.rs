//! The process that looks after one server: it starts it, keeps its log, starts it again when it crashes, and ends
//! it when told to. It is kestack itself, detached from the command that started it.
//!
//! Standard input is the member's lock, held until the end. The first line on standard output says that the server
//! was started, or why not.

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use kes_server::child::{Restarts, STARTED_AGAIN, Signals, Told};
use rustix::process::Signal;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::process::{Child, ChildStdout, Command};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, timeout};

use super::STARTED;
use super::identity::Identity;
use super::log::{Log, Stream};
use super::member::{Exit, Member};

/// How long the new process may take until it is about to become the server.
const START: Duration = Duration::from_secs(10);
/// How long the last words of a server that ended are waited for; a child of its own may keep its outputs open.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Wait before the first restart of a server that ended; each further one waits twice as long.
const FIRST: Duration = Duration::from_millis(50);
/// Longest of these waits.
const LONGEST: Duration = Duration::from_secs(1);
/// Restarts in a row before the supervisor gives up: after some 1.5 s of waiting.
const LIMIT: u32 = 5;

/// How often a supervisor looks whether its record is still there.
const LOOK: Duration = Duration::from_secs(1);

struct Supervisor {
    member: Member,
    identity: Identity,
    stop_timeout: Duration,
    signals: Signals,
    log: Arc<Log>,
    restarts: Restarts,
}

/// The server, and what takes down its words.
struct Server {
    child: Child,
    words: JoinSet<()>,
}

/// How one run of the server came to its end.
enum Ended {
    /// We got a signal to end it.
    Stopped(ExitStatus),
    /// We ended it, because nobody could tell us any more: the folder is gone, or another's.
    Forgotten,
    /// By itself.
    Itself(ExitStatus),
}

/// Looks after the member in this folder until it gets a signal to end, its server ends for good, or its record is
/// gone: without it nobody finds the server that holds the ports.
///
/// # Errors
/// Those of the first start, which are also on standard output, and of the member's files.
pub(super) async fn supervise(folder: PathBuf) -> io::Result<()> {
    let started = async {
        let supervisor = Supervisor::new(Member::at(folder))?;
        let server = supervisor.start(false).await?;
        Ok::<_, io::Error>((supervisor, server))
    };
    match started.await {
        Ok((supervisor, server)) => {
            acknowledge(STARTED);
            supervisor.run(server).await
        }
        Err(error) => {
            acknowledge(&error.to_string());
            Err(error)
        }
    }
}

/// Tells whoever started us; that one may have been killed meanwhile, which changes nothing.
fn acknowledge(word: &str) {
    let mut stdout = io::stdout();
    let _ = writeln!(stdout, "{}", word.replace('\n', "; ")).and_then(|()| stdout.flush());
}

impl Supervisor {
    fn new(member: Member) -> io::Result<Self> {
        // The terminal's signals are not for us. It fails only for the leader of a group, which a child is not.
        let _ = rustix::process::setsid();
        let spec = member.spec()?.ok_or_else(|| io::Error::other("this folder holds no server to supervise"))?;
        // Before we say who we are: from then on we may get a signal to end.
        let signals = Signals::new()?;
        let identity = Identity::own()?;
        member.introduce_supervisor(&identity)?;
        let log = Arc::new(Log::open(&member.log())?);
        let stop_timeout = Duration::from_secs(spec.stop_timeout.into());
        Ok(Self {
            member,
            identity,
            stop_timeout,
            signals,
            log,
            restarts: Restarts::new(FIRST, LONGEST).at_most(LIMIT),
        })
    }

    async fn run(mut self, mut server: Server) -> io::Result<()> {
        loop {
            let begun = Instant::now();
            let ended = self.watch(&mut server.child).await?;
            let _ = timeout(LAST_WORDS, server.words.join_all()).await;
            let status = match ended {
                Ended::Stopped(status) => return self.member.record_exit(&Exit { code: code(status), again: false }),
                // what is there now is not ours to write to
                Ended::Forgotten => return Ok(()),
                Ended::Itself(_) if self.is_forgotten() => return Ok(()),
                Ended::Itself(status) => status,
            };
            let wait = if status.success() { None } else { self.restarts.after(begun.elapsed()) };
            // On a full disk no record can be written. The server is started again anyway.
            if let Err(error) = self.member.record_exit(&Exit { code: code(status), again: wait.is_some() }) {
                self.say(&format!("cannot record that the server ended: {error}"));
            }
            let Some(wait) = wait else { return Ok(()) };
            self.say(&format!("the server ended ({status}) and is started again"));
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = self.signals.stop() => {
                    return self.member.record_exit(&Exit { code: code(status), again: false });
                }
            }
            if self.is_forgotten() {
                return Ok(());
            }
            server = self.start(true).await?;
        }
    }

    /// Starts the server, for the first time or again. When this returns its record is written and it runs, or is about
    /// to.
    async fn start(&self, is_again: bool) -> io::Result<Server> {
        self.member.forget_exit()?;
        let mut command = Command::new(own_program()?);
        command
            .args(["process-serve", "--parent"])
            .arg(rustix::process::getpid().to_string())
            .arg(self.member.folder());
        command.envs(is_again.then_some((STARTED_AGAIN, "1")));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn()?;
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let mut stdout = BufReader::new(stdout.ok_or(io::ErrorKind::BrokenPipe)?);
        let mut stderr = stderr.ok_or(io::ErrorKind::BrokenPipe)?;
        if let Err(error) = introduced(&mut stdout).await {
            child.start_kill()?;
            child.wait().await?;
            let mut why = String::new();
            let _ = timeout(LAST_WORDS, stderr.read_to_string(&mut why)).await;
            return Err(if why.is_empty() { error } else { io::Error::other(why.trim_end().to_owned()) });
        }
        let (log, other) = (Arc::clone(&self.log), Arc::clone(&self.log));
        let mut words = JoinSet::new();
        words.spawn(async move { log.copy(Stream::Stdout, stdout).await });
        words.spawn(async move { other.copy(Stream::Stderr, stderr).await });
        Ok(Server { child, words })
    }

    /// Passes signals on until the server ends.
    async fn watch(&mut self, child: &mut Child) -> io::Result<Ended> {
        let mut looks = tokio::time::interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                status = child.wait() => return Ok(Ended::Itself(status?)),
                told = self.signals.next() => match told {
                    Told::Stop => return self.stop(child).await.map(Ended::Stopped),
                    Told::Reload => hang_up(child),
                    Told::ChildEnded => {}
                },
                _ = looks.tick() => if self.is_forgotten() {
                    self.stop(child).await?;
                    return Ok(Ended::Forgotten);
                },
            }
        }
    }

    /// True if the member's record does not name this supervisor. One that cannot be read just now says nothing.
    fn is_forgotten(&self) -> bool {
        self.member.supervisor().is_ok_and(|found| found.as_ref() != Some(&self.identity))
    }

    async fn stop(&self, child: &mut Child) -> io::Result<ExitStatus> {
        let stopped = kes_server::child::stop(child, self.stop_timeout).await?;
        if stopped.was_killed {
            self.say(&format!("the server did not end within {} s and was killed", self.stop_timeout.as_secs()));
        }
        Ok(stopped.status)
    }

    fn say(&self, text: &str) {
        self.log.append(Stream::Stderr, format!("kestack: {text}").as_bytes(), true);
    }
}

/// The first line of the new process says that it wrote its record; then it becomes the server.
async fn introduced(stdout: &mut BufReader<ChildStdout>) -> io::Result<()> {
    let mut line = String::new();
    timeout(START, stdout.read_line(&mut line)).await.map_err(|_| io::ErrorKind::TimedOut)??;
    if line.trim_end() == STARTED { Ok(()) } else { Err(io::Error::other("the process that becomes the server ended")) }
}

fn hang_up(child: &Child) {
    if let Err(error) = kes_server::child::tell(child, Signal::HUP) {
        tracing::debug!(%error, "the server is gone already");
    }
}

/// This very program, also where its file was replaced meanwhile.
pub(crate) fn own_program() -> io::Result<PathBuf> {
    if cfg!(target_os = "linux") { Ok("/proc/self/exe".into()) } else { std::env::current_exe() }
}

fn code(status: ExitStatus) -> i64 {
    kes_server::child::code(status).unwrap_or(-1).into()
}
