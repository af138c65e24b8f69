//! Making a snapshot of a file: all of it is compared before there is a snapshot.

use std::fs::{DirBuilder, File};
use std::io::{self, BufRead as _, BufReader, BufWriter, ErrorKind, Read, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::time::{Duration, SystemTime};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use tar::{Archive, Entries, Entry};

use super::super::{
    DESCRIPTION, Interrupt, Method, Snapshot, SnapshotName, clear, folder, journal, make_private, make_snapshots, save,
    tree, unfinished,
};
use super::member::{self, Source, invalid, sum};
use super::{Opener, SUMS};
use crate::error::Error;
use crate::host::disk::room;
use crate::stack::Layout;

/// Largest description.
const LARGEST_DESCRIPTION: u64 = 1 << 16;

/// Most folders of a snapshot for each of its files: the name of an object has at most 1,024 bytes, half of them slashes.
const DEEPEST: u64 = 512;
/// Folders of a snapshot that may be empty: buckets, and some of MinIO's own.
const EMPTY: u64 = 10_000;

/// Makes a snapshot of `file`, under the name that it had or another one. With `replace` it takes the place of one of that
/// name. The stack's lock is held.
///
/// # Errors
/// [`Error::Usage`] if there is one of that name, or the file does not open; [`Error::Environment`] if the file is not
/// complete, was changed, is none of ours, or does not fit onto the disk. Nothing is changed then.
pub fn import(
    layout: &Layout,
    file: &Path,
    name: Option<&SnapshotName>,
    opener: Opener,
    replace: bool,
    interrupt: &Interrupt,
) -> Result<Snapshot, Error> {
    let mut archive = Archive::new(opener.open(file)?);
    let failed = |error| interrupt.check().err().map_or_else(|| failed(file, error), Error::from);
    let mut entries = archive.entries().map_err(failed)?.raw(true);
    let (mut snapshot, line) = describe(&mut entries, interrupt).map_err(failed)?;
    if let Some(name) = name {
        snapshot.name = name.clone();
    }
    snapshot.method = Method::Copies;
    let (aside, place) = (unfinished(layout, &snapshot.name), folder(layout, &snapshot.name));
    check_place(&snapshot, &place, replace)?;
    let room = check_space(layout, &snapshot)?;
    let whole = prepare(layout, &aside)
        .and_then(|()| {
            let mut unpack = Unpack::new(&aside, &snapshot, &line, interrupt).map_err(failed)?;
            unpack.room = room;
            unpack.all(&mut entries).map_err(failed)
        })
        .and_then(|()| drain(archive.into_inner()).map_err(failed))
        .and_then(|()| commit(&snapshot, &aside, &place, interrupt));
    clear(&aside)?;
    if whole.is_err() {
        // if this would have been the first thing in there
        let _ = std::fs::remove_dir(layout.snapshots()).and_then(|()| std::fs::remove_dir(layout.root()));
    }
    whole.map(|()| snapshot)
}

/// The description and its line of the sums.
fn describe<R: Read>(entries: &mut Entries<'_, R>, interrupt: &Interrupt) -> io::Result<(Snapshot, Vec<u8>)> {
    let none = || invalid("it is not an exported snapshot of kestack");
    let first = member::next(entries).map_err(|error| if error.kind() == ErrorKind::Other { none() } else { error });
    let (path, entry) = first?.filter(|(path, _)| path == Path::new(DESCRIPTION)).ok_or_else(none)?;
    let mut source = Source::new(entry.take(LARGEST_DESCRIPTION), interrupt);
    let mut bytes = Vec::new();
    source.read_to_end(&mut bytes)?;
    let snapshot = Snapshot::read(&bytes).map_err(|why| invalid(&format!("its description cannot be read: {why}")))?;
    Ok((snapshot, sum(&source.finish().1, &path)))
}

fn check_place(snapshot: &Snapshot, place: &Path, replace: bool) -> Result<(), Error> {
    if replace || !place.exists() {
        return Ok(());
    }
    Err(Error::Usage {
        what: format!("snapshot '{}' already exists", snapshot.name),
        hint: "name this one differently, after the file, or replace the existing one with --replace".into(),
    })
}

/// Says now what would otherwise show when the disk is full, of bytes or of files: each of these takes a block, whatever
/// it holds. Returns how many files and folders there is room for.
fn check_space(layout: &Layout, snapshot: &Snapshot) -> Result<u64, Error> {
    let snapshots = layout.snapshots();
    let Some(nearest) = snapshots.ancestors().find(|folder| folder.exists()) else { return Ok(u64::MAX) };
    let room = room(nearest)?;
    let (free, entries) = (room.bytes, room.files.unwrap_or(u64::MAX).min(room.blocks));
    let Snapshot { bytes, files, .. } = snapshot;
    if *bytes <= free && *files <= entries {
        return Ok(entries);
    }
    let place = nearest.display();
    Err(Error::Environment {
        what: format!(
            "the snapshot has {files} files of {bytes} bytes, but '{place}' has room for {entries} files with {free} bytes"
        ),
        hint: "free some space there, or choose another folder for stacks with --dir; nothing was changed".into(),
    })
}

fn prepare(layout: &Layout, aside: &Path) -> Result<(), Error> {
    clear(aside)?;
    make_private(layout.root())?;
    make_snapshots(layout)?;
    make_private(aside)
}

/// One rename, so that there is the old snapshot or the new one; what was there goes where the new one was written.
fn commit(snapshot: &Snapshot, aside: &Path, place: &Path, interrupt: &Interrupt) -> Result<(), Error> {
    save::describe(aside, snapshot)?;
    tree::sync(aside)?;
    interrupt.check()?;
    let moved = if place.exists() {
        renameat_with(CWD, aside, CWD, place, RenameFlags::EXCHANGE).map_err(io::Error::from)
    } else {
        std::fs::rename(aside, place)
    };
    moved.map_err(Error::file("move in", place))?;
    journal::sync_folder(place)
}

struct Unpack<'a> {
    aside: &'a Path,
    snapshot: &'a Snapshot,
    /// The sums of what was read; a file without a name, because there may be millions.
    sums: BufWriter<File>,
    files: u64,
    folders: u64,
    bytes: u64,
    /// How many files and folders the disk has room for.
    room: u64,
    interrupt: &'a Interrupt,
}

