//! `kestack init`

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::PathBuf;

use clap::Args;
use schemars::JsonSchema;
use serde::Serialize;

use super::Globals;
use super::output::Output;
use crate::error::Error;

/// A manifest in which every setting has its default and an explanation.
const TEMPLATE: &str = include_str!("../../templates/kestack.yaml");

#[derive(Debug, Args)]
pub(super) struct Init {}

#[derive(Serialize, JsonSchema)]
pub(super) struct Report {
    /// The file that was written.
    file: PathBuf,
}

impl Init {
    /// Writes kestack.yaml into this folder, or the file that `--file` names. One that is there stays as it is.
    pub(super) fn run(globals: &Globals, output: &Output) -> Result<(), Error> {
        let file = globals.file.clone().unwrap_or_else(|| PathBuf::from("kestack.yaml"));
        let other = globals.file.is_none().then(|| PathBuf::from("kestack.yml")).filter(|other| other.exists());
        if let Some(there) = other.or_else(|| file.symlink_metadata().ok().map(|_| file.clone())) {
            return Err(Error::Usage {
                what: format!("'{}' is already there; nothing was written", there.display()),
                hint: "`kestack config check` checks it; to start again, move it away first".into(),
            });
        }
        let mut open = OpenOptions::new();
        let written =
            open.write(true).create_new(true).open(&file).and_then(|mut new| new.write_all(TEMPLATE.as_bytes()));
        written.map_err(Error::file("write", &file))?;
        output.done(&Report { file }, |report| {
            format!("wrote '{}'\nnext:\n  kestack up   brings the stack up that it describes", report.file.display())
        })
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::manifest::{self, Manifest, PortChoice};

    fn read(text: &str) -> Manifest {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("kestack.yaml");
        std::fs::write(&file, text).unwrap();
        manifest::load(Some(&file), Path::new("/"), &|_| None).unwrap().manifest
    }

    #[test]
    fn every_setting_of_the_file_is_valid_and_the_default() {
        let is_prose = |line: &str| line.starts_with("# ") && !line.starts_with("#  ") || line.starts_with("#   ");
        let set = TEMPLATE.lines().map(|line| if is_prose(line) { line } else { line.trim_start_matches('#') });
        let (plain, set) = (read(TEMPLATE), read(&set.collect::<Vec<_>>().join("\n")));
        assert!(set.is_named && !plain.is_named);
        assert_eq!((set.auto_encryption, set.engine, set.host), (Some(true), plain.engine, plain.host));
        assert_eq!((&set.keystore, &set.keys, set.kes.replicas), (&plain.keystore, &plain.keys, plain.kes.replicas));
        assert_eq!((set.s3_port(), set.console_port()), (PortChoice::Exactly(9000), PortChoice::Exactly(9001)));
        let bucket = |manifest: &Manifest| {
            let only = manifest.buckets.first().unwrap();
            (only.name.to_string(), only.encryption, only.versioning)
        };
        assert_eq!(bucket(&set), bucket(&plain));
    }
}
