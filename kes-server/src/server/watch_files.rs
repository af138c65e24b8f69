//! Notices that files were replaced, be it by renaming, in place, or through a symlink as Kubernetes does
//! (docs/kubernetes.md §1.5, K9): what a path leads to is looked at every few seconds.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::time::sleep;

/// How often the files are looked at.
const INTERVAL: Duration = Duration::from_secs(3);

/// What was replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// The configuration, and perhaps more.
    Configuration,
    /// Certificate, key or CA.
    Tls,
}

/// The files that a server depends on, as they were.
#[derive(Debug)]
pub(super) struct WatchedFiles {
    configuration: PathBuf,
    tls: Vec<PathBuf>,
    known: Looks,
}

/// Device, inode, size, and time of the last change in nanoseconds of one file.
type Look = Option<(u64, u64, u64, i64, i64)>;

#[derive(Debug, Clone, PartialEq, Eq)]
struct Looks {
    configuration: Look,
    tls: Vec<Look>,
}

impl WatchedFiles {
    /// The configuration file, which is about to be read.
    pub(super) fn new(configuration: PathBuf) -> Self {
        let known = looks(&configuration, &[]);
        Self { configuration, tls: Vec::new(), known }
    }

    /// The configuration is about to be read again: whatever changes it from now on is another change.
    pub(super) fn configuration_is_read(&mut self) {
        self.known.configuration = look(&self.configuration);
    }

    /// The same for the files that the configuration names.
    pub(super) fn tls_is_read(&mut self, tls: Vec<PathBuf>) {
        self.known.tls = looks(&self.configuration, &tls).tls;
        self.tls = tls;
    }

    /// Waits until a file is another than before, and no longer being written: two looks in a row are the same. A
    /// file that is gone for the moment is waited for.
    pub(super) async fn changed(&mut self) -> Change {
        let mut last = self.known.clone();
        loop {
            sleep(INTERVAL).await;
            let now = looks(&self.configuration, &self.tls);
            let is_whole = now.configuration.is_some() && now.tls.iter().all(Option::is_some);
            if now != self.known && now == last && is_whole {
                let is_configuration = now.configuration != self.known.configuration;
                self.known = now;
                return if is_configuration { Change::Configuration } else { Change::Tls };
            }
            last = now;
        }
    }
}

fn looks(configuration: &Path, tls: &[PathBuf]) -> Looks {
    Looks { configuration: look(configuration), tls: tls.iter().flat_map(|path| below(path)).collect() }
}

/// A file, or all files of a folder.
fn below(path: &Path) -> Vec<Look> {
    let Ok(entries) = fs::read_dir(path) else { return vec![look(path)] };
    let mut paths: Vec<_> = entries.filter_map(Result::ok).map(|entry| entry.path()).collect();
    paths.sort();
    paths.iter().map(|path| look(path)).collect()
}

fn look(path: &Path) -> Look {
    let found = fs::metadata(path).ok()?;
    Some((found.dev(), found.ino(), found.size(), found.mtime(), found.mtime_nsec()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_change_is_told_once_it_is_complete() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        for data in ["one", "two"] {
            fs::create_dir(path(data)).unwrap();
            fs::write(path(data).join("config"), data).unwrap();
            fs::write(path(data).join("cert"), "cert").unwrap();
        }
        symlink("one", path("..data")).unwrap();
        symlink("..data/config", path("config")).unwrap();
        symlink("..data/cert", path("cert")).unwrap();
        let mut files = WatchedFiles::new(path("config"));
        files.tls_is_read(vec![path("cert")]);
        let quiet = tokio::time::timeout(Duration::from_secs(60), files.changed()).await;
        assert!(quiet.is_err());
        symlink("two", path("..new")).unwrap();
        fs::rename(path("..new"), path("..data")).unwrap();
        assert_eq!(files.changed().await, Change::Configuration);
        fs::remove_file(path("two/cert")).unwrap();
        let gone = tokio::time::timeout(Duration::from_secs(60), files.changed()).await;
        assert!(gone.is_err(), "a file that is gone is waited for");
        fs::write(path("two/cert"), "other").unwrap();
        assert_eq!(files.changed().await, Change::Tls);
    }
}
