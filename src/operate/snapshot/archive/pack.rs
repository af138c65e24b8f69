//! Writing a snapshot to a file.

use std::fs::{File, Metadata, ReadDir};
use std::io::{self, BufWriter, Read as _, Seek as _, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use tar::{Builder, EntryType, Header};

use super::super::{DESCRIPTION, Interrupt, Snapshot, SnapshotName, folder};
use super::member::{Source, sum};
use super::{Exported, SUMS, Seal};
use crate::error::Error;
use crate::host::digest::Hashed;
use crate::host::disk::folder_of;
use crate::host::scratch;
use crate::keystore::MASTER_KEY_FILES;
use crate::stack::Layout;

/// Writes a snapshot to `file`, which must not be there yet. It has mode 0600 and appears when it is complete.
///
/// # Errors
/// [`Error::Usage`] if there is no such snapshot, or the file is there; else if something cannot be read or written.
pub fn export(
    layout: &Layout,
    name: &SnapshotName,
    file: &Path,
    seal: Seal,
    interrupt: &Interrupt,
) -> Result<Exported, Error> {
    let mut snapshot = Snapshot::find(layout, name)?;
    if file.symlink_metadata().is_ok() {
        return Err(Error::Usage {
            what: format!("'{}' already exists", file.display()),
            hint: "name another file, or remove this one".into(),
        });
    }
    let failed = |error| Error::file("write", file)(error);
    let place = folder_of(file);
    // mode 0600 from the first byte
    let part = scratch::file_in(place, ".kestack-snapshot-").map_err(failed)?;
    let encrypted = seal.encrypts();
    let source = folder(layout, name);
    let withheld = if encrypted { vec![] } else { withhold(&source, &mut snapshot) };
    let output = Hashed::new(BufWriter::with_capacity(1 << 16, part.as_file()));
    let mut pack = Pack {
        source,
        withheld,
        tar: Builder::new(seal.begin(file, output)?),
        sums: tempfile::tempfile_in(layout.snapshots()).map_err(failed)?,
        files: 0,
        bytes: 0,
        interrupt,
    };
    pack.all(&snapshot)?;
    pack.check(&snapshot)?;
    let hashed = pack.finish().map_err(failed)?;
    let (output, sha256) = hashed.finish();
    output.into_inner().map_err(|error| failed(error.into_error()))?.sync_all().map_err(failed)?;
    let size = part.as_file().metadata().map_err(failed)?.len();
    interrupt.check()?;
    part.persist_noclobber(file).map_err(|error| failed(error.error))?;
    File::open(place).and_then(|place| place.sync_all()).map_err(failed)?;
    Ok(Exported { snapshot, file: file.display().to_string(), size, sha256, encrypted })
}

/// Leaves the master keys of sealed keys out of the description: in a file that anybody can read they would open them.
fn withhold(source: &Path, snapshot: &mut Snapshot) -> Vec<PathBuf> {
    let folder = Layout::at(Path::new("")).keystore_files();
    let names = MASTER_KEY_FILES.map(|name| folder.join(name));
    let found = names.into_iter().filter_map(|name| Some((source.join(&name).symlink_metadata().ok()?, name)));
    found
        .map(|(meta, name)| {
            snapshot.files = snapshot.files.saturating_sub(1);
            snapshot.bytes = snapshot.bytes.saturating_sub(meta.len());
            name
        })
        .collect()
}

struct Pack<'a, W: Write> {
    source: PathBuf,
    /// Files that stay here.
    withheld: Vec<PathBuf>,
    tar: Builder<W>,
    /// The sums so far; a file without a name, because there may be millions.
    sums: File,
    files: u64,
    bytes: u64,
    interrupt: &'a Interrupt,
}

