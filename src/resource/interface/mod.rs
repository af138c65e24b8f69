//! The HTTP interface that listens next to a stack: kestack itself, in the background. A record in the stack's folder says
//! who listens, so that every later call finds it. One that the record does not name any more ends by itself.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use async_trait::async_trait;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::{Context, Resource};
use crate::error::Error;
use crate::host::digest::sha256;
use crate::host::disk;
use crate::resource::plan::Observed;

mod record;

pub(crate) use record::{Record, secret};

/// How long it may take until it listens.
const START: Duration = Duration::from_secs(30);
/// How long it may take to end in good order. Nobody works on the stack meanwhile: whoever ends it holds the lock.
const GRACE: Duration = Duration::from_secs(10);
/// How long the last words of one that did not start are waited for.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// The state of one that is not wanted.
const ABSENT: &str = "absent";

/// The call of kestack by which an interface listens in the background.
#[derive(Debug, Clone)]
pub(crate) struct Launch {
    /// The program.
    pub(crate) program: PathBuf,
    /// Its arguments, complete in any folder.
    pub(crate) arguments: Vec<OsString>,
    /// Further ones, which say what the stack's folder says too: with or without them it is the same call.
    pub(crate) on_record: Vec<OsString>,
}

/// The interface of one stack.
#[derive(Debug)]
pub(crate) struct InterfaceResource {
    /// The file that says who listens.
    pub(crate) record: PathBuf,
    /// How to start it; `None` if it is to go.
    pub(crate) launch: Option<Launch>,
}

#[async_trait]
impl Resource for InterfaceResource {
    fn kind(&self) -> &'static str {
        "interface"
    }

    fn name(&self) -> String {
        "HTTP".into()
    }

    fn wanted(&self) -> String {
        self.launch.as_ref().map_or_else(|| ABSENT.to_owned(), Launch::digest)
    }

    async fn observe(&self, _: &Context) -> Result<Observed, Error> {
        self.seen().await
    }

    async fn create(&self, _: &Context) -> Result<(), Error> {
        match &self.launch {
            Some(launch) => launch.start().await,
            None => end(&self.record).await,
        }
    }

    async fn remove(&self, _: &Context) -> Result<(), Error> {
        end(&self.record).await
    }

    /// The next one finds port and token in the record of the former one.
    async fn replace(&self, context: &Context) -> Result<(), Error> {
        if let Some(former) = Record::read(&self.record)? {
            former.end(GRACE).await?;
        }
        self.create(context).await
    }
}

impl InterfaceResource {
    /// Who listens. One that runs in a terminal is as good, if it answers.
    async fn seen(&self) -> Result<Observed, Error> {
        let there = Record::read(&self.record)?.filter(|record| record.is_background() || record.listens());
        Ok(match (there, &self.launch) {
            (None, None) => Observed::ready(ABSENT),
            (None, Some(_)) => Observed::Absent,
            (Some(there), _) => match &there.background {
                None if self.launch.is_none() || there.answers().await => Observed::ready(self.wanted()),
                // suspended, or it hangs: nobody comes in there
                None => Observed::Absent,
                Some(digest) => {
                    Observed::Present { digest: digest.clone(), usable: there.listens() && there.answers().await }
                }
            },
        })
    }
}

/// Ends the background interface of a stack, if there is one, and forgets it. The stack's lock is held.
///
/// # Errors
/// [`Error::Environment`] if it does not end.
pub(crate) async fn end(record: &Path) -> Result<(), Error> {
    let Some(there) = Record::read(record)?.filter(Record::is_background) else { return Ok(()) };
    there.end(GRACE).await?;
    Ok(disk::remove(record)?)
}

/// Leaves the terminal of whoever started this process: its signals are not meant for an interface in the background.
pub(crate) fn detach() {
    // It fails only for the leader of a group, which a child is not.
    let _ = rustix::process::setsid();
}

impl Launch {
    /// Digest of the call: another call, or another kestack, replaces the interface.
    fn digest(&self) -> String {
        let words = self.arguments.iter().map(|word| word.as_encoded_bytes());
        let version = env!("CARGO_PKG_VERSION").as_bytes();
        sha256(&words.chain([version]).collect::<Vec<_>>().join(&0))
    }

