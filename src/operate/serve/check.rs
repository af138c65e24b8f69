//! `kestack serve --check`: whether a stack in the foreground can be used. A record in its folder says where it is; the
//! folder is locked as long as it lives.

use std::ffi::OsString;
use std::fs::{File, TryLockError};
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use kes_server::client::{Client, Credentials, Timeouts, Trust};
use serde::{Deserialize, Serialize};

use super::arguments;
use super::gate::Gate;
use super::plan::{PREFIX, Plan};
use crate::error::Error;
use crate::host::disk::{self, Outlasts};
use crate::host::ownership;
use crate::host::scratch;
use crate::servers::s3::S3Client;
use crate::stack::Layout;

/// The record's name. It is there once the port is open.
const NAME: &str = "open.json";
/// How long each of the two servers may take to answer.
const GLANCE: Duration = Duration::from_secs(3);

/// Where the parts of a stack in the foreground are.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Record {
    s3: String,
    /// Absent where MinIO has a KMS of the user's.
    kes: Option<String>,
    drive: PathBuf,
    /// Absent where the system does not name them.
    namespaces: Option<Namespaces>,
}

/// The namespaces of a process. Containers that share `/dev/shm` see each other's records, and differ in these.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Namespaces {
    mounts: u64,
    processes: u64,
}

/// A stack that can be used.
#[derive(Debug, Clone, Serialize, schemars::JsonSchema)]
pub struct Checked {
    /// Its drive.
    pub drive: PathBuf,
    /// Where S3 answers.
    pub endpoint: String,
    /// Whether KES answers, too; it is not there if MinIO has a KMS of the user's.
    #[serde(skip)]
    pub has_kes: bool,
}

impl Record {
    /// Of a stack whose KES is at `kes`.
    pub(super) fn new(s3: String, kes: Option<String>, drive: PathBuf) -> Self {
        Self { s3, kes, drive, namespaces: Namespaces::own() }
    }

    pub(super) fn of(plan: &Plan, gate: &Gate) -> Self {
        let s3 = endpoint(plan.has_tls, gate.reachable());
        Self::new(s3, Some(plan.stack.kes_endpoints()), plan.drive.path.clone())
    }

    pub(super) fn write(&self, folder: &Path) -> Result<(), Error> {
        let path = folder.join(NAME);
        let text = serde_json::to_vec(self).map_err(|error| Error::file("write", &path)(error.into()))?;
        disk::replace(&path, &text, Outlasts::Process).map_err(Error::file("write", &path))
    }

    /// True if it serves that drive, whatever links lead there.
    fn serves(&self, drive: &Path) -> bool {
        let real = |path: &Path| std::fs::canonicalize(path).or_else(|_| std::path::absolute(path)).ok();
        real(&self.drive) == real(drive)
    }

    /// True unless it is known to differ from `own` in that kind of namespace.
    fn shares(&self, own: &Namespaces, kind: impl Fn(&Namespaces) -> u64) -> bool {
        self.namespaces.as_ref().is_none_or(|its| kind(its) == kind(own))
    }
}

impl Namespaces {
    fn own() -> Option<Self> {
        let number = |kind| std::fs::metadata(format!("/proc/self/ns/{kind}")).ok().map(|found| found.ino());
        Some(Self { mounts: number("mnt")?, processes: number("pid")? })
    }
}

/// The URL of S3 for this machine.
pub(super) fn endpoint(has_tls: bool, address: SocketAddr) -> String {
    format!("{}://{address}", if has_tls { "https" } else { "http" })
}

/// Asks S3 and KES of the stack that serves the drive in these arguments of `server`; without a drive that of the only one
/// there is.
///
/// # Errors
/// [`Error::Usage`] if they name no drive that can be, [`Error::Served`] with exit code 3 if there is no such stack, with 4
/// if it cannot be used.
pub async fn check(arguments: &[OsString]) -> Result<Checked, Error> {
    let wanted = named(arguments)?;
    let is_wanted = |record: &Record| wanted.as_ref().is_none_or(|wanted| record.serves(wanted));
    let all = running().into_iter().filter(|(_, record)| is_wanted(record)).collect();
    match nearest(all, Namespaces::own().as_ref()).as_slice() {
        [] => Err(Error::Served {
            what: "no stack in the foreground is open".into(),
            hint: "`kestack serve` opens one; while it starts, this is the answer".into(),
            code: 3,
        }),
        [(folder, record)] => ask(folder, record).await,
        several => Err(Error::Usage {
            what: format!("{} stacks run in the foreground", several.len()),
            hint: "name the drive of one: `kestack serve --check DRIVE`".into(),
        }),
    }
}

/// The first drive that the arguments name.
fn named(arguments: &[OsString]) -> Result<Option<PathBuf>, Error> {
    let mut mistakes = Vec::new();
    let server = arguments::read(arguments, &|_| None, &mut mistakes);
    let drive = server.all_drives().into_iter().next();
    if drive.is_none() && !server.drives.is_empty() {
        let hint = "name the drive as `kestack serve` has it".into();
        return Err(Error::Usage { what: mistakes.join("\n"), hint });
    }
    Ok(drive)
}

