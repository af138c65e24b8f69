//! A few metadata files at a time: KES opens and seals their data keys, the result is written aside and opened again.

use std::path::{Path, PathBuf};

use futures_util::StreamExt as _;
use futures_util::stream;
use kes_server::auth::KeyName;
use kes_server::client::{Client, ClientError};
use zeroize::Zeroizing;

use super::left::Left;
use super::staging::{Staged, Staging};
use crate::data::drive::{Found, Resealed, Sealings};
use crate::error::Error;
use crate::host::blocking::blocking;
use crate::host::disk::is_absent;

/// How many files are prepared at the same time.
const AT_ONCE: usize = 16;

/// Who exchanges data keys, and where.
#[derive(Clone, Copy)]
pub(super) struct Exchange<'a> {
    pub(super) kes: &'a Client,
    pub(super) old: &'a KeyName,
    pub(super) new: &'a KeyName,
    pub(super) drive: &'a Path,
    pub(super) staging: &'a Staging,
}

/// A file that was looked at.
#[derive(Debug)]
pub(super) enum Looked {
    /// It is gone, or needs the key no more.
    Settled,
    /// It is prepared: with its versions and their length, or as a file of MinIO's own.
    Ready { staged: Staged, versions: u64, bytes: u64 },
    /// It cannot be exchanged.
    Stuck(Left),
}

impl Exchange<'_> {
    /// Prepares files.
    ///
    /// # Errors
    /// The first that keeps KES or the drive from being used.
    pub(super) async fn prepare(&self, paths: Vec<PathBuf>) -> Result<Vec<Looked>, Error> {
        let all = paths.into_iter().enumerate().map(|(number, path)| self.one(path, number));
        let looked: Vec<_> = stream::iter(all).buffer_unordered(AT_ONCE).collect().await;
        looked.into_iter().collect()
    }

    async fn one(&self, path: PathBuf, number: usize) -> Result<Looked, Error> {
        let (drive, place) = (self.drive.to_owned(), path.clone());
        let read = move || match Sealings::read(&drive, &place) {
            Err(error) if is_absent(&error) => Ok(None),
            read => read.map(Some).map_err(Error::file("read", place)),
        };
        let file = match blocking("read", &path, read).await? {
            None => return Ok(Looked::Settled),
            Some(Ok(file)) => file,
            Some(Err(obstacle)) => return Ok(Looked::Stuck(Left::new(self.name(&path), obstacle.to_string()))),
        };
        match self.resealed(&file).await? {
            Ok(exchanged) if exchanged.is_empty() => Ok(Looked::Settled),
            Ok(exchanged) => self.stage(path, &file, exchanged, number).await,
            Err(left) => Ok(Looked::Stuck(left)),
        }
    }

    /// The data keys of a file under the new key, each with what is inside.
    async fn resealed(&self, file: &Sealings) -> Result<Result<Vec<Opened>, Left>, Error> {
        let mut exchanged = Vec::new();
        for (number, found) in self.former(file) {
            let sealed = &found.sealed;
            let plaintext = match self.kes.decrypt(&sealed.key, &sealed.ciphertext, &sealed.context).await {
                Ok(plaintext) => plaintext,
                Err(error) if error.is_not_authentic() || error.is_key_not_found() => {
                    let reason = format!("KES does not open its data key: {}", error.message());
                    return Ok(Err(Left::new(sealed.of.as_str(), reason)));
                }
                Err(error) => return Err(error.into()),
            };
            let ciphertext = self.kes.encrypt(self.new.as_str(), &plaintext, &sealed.context).await?;
            exchanged.push(Opened { number, plaintext, resealed: Resealed { key: self.new.to_string(), ciphertext } });
        }
        Ok(Ok(exchanged))
    }

    /// Writes the file aside, reads it again, and has KES open every data key in it that was exchanged.
    async fn stage(&self, place: PathBuf, file: &Sealings, all: Vec<Opened>, number: usize) -> Result<Looked, Error> {
        let bytes = self.former(file).map(|(_, found)| found.bytes).sum();
        let versions = self.former(file).filter(|(_, found)| !found.sealed.of.starts_with('.')).count() as u64;
        let others: Vec<_> = all.iter().map(|opened| (opened.number, opened.resealed.clone())).collect();
        let content = match file.exchanged(&others) {
            Ok(content) => content,
            Err(obstacle) => return Ok(Looked::Stuck(Left::new(self.name(&place), obstacle.to_string()))),
        };
        let (staging, like, name) = (self.staging.clone(), place.clone(), self.name(&place).to_owned());
        let former = file.stored().clone();
        let write = move || {
            let aside = match staging.write_stored(&like, &number.to_string(), &former, &content) {
                // the object is deleted meanwhile
                Err(Error::File { source, .. }) if is_absent(&source) && !like.exists() => return Ok(None),
                aside => aside?,
            };
            let written = Staging::read(&aside, &like, content)?;
            Ok::<_, Error>(Some((aside, Sealings::of(written, &name).ok())))
        };
        let Some((aside, written)) = blocking("write", &place, write).await? else { return Ok(Looked::Settled) };
        for opened in &all {
            let found = written.as_ref().and_then(|written| written.found().get(opened.number));
            if !self.opens(found, opened).await? {
                let what = format!("'{}' does not open as it was written", self.name(&place));
                return Err(Error::Verification(format!(
                    "{what}\n  nothing of it was changed; run the same command again"
                )));
            }
        }
        let former =
            |opened: Opened| Some((file.found().get(opened.number)?.sealed.ciphertext.clone(), opened.resealed));
        let resealed = all.into_iter().filter_map(former).collect();
        Ok(Looked::Ready {
            staged: Staged { place, before: file.stored().meta.clone(), aside, resealed },
            versions,
            bytes,
        })
    }

    async fn opens(&self, found: Option<&Found>, opened: &Opened) -> Result<bool, ClientError> {
        let Some(Found { sealed, .. }) = found else { return Ok(false) };
        let plaintext = self.kes.decrypt(self.new.as_str(), &sealed.ciphertext, &sealed.context).await?;
        Ok(sealed.key == self.new.as_str() && plaintext == opened.plaintext)
    }

    fn former<'f>(&'f self, file: &'f Sealings) -> impl Iterator<Item = (usize, &'f Found)> {
        file.found().iter().enumerate().filter(|(_, found)| found.sealed.key == self.old.as_str())
    }

    /// The folder on the drive, which names what is in it.
    fn name<'p>(&self, path: &'p Path) -> &'p str {
        let folder = path.parent().and_then(|folder| folder.strip_prefix(self.drive).ok());
        folder.and_then(Path::to_str).unwrap_or_default()
    }
}

/// A data key, in the open for as long as its file is prepared.
struct Opened {
    number: usize,
    plaintext: Zeroizing<Vec<u8>>,
    resealed: Resealed,
}
