//! Visits every object of a drive, in any order, with bounded memory: one thread goes through the folders and holds
//! only its path, a few others read the objects.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use super::xl;

/// Objects that are found and not yet read.
const AHEAD: usize = 1024;

/// Metadata file of an object from before 2020.
const FORMER: &str = "xl.json";

/// Calls `read` for the metadata file of every object below `folder`, in several threads, each with a tally of its
/// own, and returns the tallies. Files that vanish meanwhile are not an error: MinIO may be running.
///
/// # Errors
/// What keeps a folder or a file from being read.
pub(super) fn objects<T: Default + Send>(
    folder: &Path,
    read: impl Fn(&mut T, &Path) -> io::Result<()> + Sync,
) -> io::Result<Vec<T>> {
    let (found, next) = sync_channel(AHEAD);
    let next = Mutex::new(next);
    let readers = std::thread::available_parallelism().map_or(2, std::num::NonZero::get).clamp(2, 8);
    std::thread::scope(|scope| {
        let running: Vec<_> = (0..readers).map(|_| scope.spawn(|| drain(&next, &read))).collect();
        let walked = walk(folder, &found);
        drop(found);
        let ended = |_| Err(io::Error::other("a reader of the drive ended early"));
        let tallies: io::Result<Vec<T>> =
            running.into_iter().map(|reader| reader.join().unwrap_or_else(ended)).collect();
        walked.and(tallies)
    })
}

/// Reads what is found until nothing more comes; goes on after a failure, so that nobody waits for it.
fn drain<T: Default>(
    next: &Mutex<Receiver<PathBuf>>,
    read: &impl Fn(&mut T, &Path) -> io::Result<()>,
) -> io::Result<T> {
    let (mut tally, mut failed) = (T::default(), None);
    while let Some(path) = next.lock().ok().and_then(|next| next.recv().ok()) {
        match read(&mut tally, &path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                failed.get_or_insert(error);
            }
            _ => {}
        }
    }
    failed.map_or(Ok(tally), Err)
}

fn walk(folder: &Path, found: &SyncSender<PathBuf>) -> io::Result<()> {
    let mut open = Vec::new();
    enter(folder, &mut open)?;
    while let Some(entries) = open.last_mut() {
        let Some(entry) = entries.next() else {
            open.pop();
            continue;
        };
        let (path, kind) = match entry.and_then(|entry| Ok((entry.path(), entry.file_type()?))) {
            Ok(entry) => entry,
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        // MinIO hides objects below another object from listings, and serves them: their folders are entered too
        // a FIFO would be waited for, and a link may lead anywhere: MinIO makes neither
        if kind.is_dir() {
            enter(&path, &mut open)?;
        } else if kind.is_file() && (path.ends_with(xl::FILE) || path.ends_with(FORMER)) {
            found.send(path).map_err(|_| io::Error::other("nobody reads the drive any more"))?;
        }
    }
    Ok(())
}

fn enter(folder: &Path, open: &mut Vec<std::fs::ReadDir>) -> io::Result<()> {
    match std::fs::read_dir(folder) {
        Ok(entries) => open.push(entries),
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_object_is_read_once_also_below_another_one() {
        let drive = tempfile::tempdir().unwrap();
        let place = |path: &str| {
            let path = drive.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        };
        let mut expected: Vec<_> = (0..400).map(|number| format!("deep/{}/{number}/xl.meta", number % 7)).collect();
        expected.extend(["deep/0/0/below/xl.meta", "deep/0/0/far/below/xl.meta", "xl.meta/xl.meta"].map(str::to_owned));
        for path in &expected {
            place(path);
        }
        place("deep/0/0/3b2c/part.1");
        std::fs::create_dir_all(drive.path().join("link")).unwrap();
        std::os::unix::fs::symlink("/dev/zero", drive.path().join("link/xl.meta")).unwrap();
        place("former/xl.json");
        let tallies = objects(drive.path(), |tally: &mut Vec<PathBuf>, path| {
            tally.push(path.strip_prefix(drive.path()).unwrap().to_owned());
            Ok(())
        })
        .unwrap();
        let mut seen: Vec<_> = tallies.concat();
        seen.sort();
        let mut expected: Vec<_> = expected.iter().map(PathBuf::from).collect();
        expected.push("former/xl.json".into());
        expected.sort();
        assert_eq!(seen, expected);
    }

    #[test]
    fn a_failure_is_told_and_what_vanished_is_none() {
        let drive = tempfile::tempdir().unwrap();
        std::fs::create_dir(drive.path().join("a")).unwrap();
        std::fs::write(drive.path().join("a/xl.meta"), "").unwrap();
        let failing = |kind| objects(drive.path(), move |(): &mut (), _| Err(io::Error::from(kind)));
        assert!(failing(ErrorKind::NotFound).is_ok());
        assert!(failing(ErrorKind::PermissionDenied).is_err());
        assert!(objects(&drive.path().join("absent"), |(): &mut (), _| Ok(())).is_ok());
    }
}
