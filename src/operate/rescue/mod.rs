//! Everything that can be read, written out in clear: for a stack that does not start any more, and for a snapshot.
//!
//! A MinIO on a clone of the drive reads the objects, with one key after the other from the keystore in its environment
//! (docs/leave-kes.md §4); nothing here decodes what MinIO has stored. Neither the stack's servers nor its certificates are
//! needed. What cannot be read is listed with the reason. The report is written last: without it a rescue is not complete.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use kes_server::keystore::Environment;
use schemars::JsonSchema;
use serde::Serialize;

use crate::data::drive::{Item, Opens};
use crate::error::Error;
use crate::host::interrupt::Interrupt;
use crate::keystore::StaticKey;
use crate::manifest::Manifest;
use crate::operate::clone::{CloneServer, ClonedDrive, Kms, check_apart, in_parallel};
use crate::operate::session::{Opened, environment, keystore_environment};
use crate::operate::snapshot::{SnapshotName, sync};
use crate::stack::Layout;
use crate::supply;

mod destination;
mod lists;
mod source;
mod write;

use destination::Destination;
use lists::{Lists, Unreadable};
use source::Source;

/// What is wanted.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    /// Where the objects go; it must be empty.
    pub(crate) destination: PathBuf,
    /// The snapshot that is read instead of the stack's drive.
    pub(crate) snapshot: Option<SnapshotName>,
    /// Whether earlier versions are written as well.
    pub(crate) versions: bool,
    /// Where the clone is made, if not in the stack's folder.
    pub(crate) work: Option<PathBuf>,
    /// Whether MinIO is stopped for sure, so that the stack's engine need not answer.
    pub(crate) stopped: bool,
}

/// What was written, and what was not.
#[derive(Debug, Default, Serialize, JsonSchema)]
#[schemars(rename = "Rescued")]
pub(crate) struct Report {
    /// Name of the stack.
    pub(crate) name: String,
    /// The snapshot that was read; null for the stack's drive.
    pub(crate) snapshot: Option<SnapshotName>,
    /// Where the objects are.
    pub(crate) destination: PathBuf,
    /// Objects that were written, in their current versions.
    pub(crate) objects: u64,
    /// Earlier versions that were written.
    pub(crate) versions: u64,
    /// Bytes of the objects and their earlier versions.
    pub(crate) bytes: u64,
    /// Names that no path can have: these objects are below `odd`, and `odd-names.jsonl` says which is which.
    pub(crate) odd_names: u64,
    /// Versions that could not be read; `unreadable.jsonl` has all of them.
    pub(crate) unreadable: u64,
    /// The first of them.
    pub(crate) first_unreadable: Vec<Unreadable>,
    /// Keys that the keystore does not give, although something needs them.
    pub(crate) missing_keys: BTreeSet<String>,
    /// How long it took.
    pub(crate) milliseconds: u128,
}

/// Writes out what can be read. The stack's lock is held; its servers may run or not.
///
/// # Errors
/// What keeps it from being begun, before anything is written; later those of the destination. The report lists what cannot
/// be read.
pub(crate) async fn rescue(opened: Opened, request: &Request, interrupt: &Interrupt) -> Result<Report, Error> {
    let start = Instant::now();
    let options = &opened.options;
    let program = supply::minio_program(options.manifest.minio.binary.as_deref(), &environment)?;
    let keystores = keystore_environment(&options.manifest);
    let name = options.manifest.name.to_string();
    check_destination(&options.layout(), &options.manifest, &request.destination)?;
    let destination = Destination::make(&request.destination)?;
    let begun = async {
        let source = Source::of(opened, request).await?;
        let clone = source.clone_drive(request.work.as_deref(), interrupt).await?;
        Ok::<_, Error>((source, Arc::new(clone)))
    };
    let (source, clone) = begun.await.inspect_err(|_| destination.abandon())?;
    let work = Work { source: &source, program: &program, keystores, clone, destination: &destination, request };
    let lists = Box::pin(interrupt.ends(work.all())).await?;
    let mut report = lists.into_report()?;
    report.name = name;
    report.snapshot.clone_from(&request.snapshot);
    report.destination.clone_from(&request.destination);
    report.milliseconds = start.elapsed().as_millis();
    sync(&request.destination)?;
    destination.write_report(&report)?;
    Ok(report)
}

