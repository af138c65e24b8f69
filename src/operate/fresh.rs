//! Whether a reset has anything to do: a record of how the drive was when it was fresh, which holds as long as nothing was
//! written to it. MinIO's own notes about the drive do not count. MinIO answers a client after it has written, so whatever
//! was answered before the look is seen by it.

use std::collections::BTreeSet;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::data::drive::buckets;
use crate::error::Error;
use crate::host::blocking::blocking;
use crate::host::digest::of;
use crate::host::disk::{self, Outlasts, is_absent, replace};
use crate::manifest::Seed;
use crate::operate::snapshot;
use crate::resource::Context;
use crate::resource::plan::{Decision, decide};
use crate::stack::Stack;

/// Most files of a drive that is worth a look: a fresh one has few.
const MOST: usize = 2_000;

/// Where a fresh drive has files that count: buckets' settings, MinIO's configuration with users, unfinished uploads.
const COUNTED: [&str; 3] = [".minio.sys/buckets", ".minio.sys/config", ".minio.sys/multipart"];

/// How a drive was, and what the manifest declared then.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    drive: String,
    declared: String,
}

/// Path, inode, size, and time of the last change of a file; of a folder only path and inode.
type Seen = (PathBuf, u64, u64, i64, i64);

/// Keeps a record of a stack that was just reset. None is kept of one with content, as some of it may be somebody else's, nor
/// of one with a keystore that is not its own, whose keys others change.
///
/// # Errors
/// Those of the record's file.
pub(crate) async fn remember(stack: &Stack, context: &Context) -> Result<(), Error> {
    let path = stack.layout.fresh();
    disk::remove(&path)?;
    if !stack.manifest.keys_are_own() || has_content(&stack.manifest.seed) {
        return Ok(());
    }
    // first: a write that comes before it is found by the looks that follow, and one that comes after it by the next reset
    let Ok(Some(record)) = Record::of(stack).await else { return Ok(()) };
    if !has_declared_settings(stack, context).await.unwrap_or_default() {
        return Ok(());
    }
    let (drive, place) = (stack.layout.drive(), stack.layout.drive());
    let declared: BTreeSet<_> = stack.manifest.buckets.iter().map(|bucket| bucket.name.to_string()).collect();
    let look = move || Ok::<_, Error>(is_empty(&drive, &declared).unwrap_or_default());
    if !blocking("read", &place, look).await? {
        return Ok(());
    }
    let text = serde_json::to_vec(&record).unwrap_or_default();
    replace(&path, &text, Outlasts::Process).map_err(Error::file("write", path))
}

