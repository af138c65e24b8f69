//! The log of one server: its lines with time and stream, in the form that container engines keep (the CRI's
//! `<time> <stream> <F|P> <text>`), in two files of bounded size.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, BufReader};

/// Most bytes of one file; there are two, together what a container's log may hold.
const LIMIT: u64 = 5_000_000;
/// Most bytes of one entry: a server that never ends its line must not fill our memory.
const ENTRY: u64 = 16 << 10;

/// Which of a server's outputs a line came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stream {
    Stdout,
    Stderr,
}

impl Stream {
    /// The word for it in the file.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

/// The files, open for one writer.
#[derive(Debug)]
pub(super) struct Log {
    open: Mutex<Open>,
    path: PathBuf,
    limit: u64,
}

#[derive(Debug)]
struct Open {
    file: File,
    size: u64,
}

impl Log {
    /// Goes on with the log at `path`; the file before it is `<path>.1`.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        Self::with_limit(path, LIMIT)
    }

    fn with_limit(path: &Path, limit: u64) -> io::Result<Self> {
        Ok(Self { open: Mutex::new(open(path)?), path: path.to_owned(), limit })
    }

    /// Writes what a server says, line by line, until it closes the stream.
    pub(super) async fn copy(&self, stream: Stream, from: impl AsyncRead + Unpin) {
        let mut reader = BufReader::new(from);
        let mut line = Vec::new();
        loop {
            line.clear();
            match (&mut reader).take(ENTRY).read_until(b'\n', &mut line).await {
                // without its end only because it is too long, or because there is no more to come
                Ok(read @ 1..) => self.append(stream, &line, line.ends_with(b"\n") || (read as u64) < ENTRY),
                _ => return,
            }
        }
    }

    /// Adds a line, or a part of one that goes on. A full disk loses lines; the server must not care.
    pub(super) fn append(&self, stream: Stream, line: &[u8], full: bool) {
        let text = String::from_utf8_lossy(line);
        let text = text.trim_end_matches(['\n', '\r']);
        let tag = if full { 'F' } else { 'P' };
        let entry = format!("{} {} {tag} {text}\n", Timestamp::now(), stream.word());
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = self.write(&mut open, entry.as_bytes()) {
            tracing::debug!(%error, "a line of the log is lost");
        }
    }

    fn write(&self, to: &mut Open, entry: &[u8]) -> io::Result<()> {
        let length = entry.len() as u64;
        if to.size > 0 && to.size + length > self.limit {
            fs::rename(&self.path, former(&self.path))?;
            *to = open(&self.path)?;
        }
        to.file.write_all(entry)?;
        to.size += length;
        Ok(())
    }
}

/// The file that was full before this one.
pub(super) fn former(path: &Path) -> PathBuf {
    path.with_extension("1")
}

fn open(path: &Path) -> io::Result<Open> {
    let file = OpenOptions::new().create(true).append(true).mode(0o600).open(path)?;
    Ok(Open { size: file.metadata()?.len(), file })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[tokio::test]
    async fn lines_carry_time_and_stream() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let log = Log::open(&path).unwrap();
        log.copy(Stream::Stderr, b"one\r\ntwo \xff".as_slice()).await;
        let long = vec![b'x'; 20_000];
        log.copy(Stream::Stdout, long.as_slice()).await;
        let text = fs::read_to_string(&path).unwrap();
        let entries: Vec<Vec<&str>> = text.lines().map(|line| line.splitn(4, ' ').collect()).collect();
        assert!(entries[0][0].parse::<Timestamp>().is_ok(), "{text}");
        assert_eq!(entries[0][1..], ["stderr", "F", "one"]);
        assert_eq!(entries[1][1..], ["stderr", "F", "two \u{fffd}"]);
        assert_eq!(entries[2][1..3], ["stdout", "P"]);
        assert_eq!(entries[3][1..3], ["stdout", "F"]);
        assert_eq!(entries[2][3].len() + entries[3][3].len(), long.len());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn two_files_of_bounded_size() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let log = Log::with_limit(&path, 1000).unwrap();
        for count in 0..200 {
            log.append(Stream::Stdout, format!("line {count}\n").as_bytes(), true);
        }
        let (now, before) = (fs::read_to_string(&path).unwrap(), fs::read_to_string(former(&path)).unwrap());
        assert!(now.len() <= 1000 && before.len() <= 1000);
        assert!(now.ends_with("line 199\n"));
        let last = before.lines().last().unwrap().rsplit(' ').next().unwrap().parse::<u32>().unwrap();
        assert!(now.lines().next().unwrap().ends_with(&format!("line {}", last + 1)), "no line is lost");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }
}