impl<W: Write> Pack<'_, W> {
    /// The description first: whoever imports knows what is to come.
    fn all(&mut self, snapshot: &Snapshot) -> Result<(), Error> {
        self.describe(snapshot)?;
        let mut open: Vec<(PathBuf, ReadDir)> = vec![(PathBuf::new(), self.read(Path::new(""))?)];
        while let Some((below, entries)) = open.last_mut() {
            let Some(entry) = entries.next() else {
                open.pop();
                continue;
            };
            let entry = entry.map_err(Error::file("read", &self.source))?;
            let path = below.join(entry.file_name());
            let is_written = path == Path::new(DESCRIPTION) || self.withheld.contains(&path);
            if !is_written && self.entry(&path)? {
                let entries = self.read(&path)?;
                open.push((path, entries));
            }
        }
        Ok(())
    }

    fn describe(&mut self, snapshot: &Snapshot) -> Result<(), Error> {
        let path = self.source.join(DESCRIPTION);
        let meta = std::fs::symlink_metadata(&path).map_err(Error::file("look at", &path))?;
        let failed = |error| Error::file("export", &path)(error);
        let text = serde_json::to_vec_pretty(snapshot).map_err(|error| failed(error.into()))?;
        let mut source = Source::new(text.as_slice(), self.interrupt);
        let mut header = header(EntryType::Regular, &meta);
        header.set_size(text.len() as u64);
        self.tar.append_data(&mut header, DESCRIPTION, &mut source).map_err(failed)?;
        let (_, sha256) = source.finish();
        self.sums.write_all(&sum(&sha256, Path::new(DESCRIPTION))).map_err(failed)
    }

    fn read(&self, below: &Path) -> Result<ReadDir, Error> {
        let path = self.source.join(below);
        std::fs::read_dir(&path).map_err(Error::file("read", path))
    }

    /// Says whether that was a folder.
    fn entry(&mut self, below: &Path) -> Result<bool, Error> {
        self.interrupt.check()?;
        let path = self.source.join(below);
        let meta = std::fs::symlink_metadata(&path).map_err(Error::file("look at", &path))?;
        if meta.is_dir() {
            let mut header = header(EntryType::Directory, &meta);
            self.tar.append_data(&mut header, below, io::empty()).map_err(Error::file("export", &path))?;
            return Ok(true);
        }
        if !meta.is_file() {
            return Err(changed(&format!("'{}' is neither a file nor a folder", path.display())));
        }
        let file = File::open(&path).map_err(Error::file("read", &path))?;
        let mut source = Source::new(file.take(meta.len()), self.interrupt);
        let mut header = header(EntryType::Regular, &meta);
        let done = self.tar.append_data(&mut header, below, &mut source);
        self.interrupt.check()?;
        done.map_err(Error::file("export", &path))?;
        let (bytes, sha256) = source.finish();
        if bytes != meta.len() {
            return Err(changed(&format!("'{}' became shorter while it was read", path.display())));
        }
        self.sums.write_all(&sum(&sha256, below)).map_err(Error::file("export", &path))?;
        (self.files, self.bytes) = (self.files + 1, self.bytes + bytes);
        Ok(false)
    }

    /// Neither too little nor too much: an import would refuse it.
    fn check(&self, snapshot: &Snapshot) -> Result<(), Error> {
        if (self.files, self.bytes) == (snapshot.files, snapshot.bytes) {
            return Ok(());
        }
        Err(changed(&format!(
            "snapshot '{}' has {} files with {} bytes, but had {} with {} when it was taken",
            snapshot.name, self.files, self.bytes, snapshot.files, snapshot.bytes
        )))
    }
}

impl<W: Write> Pack<'_, super::seal::Sealed<W>> {
    /// The sums, and the end.
    fn finish(mut self) -> io::Result<W> {
        let size = self.sums.stream_position()?;
        self.sums.seek(SeekFrom::Start(0))?;
        let mut header = Header::new_gnu();
        header.set_entry_type(EntryType::Regular);
        header.set_size(size);
        header.set_mode(0o600);
        self.tar.append_data(&mut header, SUMS, self.sums.take(size))?;
        let mut output = self.tar.into_inner()?.finish()?;
        output.flush()?;
        Ok(output)
    }
}

/// Of the owner nothing is kept: who brings a stack up gives its files to whom they belong there.
fn header(kind: EntryType, meta: &Metadata) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_size(if kind == EntryType::Regular { meta.len() } else { 0 });
    header.set_mode(meta.permissions().mode() & 0o777);
    header.set_mtime(u64::try_from(meta.mtime()).unwrap_or(0));
    header
}

fn changed(what: &str) -> Error {
    Error::Environment {
        what: what.to_owned(),
        hint: "somebody has changed the snapshot; take a new one with `kestack snapshot save`".into(),
    }
}
