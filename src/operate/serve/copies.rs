//! The keys on every drive. MinIO reads its data while some of several drives are missing; so the others, whichever
//! they are, must hold the keys and the record of them (docs/architecture.md §4.3).
//!
//! The first drive is the one that KES writes to: the others follow it. Nothing waits for a further drive longer than
//! [`ANSWER`].

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use futures_util::future::join_all;

use super::drive::make_private;
use crate::data::drive::{self, Inventory, is_formatted};
use crate::data::guard::KeyRecord;
use crate::error::Error;
use crate::host::blocking::detached;
use crate::host::disk::{self, Outlasts};
use crate::stack::{Layout, Stack};

mod keys;
mod note;

use keys::{Key, Stamp};
use note::Note;

/// How often the further drives are checked: clients may create keys at any time.
const LOOK: Duration = Duration::from_secs(2);
/// How long a start waits for a further drive.
const ANSWER: Duration = Duration::from_secs(10);

/// The drives of one stack, of which each has all keys.
#[derive(Debug)]
pub(super) struct Copies {
    first: PathBuf,
    others: Vec<PathBuf>,
    /// Whether the keys are on the drives at all, rather than in a keystore elsewhere.
    has_keys: bool,
    /// Keys that the stack is never without.
    declared: BTreeSet<String>,
    state: Mutex<State>,
}

/// The known state of the drives. Nobody holds its lock while a further drive is asked.
#[derive(Debug, Default)]
struct State {
    note: Note,
    /// The files of the first drive whose keys are in the note.
    noted: BTreeMap<String, Stamp>,
    /// Of each further drive, the files of the first one that it has.
    has: BTreeMap<PathBuf, BTreeMap<String, Stamp>>,
    /// Whether nothing needs a key that is gone from the first drive.
    may_go: BTreeMap<String, bool>,
    /// Drives of which somebody has read that they refuse keys.
    refused: BTreeSet<PathBuf>,
}

/// What a further drive has.
#[derive(Debug)]
struct Found {
    /// Keys by their names.
    keys: BTreeMap<String, Key>,
    /// The record of them.
    record: Option<KeyRecord>,
}

impl Found {
    fn on(drive: &Path, has_keys: bool) -> Result<Self, Error> {
        let keys = if has_keys { keys::all(drive)? } else { BTreeMap::new() };
        let record =
            KeyRecord::load(&Layout::record_on(drive)).inspect_err(|error| tracing::debug!(%error, "no record"));
        Ok(Self { keys, record: record.ok().flatten() })
    }
}

/// Work on a thread of its own.
type Errand = Option<JoinHandle<()>>;

impl Copies {
    pub(super) fn of(stack: &Stack) -> Arc<Self> {
        let mut drives = stack.layout.drives().into_iter();
        let first = drives.next().unwrap_or_default();
        let declared = stack.manifest.keys.iter().map(ToString::to_string).collect();
        Arc::new(Self::new(first, drives.collect(), stack.manifest.keys_are_own(), declared))
    }

    fn new(first: PathBuf, others: Vec<PathBuf>, has_keys: bool, declared: BTreeSet<String>) -> Self {
        let state = State { note: Note::load(&first), ..State::default() };
        Self { first, others, has_keys, declared, state: Mutex::new(state) }
    }

    /// Puts keys, and the record of them, on the first drive that only others have: it was replaced, or is another one than before. One of the others
    /// that cannot be read is left out.
    ///
    /// # Errors
    /// [`Error::Guard`] if two drives have different keys of one name; those of the first drive's file system.
    pub(super) async fn gather(self: &Arc<Self>) -> Result<(), Error> {
        if self.others.is_empty() {
            return Ok(());
        }
        let has_keys = self.has_keys;
        let asked = self.others.iter().map(|drive| {
            let from = drive.clone();
            tokio::time::timeout(ANSWER, detached(move || Found::on(&from, has_keys)))
        });
        let mut found = Vec::new();
        for (drive, answer) in self.others.iter().zip(join_all(asked).await) {
            match answer.map(|done| done.map_err(Error::file("read", drive)).flatten()) {
                Ok(Ok(there)) => found.push((drive.clone(), there)),
                Ok(Err(error)) => {
                    tracing::warn!("the keys on the drive '{}' cannot be read: {error}", drive.display());
                }
                Err(_) => self.name_silent(drive),
            }
        }
        let own = Arc::clone(self);
        detached(move || own.merge(&found)).await.map_err(Error::file("read", &self.first))?
    }