impl<'a> Unpack<'a> {
    fn new(aside: &'a Path, snapshot: &'a Snapshot, first: &[u8], interrupt: &'a Interrupt) -> io::Result<Self> {
        let mut sums = BufWriter::new(tempfile::tempfile_in(aside)?);
        sums.write_all(first)?;
        Ok(Self { aside, snapshot, sums, files: 0, folders: 0, bytes: 0, room: u64::MAX, interrupt })
    }

    fn all<R: Read>(&mut self, entries: &mut Entries<'_, R>) -> io::Result<()> {
        loop {
            match member::next(entries)? {
                None => return Err(invalid("it ends before its list of checksums")),
                Some((path, entry)) if path == Path::new(SUMS) => {
                    self.compare(entry)?;
                    break;
                }
                Some((path, entry)) if entry.header().entry_type().is_dir() => self.folder(&path, &entry)?,
                Some((path, entry)) => self.file(&path, entry)?,
            }
        }
        if (self.files, self.bytes) != (self.snapshot.files, self.snapshot.bytes) || !self.aside.join("minio").is_dir()
        {
            return Err(invalid("its content differs from its description"));
        }
        Ok(())
    }

    /// The description does not count folders, and each takes room on the disk that its header does not say.
    fn folder<R: Read>(&mut self, path: &Path, entry: &Entry<'_, R>) -> io::Result<()> {
        self.interrupt.check().map_err(io::Error::other)?;
        let most = self.snapshot.files.saturating_mul(DEEPEST).saturating_add(EMPTY);
        if self.folders == most.min(self.room.saturating_sub(self.files)) {
            return Err(invalid("it holds more folders than a snapshot of its size needs, or than fit on the disk"));
        }
        self.folders += 1;
        let mode = entry.header().mode()? & 0o777 | 0o700;
        DirBuilder::new().mode(mode).create(self.aside.join(path))
    }

    fn file<R: Read>(&mut self, path: &Path, entry: Entry<'_, R>) -> io::Result<()> {
        let size = entry.size();
        if size > self.snapshot.bytes - self.bytes
            || self.files == self.snapshot.files.min(self.room.saturating_sub(self.folders))
        {
            return Err(invalid("it holds more than its description says"));
        }
        let (mode, modified) = (entry.header().mode()? & 0o777 | 0o600, entry.header().mtime()?);
        let mut file = File::options().write(true).create_new(true).mode(mode).open(self.aside.join(path))?;
        let mut source = Source::new(entry, self.interrupt);
        io::copy(&mut source, &mut file)?;
        let (bytes, sha256) = source.finish();
        if bytes != size {
            return Err(invalid(&format!("it ends within '{}'", path.display().to_string().escape_debug())));
        }
        // the moment counts: a restore compares it
        let modified = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(modified));
        file.set_modified(modified.ok_or_else(|| invalid("it names a time that does not exist"))?)?;
        (self.files, self.bytes) = (self.files + 1, self.bytes + bytes);
        self.sums.write_all(&sum(&sha256, path))
    }

    /// Line by line, to name the file.
    fn compare<R: Read>(&mut self, mut entry: Entry<'_, R>) -> io::Result<()> {
        self.sums.flush()?;
        let mine = self.sums.get_mut();
        let size = mine.stream_position()?;
        mine.seek(SeekFrom::Start(0))?;
        let mut mine = BufReader::new(mine);
        let (mut line, mut theirs) = (Vec::new(), Vec::new());
        while mine.read_until(b'\n', &mut line)? > 0 {
            theirs.resize(line.len(), 0);
            entry.read_exact(&mut theirs)?;
            if theirs != line {
                let name = line.split(|byte| *byte == b' ').next_back().unwrap_or_default();
                let name = String::from_utf8_lossy(name);
                return Err(invalid(&format!("'{}' was changed", name.trim_end().escape_debug())));
            }
            line.clear();
        }
        if entry.size() == size { Ok(()) } else { Err(invalid("its list of checksums names more files than it holds")) }
    }
}

/// To the end: only there age knows that nothing was cut off, and a tar ends with nothing but zeros.
fn drain(mut rest: impl Read) -> io::Result<()> {
    let mut bytes = vec![0; 1 << 16];
    loop {
        match rest.read(&mut bytes)? {
            0 => return Ok(()),
            read if bytes.get(..read).is_some_and(|read| read.iter().all(|byte| *byte == 0)) => {}
            _ => return Err(invalid("it has content after its list of checksums")),
        }
    }
}

/// What the system refused is not the file's fault.
fn failed(file: &Path, error: io::Error) -> Error {
    let of_names = [ErrorKind::NotFound, ErrorKind::AlreadyExists, ErrorKind::NotADirectory].contains(&error.kind());
    match error.raw_os_error() {
        Some(_) if !of_names => Error::file("unpack", file)(error),
        _ => damaged(file, &error.to_string()),
    }
}

/// The file is not what `export` wrote.
pub(super) fn damaged(file: &Path, why: &str) -> Error {
    Error::Environment {
        what: format!("'{}' cannot be imported: {why}", file.display()),
        hint: "nothing was changed; copy the file again, or make it again with `kestack snapshot export`".into(),
    }
}