/// Those of this container, if there are any; else those that are in none, or in another one whose processes are seen here.
fn nearest(all: Vec<(PathBuf, Record)>, own: Option<&Namespaces>) -> Vec<(PathBuf, Record)> {
    let Some(own) = own else { return all };
    let (here, others): (Vec<_>, Vec<_>) =
        all.into_iter().partition(|(_, record)| record.shares(own, |namespaces| namespaces.mounts));
    let seen = |(_, record): &(PathBuf, Record)| record.shares(own, |namespaces| namespaces.processes);
    if here.is_empty() { others.into_iter().filter(seen).collect() } else { here }
}

async fn ask(folder: &Path, record: &Record) -> Result<Checked, Error> {
    let s3 = S3Client::on_loopback(&record.s3, "", "", None)?;
    let kes = kes(folder, record)?;
    let answers = async {
        s3.health("ready").await.map_err(|error| format!("S3 is not ready: {error}"))?;
        let Some(kes) = &kes else { return Ok(()) };
        kes.ready().await.map(drop).map_err(|error| format!("KES is not ready: {error}"))
    };
    let answered = tokio::time::timeout(GLANCE, answers).await;
    match answered.unwrap_or_else(|_| Err(format!("no answer within {} s", GLANCE.as_secs()))) {
        Ok(()) => {
            Ok(Checked { drive: record.drive.clone(), endpoint: record.s3.clone(), has_kes: record.kes.is_some() })
        }
        Err(what) => Err(Error::Served { what, hint: "its log says more".into(), code: 4 }),
    }
}

fn kes(folder: &Path, record: &Record) -> Result<Option<Client>, Error> {
    let Some(address) = &record.kes else { return Ok(None) };
    let layout = Layout::served(folder, &record.drive);
    let read = |path: PathBuf| std::fs::read(&path).map_err(Error::file("read", &path));
    let credentials = Credentials::from_pem(&read(layout.admin_cert())?, &read(layout.admin_key())?)?;
    let trust = Trust::Pem(read(layout.ca_cert())?);
    Ok(Some(Client::new(std::slice::from_ref(address), credentials, &trust, Timeouts::default())?))
}

/// The stacks of this user whose process lives and whose port is open.
fn running() -> Vec<(PathBuf, Record)> {
    let entries = scratch::places().into_iter().filter_map(|place| std::fs::read_dir(place).ok()).flatten().flatten();
    let folders = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(PREFIX));
    let lives = |folder: &PathBuf| {
        let is_own =
            std::fs::symlink_metadata(folder).is_ok_and(|found| found.is_dir() && ownership::not_own(&found).is_none());
        let open = if is_own { File::open(folder).ok() } else { None };
        open.is_some_and(|open| matches!(open.try_lock(), Err(TryLockError::WouldBlock)))
    };
    let folders = folders.map(|entry| entry.path()).filter(lives);
    folders
        .filter_map(|folder| {
            let record = serde_json::from_slice(&disk::read(&folder.join(NAME)).ok()??).ok()?;
            Some((folder, record))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<OsString> {
        line.split_whitespace().map(OsString::from).collect()
    }

    #[test]
    fn the_drive_is_named_as_for_the_server() {
        for (line, drive) in [
            ("", None),
            ("/data", Some("/data")),
            ("/data{1...4}", Some("/data1")),
            ("--address :9000 /data --json", Some("/data")),
            ("--address :9000", None),
        ] {
            assert_eq!(named(&words(line)).unwrap().as_deref(), drive.map(Path::new), "{line}");
        }
        let error = named(&words("/data{4...1}")).unwrap_err();
        assert!(error.exit_code() == 2 && error.to_string().contains("does not say which drives"), "{error}");
    }

    #[test]
    fn a_link_to_the_drive_is_the_drive() {
        let folder = tempfile::tempdir().unwrap();
        let (drive, link) = (folder.path().join("data"), folder.path().join("link"));
        std::fs::create_dir(&drive).unwrap();
        std::os::unix::fs::symlink(&drive, &link).unwrap();
        for (one, other) in [(&drive, &link), (&link, &drive), (&drive, &folder.path().join("data/../data/"))] {
            assert!(Record::new(String::new(), None, one.clone()).serves(other), "{one:?} {other:?}");
        }
        assert!(!Record::new(String::new(), None, drive).serves(folder.path()));
    }

    #[test]
    fn a_container_knows_its_own_stack_among_those_that_share_its_memory() {
        let of = |name: &str, (mounts, processes): (u64, u64)| {
            let record = Record::new(name.to_owned(), None, "/data".into());
            (PathBuf::new(), Record { namespaces: Some(Namespaces { mounts, processes }), ..record })
        };
        let names = |own: (u64, u64), all: &[(PathBuf, Record)]| {
            let own = Namespaces { mounts: own.0, processes: own.1 };
            nearest(all.to_vec(), Some(&own)).into_iter().map(|(_, record)| record.s3).collect::<Vec<_>>()
        };
        let all = [of("first", (1, 1)), of("second", (2, 2))];
        assert_eq!((names((1, 1), &all), names((2, 2), &all)), (vec!["first".to_owned()], vec!["second".to_owned()]));
        assert!(names((3, 3), &all).is_empty(), "a container that starts is not the one next to it");
        assert_eq!(names((3, 2), &all), ["second"], "a service with mounts of its own");
        let mut former = all[0].clone();
        former.1.namespaces = None;
        assert_eq!(names((3, 3), &[former.clone(), all[1].clone()]), ["first"]);
        assert_eq!(nearest(vec![former], None).len(), 1);
    }
}