/// True if the declared buckets have the settings that they are declared with, and none that only clients give.
async fn has_declared_settings(stack: &Stack, context: &Context) -> Result<bool, Error> {
    for bucket in stack.bucket_resources() {
        let (name, s3) = (bucket.name(), &context.s3);
        let is_declared = decide(&bucket.wanted(), &bucket.observe(context).await?) == Decision::Keep;
        if !is_declared || s3.has_settings_of_clients(&name).await? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn has_content(seed: &Seed) -> bool {
    let Seed { objects, policies, users, access_keys, lifecycle, notifications, run, .. } = seed;
    let places = objects.len() + policies.len() + users.len() + access_keys.len() + lifecycle.len();
    places + notifications.len() > 0 || run.is_some()
}

/// True if nothing was written since the last reset, and the declared keys are those that are there.
///
/// # Errors
/// Those of the drive and of KES.
pub(crate) async fn is(stack: &Stack, context: &Context) -> Result<bool, Error> {
    if !stack.manifest.keys_are_own() || snapshot::is_pending(&stack.layout) {
        return Ok(false);
    }
    let Some(text) = disk::read(&stack.layout.fresh())? else { return Ok(false) };
    let was: Option<Record> = serde_json::from_slice(&text).ok();
    // a drive that cannot be read is not known to be fresh
    if was.is_none() || was != Record::of(stack).await.unwrap_or_default() {
        return Ok(false);
    }
    let mut keys = context.kes.list_keys("").await?;
    let mut declared: Vec<_> = stack.manifest.keys.iter().map(ToString::to_string).collect();
    keys.sort_unstable();
    declared.sort_unstable();
    declared.dedup();
    Ok(keys == declared && context.s3.health("ready").await.is_ok())
}

impl Record {
    /// How the drive is now; `None` if it has too many files.
    async fn of(stack: &Stack) -> Result<Option<Self>, Error> {
        let (drive, keys, place) = (stack.layout.drive(), stack.keys_folder(), stack.layout.drive());
        let look = move || seen(&drive, &keys).map_err(Error::file("read", drive));
        let Some(seen) = blocking("read", &place, look).await? else { return Ok(None) };
        let wanted = stack.data_stages();
        let wanted = wanted
            .iter()
            .flat_map(|stage| &stage.0)
            .map(|one| format!("{} {} {}", one.kind(), one.name(), one.wanted()));
        Ok(Some(Self { drive: of(&seen), declared: of(&wanted.collect::<Vec<_>>()) }))
    }
}

/// True if the drive has the declared buckets and no others, nothing is in them or on its way there, and nobody has made a
/// user.
fn is_empty(drive: &Path, declared: &BTreeSet<String>) -> io::Result<bool> {
    let mut found = BTreeSet::new();
    for bucket in buckets(drive)? {
        if has_entries(&drive.join(&bucket))? {
            return Ok(false);
        }
        found.insert(bucket);
    }
    let iam = std::fs::read_dir(drive.join(".minio.sys/config/iam"))?;
    let has_users = iam.flatten().any(|entry| entry.file_name() != "format.json");
    Ok(found == *declared && !has_users && !has_entries(&drive.join(".minio.sys/multipart"))?)
}

fn has_entries(folder: &Path) -> io::Result<bool> {
    match std::fs::read_dir(folder) {
        Err(error) if is_absent(&error) => Ok(false),
        entries => Ok(entries?.next().is_some()),
    }
}

/// All files of a drive that count, and those of the keys: one of the same name may have other material.
fn seen(drive: &Path, keys: &Path) -> io::Result<Option<Vec<Seen>>> {
    let mut seen = Vec::new();
    add(keys, &|_| false, &mut seen)?;
    for bucket in buckets(drive)? {
        add(&drive.join(bucket), &|_| false, &mut seen)?;
    }
    // next to the settings of a bucket, which are in `.metadata.bin`, MinIO's notes have names with a `.` in front
    let is_note = |name: &str| name.starts_with('.') && name != ".metadata.bin";
    for place in COUNTED {
        add(&drive.join(place), &is_note, &mut seen)?;
    }
    seen.sort_unstable();
    Ok((seen.len() <= MOST).then_some(seen))
}

/// A folder and all below it, but for notes.
fn add(folder: &Path, is_note: &impl Fn(&str) -> bool, seen: &mut Vec<Seen>) -> io::Result<()> {
    let found = match std::fs::metadata(folder) {
        Err(error) if is_absent(&error) => return Ok(()),
        found => found?,
    };
    seen.push((folder.to_owned(), found.ino(), 0, 0, 0));
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if is_note(&entry.file_name().to_string_lossy()) || seen.len() > MOST {
            continue;
        }
        let found = entry.metadata()?;
        if found.is_dir() {
            add(&entry.path(), is_note, seen)?;
        } else {
            // the time of change and not that of the content, which programs can set back
            seen.push((entry.path(), found.ino(), found.len(), found.ctime(), found.ctime_nsec()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_clients_write_is_seen_and_what_minio_notes_is_not() {
        let drive = tempfile::tempdir().unwrap();
        let place = |path: &str, content: &str| {
            let file = drive.path().join(path);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, content).unwrap();
        };
        place(".minio.sys/buckets/docs/.metadata.bin/xl.meta", "settings");
        place(".minio.sys/config/iam/format.json/xl.meta", "1");
        std::fs::create_dir(drive.path().join("docs")).unwrap();
        let keys = tempfile::tempdir().unwrap();
        let of = || of(&seen(drive.path(), keys.path()).unwrap());
        let fresh = of();
        let declared = ["docs".to_owned()].into();
        assert!(is_empty(drive.path(), &declared).unwrap());
        place(".minio.sys/buckets/.usage.json/xl.meta", "note");
        place(".minio.sys/buckets/docs/.usage-cache.bin/xl.meta", "note");
        place(".minio.sys/tmp/1", "note");
        assert_eq!(of(), fresh);
        for path in [
            ".minio.sys/buckets/docs/.metadata.bin/xl.meta",
            ".minio.sys/config/iam/users/a/identity.json/xl.meta",
            ".minio.sys/multipart/1/2/xl.meta",
            "docs/object/xl.meta",
            "docs/.hidden/xl.meta",
            "other/object/xl.meta",
            "docs/object/xl.meta",
        ] {
            let before = of();
            place(path, "changed by a client");
            assert_ne!(of(), before, "{path}");
        }
        let before = of();
        std::fs::create_dir(drive.path().join("empty")).unwrap();
        assert_ne!(of(), before);
        let before = of();
        std::fs::write(keys.path().join("key"), "made again").unwrap();
        assert_ne!(of(), before);
        assert!(!is_empty(drive.path(), &declared).unwrap());
    }
}
