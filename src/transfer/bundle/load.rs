//! Unpacking a bundle: everything is compared with its hash before anything is changed.

use std::fs::{File, Permissions};
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use tar::{Archive, Entry, EntryType};
use tempfile::NamedTempFile;

use super::{FORMAT, INDEX, Index, Kind, MANIFEST, Member, NAMES};
use crate::error::Error;
use crate::host::digest::copy;
use crate::host::disk;
use crate::host::interrupt::Interrupt;
use crate::host::ownership;
use crate::host::scratch::{self, Scratch};

/// Longest list of members.
const LONGEST_INDEX: u64 = 1 << 20;

/// Start of the name of a manifest that is not in its place yet.
const UNFINISHED_MANIFEST: &str = ".kestack-manifest-";

/// A bundle whose members were found to be what its list says. They lie in a folder of their own, which goes with this
/// value.
#[derive(Debug)]
pub struct Staged {
    index: Index,
    folder: Scratch,
}

impl Staged {
    /// Takes a bundle apart into a folder below `base`, which is on the file system that its programs will be on.
    /// `sha256` is the expected hash of the complete file, if the user knows it.
    ///
    /// # Errors
    /// [`Error::Environment`] if the file is not a bundle, is damaged, is for another processor or does not fit onto the disk;
    /// [`Error::Interrupted`] after a signal. Nothing is left then.
    pub fn open(file: &Path, sha256: Option<&str>, base: &Path, interrupt: &Interrupt) -> Result<Self, Error> {
        let failed = |error: Error| interrupt.check().err().map_or(error, Error::from);
        let unreadable = |error| failed(Error::file("read", file)(error));
        let damaged = |why: &str| failed(damaged(file, why));
        if let Some(wanted) = sha256 {
            let open = File::open(file).map_err(unreadable)?;
            let (_, found) = copy(interrupt.reads(open), &mut io::sink()).map_err(unreadable)?;
            if !found.eq_ignore_ascii_case(wanted) {
                return Err(damaged(&format!("has the SHA-256 {found}, not {wanted}")));
            }
        }
        let mut archive = Archive::new(interrupt.reads(File::open(file).map_err(unreadable)?));
        // raw: what the tar crate would do for other kinds of members has no bounds, and these are refused
        let mut entries = archive.entries().map_err(unreadable)?.raw(true);
        let index = match entries.next() {
            Some(Ok(first)) => index(first).map_err(|why| damaged(&why))?,
            _ => return Err(damaged("is not a bundle of kestack")),
        };
        let staged = Self { folder: folder_for(&index, base)?, index };
        for member in &staged.index.members {
            let Some(Ok(entry)) = entries.next() else {
                return Err(damaged(&format!("ends before '{}'", member.name)));
            };
            staged.stage(member, entry).map_err(unreadable)?.map_err(|why| damaged(&why))?;
        }
        match entries.next() {
            None => Ok(staged),
            Some(_) => Err(damaged("holds more than its list names")),
        }
    }

    /// The outer result is reading and writing, the inner one what is wrong with the member.
    fn stage<R: Read>(&self, member: &Member, mut entry: Entry<'_, R>) -> io::Result<Result<(), String>> {
        let name = &member.name;
        let is_file = entry.header().entry_type() == EntryType::Regular;
        if !is_file || entry.path()?.as_os_str() != name.as_str() || entry.size() != member.size {
            return Ok(Err(format!("has another member where '{name}' should be")));
        }
        let path = self.path(member);
        let (_, found) = copy(&mut entry, &mut File::create_new(&path)?)?;
        let mode = if member.kind == Kind::Program { 0o755 } else { 0o600 };
        std::fs::set_permissions(&path, Permissions::from_mode(mode))?;
        let same = found == member.sha256;
        Ok(if same {
            Ok(())
        } else {
            Err(format!("is damaged: '{name}' has the SHA-256 {found}, not {}", member.sha256.escape_debug()))
        })
    }

    /// Its members.
    pub fn members(&self) -> &[Member] {
        &self.index.members
    }

    /// The present place of a member.
    pub fn path(&self, member: &Member) -> PathBuf {
        self.folder.path().join(&member.name)
    }

