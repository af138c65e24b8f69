//! Going on without KES: the one key of a stack becomes the static key of MinIO, proven on a clone of the drive.
//!
//! MinIO opens under `MINIO_KMS_SECRET_KEY` what KES sealed with the same secret (docs/leave-kes.md §2). Nothing of the stack
//! changes: every object is read from the clone and from the running stack, and the key is written down only after all
//! digests were equal.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use schemars::JsonSchema;
use serde::Serialize;

use crate::error::Error;
use crate::host::blocking::blocking;
use crate::host::interrupt::Interrupt;
use crate::operate::clone::{ClonePlan, CloneServer, ClonedDrive, Kms};
use crate::operate::rotate::check::freezer;
use crate::operate::session::{Session, environment};
use crate::operate::snapshot::Method;
use crate::stack::Stack;
use crate::supply;

mod check;
mod compare;
mod key;
mod own_files;

pub(crate) use compare::{Compared, Difference};
pub(crate) use key::check_place;

/// What is wanted.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    /// Where the key goes in clear.
    pub(crate) write: Option<PathBuf>,
    /// How many versions are read; all if none.
    pub(crate) sample: Option<u64>,
    /// Where the clone is made, if not in the stack's folder.
    pub(crate) work: Option<PathBuf>,
    /// The program that wakes MinIO if kestack ends.
    pub(crate) program: PathBuf,
}

/// What was shown.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Escaped")]
pub(crate) struct Report {
    /// Name of the stack.
    pub(crate) name: String,
    /// The key of all data.
    pub(crate) key: String,
    /// The MinIO that read the clone.
    pub(crate) minio: String,
    /// How the clone was made.
    pub(crate) clone: Method,
    /// What was read from both.
    #[serde(flatten)]
    pub(crate) compared: Compared,
    /// How many versions were chosen at random; null if all were read.
    pub(crate) sample: Option<u64>,
    /// Files of MinIO's own, such as configuration and users, that open under the key.
    pub(crate) minio_files: u64,
    /// How long MinIO was paused while its drive was cloned.
    pub(crate) pause_milliseconds: u128,
    /// How long it took.
    pub(crate) milliseconds: u128,
    /// True if everything that was read is the same without KES.
    pub(crate) proven: bool,
    /// The file with the key in clear; null if none was written.
    pub(crate) written: Option<PathBuf>,
}

/// Proves that the stack's data can be read without KES, and writes the key down if that is wanted. The stack's lock is held.
///
/// # Errors
/// What keeps the proof from being made, before anything is written. The report lists what differs.
pub(crate) async fn escape(session: &Session, request: &Request, interrupt: &Interrupt) -> Result<Report, Error> {
    let (start, stack) = (Instant::now(), &session.stack);
    check::stack(stack)?;
    let key = check::only_key(stack).await?;
    let key = key::of(stack, &key).await?;
    let program = supply::minio_program(stack.manifest.minio.binary.as_deref(), &environment)?;
    let minio_files = own_files::open(&stack.layout.drive(), &key).await?;
    let (clone, pause) = clone(session, request, interrupt).await?;
    let method = clone.method;
    let work = async {
        let mut server = CloneServer::start(Arc::new(clone), &program, &Kms::StaticKey(key.clone())).await?;
        let compared = compare::all(&server, &session.context.s3, &stack.layout.drive(), request.sample).await?;
        // one that has ended gives no object, however good that is
        server.require_alive().await?;
        Ok::<_, Error>(compared)
    };
    let compared = Box::pin(interrupt.ends(work)).await?;
    let proven = compared.proves(minio_files);
    let written = request.write.clone().filter(|_| proven);
    if let Some(file) = &written {
        key::write(file, &key)?;
    }
    Ok(Report {
        name: stack.manifest.name.to_string(),
        key: key.name().to_string(),
        minio: program.display().to_string(),
        clone: method,
        compared,
        sample: request.sample,
        minio_files,
        pause_milliseconds: pause.as_millis(),
        milliseconds: start.elapsed().as_millis(),
        proven,
        written,
    })
}

/// Clones the drive while MinIO is paused.
async fn clone(session: &Session, request: &Request, interrupt: &Interrupt) -> Result<(ClonedDrive, Duration), Error> {
    let stack: &Stack = &session.stack;
    let freezer = freezer(stack, session.pod.as_ref(), &request.program)?;
    let drive = stack.layout.drive();
    let (layout, work) = (stack.layout.clone(), request.work.clone());
    let (from, interrupt) = (drive.clone(), interrupt.clone());
    blocking("clone", &drive, move || {
        let plan = ClonePlan::of(&layout, &from, work.as_deref(), &interrupt)?;
        plan.fill_paused(&freezer, "run the same command again")
    })
    .await
}
