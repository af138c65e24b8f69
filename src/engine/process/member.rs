//! One server of a stack on disk: its wanted state, who runs it, how it ended, its output.
//!
//! The lock tells whether a supervisor lives: it is taken by the kestack that starts one, handed over as an open
//! file, and released by the kernel when the supervisor is gone. The records say which process gets the signal to end;
//! each was written by the process that it names.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::time::interval;

use super::super::{ContainerSpec, ContainerState};
use super::identity::Identity;
use crate::host::disk::{Outlasts, is_absent, is_full, replace};

/// How often a lock or a process is looked at while it is waited for.
const LOOK: Duration = Duration::from_millis(2);
/// How long a supervisor may take to say who it is.
const INTRODUCTION: Duration = Duration::from_secs(5);
/// How long the kernel may take to end what was killed.
const KILLED: Duration = Duration::from_secs(5);
/// How much longer than its server a supervisor may take to end.
const SUPERVISOR: Duration = Duration::from_secs(2);

/// A member's folder, `<stack>/run/<name>`.
#[derive(Debug, Clone)]
pub(super) struct Member {
    folder: PathBuf,
}

/// How a server ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Exit {
    /// Its exit code, 128 and the signal if one killed it.
    pub(super) code: i64,
    /// True if its supervisor is about to start it again.
    pub(super) again: bool,
}

/// Who holds the lock.
enum Holder {
    /// Nobody did: now we do.
    Nobody(Lock),
    Supervisor(Identity),
}

/// The right to start and to end a member, for as long as the file is open somewhere.
pub(super) type Lock = File;

