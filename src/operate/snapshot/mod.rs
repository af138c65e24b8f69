//! Snapshots: keystore, drive and configuration of a stack together, or not at all.
//!
//! A snapshot is a folder below `snapshots/` in the stack's folder, named by the user. It is written under another
//! name and renamed when all of it is on disk. [`save()`] stops MinIO for as long as it copies; a restore begins with
//! [`prepare`], which takes what differs next to the running stack and asks whether the keys fit the data, then stops
//! the servers and puts everything in its place. From the moment the `journal` is written a restore that was killed is
//! finished by the next `up` or `restore`; before, it is undone. [`archive`] carries a snapshot elsewhere.
//!
//! The content of an object (`part.1`, …) is written once by MinIO and never changed, so it is shared with the snapshot
//! by a hard link; everything else is copied, unless it is as it was: a snapshot shares it with the one before, and a
//! restore lets it stay on the drive. Where the file system can clone files, all of it is cloned instead.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::SystemTime;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::host::disk::{clear, is_absent, spread};
use crate::host::interrupt::Interrupt;
use crate::host::ownership;
use crate::manifest::StackName;
use crate::resource::{DirectoryResource, Owner};
use crate::stack::{Layout, marker};

mod added_keys;
#[cfg(feature = "cli")]
pub mod archive;
mod journal;
mod report;
mod restore;
mod rollback;
mod save;
mod tree;
mod walk;

pub use journal::{is_pending, recover, refuse_pending};
pub(crate) use report::{Listed, Removed, Restored, Saved};
pub use restore::{Prepared, Servers, prepare};
pub use save::save;
pub(in crate::operate) use tree::{Copier, is_content, sync};

/// Version of what a snapshot's folder holds.
const VERSION: u32 = 1;

/// The description of a snapshot, in its folder.
const DESCRIPTION: &str = "snapshot.json";

/// Start of the names of folders that are being written or removed; no snapshot can be named so.
const UNFINISHED: &str = ".unfinished-";

/// Name of a snapshot: letters, digits, `-`, `_` and `.`, not at the start.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(try_from = "String", into = "String")]
pub struct SnapshotName(String);

/// What a snapshot holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Snapshot {
    version: u32,
    /// Its name.
    pub name: SnapshotName,
    /// The stack it was taken of.
    pub stack: String,
    /// When it was taken.
    #[schemars(with = "String")]
    pub created: Timestamp,
    /// The time of the newest file on its drive, if that is later than `created`: another clock gave it, or one that was set back
    /// since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub newest: Option<Timestamp>,
    /// Where the keys were, for people.
    pub keystore: String,
    /// How many keys are inside; null if they stay in another keystore and only the data is inside.
    pub keys: Option<u64>,
    /// Files.
    pub files: u64,
    /// Bytes of all files; those that are shared do not take space again.
    pub bytes: u64,
    /// How the files got here.
    pub method: Method,
}

/// How files are taken into a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// The file system clones them: they share their blocks until one is changed.
    Clones,
    /// The content of objects by hard links, the rest copied.
    LinksAndCopies,
    /// All copied.
    Copies,
}

