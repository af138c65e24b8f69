//! `kestack serve --check`: whether a stack in the foreground can be used. A record in its folder says where it is; the
//! folder is locked as long as it lives.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

use kes_server::client::{Client, Credentials, Timeouts, Trust};
use serde::{Deserialize, Serialize};

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
    kes: String,
    drive: PathBuf,
}

/// A stack that can be used.
#[derive(Debug, Clone, Serialize, schemars::JsonSchema)]
pub struct Checked {
    /// Its drive.
    pub drive: PathBuf,
    /// Where S3 answers.
    pub endpoint: String,
}

impl Record {
    pub(super) fn of(plan: &Plan, gate: &Gate) -> Self {
        let scheme = if plan.has_tls { "https" } else { "http" };
        Self {
            s3: format!("{scheme}://{}", gate.reachable()),
            kes: plan.stack.kes_endpoints(),
            drive: plan.drive.path.clone(),
        }
    }

    pub(super) fn write(&self, folder: &Path) -> Result<(), Error> {
        let path = folder.join(NAME);
        let text = serde_json::to_vec(self).map_err(|error| Error::file("write", &path)(error.into()))?;
        disk::replace(&path, &text, Outlasts::Process).map_err(Error::file("write", &path))
    }
}

/// Asks S3 and KES of the stack that serves `drive`; without a drive that of the only one there is.
///
/// # Errors
/// [`Error::NotRunning`] if there is none, [`Error::Served`] with exit code 4 if it cannot be used.
pub async fn check(drive: Option<&Path>) -> Result<Checked, Error> {
    let wanted = drive.map(|path| std::path::absolute(path).map_err(Error::file("find", path))).transpose()?;
    let all: Vec<(PathBuf, Record)> = running()
        .into_iter()
        .filter(|(_, record)| wanted.as_ref().is_none_or(|wanted| *wanted == record.drive))
        .collect();
    match all.as_slice() {
        [] => Err(Error::Served {
            what: "no stack in the foreground is open".into(),
            hint: "`kestack serve` opens one; while it starts, this is the answer".into(),
            code: 3,
        }),
        [(folder, record)] => ask(folder, record).await,
        _ => Err(Error::Usage {
            what: format!("{} stacks run in the foreground", all.len()),
            hint: "name the drive of one: `kestack serve --check DRIVE`".into(),
        }),
    }
}

async fn ask(folder: &Path, record: &Record) -> Result<Checked, Error> {
    let s3 = S3Client::on_loopback(&record.s3, "", "", None)?;
    let kes = kes(folder, record)?;
    let answers = async {
        s3.health("ready").await.map_err(|error| format!("S3 is not ready: {error}"))?;
        kes.ready().await.map(drop).map_err(|error| format!("KES is not ready: {error}"))
    };
    let answered = tokio::time::timeout(GLANCE, answers).await;
    match answered.unwrap_or_else(|_| Err(format!("no answer within {} s", GLANCE.as_secs()))) {
        Ok(()) => Ok(Checked { drive: record.drive.clone(), endpoint: record.s3.clone() }),
        Err(what) => Err(Error::Served { what, hint: "its log says more".into(), code: 4 }),
    }
}

fn kes(folder: &Path, record: &Record) -> Result<Client, Error> {
    let layout = Layout::served(folder, &record.drive);
    let read = |path: PathBuf| std::fs::read(&path).map_err(Error::file("read", &path));
    let credentials = Credentials::from_pem(&read(layout.admin_cert())?, &read(layout.admin_key())?)?;
    let trust = Trust::Pem(read(layout.ca_cert())?);
    Ok(Client::new(std::slice::from_ref(&record.kes), credentials, &trust, Timeouts::default())?)
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
