//! Notices that files were replaced, be it by renaming, in place, or through a symlink as Kubernetes does
//! (docs/kubernetes.md §1.5, K9): what a path leads to is looked at every few seconds.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::time::sleep;

use crate::config::TlsConfig;

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
    known: Looks,
}

/// Device, inode, size, and time of the last change in nanoseconds of one file.
type Look = Option<(u64, u64, u64, i64, i64)>;

#[derive(Debug, Clone, PartialEq, Eq)]
struct Looks {
    configuration: Look,
    /// By their paths; a folder stands for all files in it.
    tls: BTreeMap<PathBuf, Vec<Look>>,
}

impl WatchedFiles {
    /// The configuration file, which is about to be read.
    pub(super) fn new(configuration: PathBuf) -> Self {
        let known = Looks { configuration: look(&configuration), tls: BTreeMap::new() };
        Self { configuration, known }
    }

    /// The configuration is about to be read again: whatever changes it from now on is another change.
    pub(super) fn configuration_is_read(&mut self) {
        self.known.configuration = look(&self.configuration);
    }

    /// The same for the files that it names.
    pub(super) fn tls_is_read(&mut self, named: &TlsConfig) {
        self.known.tls.extend(paths(named).map(|path| (path.clone(), below(path))));
    }

    /// Files that are not named here play no role any more.
    pub(super) fn forget_others(&mut self, named: &TlsConfig) {
        self.known.tls.retain(|known, _| paths(named).any(|path| path == known));
    }

    /// Waits until a file is another than before, and no longer being written: two looks in a row are the same. A
    /// file that is gone for the moment is waited for, but not for a change of the configuration, which may name others.
    pub(super) async fn changed(&mut self) -> Change {
        let mut last = self.known.clone();
        loop {
            sleep(INTERVAL).await;
            let now = self.looks();
            if now == last
                && let Some(change) = self.known.change_to(&now)
            {
                self.known = now;
                return change;
            }
            last = now;
        }
    }

    fn looks(&self) -> Looks {
        let tls = self.known.tls.keys().map(|path| (path.clone(), below(path))).collect();
        Looks { configuration: look(&self.configuration), tls }
    }
}

impl Looks {
    fn change_to(&self, now: &Self) -> Option<Change> {
        if now.configuration.is_none() || self == now {
            return None;
        }
        if self.configuration != now.configuration {
            return Some(Change::Configuration);
        }
        // one that was not there before need not come
        let is_gone = self.tls.values().zip(now.tls.values()).any(|(before, now)| is_there(before) && !is_there(now));
        (!is_gone).then_some(Change::Tls)
    }
}

fn is_there(looks: &[Look]) -> bool {
    looks.iter().all(Option::is_some)
}

fn paths(named: &TlsConfig) -> impl Iterator<Item = &PathBuf> {
    [&named.key, &named.cert].into_iter().chain(&named.ca)
}

/// A file, or all files of a folder. Links of a folder may lead nowhere: nobody reads those.
fn below(path: &Path) -> Vec<Look> {
    let Ok(entries) = fs::read_dir(path) else { return vec![look(path)] };
    let mut paths: Vec<_> = entries.filter_map(Result::ok).map(|entry| entry.path()).collect();
    paths.sort();
    paths.iter().filter_map(|path| look(path)).map(Some).collect()
}

fn look(path: &Path) -> Look {
    let found = fs::metadata(path).ok()?;
    Some((found.dev(), found.ino(), found.size(), found.mtime(), found.mtime_nsec()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn named(cert: PathBuf, ca: Option<PathBuf>) -> TlsConfig {
        TlsConfig { key: cert.clone(), cert, ca, password: None, verify_clients: false }
    }

    /// What happens within a minute.
    async fn change(files: &mut WatchedFiles) -> Option<Change> {
        tokio::time::timeout(Duration::from_secs(60), files.changed()).await.ok()
    }

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
        files.tls_is_read(&named(path("cert"), None));
        assert_eq!(change(&mut files).await, None);
        symlink("two", path("..new")).unwrap();
        fs::rename(path("..new"), path("..data")).unwrap();
        assert_eq!(files.changed().await, Change::Configuration);
        fs::remove_file(path("two/cert")).unwrap();
        assert_eq!(change(&mut files).await, None, "a file that is gone is waited for");
        fs::write(path("two/cert"), "other").unwrap();
        assert_eq!(files.changed().await, Change::Tls);
    }

    #[tokio::test(start_paused = true)]
    async fn a_file_that_is_not_there_hides_no_change_of_others() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::create_dir(path("cas")).unwrap();
        symlink("nowhere", path("cas/old.pem")).unwrap();
        for file in ["config", "cert"] {
            fs::write(path(file), "one").unwrap();
        }
        let mut files = WatchedFiles::new(path("config"));
        files.tls_is_read(&named(path("cert"), Some(path("cas"))));
        fs::write(path("cas/new.pem"), "new").unwrap();
        assert_eq!(change(&mut files).await, Some(Change::Tls), "a link of a folder leads nowhere");
        fs::remove_file(path("cert")).unwrap();
        fs::write(path("config"), "it names other files").unwrap();
        assert_eq!(change(&mut files).await, Some(Change::Configuration), "the certificate has another name");
        files.tls_is_read(&named(path("other"), None));
        fs::write(path("config"), "it names others that exist").unwrap();
        assert_eq!(change(&mut files).await, Some(Change::Configuration), "the name was wrong");
        fs::write(path("other"), "two").unwrap();
        assert_eq!(change(&mut files).await, Some(Change::Tls), "a file comes later");
        files.forget_others(&named(path("cert"), None));
        fs::write(path("other"), "three").unwrap();
        assert_eq!(change(&mut files).await, None);
    }
}