impl Snapshot {
    /// All complete snapshots of a stack, oldest first.
    ///
    /// # Errors
    /// If the folder cannot be read, or a description not understood.
    pub fn list(layout: &Layout) -> Result<Vec<Self>, Error> {
        ownership::check_stack(layout.root())?;
        let folder = layout.snapshots();
        let entries = match std::fs::read_dir(&folder) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(Error::file("read", &folder))?,
        };
        let mut found = Vec::new();
        for entry in entries {
            let name = entry.map_err(Error::file("read", &folder))?.file_name().into_string();
            let Some(name) = name.ok().and_then(|name| name.parse().ok()) else { continue };
            // others may put something there as well
            if self::folder(layout, &name).join(DESCRIPTION).is_file() {
                found.push(Self::find(layout, &name)?);
            }
        }
        found.sort_by(|a, b| (a.created, &a.name).cmp(&(b.created, &b.name)));
        Ok(found)
    }

    /// The snapshot of that name.
    ///
    /// # Errors
    /// [`Error::Absent`] if there is none.
    pub fn find(layout: &Layout, name: &SnapshotName) -> Result<Self, Error> {
        ownership::check_stack(layout.root())?;
        let path = folder(layout, name).join(DESCRIPTION);
        let bytes = match std::fs::read(&path) {
            Err(error) if is_absent(&error) => {
                return Err(Error::Absent {
                    what: format!("there is no snapshot '{name}'"),
                    hint: "`kestack snapshot list` shows all snapshots".into(),
                });
            }
            bytes => bytes.map_err(Error::file("read", &path))?,
        };
        Self::read(&bytes).map_err(|why| Error::Environment {
            what: format!("'{}' cannot be read: {why}", path.display()),
            hint: "use the kestack that made it, or remove its folder".into(),
        })
    }

    /// The moment after which nobody may have written to the files that it shares with the stack; `None` if it shares none.
    fn unchanged_since(&self) -> Option<SystemTime> {
        let last = self.newest.max(Some(self.created));
        last.filter(|_| self.method == Method::LinksAndCopies).map(SystemTime::from)
    }

    /// Its copy of the drive.
    pub fn drive(&self, layout: &Layout) -> PathBuf {
        folder(layout, &self.name).join("minio")
    }

    /// Its copy of the folder of keys.
    pub fn keys_folder(&self, layout: &Layout) -> PathBuf {
        folder(layout, &self.name).join("keys")
    }

    /// Its copy of the master key that kestack made.
    pub fn master_key(&self, layout: &Layout) -> PathBuf {
        Layout::at(&folder(layout, &self.name)).master_key()
    }

    fn read(bytes: &[u8]) -> Result<Self, String> {
        let found: Self = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        if found.version > VERSION {
            return Err("a newer kestack made it".into());
        }
        // they are shown, and may be a stranger's
        if found.stack.parse::<StackName>().is_err() || found.keystore.contains(char::is_control) {
            return Err("it does not name a stack and a keystore".into());
        }
        Ok(found)
    }

    /// Removes the snapshot of that name.
    ///
    /// # Errors
    /// [`Error::Usage`] if there is none; else if it cannot be removed.
    pub fn remove(layout: &Layout, name: &SnapshotName) -> Result<(), Error> {
        Self::find(layout, name)?;
        let (from, to) = (folder(layout, name), unfinished(layout, name));
        clear(&to)?;
        std::fs::rename(&from, &to).map_err(Error::file("remove", &from))?;
        clear(&to)?;
        // the last one takes the folder with it
        let _ = std::fs::remove_dir(layout.snapshots());
        marker::remove_if_alone(layout);
        Ok(())
    }
}

/// The folder of a snapshot.
fn folder(layout: &Layout, name: &SnapshotName) -> PathBuf {
    layout.snapshots().join(&name.0)
}

/// The folder in which a snapshot is written or removed.
fn unfinished(layout: &Layout, name: &SnapshotName) -> PathBuf {
    layout.snapshots().join(format!("{UNFINISHED}{name}"))
}

/// Makes a folder that only its owner may enter, if it is not there.
fn make_private(folder: &Path) -> Result<(), Error> {
    DirectoryResource::new(folder.to_owned(), Owner::Caller).make()
}

/// Makes the folder of all snapshots.
fn make_snapshots(layout: &Layout) -> Result<(), Error> {
    make_private(&layout.snapshots())?;
    spread(&layout.snapshots());
    Ok(())
}

impl SnapshotName {
    /// A name, which no other snapshot has, for one that is taken before something is changed.
    pub(in crate::operate) fn before(change: &'static str) -> Self {
        let now = Timestamp::now().strftime("%Y%m%dT%H%M%S%3fZ");
        Self(format!("before-{change}-{now}"))
    }
}

impl FromStr for SnapshotName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        let starts = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
        if starts && text.len() <= 80 && text.bytes().all(plain) {
            Ok(Self(text.to_owned()))
        } else {
            Err(format!(
                "'{text}' is not a valid name of a snapshot: up to 80 letters, digits, `-`, `_` and `.`, with a letter or digit first"
            ))
        }
    }
}

