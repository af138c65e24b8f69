//! All folders of a tree, taken by a thread for each processor: most of the time each waits for the file system.

use std::fs::Metadata;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::error::Error;

/// How many folders are taken before it is looked what is below them.
const BATCH: usize = 256;

/// A folder, and where it belongs.
#[derive(Debug)]
pub(super) struct Move {
    pub(super) from: PathBuf,
    pub(super) to: PathBuf,
}

/// What was done with a folder, and what is below it.
#[derive(Debug, Default)]
pub(super) struct Taken {
    pub(super) files: u64,
    pub(super) bytes: u64,
    /// When the file was changed that was changed last.
    pub(super) newest: Option<SystemTime>,
    pub(super) below: Vec<Move>,
}

impl Taken {
    pub(super) fn count(&mut self, file: &Metadata) {
        self.files += 1;
        self.bytes += file.len();
        self.newest = self.newest.max(file.modified().ok());
    }
}

/// Takes a folder and all that are found below it, and counts. Those above are done before those below are begun.
pub(super) fn walk(
    from: &Path,
    to: &Path,
    take: impl Fn(&Move) -> Result<Taken, Error> + Sync,
) -> Result<Taken, Error> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let take = &take;
    let mut all = Taken { below: vec![Move { from: from.to_owned(), to: to.to_owned() }], ..Taken::default() };
    while !all.below.is_empty() {
        let batch = all.below.split_off(all.below.len().saturating_sub(BATCH));
        let shares = std::thread::scope(|scope| {
            let share = |moves: &'_ [Move]| moves.iter().map(take).collect::<Result<Vec<_>, _>>();
            let start = |moves| scope.spawn(move || share(moves));
            let running: Vec<_> = batch.chunks(batch.len().div_ceil(threads)).map(start).collect();
            running.into_iter().map(std::thread::ScopedJoinHandle::join).collect::<Vec<_>>()
        });
        for share in shares {
            let ended = |_| Err(Error::file("copy", from)(io::Error::other("a thread of the copy has ended")));
            for taken in share.unwrap_or_else(ended)? {
                all.files += taken.files;
                all.bytes += taken.bytes;
                all.newest = all.newest.max(taken.newest);
                all.below.extend(taken.below);
            }
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[test]
    fn all_folders_are_taken_and_those_above_first() {
        let seen = Mutex::new(Vec::new());
        let all = walk(Path::new("a"), Path::new("b"), |Move { from, to }| {
            assert_eq!(from.strip_prefix("a").unwrap(), to.strip_prefix("b").unwrap());
            let deep = from.components().count();
            seen.lock().unwrap().push(deep);
            let wide = [0, 2, 2 * BATCH, 0][deep];
            let below = |number: usize| Move { from: from.join(number.to_string()), to: to.join(number.to_string()) };
            Ok(Taken { files: 1, bytes: 10, below: (0..wide).map(below).collect(), ..Taken::default() })
        });
        let all = all.unwrap();
        let folders = 1 + 2 + 2 * 2 * BATCH as u64;
        assert_eq!((all.files, all.bytes), (folders, 10 * folders));
        assert_eq!(seen.into_inner().unwrap()[..3], [1, 2, 2]);
    }

    #[test]
    fn an_error_ends_it() {
        let refuse = |Move { from, .. }: &Move| Err(Error::file("read", from)(io::ErrorKind::NotFound.into()));
        assert!(walk(Path::new("a"), Path::new("b"), refuse).is_err());
    }
}