/// Refuses to write objects into the data that they come from.
fn check_destination(stack: &Layout, manifest: &Manifest, destination: &Path) -> Result<(), Error> {
    let keys = manifest.fs_path().unwrap_or_else(|| stack.keys());
    let from = [stack.drive(), keys, stack.snapshots()];
    let hint = "name a folder outside of the stack's data, keys and snapshots";
    check_apart(destination, from.iter().map(PathBuf::as_path), hint)
}

/// A rescue at work.
struct Work<'a> {
    source: &'a Source,
    program: &'a Path,
    keystores: Environment,
    clone: Arc<ClonedDrive>,
    destination: &'a Destination,
    request: &'a Request,
}

impl Work<'_> {
    async fn all(self) -> Result<Lists, Error> {
        let mut lists = Lists::new(self.destination)?;
        let (keys, bytes) = self.needed().await?;
        self.destination.check_room(bytes)?;
        let keystore = self.source.keystore(&self.keystores).await;
        // what needs no key, or may need any, is read with the first one
        let mut rest = Some(());
        for name in keys {
            match source::key(keystore.as_ref(), &name).await {
                Ok(key) => {
                    let with_rest = rest.take().is_some();
                    self.read(Kms::StaticKey(key), &mut lists, |item| {
                        is_under(item, &name) || with_rest && needs_no_key(item)
                    })
                    .await?;
                }
                Err(why) => {
                    lists.missing_key(&name);
                    self.skip(&mut lists, |item| is_under(item, &name), &format!("key '{name}': {why}")).await?;
                }
            }
        }
        if rest.is_some() {
            self.read(Kms::None, &mut lists, needs_no_key).await?;
        }
        let clients = "only the client has its key (SSE-C)";
        self.skip(&mut lists, |item| item.opens == Opens::Client, clients).await?;
        Ok(lists)
    }

    fn is_wanted(&self, item: &Item) -> bool {
        item.is_current || self.request.versions
    }

    /// The keys that are needed, and the bytes that will be written.
    async fn needed(&self) -> Result<(BTreeSet<String>, u64), Error> {
        let (mut keys, mut bytes) = (BTreeSet::new(), 0_u64);
        in_parallel(&self.clone.path(), std::future::ready, |item| {
            if self.is_wanted(&item) {
                bytes = bytes.saturating_add(item.bytes);
                if let Opens::Key(name) = item.opens {
                    keys.insert(name);
                }
            }
            Ok(())
        })
        .await?;
        Ok((keys, bytes))
    }

    /// Writes every version that `is_meant`, read by a MinIO with that key.
    async fn read(&self, kms: Kms, lists: &mut Lists, is_meant: impl Fn(&Item) -> bool) -> Result<(), Error> {
        let mut server = CloneServer::start(Arc::clone(&self.clone), self.program, &kms).await?;
        let s3 = server.s3.clone();
        let work = |item: Item| {
            let is_meant = self.is_wanted(&item) && is_meant(&item);
            let (s3, destination) = (&s3, self.destination);
            async move {
                if !is_meant {
                    return Ok(None);
                }
                let written = write::one(s3, destination, &item).await?;
                Ok::<_, Error>(Some((item, written)))
            }
        };
        in_parallel(&self.clone.path(), work, |done| match done? {
            Some((item, written)) => lists.add(&item, written),
            None => Ok(()),
        })
        .await?;
        // one that has ended gives no object, however good that is
        server.require_alive().await
    }

    /// Lists every version that `is_meant` as not readable.
    async fn skip(&self, lists: &mut Lists, is_meant: impl Fn(&Item) -> bool, why: &str) -> Result<(), Error> {
        in_parallel(&self.clone.path(), std::future::ready, |item| {
            if self.is_wanted(&item) && is_meant(&item) { lists.unreadable(&item, why) } else { Ok(()) }
        })
        .await
    }
}

fn is_under(item: &Item, name: &str) -> bool {
    matches!(&item.opens, Opens::Key(key) if key == name)
}

fn needs_no_key(item: &Item) -> bool {
    matches!(item.opens, Opens::Clear | Opens::Unknown)
}

/// The key of a MinIO that reads what is under it.
type Found = Result<StaticKey, String>;
