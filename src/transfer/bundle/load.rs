//! Unpacking a bundle: everything is compared with its hash before anything is changed.

use std::fs::{File, Permissions};
use std::io::{self, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use tar::{Archive, Entry};
use tempfile::NamedTempFile;

use super::{FORMAT, INDEX, Index, Kind, MANIFEST, Member, NAMES};
use crate::error::Error;
use crate::host::digest::copy;
use crate::host::disk;
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
    /// [`Error::Environment`] if the file is not a bundle, is damaged or is for another processor.
    pub fn open(file: &Path, sha256: Option<&str>, base: &Path) -> Result<Self, Error> {
        let unreadable = |error| Error::file("read", file)(error);
        if let Some(wanted) = sha256 {
            let (_, found) = File::open(file).and_then(|open| copy(open, &mut io::sink())).map_err(unreadable)?;
            if !found.eq_ignore_ascii_case(wanted) {
                return Err(damaged(file, &format!("has the SHA-256 {found}, not {wanted}")));
            }
        }
        let mut archive = Archive::new(File::open(file).map_err(unreadable)?);
        let mut entries = archive.entries().map_err(unreadable)?;
        let index = match entries.next() {
            Some(Ok(first)) => index(first).map_err(|why| damaged(file, &why))?,
            _ => return Err(damaged(file, "is not a bundle of kestack")),
        };
        disk::create_private(base)?;
        ownership::check_folder(base)?;
        let folder = Scratch::new_in(base, ".loading-").map_err(Error::file("write", base))?;
        let staged = Self { index, folder };
        for member in &staged.index.members {
            let Some(Ok(entry)) = entries.next() else {
                return Err(damaged(file, &format!("ends before '{}'", member.name)));
            };
            staged.stage(member, entry).map_err(unreadable)?.map_err(|why| damaged(file, &why))?;
        }
        match entries.next() {
            None => Ok(staged),
            Some(_) => Err(damaged(file, "holds more than its list names")),
        }
    }

    /// The outer result is reading and writing, the inner one what is wrong with the member.
    fn stage(&self, member: &Member, mut entry: Entry<'_, File>) -> io::Result<Result<(), String>> {
        let name = &member.name;
        if entry.path()?.as_os_str() != name.as_str() || entry.size() != member.size {
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
            Err(format!("is damaged: '{name}' has the SHA-256 {found}, not {}", member.sha256))
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

/// The list, or why it is none.
fn index(entry: Entry<'_, File>) -> Result<Index, String> {
    let is_index = entry.path().is_ok_and(|path| path.as_os_str() == INDEX);
    let mut text = String::new();
    if !is_index || entry.take(LONGEST_INDEX).read_to_string(&mut text).is_err() {
        return Err("is not a bundle of kestack".into());
    }
    let index: Index =
        serde_json::from_str(&text).map_err(|error| format!("has a list that cannot be read: {error}"))?;
    if index.format != FORMAT {
        return Err(format!("has the format {}, this kestack reads {FORMAT}", index.format));
    }
    if index.architecture != std::env::consts::ARCH {
        return Err(format!("is for {}, this machine is {}", index.architecture, std::env::consts::ARCH));
    }
    let mut seen = std::collections::BTreeSet::new();
    match index.members.iter().find(|member| !NAMES.contains(&member.name.as_str()) || !seen.insert(&member.name)) {
        Some(member) => Err(format!("lists '{}', which does not belong in a bundle, or lists it twice", member.name)),
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
        let saved = save(&contents, &file).unwrap();
        let again = save(&contents, &folder.join("again.tar")).unwrap();
        assert_eq!(saved.sha256, again.sha256);
        assert_eq!(std::fs::read(&file).unwrap(), std::fs::read(folder.join("again.tar")).unwrap());
        file
    }

    #[test]
    fn what_was_saved_is_loaded() {
        let folder = tempfile::tempdir().unwrap();
        let file = bundle(folder.path());
        let programs = folder.path().join("programs");
        std::fs::create_dir(&programs).unwrap();
        std::fs::write(programs.join("silo"), "of another bundle").unwrap();
        let (_, sha256) = copy(File::open(&file).unwrap(), &mut io::sink()).unwrap();
        let staged = Staged::open(&file, Some(&sha256), &programs).unwrap();
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
            let error = Staged::open(&damaged, None, &programs).map(drop).unwrap_err().to_string();
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
        let error = Staged::open(&damaged, Some("00"), &programs).map(drop).unwrap_err().to_string();
        assert!(error.contains("not 00") && error.contains("nothing was changed"), "{error}");
    }
}
