//! The master keys of a sealed folder, from wherever the configuration says they are (docs/sealed-keys.md §2).

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::{Child, ChildStderr, Command};
use zeroize::Zeroizing;

use super::super::{Environment, KeyStoreError};
use super::entry;
use crate::config::{Encryption, MasterKeySource};
use crate::crypto::{Fingerprint, MasterKey, SealError, SealedValue};

/// Longest time that a program may take to give a master key.
const DEADLINE: Duration = Duration::from_secs(10);
/// Most bytes that a master key's file or program may give.
const MOST: usize = 4096;
/// Most bytes that are shown of what a program says of its failure.
const SAID: u64 = 300;

/// The master keys of a folder: the current one seals, all of them open.
#[derive(Debug)]
pub struct MasterKeys {
    current: MasterKey,
    previous: Vec<MasterKey>,
}

impl MasterKeys {
    /// One that seals, and others that open what they sealed before.
    pub fn new(current: MasterKey, previous: Vec<MasterKey>) -> Self {
        Self { current, previous }
    }

    /// Reads those that a configuration names. Must be called within a runtime.
    ///
    /// # Errors
    /// If one of them cannot be read or is not a master key; the text names its place and nothing of it.
    pub async fn load(encryption: &Encryption, environment: &Environment) -> Result<Self, KeyStoreError> {
        let current = read(&encryption.current, environment).await?;
        let mut previous = Vec::new();
        for source in &encryption.previous {
            previous.push(read(source, environment).await?);
        }
        Ok(Self { current, previous })
    }

    /// Reads one from a file.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn read_file(path: &Path) -> Result<MasterKey, KeyStoreError> {
        let content = bounded_file(path).map_err(|error| failed(&format!("'{}': {error}", path.display())))?;
        parse(&content, &format!("'{}'", path.display()))
    }

    /// The one that seals.
    pub fn current(&self) -> &MasterKey {
        &self.current
    }

    /// The one of that name.
    pub fn find(&self, fingerprint: &Fingerprint) -> Option<&MasterKey> {
        std::iter::once(&self.current).chain(&self.previous).find(|key| key.fingerprint() == fingerprint)
    }

    /// Opens what any of them sealed.
    ///
    /// # Errors
    /// A text that says what to do.
    pub(super) fn open(&self, name: &str, sealed: &SealedValue) -> Result<Zeroizing<Vec<u8>>, String> {
        let Some(key) = self.find(&sealed.fingerprint) else {
            return Err(format!("key '{name}' is sealed under {}", self.other_than([&sealed.fingerprint])));
        };
        key.open(name, sealed).map_err(|error: SealError| format!("key '{name}' cannot be opened: {error}"))
    }

    /// Names the master keys that are wanted, and those that are here instead.
    pub(super) fn other_than<'a>(&self, wanted: impl IntoIterator<Item = &'a Fingerprint>) -> String {
        let list = |keys: Vec<String>| keys.join(" and ");
        let wanted = list(wanted.into_iter().map(ToString::to_string).collect());
        let here = std::iter::once(&self.current).chain(&self.previous);
        let here = list(here.map(|key| key.fingerprint().to_string()).collect());
        format!(
            "master key {wanted}, but the master key given is {here}: give {wanted} as the current or a previous one"
        )
    }
}

async fn read(source: &MasterKeySource, environment: &Environment) -> Result<MasterKey, KeyStoreError> {
    match source {
        MasterKeySource::File(path) => {
            if entry::is_readable_by_all(path) {
                environment.warn(&format!("everybody may read the master key in '{}'", path.display()));
            }
            MasterKeys::read_file(path)
        }
        MasterKeySource::Credential(name) => match environment.get("CREDENTIALS_DIRECTORY") {
            Some(folder) => MasterKeys::read_file(&PathBuf::from(folder).join(name)),
            None => Err(failed(&format!(
                "credential '{name}': CREDENTIALS_DIRECTORY is not set; add LoadCredential= or LoadCredentialEncrypted= \
                 to the systemd unit"
            ))),
        },
        MasterKeySource::Command(words) => {
            let program = words.first().map_or("", String::as_str);
            let told = |why: String| failed(&format!("masterKeyCommand '{program}': {why}"));
            let content = output(words).await.map_err(told)?;
            parse(&content, &format!("the output of masterKeyCommand '{program}'"))
        }
    }
}

fn parse(content: &[u8], place: &str) -> Result<MasterKey, KeyStoreError> {
    MasterKey::parse(content).map_err(|error| failed(&format!("{place} is {error}")))
}

fn failed(why: &str) -> KeyStoreError {
    KeyStoreError::Other(format!("fs: no master key: {why}"))
}

fn bounded_file(path: &Path) -> std::io::Result<Zeroizing<Vec<u8>>> {
    let file = entry::open_regular(path)?;
    let mut content = Zeroizing::new(Vec::with_capacity(MOST + 1));
    file.take(MOST as u64 + 1).read_to_end(&mut content)?;
    Ok(content)
}

/// What a program writes to its standard output. It has no shell, no input and a process group of its own, which ends
/// with the wait for it.
async fn output(words: &[String]) -> Result<Zeroizing<Vec<u8>>, String> {
    let (program, arguments) = words.split_first().ok_or("it is empty")?;
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.process_group(0).kill_on_drop(true).spawn().map_err(|error| error.to_string())?;
    let group = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    let ended = tokio::time::timeout(DEADLINE, finish(&mut child)).await;
    if let (Err(_), Some(group)) = (&ended, group) {
        // One that has ended meanwhile is gone anyway.
        let _: rustix::io::Result<()> = kill_process_group(group, Signal::KILL);
    }
    ended.unwrap_or_else(|_| Err(format!("no answer within {} s", DEADLINE.as_secs())))
}

async fn finish(child: &mut Child) -> Result<Zeroizing<Vec<u8>>, String> {
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let (content, said) = tokio::join!(bounded(stdout, MOST), beginning(stderr));
    if content.len() > MOST {
        return Err(format!("it writes more than {MOST} bytes"));
    }
    let status = child.wait().await.map_err(|error| error.to_string())?;
    if !status.success() {
        return Err(format!("{status}: {said}"));
    }
    Ok(content)
}

/// At most one byte more than `most`.
async fn bounded(pipe: Option<impl AsyncRead + Unpin>, most: usize) -> Zeroizing<Vec<u8>> {
    let mut content = Zeroizing::new(Vec::with_capacity(most + 1));
    if let Some(pipe) = pipe {
        // What a program wrote before an error is judged by its exit code.
        let _: std::io::Result<usize> = pipe.take(most as u64 + 1).read_to_end(&mut content).await;
    }
    content
}

/// The start of a text, for people; the rest is read as well, because a closed pipe would end the program.
async fn beginning(pipe: Option<ChildStderr>) -> String {
    let Some(mut pipe) = pipe else { return String::new() };
    let mut said = Vec::new();
    let _: std::io::Result<usize> = (&mut pipe).take(SAID).read_to_end(&mut said).await;
    let _: std::io::Result<u64> = tokio::io::copy(&mut pipe, &mut tokio::io::sink()).await;
    let said = String::from_utf8_lossy(&said);
    let line = said.lines().find(|line| !line.trim().is_empty()).unwrap_or("it says nothing");
    line.replace(char::is_control, " ")
}