    /// Starts it; returns when it listens.
    async fn start(&self) -> Result<(), Error> {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).args(&self.on_record).arg("--background").arg(self.digest()).current_dir("/");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let said = async {
            let mut child = command.spawn()?;
            let said = timeout(START, word(&mut child)).await;
            if said.is_err() {
                child.start_kill()?;
            }
            let late = |_| io::Error::new(io::ErrorKind::TimedOut, format!("not within {} s", START.as_secs()));
            said.map_err(late)?
        };
        said.await.map_err(|error| Error::Environment {
            what: format!("the HTTP interface does not listen: {error}"),
            hint: "`kestack ui` starts it in this terminal; without `ui: true` in kestack.yaml, `kestack up` does not"
                .into(),
        })
    }
}

/// Waits for the first line, which says that it listens. One that ends before it says why on its standard error.
async fn word(child: &mut Child) -> io::Result<()> {
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let mut line = String::new();
    BufReader::new(stdout.ok_or(io::ErrorKind::BrokenPipe)?).read_line(&mut line).await?;
    if !line.is_empty() {
        return Ok(());
    }
    let mut why = String::new();
    let mut stderr = stderr.ok_or(io::ErrorKind::BrokenPipe)?;
    let _ = timeout(LAST_WORDS, stderr.read_to_string(&mut why)).await;
    let why = why.trim().trim_start_matches("error: ");
    Err(io::Error::other(if why.is_empty() { "it ended at once".to_owned() } else { why.to_owned() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn launch(program: &str, arguments: &[&str]) -> Launch {
        let arguments = arguments.iter().map(OsString::from).collect();
        Launch { program: program.into(), arguments, on_record: Vec::new() }
    }

    #[tokio::test]
    async fn one_that_does_not_listen_says_why() {
        let said = |script: &'static str| async move { launch("/bin/sh", &["-c", script]).start().await };
        said("echo it listens; sleep 0.1").await.unwrap();
        let error = said("echo 'error: no port' >&2; exit 1").await.unwrap_err().to_string();
        assert!(error.starts_with("the HTTP interface does not listen: no port\n"), "{error}");
        assert!(said("exit 0").await.unwrap_err().to_string().contains("it ended at once"));
        assert!(launch("/absent", &[]).start().await.is_err());
    }

    #[test]
    fn another_call_has_another_digest() {
        let digests =
            [launch("a", &["x", "y"]), launch("a", &["xy"]), launch("a", &["x", "z"])].map(|one| one.digest());
        assert_ne!(digests[0], digests[1]);
        assert_ne!(digests[0], digests[2]);
        assert_eq!(digests[0], launch("b", &["x", "y"]).digest(), "wherever the program lies");
        let named = Launch { on_record: vec!["--engine".into(), "podman".into()], ..launch("a", &["x", "y"]) };
        assert_eq!(digests[0], named.digest(), "whether or not the call names the engine of the stack");
    }

    #[tokio::test]
    async fn one_of_a_terminal_is_as_good_only_while_it_answers() {
        let folder = tempfile::tempdir().unwrap();
        let record = folder.path().join("interface.json");
        // this very process, which lives; it takes connections and says nothing, as one that is suspended
        let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        Record::new(silent.local_addr().unwrap().port()).unwrap().keep(&record).unwrap();
        let of = |launch| InterfaceResource { record: record.clone(), launch };
        assert_eq!(of(Some(launch("a", &[]))).seen().await.unwrap(), Observed::Absent);
        assert_eq!(of(None).seen().await.unwrap(), Observed::ready(ABSENT), "nobody ends it");
    }

    #[tokio::test]
    async fn the_record_of_a_dead_one_is_removed_and_that_of_a_terminal_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("interface.json");
        let record = r#"{"url":"http://127.0.0.1:7","token":"t","process":{"pid":1,"born":"1 before"}"#;
        std::fs::write(&path, format!("{record}}}")).unwrap();
        end(&path).await.unwrap();
        assert!(path.exists());
        std::fs::write(&path, format!("{record},\"background\":\"d\"}}")).unwrap();
        end(&path).await.unwrap();
        assert!(!path.exists());
    }
}
