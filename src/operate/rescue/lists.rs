//! What was written and what was not: counts for the report, and complete lists next to the objects, a line of JSON each.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Serialize;

use super::Report;
use super::destination::Destination;
use super::write::Written;
use crate::data::drive::Item;
use crate::error::Error;

/// Versions that the report names.
const NAMED: usize = 100;

/// A version that could not be read.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct Unreadable {
    /// Its bucket.
    pub(crate) bucket: String,
    /// Its name.
    pub(crate) object: String,
    /// The ID of its version; null in a bucket that keeps none.
    pub(crate) version: Option<String>,
    /// Why.
    pub(crate) reason: String,
}

/// A version whose file has another name than the object.
#[derive(Serialize)]
struct Odd<'a> {
    bucket: &'a str,
    object: &'a str,
    version: Option<&'a str>,
    file: &'a str,
}

/// The counts, and the files of both lists.
pub(super) struct Lists {
    report: Report,
    unreadable: List,
    odd: List,
}

impl Lists {
    pub(super) fn new(destination: &Destination) -> Result<Self, Error> {
        Ok(Self {
            report: Report::default(),
            unreadable: List::new(destination.list("unreadable.jsonl"))?,
            odd: List::new(destination.list("odd-names.jsonl"))?,
        })
    }

    /// Counts a version.
    pub(super) fn add(&mut self, item: &Item, written: Written) -> Result<(), Error> {
        let (bytes, path, is_odd) = match written {
            Written::All { bytes, path, is_odd } => (bytes, path, is_odd),
            Written::Not(why) => return self.unreadable(item, &why),
        };
        self.report.bytes += bytes;
        *(if item.is_current { &mut self.report.objects } else { &mut self.report.versions }) += 1;
        if is_odd {
            self.report.odd_names += 1;
            let file = path.file_name().unwrap_or_default().to_string_lossy();
            let (bucket, object, version) = (&item.bucket, &item.object, item.version.as_deref());
            self.odd.write(&Odd { bucket, object, version, file: &file })?;
        }
        Ok(())
    }

    /// Counts a version that could not be read.
    pub(super) fn unreadable(&mut self, item: &Item, reason: &str) -> Result<(), Error> {
        let Item { bucket, object, version, .. } = item.clone();
        let one = Unreadable { bucket, object, version, reason: reason.to_owned() };
        self.report.unreadable += 1;
        self.unreadable.write(&one)?;
        if self.report.first_unreadable.len() < NAMED {
            self.report.first_unreadable.push(one);
        }
        Ok(())
    }

    /// Notes a key that the keystore does not give.
    pub(super) fn missing_key(&mut self, name: &str) {
        self.report.missing_keys.insert(name.to_owned());
    }

    /// The counts, once all lines are written.
    pub(super) fn into_report(mut self) -> Result<Report, Error> {
        self.unreadable.flush()?;
        self.odd.flush()?;
        Ok(self.report)
    }
}

/// Lines of JSON.
struct List {
    path: PathBuf,
    file: BufWriter<File>,
}

impl List {
    fn new(path: PathBuf) -> Result<Self, Error> {
        let file = File::options().write(true).create_new(true).mode(0o600).open(&path);
        let file = file.map_err(Error::file("write", &path))?;
        Ok(Self { path, file: BufWriter::new(file) })
    }

    fn write(&mut self, entry: &impl Serialize) -> Result<(), Error> {
        let line = serde_json::to_vec(entry).map_err(std::io::Error::from);
        let written = line.and_then(|line| self.file.write_all(&[line.as_slice(), b"\n"].concat()));
        written.map_err(Error::file("write", &self.path))
    }

    fn flush(&mut self) -> Result<(), Error> {
        self.file.flush().map_err(Error::file("write", &self.path))
    }
}