    /// Copies keys and record to all drives that MinIO has taken. One that refuses them is named, and keeps nobody from
    /// serving: a drive may fail at any time.
    pub(super) async fn spread(self: &Arc<Self>) {
        let copying = self.others.iter().map(|drive| {
            let (own, to) = (Arc::clone(self), drive.clone());
            tokio::time::timeout(ANSWER, detached(move || own.look_after(&to)))
        });
        for (drive, done) in self.others.iter().zip(join_all(copying).await) {
            if done.is_err() {
                self.name_silent(drive);
            }
        }
    }

    /// Does that as long as the program runs, and removes copies of keys that clients have KES delete.
    pub(super) async fn keep(self: &Arc<Self>) {
        self.keep_every(LOOK).await;
    }

    async fn keep_every(self: &Arc<Self>, look: Duration) {
        let mut looks = tokio::time::interval(look);
        let mut copying: Vec<Errand> = self.others.iter().map(|_| None).collect();
        let mut clearing: Errand = None;
        while !self.others.is_empty() {
            looks.tick().await;
            for (drive, errand) in self.others.iter().zip(&mut copying) {
                if is_busy(errand) {
                    self.name_silent(drive);
                } else {
                    let (own, to) = (Arc::clone(self), drive.clone());
                    *errand = begun(move || own.look_after(&to));
                }
            }
            if self.has_keys && !is_busy(&clearing) {
                let own = Arc::clone(self);
                clearing = begun(move || own.clear_away());
            }
        }
        std::future::pending::<()>().await;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the first drive lacks, of what the others have.
    fn merge(&self, found: &[(PathBuf, Found)]) -> Result<(), Error> {
        if let Err(error) = self.put_record_back(found) {
            tracing::warn!("the first drive has no record of the keys: {error}");
        }
        if !self.has_keys {
            return Ok(());
        }
        let own = keys::all(&self.first)?;
        let note = self.state().note.clone();
        let mut missing: BTreeMap<&String, (&Path, &Key)> = BTreeMap::new();
        for (drive, there) in found {
            for (name, key) in &there.keys {
                let (turn, there) = (note.turn(name, key), missing.get(name).copied());
                match own.get(name).map(|known| (self.first.as_path(), known)).or(there) {
                    Some((_, known)) if known == key => {}
                    // a copy of a key that KES deleted before it made the first drive's
                    Some(_) if turn.is_some() && there.is_none() => {}
                    Some((_, known)) if turn.is_some() && note.knows(name, known) => {
                        if turn > note.turn(name, known) {
                            missing.insert(name, (drive, key));
                        }
                    }
                    Some((other, _)) => return Err(differ(name, other, drive)),
                    None => {
                        missing.insert(name, (drive, key));
                    }
                }
            }
        }
        if self.is_whole(|name| own.contains_key(name)) {
            let deleted = missing.iter().filter(|(name, (_, key))| note.knows(name, key));
            let may_go = self.judged(deleted.map(|(name, _)| (*name).clone()).collect());
            missing.retain(|name, _| !may_go.contains(*name));
        }
        for (name, (drive, key)) in missing {
            keys::put(&self.first, name, key)?;
            tracing::warn!("key '{name}' was only on '{}': it is on '{}' again", drive.display(), self.first.display());
        }
        Ok(())
    }

    /// A first drive that was replaced gets the record of another one: the next copy would write over them all.
    fn put_record_back(&self, found: &[(PathBuf, Found)]) -> Result<(), Error> {
        let path = Layout::record_on(&self.first);
        if KeyRecord::load(&path)?.is_some() {
            return Ok(());
        }
        let Some((drive, mut record)) = found.iter().find_map(|(drive, there)| Some((drive, there.record.clone()?)))
        else {
            return Ok(());
        };
        make_private(&Layout::on_drive(&self.first))?;
        record.save(&path)?;
        tracing::warn!("the record of the keys is that of '{}'", drive.display());
        Ok(())
    }

    /// Copies to one drive, and says once if that fails.
    fn look_after(&self, drive: &Path) {
        match self.copy_to(drive) {
            Ok(()) => drop(self.state().refused.remove(drive)),
            Err(error) if self.state().refused.insert(drive.to_owned()) => {
                tracing::warn!("the drive '{}' does not have all keys: {error}", drive.display());
            }
            Err(_) => {}
        }
    }

    fn name_silent(&self, drive: &Path) {
        if self.state().refused.insert(drive.to_owned()) {
            tracing::warn!(
                "the drive '{}' does not answer: kestack does not know whether it has all keys",
                drive.display()
            );
        }
    }

    fn copy_to(&self, drive: &Path) -> Result<(), Error> {
        if !is_formatted(drive) {
            return Ok(());
        }
        if self.has_keys {
            self.copy_keys(drive)?;
        }
        let (from, to) = (Layout::record_on(&self.first), Layout::record_on(drive));
        match disk::read(&from)? {
            Some(record) if disk::read(&to)?.as_ref() != Some(&record) => {
                make_private(&Layout::on_drive(drive))?;
                disk::replace(&to, &record, Outlasts::Machine).map_err(Error::file("write", to))
            }
            _ => Ok(()),
        }
    }

    fn copy_keys(&self, drive: &Path) -> Result<(), Error> {
        let own = self.survey()?;
        let there = keys::names(drive).unwrap_or_default();
        let mut has = self.state().has.remove(drive).unwrap_or_default();
        has.retain(|name, stamp| there.contains(name) && own.get(name) == Some(stamp));
        let mut done = Ok(());
        for (name, stamp) in own {
            if has.contains_key(&name) {
                continue;
            }
            match self.copy_key(&name, drive) {
                Ok(true) => drop(has.insert(name, stamp)),
                Ok(false) => {}
                // the others still get there
                Err(error) => done = done.and(Err(error)),
            }
        }
        self.state().has.insert(drive.to_owned(), has);
        done
    }

    /// False if the first drive has another key by now: that is for the next look.
    fn copy_key(&self, name: &str, drive: &Path) -> Result<bool, Error> {
        let Some(key) = keys::read(&self.first, name)?.filter(|key| self.state().note.knows(name, key)) else {
            return Ok(false);
        };
        match keys::read(drive, name)? {
            Some(there) if there == key => return Ok(true),
            Some(there) if self.state().note.knows(name, &there) => keys::put_aside(drive, name, &there)?,
            Some(_) => return Err(differ(name, &self.first, drive)),
            None => {}
        }
        keys::put(drive, name, &key)?;
        Ok(true)
    }

    /// The files of the first drive's keys, all of which are noted before they are copied anywhere.
    fn survey(&self) -> Result<BTreeMap<String, Stamp>, Error> {
        let own = keys::stamps(&self.first)?;
        let mut state = self.state();
        let State { note, noted, may_go, .. } = &mut *state;
        let mut is_news = false;
        for (name, _) in own.iter().filter(|(name, stamp)| noted.get(*name) != Some(*stamp)) {
            if let Some(key) = keys::read(&self.first, name)? {
                is_news |= note.add(name, &key);
            }
        }
        may_go.retain(|name, _| !own.contains_key(name));
        noted.clone_from(&own);
        if is_news && let Err(error) = note.save(&self.first) {
            tracing::debug!(%error, "a kill right now may have the next start refuse keys");
        }
        Ok(own)
    }

    /// Removes copies of keys that KES deleted.
    fn clear_away(&self) {
        if let Err(error) = self.clear() {
            tracing::debug!(%error, "copies of deleted keys stay for now");
        }
    }

    fn clear(&self) -> Result<(), Error> {
        let own = self.survey()?;
        if !self.is_whole(|name| own.contains_key(name)) {
            return Ok(());
        }
        let is_gone = |name: &&String| !own.contains_key(*name) && !self.declared.contains(*name);
        let gone: BTreeSet<String> = self.state().note.names().filter(is_gone).cloned().collect();
        for name in self.judged(gone) {
            let mut is_everywhere = true;
            for drive in &self.others {
                is_everywhere &= self.removed_from(drive, &name)?;
            }
            let mut state = self.state();
            if is_everywhere && state.note.forget(&name) {
                state.note.save(&self.first)?;
            }
        }
        Ok(())
    }

    /// True if the first drive is there with everything that the stack needs: a user who lost a folder did not want to
    /// delete its keys.
    fn is_whole(&self, has: impl Fn(&String) -> bool) -> bool {
        Layout::on_drive(&self.first).join("stack.json").is_file() && self.declared.iter().all(has)
    }

    /// Removes one copy; false if the drive is not there. A key that is not known as a copy stays.
    fn removed_from(&self, drive: &Path, name: &str) -> Result<bool, Error> {
        if !is_formatted(drive) {
            return Ok(false);
        }
        let is_copy = keys::read(drive, name)?.is_none_or(|key| self.state().note.knows(name, &key));
        if is_copy && keys::read(&self.first, name)?.is_none() {
            keys::remove(drive, name)?;
        }
        Ok(true)
    }

    /// The keys that nothing on any drive needs. Each key is looked for once.
    fn judged(&self, names: BTreeSet<String>) -> BTreeSet<String> {
        let known = self.state().may_go.clone();
        if names.iter().any(|name| !known.contains_key(name)) {
            let drives = [&self.first].into_iter().chain(&self.others).filter(|drive| is_formatted(drive));
            // a drive that cannot be read may need any key
            let found: Vec<_> = drives.map(|drive| drive::take(drive).ok()).collect();
            for name in names.iter().filter(|name| !known.contains_key(*name)) {
                let is_needed = found.iter().any(|one| one.as_ref().is_none_or(|one| needs(one, name)));
                if is_needed {
                    tracing::warn!(
                        "key '{name}' is gone from '{}', and data may need it: its copies stay, and the next start puts it back",
                        self.first.display()
                    );
                }
                self.state().may_go.insert(name.clone(), !is_needed);
            }
        }
        let state = self.state();
        names.into_iter().filter(|name| state.may_go.get(name) == Some(&true)).collect()
    }
}

fn needs(inventory: &Inventory, key: &str) -> bool {
    let is_used = inventory.keys.get(key).is_some_and(|used| used.protects() || !used.default_of.is_empty());
    inventory.not_understood > 0 || is_used
}

fn begun(work: impl FnOnce() + Send + 'static) -> Errand {
    let begun = std::thread::Builder::new().spawn(work);
    begun.inspect_err(|error| tracing::debug!(%error, "no thread for the copies of keys")).ok()
}

fn is_busy(errand: &Errand) -> bool {
    errand.as_ref().is_some_and(|thread| !thread.is_finished())
}

fn differ(name: &str, one: &Path, other: &Path) -> Error {
    Error::Guard(format!(
        "key '{name}' on '{}' is not the one on '{}': these drives are of two stores, or one holds an older key\n  \
         name the drives of one store only, or move the file out of `.kestack/keys` of the drive that is wrong",
        one.display(),
        other.display()
    ))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    /// Three drives that MinIO has taken, of a stack that declares the key `one`.
    fn drives(folder: &Path) -> Arc<Copies> {
        let all = ["a", "b", "c"].map(|name| folder.join(name));
        for drive in &all {
            std::fs::create_dir_all(drive.join(".minio.sys")).unwrap();
            std::fs::write(drive.join(".minio.sys/format.json"), "{}").unwrap();
        }
        std::fs::create_dir(Layout::on_drive(&all[0])).unwrap();
        std::fs::write(Layout::on_drive(&all[0]).join("stack.json"), "{}").unwrap();
        again(folder)
    }

    /// The same drives in another start.
    fn again(folder: &Path) -> Arc<Copies> {
        let others = ["b", "c"].map(|name| folder.join(name)).to_vec();
        Arc::new(Copies::new(folder.join("a"), others, true, ["one".to_owned()].into()))
    }

    fn make_key(drive: &Path, name: &str, content: &str) {
        keys::put(drive, name, content.as_bytes()).unwrap();
    }

    fn key(drive: &Path, name: &str) -> Option<String> {
        std::fs::read_to_string(keys::folder(drive).join(name)).ok()
    }

    #[tokio::test]
    async fn keys_and_record_get_to_every_drive_and_back_from_any() {
        let folder = tempfile::tempdir().unwrap();
        let copies = drives(folder.path());
        make_key(&copies.first, "one", "1");
        std::fs::write(Layout::record_on(&copies.first), "record").unwrap();
        copies.spread().await;
        for drive in &copies.others {
            assert_eq!(key(drive, "one").as_deref(), Some("1"));
            assert_eq!(std::fs::read(Layout::record_on(drive)).unwrap(), b"record");
            let mode = |path: PathBuf| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
            assert_eq!((mode(keys::folder(drive)), mode(keys::folder(drive).join("one"))), (0o700, 0o600));
        }
        make_key(&copies.others[1], "two", "2");
        std::fs::remove_dir_all(&copies.first).unwrap();
        std::fs::create_dir(&copies.first).unwrap();
        copies.gather().await.unwrap();
        assert_eq!(
            (key(&copies.first, "one").as_deref(), key(&copies.first, "two").as_deref()),
            (Some("1"), Some("2"))
        );
    }

    #[tokio::test]
    async fn two_keys_of_one_name_are_refused_with_both_drives_and_nothing_is_copied() {
        let folder = tempfile::tempdir().unwrap();
        let copies = drives(folder.path());
        make_key(&copies.others[0], "one", "1");
        make_key(&copies.others[0], "other", "1");
        make_key(&copies.others[1], "one", "2");
        let error = copies.gather().await.unwrap_err();
        let said = error.to_string();
        assert!(
            error.exit_code() == 7 && copies.others.iter().all(|drive| said.contains(drive.to_str().unwrap())),
            "{said}"
        );
        assert!(!keys::folder(&copies.first).exists());
    }

    #[tokio::test]
    async fn a_further_drive_that_cannot_be_read_is_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let copies = drives(folder.path());
        make_key(&copies.others[1], "one", "1");
        std::fs::create_dir_all(Layout::on_drive(&copies.others[0])).unwrap();
        let unreadable = keys::folder(&copies.others[0]);
        std::os::unix::fs::symlink(&unreadable, &unreadable).unwrap();
        copies.gather().await.unwrap();
        assert_eq!(key(&copies.first, "one").as_deref(), Some("1"));
    }