    /// Moves its programs to where they are looked for.
    ///
    /// # Errors
    /// [`Error::File`] if one cannot be moved.
    pub fn install_programs(&self, folder: &Path) -> Result<(), Error> {
        for member in self.members().iter().filter(|member| member.kind == Kind::Program) {
            let place = folder.join(&member.name);
            std::fs::rename(self.path(member), &place).map_err(Error::file("write", &place))?;
        }
        // of another bundle: the files that this one names must be found
        let silo_and_minio =
            ["silo", "minio"].map(|name| (name, self.members().iter().any(|member| member.name == name)));
        let others = silo_and_minio.iter().filter(|(_, mine)| !mine && silo_and_minio.iter().any(|(_, mine)| *mine));
        for (name, _) in others {
            disk::remove(&folder.join(name))?;
        }
        Ok(())
    }

    /// Refuses to write over another manifest.
    ///
    /// # Errors
    /// [`Error::Usage`] if there is one in `folder` that says something else.
    pub fn check_manifest(&self, folder: &Path) -> Result<(), Error> {
        let place = folder.join(MANIFEST);
        let mine = std::fs::read(self.folder.path().join(MANIFEST)).map_err(Error::file("read", MANIFEST))?;
        match disk::read(&place)? {
            None => Ok(()),
            Some(theirs) if theirs == mine => Ok(()),
            Some(_) => Err(Error::Usage {
                what: format!("'{}' already exists with other content", place.display()),
                hint: "choose another folder with --to, or give --force to overwrite it".into(),
            }),
        }
    }

    /// Writes the manifest into a folder, which is made if it is not there, under another name.
    ///
    /// # Errors
    /// [`Error::File`] if that fails.
    pub fn write_manifest(&self, folder: &Path) -> Result<WrittenManifest, Error> {
        disk::create_private(folder)?;
        let place = folder.join(MANIFEST);
        let failed = |error| Error::file("write", &place)(error);
        let mut part = scratch::file_in(folder, UNFINISHED_MANIFEST).map_err(failed)?;
        let source = self.folder.path().join(MANIFEST);
        let mut mine = File::open(&source).map_err(Error::file("read", source))?;
        io::copy(&mut mine, &mut part).map_err(failed)?;
        Ok(WrittenManifest { part, place })
    }
}

/// The manifest of a bundle where it belongs, under a name of its own; it goes with this value.
#[derive(Debug)]
pub struct WrittenManifest {
    part: NamedTempFile,
    place: PathBuf,
}

impl WrittenManifest {
    /// Gives it its name, and says where it is.
    ///
    /// # Errors
    /// [`Error::File`] if that fails.
    pub fn install(self) -> Result<PathBuf, Error> {
        self.part.persist(&self.place).map_err(|error| Error::file("write", &self.place)(error.error))?;
        Ok(self.place)
    }
}

/// A folder for the members. A disk that has no room for them is the one on which stacks have their data: it must not be
/// filled.
fn folder_for(index: &Index, base: &Path) -> Result<Scratch, Error> {
    disk::create_private(base)?;
    ownership::check_folder(base)?;
    let bytes = index.members.iter().fold(0, |sum: u64, member| sum.saturating_add(member.size));
    let free = disk::room(base)?.bytes;
    if bytes > free {
        return Err(Error::Environment {
            what: format!("the bundle holds {bytes} bytes, but '{}' has room for {free}", base.display()),
            hint: "free some space there; nothing was changed".into(),
        });
    }
    Scratch::new_in(base, ".loading-").map_err(Error::file("write", base))
}

/// The list, or why it is none. What a stranger wrote there must not reach a terminal as it is.
fn index<R: Read>(entry: Entry<'_, R>) -> Result<Index, String> {
    let is_index =
        entry.header().entry_type() == EntryType::Regular && entry.path().is_ok_and(|path| path.as_os_str() == INDEX);
    let mut text = String::new();
    if !is_index || entry.take(LONGEST_INDEX).read_to_string(&mut text).is_err() {
        return Err("is not a bundle of kestack".into());
    }
    let index: Index = serde_json::from_str(&text)
        .map_err(|error| format!("has a list that cannot be read: {}", error.to_string().escape_debug()))?;
    if index.format != FORMAT {
        return Err(format!("has the format {}, this kestack reads {FORMAT}", index.format));
    }
    if index.architecture != std::env::consts::ARCH {
        let theirs = index.architecture.escape_debug();
        return Err(format!("is for {theirs}, this machine is {}", std::env::consts::ARCH));
    }
    let mut seen = std::collections::BTreeSet::new();
    let is_foreign = |member: &&Member| {
        let has_control = member.reference.as_ref().is_some_and(|reference| reference.contains(char::is_control));
        has_control || !NAMES.contains(&member.name.as_str()) || !seen.insert(member.name.clone())
    };
    match index.members.iter().find(is_foreign) {
        Some(member) => {
            let name = member.name.escape_debug();
            Err(format!("lists '{name}', which does not belong in a bundle, or lists it twice"))
        }
        None => Ok(index),
    }
}