impl Member {
    pub(super) fn at(folder: PathBuf) -> Self {
        Self { folder }
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(super) fn log(&self) -> PathBuf {
        self.folder.join("log")
    }

    /// Its wanted state; `None` if it was never made completely.
    pub(super) fn spec(&self) -> io::Result<Option<ContainerSpec>> {
        read(&self.folder.join("spec.json"))
    }

    /// Makes the folder.
    pub(super) fn create(&self, spec: &ContainerSpec) -> io::Result<()> {
        create_private(&self.folder)?;
        write(&self.folder.join("spec.json"), spec)
    }

    pub(super) fn supervisor(&self) -> io::Result<Option<Identity>> {
        read(&self.folder.join("supervisor.json"))
    }

    pub(super) fn introduce_supervisor(&self, identity: &Identity) -> io::Result<()> {
        write(&self.folder.join("supervisor.json"), identity)
    }

    pub(super) fn server(&self) -> io::Result<Option<Identity>> {
        read(&self.folder.join("server.json"))
    }

    /// Also on a full disk, if a server ran here before.
    pub(super) fn introduce_server(&self, identity: &Identity) -> io::Result<()> {
        let path = self.folder.join("server.json");
        match write(&path, identity) {
            Err(error) if is_full(&error) => overwrite(&path, identity).map_err(|_| error),
            written => written,
        }
    }

    pub(super) fn record_exit(&self, exit: &Exit) -> io::Result<()> {
        write(&self.folder.join("exit.json"), exit)
    }

    pub(super) fn forget_exit(&self) -> io::Result<()> {
        match fs::remove_file(self.folder.join("exit.json")) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn exit(&self) -> io::Result<Option<Exit>> {
        read(&self.folder.join("exit.json"))
    }

    /// True if its supervisor lives.
    pub(super) fn supervised(&self) -> bool {
        self.supervisor().is_ok_and(|supervisor| alive(supervisor).is_some())
    }

    /// True if anything of it lives: ports may be held.
    pub(super) fn lives(&self) -> io::Result<bool> {
        Ok(alive(self.server()?).is_some() || alive(self.supervisor()?).is_some())
    }

    /// True if its server lives and somebody looks after it.
    pub(super) fn running(&self) -> io::Result<bool> {
        Ok(alive(self.server()?).is_some() && alive(self.supervisor()?).is_some())
    }

    /// As the engine reports it; `None` if it was never made completely.
    pub(super) fn state(&self) -> io::Result<Option<ContainerState>> {
        let Some(spec) = self.spec()? else { return Ok(None) };
        let (running, exit) = (self.running()?, self.exit()?);
        let again = exit.as_ref().is_some_and(|exit| exit.again) && alive(self.supervisor()?).is_some();
        let status = match &exit {
            _ if running => "running",
            _ if again => "restarting",
            None if self.server()?.is_none() => "created",
            _ => "exited",
        };
        Ok(Some(ContainerState {
            status: status.to_owned(),
            running,
            exit_code: exit.filter(|_| !running && !again).map(|exit| exit.code),
            image: super::image_id(&spec.image),
            pid: self.server()?.filter(|_| running).map(|server| server.pid),
            name: spec.name,
            labels: spec.labels,
        }))
    }

    /// The lock, or `None` while a supervisor or another kestack holds it.
    fn try_lock(&self) -> io::Result<Option<Lock>> {
        let path = self.folder.join("lock");
        let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(file)),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// The lock for a start, with nothing of an earlier run left; `None` if its server runs already. A server that
    /// waits for its restart is started at once.
    pub(super) async fn lock_for_start(&self, grace: Duration) -> io::Result<Option<Lock>> {
        let settled = wait_for(INTRODUCTION, || {
            let done = self.running()? || self.exit()?.is_some_and(|exit| exit.again);
            Ok((done || self.try_lock()?.is_some()).then_some(()))
        });
        settled.await?;
        if self.running()? { Ok(None) } else { self.end(grace).await.map(Some) }
    }

    /// Ends supervisor and server, the server with SIGTERM first and SIGKILL after `grace`. The lock that is
    /// returned keeps others from starting it.
    pub(super) async fn end(&self, grace: Duration) -> io::Result<Lock> {
        let lock = match self.try_lock()? {
            Some(lock) => lock,
            None => self.end_supervisor(grace).await?,
        };
        // what a supervisor left that was killed
        if let Some(server) = alive(self.server()?) {
            end(&server, grace).await?;
        }
        Ok(lock)
    }

    async fn end_supervisor(&self, grace: Duration) -> io::Result<Lock> {
        let found = wait_for(INTRODUCTION, || match self.try_lock()? {
            Some(lock) => Ok(Some(Holder::Nobody(lock))),
            None => Ok(alive(self.supervisor()?).map(Holder::Supervisor)),
        });
        match found.await? {
            Some(Holder::Nobody(lock)) => return Ok(lock),
            Some(Holder::Supervisor(supervisor)) => {
                supervisor.signal(Signal::TERM)?;
                if let Some(lock) = wait_for(grace + SUPERVISOR, || self.try_lock()).await? {
                    return Ok(lock);
                }
                supervisor.signal(Signal::KILL)?;
            }
            None => {}
        }
        let lock = wait_for(KILLED, || self.try_lock()).await?;
        lock.ok_or_else(|| io::Error::new(ErrorKind::TimedOut, "its supervisor does not end"))
    }

    /// Removes the folder; the member has ended, which `_lock` is the proof of.
    pub(super) fn remove(&self, _lock: &Lock) -> io::Result<()> {
        remove_tree(&self.folder)
    }
}

/// Ends a process: SIGTERM, which one that is frozen must be woken for, then SIGKILL.
pub(crate) async fn end(process: &Identity, grace: Duration) -> io::Result<()> {
    process.signal(Signal::TERM)?;
    process.signal(Signal::CONT)?;
    let gone = || Ok((!process.alive()).then_some(()));
    if wait_for(grace, gone).await?.is_none() {
        process.signal(Signal::KILL)?;
        let killed = wait_for(KILLED, gone).await?;
        killed.ok_or_else(|| io::Error::new(ErrorKind::TimedOut, format!("process {} does not end", process.pid)))?;
    }
    Ok(())
}

/// Asks until there is something, at most for `deadline`.
async fn wait_for<T>(deadline: Duration, mut look: impl FnMut() -> io::Result<Option<T>>) -> io::Result<Option<T>> {
    let start = Instant::now();
    let mut looks = interval(LOOK);
    loop {
        looks.tick().await;
        let found = look()?;
        if found.is_some() || start.elapsed() >= deadline {
            return Ok(found);
        }
    }
}

fn alive(process: Option<Identity>) -> Option<Identity> {
    process.filter(Identity::alive)
}

/// Makes a folder that only its owner may enter.
pub(super) fn create_private(folder: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// Removes a folder and all in it; what is absent is removed.
pub(super) fn remove_tree(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Reads a record; what is absent or, after the machine went down in the middle, broken, is none.
pub(super) fn read<T: DeserializeOwned>(path: &Path) -> io::Result<Option<T>> {
    match fs::read(path) {
        Ok(text) => Ok(serde_json::from_slice(&text).ok()),
        Err(error) if is_absent(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Writes a record completely or not at all.
pub(super) fn write(path: &Path, value: &impl Serialize) -> io::Result<()> {
    replace(path, &serde_json::to_vec_pretty(value)?, Outlasts::Process)
}

/// Writes a small record over the one before it, whose room on the disk it takes. One that is cut counts as absent.
fn overwrite(path: &Path, value: &impl Serialize) -> io::Result<()> {
    let text = serde_json::to_vec_pretty(value)?;
    let mut file = File::options().write(true).open(path)?;
    file.write_all(&text)?;
    file.set_len(text.len() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(folder: &Path) -> Member {
        let member = Member::at(folder.join("run/kes"));
        let spec = ContainerSpec {
            name: "kes".into(),
            pod: "pod".into(),
            image: "/bin/sleep".into(),
            command: vec!["100".into()],
            env: [].into(),
            labels: [].into(),
            mounts: vec![],
            capabilities: vec![],
            stop_timeout: 1,
        };
        member.create(&spec).unwrap();
        member
    }

    #[tokio::test]
    async fn a_server_without_its_supervisor_is_found_and_ended() {
        let folder = tempfile::tempdir().unwrap();
        let member = member(folder.path());
        let mut child = tokio::process::Command::new("sleep").arg("100").kill_on_drop(true).spawn().unwrap();
        let identity = Identity::of(child.id().unwrap().cast_signed()).unwrap();
        member.introduce_server(&identity).unwrap();
        assert!(!member.running().unwrap(), "nobody looks after it");
        let lock = member.end(Duration::from_secs(5)).await.unwrap();
        assert!(!identity.alive());
        assert!(member.try_lock().unwrap().is_none(), "nobody else starts it meanwhile");
        member.remove(&lock).unwrap();
        child.wait().await.unwrap();
    }

    #[tokio::test]
    async fn a_frozen_server_ends_too() {
        let mut child = tokio::process::Command::new("sleep").arg("100").kill_on_drop(true).spawn().unwrap();
        let identity = Identity::of(child.id().unwrap().cast_signed()).unwrap();
        identity.signal(Signal::STOP).unwrap();
        let start = Instant::now();
        end(&identity, Duration::from_secs(30)).await.unwrap();
        assert!(start.elapsed() < Duration::from_secs(10));
        child.wait().await.unwrap();
    }

    #[test]
    fn a_record_of_a_number_given_to_another_process_is_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let member = member(folder.path());
        let stale = format!("{{\"pid\":{},\"born\":\"1 before\"}}", std::process::id());
        for record in ["server.json", "supervisor.json"] {
            fs::write(member.folder().join(record), &stale).unwrap();
        }
        assert!(!member.running().unwrap());
        assert_eq!(member.state().unwrap().unwrap().status, "exited");
    }

    #[test]
    fn states_have_the_words_of_container_engines() {
        let folder = tempfile::tempdir().unwrap();
        let member = member(folder.path());
        let state = || member.state().unwrap().map(|state| (state.status, state.exit_code)).unwrap();
        let own = Identity::own().unwrap();
        assert_eq!(state(), ("created".into(), None));
        member.record_exit(&Exit { code: 7, again: true }).unwrap();
        assert_eq!(state(), ("exited".into(), Some(7)), "who would start it again is gone");
        member.introduce_supervisor(&own).unwrap();
        assert_eq!(state(), ("restarting".into(), None));
        member.record_exit(&Exit { code: 7, again: false }).unwrap();
        assert_eq!(state(), ("exited".into(), Some(7)));
        member.introduce_server(&own).unwrap();
        assert_eq!(state(), ("running".into(), None));
        fs::write(member.folder().join("spec.json"), "{").unwrap();
        assert_eq!(member.state().unwrap(), None, "half a record is none");
    }
}
