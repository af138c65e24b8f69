//! Reads a server's log: the present lines, then new ones.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};

use super::super::LogLine;
use super::log::{Stream, former};

/// How often a followed file is looked at.
const LOOK: Duration = Duration::from_millis(50);

/// A log being read.
#[derive(Debug)]
pub(super) struct Tail {
    path: PathBuf,
    file: File,
    /// The beginning of an entry whose end is not written yet.
    rest: Vec<u8>,
    /// Parts of a line whose end has not come, by stream.
    parts: [String; 2],
}

impl Tail {
    /// Opens the log at `path`.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self { file: File::open(path)?, path: path.to_owned(), rest: Vec::new(), parts: Default::default() })
    }

    /// Everything so far, or its last `count` lines.
    pub(super) fn last(&mut self, count: Option<u32>) -> io::Result<Vec<LogLine>> {
        let mut text = match File::open(former(&self.path)) {
            // renamed a moment ago: it is the file we have open
            Ok(before) if before.metadata()?.ino() == self.file.metadata()?.ino() => Vec::new(),
            Ok(mut before) => read(&mut before)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error),
        };
        text.extend(read(&mut self.file)?);
        let mut lines = self.lines(&text);
        if let Some(count) = count.and_then(|count| usize::try_from(count).ok()) {
            lines.drain(..lines.len().saturating_sub(count));
        }
        Ok(lines)
    }

    /// Sends lines as they come, until nobody listens or `ended` says that there will be no more.
    pub(super) async fn follow(mut self, to: mpsc::Sender<LogLine>, ended: impl Fn() -> bool) {
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = looks.tick() => {}
                () = to.closed() => return,
            }
            // asked before the last read, so that nothing written in between is missed
            let ended = ended();
            let Ok(lines) = self.news() else { return };
            if !send(lines, &to).await || ended {
                return;
            }
        }
    }

    /// What was written since the last look.
    fn news(&mut self) -> io::Result<Vec<LogLine>> {
        let moved = fs::metadata(&self.path).map(|found| found.ino()).ok() != Some(self.file.metadata()?.ino());
        let mut text = read(&mut self.file)?;
        if moved && let Ok(mut next) = File::open(&self.path) {
            text.extend(read(&mut next)?);
            self.file = next;
        }
        Ok(self.lines(&text))
    }

    /// The complete lines in new text; what has no end yet is kept.
    fn lines(&mut self, text: &[u8]) -> Vec<LogLine> {
        self.rest.extend(text);
        let end = self.rest.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let entries: Vec<u8> = self.rest.drain(..end).collect();
        String::from_utf8_lossy(&entries).lines().filter_map(|entry| self.line(entry)).collect()
    }

    fn line(&mut self, entry: &str) -> Option<LogLine> {
        let mut fields = entry.splitn(4, ' ').skip(1);
        let (stream, tag, text) = (fields.next()?, fields.next()?, fields.next()?);
        let stderr = stream == Stream::Stderr.word();
        let part = self.parts.get_mut(usize::from(stderr))?;
        part.push_str(text);
        (tag == "F").then(|| LogLine { stderr, text: std::mem::take(part) })
    }
}

/// Sends lines; false if nobody listens any more.
pub(super) async fn send(lines: Vec<LogLine>, to: &mpsc::Sender<LogLine>) -> bool {
    for line in lines {
        if to.send(line).await.is_err() {
            return false;
        }
    }
    true
}

fn read(file: &mut File) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    file.read_to_end(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::super::log::Log;
    use super::*;

    fn texts(lines: &[LogLine]) -> Vec<&str> {
        lines.iter().map(|line| line.text.as_str()).collect()
    }

    #[test]
    fn the_last_lines_of_both_files_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let log = Log::open(&path).unwrap();
        log.append(Stream::Stdout, b"one\n", true);
        log.append(Stream::Stderr, b"two, ", false);
        log.append(Stream::Stdout, b"three\n", true);
        fs::rename(&path, former(&path)).unwrap();
        let log = Log::open(&path).unwrap();
        log.append(Stream::Stderr, b"still two\n", true);
        let lines = Tail::open(&path).unwrap().last(None).unwrap();
        assert_eq!(texts(&lines), ["one", "three", "two, still two"]);
        assert_eq!(lines.iter().map(|line| line.stderr).collect::<Vec<_>>(), [false, false, true]);
        assert_eq!(texts(&Tail::open(&path).unwrap().last(Some(1)).unwrap()), ["two, still two"]);
        assert!(Tail::open(&path).unwrap().last(Some(0)).unwrap().is_empty());
    }

    #[tokio::test]
    async fn follows_into_the_next_file_until_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let log = Log::open(&path).unwrap();
        let tail = Tail::open(&path).unwrap();
        let (sender, mut lines) = mpsc::channel(8);
        let over = Arc::new(AtomicBool::new(false));
        let ended = Arc::clone(&over);
        let task = tokio::spawn(tail.follow(sender, move || ended.load(Ordering::Relaxed)));
        log.append(Stream::Stdout, b"before\n", true);
        assert_eq!(lines.recv().await.unwrap().text, "before");
        log.append(Stream::Stdout, b"last\n", true);
        fs::rename(&path, former(&path)).unwrap();
        Log::open(&path).unwrap().append(Stream::Stdout, b"first\n", true);
        assert_eq!(lines.recv().await.unwrap().text, "last");
        assert_eq!(lines.recv().await.unwrap().text, "first");
        over.store(true, Ordering::Relaxed);
        assert!(lines.recv().await.is_none());
        task.await.unwrap();
    }
}