fn damaged(file: &Path, why: &str) -> Error {
    Error::Environment {
        what: format!("'{}' {why}", file.display()),
        hint: "nothing was changed; copy the file again, or make it again with `kestack bundle save`".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Content, SOURCES, save};
    use super::*;
    use crate::host::interrupt::Cause;

    /// A bundle of a program and a manifest.
    fn bundle(folder: &Path) -> PathBuf {
        let content = |name: &'static str, kind, text: &str| {
            let file = folder.join(format!("{name}.source"));
            std::fs::write(&file, text).unwrap();
            Content { name, kind, reference: None, file }
        };
        let contents = [
            content(SOURCES, Kind::Text, "sources"),
            content(MANIFEST, Kind::Manifest, "name: other\n"),
            content("minio", Kind::Program, &"program".repeat(1000)),
        ];
        let file = folder.join("bundle.tar");
        let save = |file: &Path| save(&contents, file, &Interrupt::default()).unwrap();
        let (saved, again) = (save(&file), save(&folder.join("again.tar")));
        assert_eq!(saved.sha256, again.sha256);
        assert_eq!(std::fs::read(&file).unwrap(), std::fs::read(folder.join("again.tar")).unwrap());
        file
    }

    fn open(file: &Path, sha256: Option<&str>, base: &Path) -> Result<Staged, Error> {
        Staged::open(file, sha256, base, &Interrupt::default())
    }

    #[test]
    fn what_was_saved_is_loaded() {
        let folder = tempfile::tempdir().unwrap();
        let file = bundle(folder.path());
        let programs = folder.path().join("programs");
        std::fs::create_dir(&programs).unwrap();
        std::fs::write(programs.join("silo"), "of another bundle").unwrap();
        let (_, sha256) = copy(File::open(&file).unwrap(), &mut io::sink()).unwrap();
        let staged = open(&file, Some(&sha256), &programs).unwrap();
        staged.install_programs(&programs).unwrap();
        assert_eq!(std::fs::read_to_string(programs.join("minio")).unwrap(), "program".repeat(1000));
        assert_eq!(std::fs::metadata(programs.join("minio")).unwrap().permissions().mode() & 0o777, 0o755);
        assert!(!programs.join("silo").exists());
        staged.check_manifest(folder.path()).unwrap();
        let project = folder.path().join("new/project");
        drop(staged.write_manifest(&project).unwrap());
        assert_eq!(std::fs::read_dir(&project).unwrap().count(), 0, "nothing is there until it is installed");
        staged.write_manifest(folder.path()).unwrap().install().unwrap();
        staged.check_manifest(folder.path()).unwrap();
        std::fs::write(folder.path().join(MANIFEST), "name: mine\n").unwrap();
        let error = staged.check_manifest(folder.path()).unwrap_err().to_string();
        assert!(error.contains("with other content") && error.contains("--force"), "{error}");
        drop(staged);
        let left: Vec<_> = std::fs::read_dir(&programs).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["minio"]);
    }

    #[test]
    fn damage_anywhere_is_noticed_before_anything_is_changed() {
        let folder = tempfile::tempdir().unwrap();
        let file = bundle(folder.path());
        let whole = std::fs::read(&file).unwrap();
        let (damaged, programs) = (folder.path().join("damaged.tar"), folder.path().join("programs"));
        let refused = |bytes: &[u8]| {
            std::fs::write(&damaged, bytes).unwrap();
            let error = open(&damaged, None, &programs).map(drop).unwrap_err().to_string();
            let left = std::fs::read_dir(&programs).map_or(0, Iterator::count);
            assert_eq!(left, 0, "{error}");
            error
        };
        let at = |text: &str| whole.windows(text.len()).position(|window| window == text.as_bytes()).unwrap();
        for text in ["sources", "name: other", "programprogram"] {
            let mut bytes = whole.clone();
            bytes[at(text)] ^= 1;
            assert!(refused(&bytes).contains("is damaged"), "{text}");
        }
        assert!(refused(&whole[..at("programprogram") - 600]).contains("ends before 'minio'"));
        assert!(refused(&whole[..300]).contains("not a bundle"));
        assert!(refused(b"").contains("not a bundle"));
        let replaced = |from: &str, to: &str| {
            let mut bytes = whole.clone();
            bytes[at(from)..at(from) + to.len()].copy_from_slice(to.as_bytes());
            refused(&bytes)
        };
        assert!(replaced("\"format\": 1", "\"format\": 2").contains("this kestack reads 1"));
        let arch = format!("\"{}\"", std::env::consts::ARCH);
        let other = format!("\"{}\"", "z".repeat(arch.len() - 2));
        assert!(replaced(&arch, &other).contains("this machine is"));
        assert!(replaced("\"name\": \"minio\"", "\"name\": \"../io\"").contains("does not belong in a bundle"));
        std::fs::write(&damaged, &whole).unwrap();
        let error = open(&damaged, Some("00"), &programs).map(drop).unwrap_err().to_string();
        assert!(error.contains("not 00") && error.contains("nothing was changed"), "{error}");
    }

    /// A tar of members of these kinds behind a list that names `size` bytes of them.
    fn foreign(file: &Path, size: u64, sha256: &str, members: &[(EntryType, &str, &[u8])]) {
        let list = format!(
            "{{ \"format\": {FORMAT}, \"kestack\": \"1\", \"architecture\": \"{}\", \"members\": [{{ \"name\": \"kes\", \
             \"kind\": \"program\", \"size\": {size}, \"sha256\": \"{sha256}\" }}] }}",
            std::env::consts::ARCH
        );
        let mut tar = tar::Builder::new(File::create(file).unwrap());
        for (kind, name, content) in members {
            let content = if *name == INDEX && content.is_empty() { list.as_bytes() } else { *content };
            let mut header = tar::Header::new_gnu();
            header.set_path(name).unwrap();
            header.set_entry_type(*kind);
            header.set_size(content.len() as u64);
            if *kind == EntryType::GNUSparse {
                // all of it is a hole
                let gnu = header.as_gnu_mut().unwrap();
                for number in [&mut gnu.realsize, &mut gnu.sparse[0].offset] {
                    number.copy_from_slice(format!("{size:011o}\0").as_bytes());
                }
                gnu.sparse[0].numbytes.copy_from_slice(b"00000000000\0");
            }
            header.set_cksum();
            tar.append(&header, content).unwrap();
        }
        tar.into_inner().unwrap();
    }

    #[test]
    fn a_small_file_fills_neither_disk_nor_memory() {
        let folder = tempfile::tempdir().unwrap();
        let (file, programs) = (folder.path().join("bundle.tar"), folder.path().join("programs"));
        let list = (EntryType::Regular, INDEX, &b""[..]);
        let hole = 64 << 20;
        let zeros = copy(io::repeat(0).take(hole), &mut io::sink()).unwrap().1;
        let refused = |why: &str| {
            let error = open(&file, None, &programs).map(drop).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
            assert_eq!(std::fs::read_dir(&programs).map_or(0, Iterator::count), 0);
        };
        foreign(&file, hole, &zeros, &[list, (EntryType::GNUSparse, "kes", b"")]);
        refused("has another member where 'kes' should be");
        foreign(&file, 1 << 60, &zeros, &[list, (EntryType::Regular, "kes", b"")]);
        refused("has room for");
        foreign(&file, 0, &zeros, &[(EntryType::GNULongName, "x", b"bundle.json\0"), list]);
        refused("is not a bundle of kestack");
        let escaping = zeros.replace('0', "\\u001b");
        foreign(&file, 4, &escaping, &[list, (EntryType::Regular, "kes", b"kes!")]);
        refused("\\u{1b}");
    }

    #[test]
    fn a_signal_ends_it_and_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let (file, programs) = (bundle(folder.path()), folder.path().join("programs"));
        let stopped = Interrupt::asking(Cause::Interrupt);
        for sha256 in [None, Some("00")] {
            let error = Staged::open(&file, sha256, &programs, &stopped).map(drop).unwrap_err();
            assert!(matches!(error, Error::Interrupted(Cause::Interrupt)), "{error}");
        }
        assert_eq!(std::fs::read_dir(&programs).map_or(0, Iterator::count), 0);
        let content = Content { name: MANIFEST, kind: Kind::Manifest, reference: None, file: file.clone() };
        let error = save(&[content], &folder.path().join("stopped.tar"), &stopped).unwrap_err();
        assert!(matches!(error, Error::Interrupted(Cause::Interrupt)), "{error}");
        assert!(!folder.path().join("stopped.tar").exists());
    }
}