    #[tokio::test]
    async fn a_drive_that_minio_has_not_taken_gets_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let copies = drives(folder.path());
        std::fs::remove_dir_all(copies.others[0].join(".minio.sys")).unwrap();
        make_key(&copies.first, "one", "1");
        copies.spread().await;
        assert_eq!((key(&copies.others[0], "one"), key(&copies.others[1], "one").as_deref()), (None, Some("1")));
    }

    /// A running stack until `is_so`.
    async fn kept_until(copies: &Arc<Copies>, is_so: impl Fn() -> bool) {
        let so = async {
            while !is_so() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let so = tokio::time::timeout(Duration::from_secs(30), so);
        tokio::select! { () = copies.keep_every(Duration::from_millis(10)) => {}, so = so => so.unwrap() }
    }

    #[tokio::test]
    async fn a_key_that_is_made_later_gets_there_too() {
        let folder = tempfile::tempdir().unwrap();
        let copies = drives(folder.path());
        make_key(&copies.first, "one", "1");
        copies.spread().await;
        make_key(&copies.first, "later", "2");
        kept_until(&copies, || copies.others.iter().all(|drive| key(drive, "later").is_some())).await;
    }

    #[tokio::test]
    async fn a_key_that_is_deleted_goes_everywhere_and_one_of_its_name_takes_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let copies = drives(folder.path());
        make_key(&copies.first, "one", "1");
        make_key(&copies.first, "sandbox", "former");
        copies.spread().await;
        std::fs::remove_file(keys::folder(&copies.first).join("sandbox")).unwrap();
        make_key(&copies.first, "sandbox", "new");
        // a kill before anybody looked
        let copies = again(folder.path());
        copies.gather().await.unwrap();
        kept_until(&copies, || copies.others.iter().all(|drive| key(drive, "sandbox").as_deref() == Some("new"))).await;
        std::fs::remove_file(keys::folder(&copies.first).join("sandbox")).unwrap();
        let copies = again(folder.path());
        copies.gather().await.unwrap();
        assert_eq!(key(&copies.first, "sandbox"), None, "it does not come back");
        kept_until(&copies, || copies.others.iter().all(|drive| key(drive, "sandbox").is_none())).await;
        for drive in &copies.others {
            let former = Layout::on_drive(drive).join("former-keys");
            let left = || std::fs::read_dir(&former).unwrap().count();
            kept_until(&copies, || left() == 0).await;
            assert_eq!(key(drive, "one").as_deref(), Some("1"));
        }
    }

    #[tokio::test]
    async fn a_key_that_data_may_need_comes_back() {
        let folder = tempfile::tempdir().unwrap();
        let copies = drives(folder.path());
        make_key(&copies.first, "one", "1");
        make_key(&copies.first, "needed", "2");
        copies.spread().await;
        std::fs::create_dir_all(copies.others[1].join("docs/object")).unwrap();
        std::fs::write(copies.others[1].join("docs/object/xl.meta"), "of a later MinIO").unwrap();
        std::fs::remove_file(keys::folder(&copies.first).join("needed")).unwrap();
        kept_until(&copies, || copies.state().may_go.get("needed") == Some(&false)).await;
        copies.clear().unwrap();
        assert!(copies.others.iter().all(|drive| key(drive, "needed").is_some()));
        let copies = again(folder.path());
        copies.gather().await.unwrap();
        assert_eq!(key(&copies.first, "needed").as_deref(), Some("2"));
    }

    #[tokio::test]
    async fn a_first_drive_that_lost_its_folder_deletes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let copies = drives(folder.path());
        for name in ["one", "two"] {
            make_key(&copies.first, name, "1");
        }
        copies.spread().await;
        for lost in [keys::folder(&copies.first), Layout::on_drive(&copies.first)] {
            std::fs::remove_dir_all(lost).unwrap();
            copies.clear().unwrap();
            assert!(copies.others.iter().all(|drive| key(drive, "two").is_some()));
        }
        again(folder.path()).gather().await.unwrap();
        assert_eq!(key(&copies.first, "two").as_deref(), Some("1"));
    }

    #[tokio::test]
    async fn a_drive_that_hangs_keeps_no_other_from_its_keys() {
        let folder = tempfile::tempdir().unwrap();
        let copies = drives(folder.path());
        make_key(&copies.first, "one", "1");
        std::fs::create_dir_all(Layout::on_drive(&copies.others[0])).unwrap();
        // whoever reads it waits until somebody writes to it
        let own = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
        rustix::fs::mkfifoat(rustix::fs::CWD, Layout::record_on(&copies.others[0]), own).unwrap();
        std::fs::write(Layout::record_on(&copies.first), "record").unwrap();
        kept_until(&copies, || {
            key(&copies.others[1], "one").is_some() && copies.state().refused.contains(&copies.others[0])
        })
        .await;
        make_key(&copies.first, "later", "2");
        kept_until(&copies, || key(&copies.others[1], "later").is_some()).await;
    }

    #[tokio::test]
    async fn a_new_first_drive_gets_the_record_of_another_one_also_with_keys_elsewhere() {
        let folder = tempfile::tempdir().unwrap();
        let copies = drives(folder.path());
        let copies = Arc::new(Copies::new(copies.first.clone(), copies.others.clone(), false, BTreeSet::new()));
        let load = |drive: &Path| KeyRecord::load(&Layout::record_on(drive)).unwrap();
        for drive in &copies.others {
            std::fs::create_dir(Layout::on_drive(drive)).unwrap();
        }
        std::fs::write(Layout::record_on(&copies.others[0]), "damaged").unwrap();
        let mut record = KeyRecord::of("a keystore elsewhere".into());
        record.save(&Layout::record_on(&copies.others[1])).unwrap();
        copies.gather().await.unwrap();
        assert_eq!(load(&copies.first).as_ref(), Some(&record));
        copies.spread().await;
        assert!(copies.others.iter().all(|drive| load(drive).as_ref() == Some(&record)));
        let mut own = KeyRecord::of("another keystore".into());
        own.save(&Layout::record_on(&copies.first)).unwrap();
        copies.gather().await.unwrap();
        assert_eq!(load(&copies.first), Some(own), "a record that is there stays");
    }

    #[tokio::test]
    async fn keys_elsewhere_stay_there() {
        let folder = tempfile::tempdir().unwrap();
        let copies = drives(folder.path());
        let copies = Arc::new(Copies::new(copies.first.clone(), copies.others.clone(), false, BTreeSet::new()));
        make_key(&copies.others[0], "one", "1");
        copies.gather().await.unwrap();
        assert!(!keys::folder(&copies.first).exists());
    }
}
