//! Passes over the drive, slice by slice, until nothing more is found under the former key.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;
use tokio::sync::mpsc::{Receiver, channel};

use super::left::Left;
use super::slice::{Exchange, Looked};
use super::staging;
use crate::data::drive;
use crate::error::Error;
use crate::host::blocking::blocking;
use crate::host::freeze::Freezer;
use crate::host::interrupt::Interrupt;

/// Files that are found and not yet prepared.
const AHEAD: usize = 1024;

/// Most bytes of metadata that are prepared at the same time.
const MOST: usize = 64 << 20;

/// How often in a row a pass may find only what MinIO wrote meanwhile.
const IN_VAIN: u32 = 10;

/// How many passes after the first may find keys to exchange: there are more only while clients name the former key.
const MORE: u32 = 10;

/// What was exchanged so far.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct Moved {
    /// Versions of objects.
    pub(crate) versions: u64,
    /// Files of MinIO's own: configuration, IAM, targets of replication.
    pub(crate) minio_files: u64,
    /// Bytes of those versions as clients see them; none of them was read or written.
    pub(crate) bytes: u64,
    /// How often MinIO was paused.
    pub(crate) pauses: u64,
    /// The longest pause of MinIO.
    pub(crate) longest_pause_milliseconds: u128,
}

impl Moved {
    /// What was exchanged before and after.
    pub(super) fn and(&self, more: &Self) -> Self {
        Self {
            versions: self.versions + more.versions,
            minio_files: self.minio_files + more.minio_files,
            bytes: self.bytes + more.bytes,
            pauses: self.pauses + more.pauses,
            longest_pause_milliseconds: self.longest_pause_milliseconds.max(more.longest_pause_milliseconds),
        }
    }
}

/// Who wants to know how far it is.
pub(crate) trait Meter: Send + Sync {
    /// So much was exchanged.
    fn moved(&self, moved: &Moved, total: u64);
}

/// All passes.
pub(super) struct Passes<'a> {
    pub(super) exchange: Exchange<'a>,
    pub(super) freezer: Arc<Freezer>,
    pub(super) slice: usize,
    pub(super) interrupt: &'a Interrupt,
    pub(super) meter: &'a dyn Meter,
    /// Versions and files of MinIO's own, for who asks how far it is.
    pub(super) total: u64,
    pub(super) moved: Moved,
}

/// One pass.
#[derive(Default)]
struct Pass {
    exchanged: usize,
    /// What MinIO wrote between two looks at it.
    changed: usize,
    stuck: BTreeSet<Left>,
}

/// How many passes are made while clients write.
#[derive(Default)]
struct Patience {
    in_vain: u32,
    exchanging: u32,
}

impl Patience {
    /// Why no other pass is made after one that found so much; `None` if there is one.
    fn ends(&mut self, exchanged: usize, changed: usize) -> Option<Left> {
        let (name, why) = if exchanged == 0 {
            self.in_vain += 1;
            (changed, "clients write them faster than kestack exchanges their keys")
        } else {
            self.in_vain = 0;
            self.exchanging += 1;
            (exchanged, "clients go on writing with this key: they name it in their requests")
        };
        let is_over = self.in_vain == IN_VAIN || self.exchanging > MORE;
        is_over.then(|| Left::new(format!("{name} metadata files"), why))
    }
}