impl TryFrom<String> for SnapshotName {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<SnapshotName> for String {
    fn from(name: SnapshotName) -> Self {
        name.0
    }
}

impl fmt::Display for SnapshotName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Clones => "clones of the file system",
            Self::LinksAndCopies => "hard links and copies",
            Self::Copies => "copies",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_leave_the_folder() {
        for name in ["", ".", "..", "../x", ".unfinished-a", "-a", "a/b", "a b", &"a".repeat(81)] {
            assert!(name.parse::<SnapshotName>().is_err(), "{name}");
        }
        assert_eq!("before-1.2_x".parse::<SnapshotName>().unwrap().to_string(), "before-1.2_x");
    }
    /// A snapshot that is there.
    fn save(layout: &Layout, name: &str) -> SnapshotName {
        let snapshot = Snapshot {
            version: VERSION,
            name: name.parse().unwrap(),
            stack: "test".into(),
            created: Timestamp::now(),
            newest: None,
            keystore: String::new(),
            keys: None,
            files: 0,
            bytes: 0,
            method: Method::Copies,
        };
        std::fs::create_dir_all(snapshot.drive(layout)).unwrap();
        let description = serde_json::to_vec(&snapshot).unwrap();
        std::fs::write(folder(layout, &snapshot.name).join(DESCRIPTION), description).unwrap();
        snapshot.name
    }

    #[test]
    fn only_snapshots_are_listed() {
        let base = tempfile::tempdir().unwrap();
        let layout = Layout::new(base.path(), "test");
        let one = save(&layout, "one");
        std::fs::create_dir(layout.snapshots().join("empty")).unwrap();
        std::fs::write(layout.snapshots().join("exported.age"), "").unwrap();
        let listed = Snapshot::list(&layout).unwrap();
        assert_eq!(listed.iter().map(|snapshot| &snapshot.name).collect::<Vec<_>>(), [&one]);
        for name in ["empty", "exported.age", "none"] {
            let error = Snapshot::find(&layout, &name.parse().unwrap()).unwrap_err();
            assert!(matches!(error, Error::Absent { .. }), "{error}");
        }
    }

    /// Only what is shared by links could have been changed by MinIO.
    #[test]
    fn what_a_drive_with_a_clock_ahead_held_may_be_as_new_as_it_was() {
        let base = tempfile::tempdir().unwrap();
        let layout = Layout::new(base.path(), "test");
        let mut snapshot = Snapshot::find(&layout, &save(&layout, "one")).unwrap();
        assert_eq!(snapshot.unchanged_since(), None);
        snapshot.method = Method::Clones;
        assert_eq!(snapshot.unchanged_since(), None);
        snapshot.method = Method::LinksAndCopies;
        assert_eq!(snapshot.unchanged_since(), Some(snapshot.created.into()));
        let ahead = snapshot.created + jiff::SignedDuration::from_mins(40);
        snapshot.newest = Some(ahead);
        let text = serde_json::to_vec(&snapshot).unwrap();
        assert_eq!(Snapshot::read(&text).unwrap().unchanged_since(), Some(ahead.into()));
    }

    #[test]
    fn the_last_snapshot_takes_the_empty_folder_of_its_stack_along() {
        let base = tempfile::tempdir().unwrap();
        let layout = Layout::new(base.path(), "test");
        let save = |name: &str| save(&layout, name);
        let (one, other) = (save("one"), save("other"));
        Snapshot::remove(&layout, &one).unwrap();
        assert!(layout.snapshots().exists(), "the other one is there");
        Snapshot::remove(&layout, &other).unwrap();
        assert!(!layout.root().exists() && base.path().exists());
        let (last, keys) = (save("last"), layout.keys());
        std::fs::create_dir(&keys).unwrap();
        Snapshot::remove(&layout, &last).unwrap();
        assert!(keys.exists() && !layout.snapshots().exists(), "a stack that is there stays");
    }
}
