//! Remembers what was learned of a binary (digests, its version) by what `stat` says of it, so that an unchanged one is
//! neither read nor run again.
//!
//! It is only a cache: whatever is missing, broken or cannot be written costs a fraction of a second.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use aws_lc_rs::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};

use crate::host::disk::{Outlasts, create_private, replace};

/// A file changed this recently may change again without its time changing.
const SETTLED: Duration = Duration::from_secs(1);

/// Entries that are kept: of some versions of some programs.
const ENTRIES: usize = 64;

/// Starts of their names, also before this format.
const NAMES: [&str; 2] = ["digest-", "layer-"];

/// What identifies the content of a file without reading it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Stamp {
    device: u64,
    inode: u64,
    pub(super) size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

#[derive(Debug, Serialize, Deserialize)]
struct Entry {
    binary: PathBuf,
    stamp: Stamp,
    digest: String,
}

impl Stamp {
    pub(crate) fn of(path: &Path) -> std::io::Result<Self> {
        let file = fs::metadata(path)?;
        if !file.is_file() {
            return Err(std::io::Error::other("it is not a file"));
        }
        Ok(Self {
            device: file.dev(),
            inode: file.ino(),
            size: file.size(),
            modified: (file.mtime(), file.mtime_nsec()),
            changed: (file.ctime(), file.ctime_nsec()),
        })
    }

    fn settled(&self) -> bool {
        let changed = SystemTime::UNIX_EPOCH + Duration::from_secs(self.changed.0.try_into().unwrap_or(0));
        SystemTime::now().duration_since(changed).is_ok_and(|age| age > SETTLED)
    }
}

/// The digest of `what` is made of the binary, if that is the one that was digested.
pub(crate) fn recall(folder: &Path, what: &str, binary: &Path, stamp: &Stamp) -> Option<String> {
    let entry: Entry = serde_json::from_slice(&fs::read(place(folder, what, binary)).ok()?).ok()?;
    (entry.stamp == *stamp).then_some(entry.digest)
}

/// Remembers the digest of `what` is made of the binary.
pub(crate) fn remember(folder: &Path, what: &str, binary: &Path, stamp: &Stamp, digest: &str) {
    if !stamp.settled() {
        return;
    }
    let entry = Entry { binary: binary.to_owned(), stamp: stamp.clone(), digest: digest.to_owned() };
    if let Err(error) = write(folder, &place(folder, what, binary), &entry) {
        tracing::debug!(%error, "a digest is not remembered");
    }
}

fn write(folder: &Path, place: &Path, entry: &Entry) -> std::io::Result<()> {
    create_private(folder).map_err(std::io::Error::other)?;
    replace(place, &serde_json::to_vec(entry)?, Outlasts::Process)?;
    forget(folder)
}

/// Removes the entries of programs that are gone or of a former format, and those that were made longest ago, once there are
/// too many.
fn forget(folder: &Path) -> std::io::Result<()> {
    let mut entries = Vec::new();
    for entry in fs::read_dir(folder)? {
        let (entry, name) = entry.map(|entry| (entry.path(), entry.file_name()))?;
        if !NAMES.iter().any(|start| name.as_encoded_bytes().starts_with(start.as_bytes())) {
            continue;
        }
        let known = serde_json::from_slice::<Entry>(&fs::read(&entry)?);
        if known.is_ok_and(|known| known.binary.exists()) {
            entries.push((fs::metadata(&entry)?.modified()?, entry));
        } else {
            fs::remove_file(&entry)?;
        }
    }
    entries.sort();
    let former = entries.len().saturating_sub(ENTRIES);
    entries.into_iter().take(former).try_for_each(|(_, path)| fs::remove_file(path))
}

fn place(folder: &Path, what: &str, binary: &Path) -> PathBuf {
    let path = digest(&SHA256, binary.as_os_str().as_encoded_bytes());
    folder.join(format!("digest-{what}-{}.json", hex::encode(path)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn binary(folder: &Path) -> PathBuf {
        let binary = folder.join("binary");
        fs::write(&binary, "content").unwrap();
        binary
    }

    fn settled(stamp: &Stamp) -> Stamp {
        Stamp { changed: (0, 0), ..stamp.clone() }
    }

    #[test]
    fn remembers_by_stamp() {
        let folder = tempfile::tempdir().unwrap();
        let binary = binary(folder.path());
        let stamp = settled(&Stamp::of(&binary).unwrap());
        remember(folder.path(), "layer", &binary, &stamp, "abc");
        assert_eq!(recall(folder.path(), "layer", &binary, &stamp).as_deref(), Some("abc"));
        let touched = Stamp { modified: (1, 1), ..stamp };
        assert_eq!(recall(folder.path(), "layer", &binary, &touched), None);
    }

    #[test]
    fn a_file_just_written_is_not_trusted() {
        let folder = tempfile::tempdir().unwrap();
        let binary = binary(folder.path());
        let stamp = Stamp::of(&binary).unwrap();
        remember(folder.path(), "layer", &binary, &stamp, "abc");
        assert_eq!(recall(folder.path(), "layer", &binary, &stamp), None);
    }

    #[test]
    fn entries_of_programs_that_are_gone_are_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let (binary, other) = (binary(folder.path()), folder.path().join("other"));
        fs::copy(&binary, &other).unwrap();
        let stamp = settled(&Stamp::of(&binary).unwrap());
        let former = folder.path().join("layer-former.json");
        fs::write(&former, r#"{"stamp":{},"digest":"abc"}"#).unwrap();
        remember(folder.path(), "layer", &other, &stamp, "abc");
        assert!(!former.exists());
        fs::remove_file(&other).unwrap();
        remember(folder.path(), "layer", &binary, &stamp, "abc");
        assert_eq!(recall(folder.path(), "layer", &other, &stamp), None);
        assert!(recall(folder.path(), "layer", &binary, &stamp).is_some());
    }

    #[test]
    fn only_the_newest_entries_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let binary = binary(folder.path());
        let stamp = settled(&Stamp::of(&binary).unwrap());
        fs::write(folder.path().join("other.json"), "").unwrap();
        for number in 0..2 * ENTRIES {
            let other = folder.path().join(number.to_string());
            fs::write(&other, "content").unwrap();
            remember(folder.path(), "layer", &other, &stamp, "abc");
        }
        let count = fs::read_dir(folder.path()).unwrap().count();
        assert_eq!(count, 3 * ENTRIES + 2, "the programs and a file of others next to them");
        let last = folder.path().join((2 * ENTRIES - 1).to_string());
        assert!(recall(folder.path(), "layer", &last, &stamp).is_some());
    }

    #[test]
    fn a_broken_entry_is_no_entry() {
        let folder = tempfile::tempdir().unwrap();
        let binary = binary(folder.path());
        let stamp = settled(&Stamp::of(&binary).unwrap());
        fs::write(place(folder.path(), "layer", &binary), "{").unwrap();
        assert_eq!(recall(folder.path(), "layer", &binary, &stamp), None);
    }
}