impl Passes<'_> {
    /// Makes passes until one finds nothing to exchange; what that one could not exchange is left.
    ///
    /// # Errors
    /// Those of KES and of the drive. What was exchanged is.
    pub(super) async fn run(&mut self) -> Result<BTreeSet<Left>, Error> {
        let mut patience = Patience::default();
        loop {
            let pass = self.pass().await?;
            if pass.exchanged == 0 && pass.changed == 0 {
                return Ok(pass.stuck);
            }
            if let Some(left) = patience.ends(pass.exchanged, pass.changed) {
                let mut stuck = pass.stuck;
                stuck.insert(left);
                return Ok(stuck);
            }
        }
    }

    async fn pass(&mut self) -> Result<Pass, Error> {
        let (found, mut next) = channel(AHEAD);
        let place = self.exchange.drive;
        let (drive, key) = (place.to_owned(), self.exchange.old.clone());
        let look = blocking("read", place, move || {
            let gone = |_| std::io::Error::other("nobody waits for it any more");
            let visit = |path: &Path| found.blocking_send(path.to_owned()).map_err(gone);
            drive::needing(&drive, key.as_str(), visit).map_err(Error::file("read", &drive))
        });
        let work = async move {
            let mut pass = Pass::default();
            while let Some(paths) = slice(&mut next, self.slice).await {
                self.interrupt.check()?;
                self.paths(paths, &mut pass).await?;
            }
            Ok::<_, Error>(pass)
        };
        let (looked, pass) = tokio::join!(look, work);
        let pass = pass?;
        looked.map(|()| pass)
    }

    /// Exchanges a slice, or several if its files are large.
    async fn paths(&mut self, mut paths: Vec<PathBuf>, pass: &mut Pass) -> Result<(), Error> {
        while !paths.is_empty() {
            let mut bytes = 0;
            let fits = |path: &PathBuf| {
                let length = std::fs::metadata(path).map_or(0, |found| found.len());
                let before = bytes;
                bytes += usize::try_from(length).unwrap_or(usize::MAX / 2);
                before == 0 || bytes <= MOST
            };
            let count = paths.iter().map(fits).take_while(|fits| *fits).count();
            let rest = paths.split_off(count.max(1).min(paths.len()));
            let looked = self.exchange.prepare(std::mem::replace(&mut paths, rest)).await?;
            self.looked(looked, pass).await?;
        }
        Ok(())
    }

    async fn looked(&mut self, looked: Vec<Looked>, pass: &mut Pass) -> Result<(), Error> {
        let mut ready = Vec::new();
        for looked in looked {
            match looked {
                Looked::Settled => {}
                Looked::Stuck(left) => drop(pass.stuck.insert(left)),
                Looked::Ready { staged, versions, bytes } => ready.push((staged, versions, bytes)),
            }
        }
        if ready.is_empty() {
            return Ok(());
        }
        let (staged, counts): (Vec<_>, Vec<_>) =
            ready.into_iter().map(|(one, count, bytes)| (one, (count, bytes))).unzip();
        let (freezer, staging) = (self.freezer.clone(), self.exchange.staging.clone());
        let rename = move || staging::rename(&freezer, &staging, staged);
        let (done, pauses) = blocking("write", self.exchange.drive, rename).await?;
        self.moved.pauses += pauses.len() as u64;
        let longest = pauses.into_iter().map(rounded_up).max().unwrap_or_default();
        self.moved.longest_pause_milliseconds = self.moved.longest_pause_milliseconds.max(longest);
        for ((versions, bytes), done) in counts.into_iter().zip(done) {
            if !done {
                pass.changed += 1;
                continue;
            }
            pass.exchanged += 1;
            self.moved.versions += versions;
            self.moved.minio_files += u64::from(versions == 0);
            self.moved.bytes += bytes;
        }
        self.meter.moved(&self.moved, self.total);
        Ok(())
    }
}

fn rounded_up(time: Duration) -> u128 {
    time.as_micros().div_ceil(1000)
}

/// The next paths, at most so many; `None` if there are no more.
async fn slice(next: &mut Receiver<PathBuf>, most: usize) -> Option<Vec<PathBuf>> {
    let mut paths = Vec::new();
    while paths.len() < most {
        match next.recv().await {
            Some(path) => paths.push(path),
            None => break,
        }
    }
    (!paths.is_empty()).then_some(paths)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passes_end_whatever_clients_write() {
        let mut patience = Patience::default();
        assert!((0..MORE).all(|_| patience.ends(3, 0).is_none()));
        assert!(patience.ends(3, 0).unwrap().reason.contains("they name it in their requests"));
        let mut patience = Patience::default();
        assert!((1..IN_VAIN).all(|_| patience.ends(0, 1).is_none()));
        assert!(patience.ends(0, 1).unwrap().reason.contains("faster than kestack"));
        // each of them moves something now and then, and still they end
        let mut patience = Patience::default();
        assert!((0..IN_VAIN * (MORE + 1)).any(|number| patience.ends(usize::from(number % 2 == 0), 1).is_some()));
    }

    #[test]
    fn what_two_rounds_moved_is_added() {
        let of =
            |count, pause| Moved { versions: count, pauses: 1, longest_pause_milliseconds: pause, ..Moved::default() };
        let both = of(2, 9).and(&of(3, 4));
        assert_eq!((both.versions, both.pauses, both.longest_pause_milliseconds), (5, 2, 9));
    }
}
