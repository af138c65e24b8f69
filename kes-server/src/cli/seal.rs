//! `kes seal` and `kes unseal`: a folder of keys in place, and master keys (docs/sealed-keys.md).

use std::{
    fs::{self, File},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use zeroize::Zeroizing;

use super::{
    CliError,
    output::{self, Output, printable},
    session::Session,
};
use crate::{
    config::{Config, KeyStoreConfig},
    crypto::MasterKey,
    keystore::{
        MasterKeys,
        fs::{self as folder, Converted},
    },
};

#[derive(Debug, clap::Args)]
pub(super) struct SealArguments {
    #[command(flatten)]
    subject: Subject,
    /// Make a master key in this file and print its recovery sheet; without a folder, do nothing else
    #[arg(long, value_name = "file", conflicts_with_all = ["master_key", "config"])]
    new_master_key: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub(super) struct UnsealArguments {
    #[command(flatten)]
    subject: Subject,
}

/// A folder and its master keys.
#[derive(Debug, clap::Args)]
struct Subject {
    /// Folder of an fs keystore
    #[arg(value_name = "folder")]
    folder: Option<PathBuf>,
    /// File with the master key
    #[arg(long, value_name = "file")]
    master_key: Option<PathBuf>,
    /// File with a master key that the folder, or a part of it, was sealed under before
    #[arg(long, value_name = "file")]
    previous_master_key: Option<PathBuf>,
    /// Server configuration file with the folder and its master keys, instead of naming them
    #[arg(long, value_name = "file", conflicts_with_all = ["folder", "master_key", "previous_master_key"])]
    config: Option<PathBuf>,
}

pub(super) async fn run(arguments: SealArguments, session: &Session<'_>) -> Result<(), CliError> {
    let SealArguments { mut subject, new_master_key } = arguments;
    if let Some(file) = new_master_key {
        refuse_inside(&file, subject.folder.as_deref())?;
        output::print(&make(&file, subject.folder.as_deref())?)?;
        if subject.folder.is_none() {
            return Ok(());
        }
        subject.master_key = Some(file);
    }
    let (folder, keys) = subject.open("seal", session).await?;
    let done = folder::seal(&folder, &keys).map_err(CliError::plain)?;
    report(&folder, &done, session.output);
    for name in &done.linked {
        let text = format!("key '{}' has another name on this disk, where it is in clear", printable(name));
        session.output.warning(&text);
    }
    let name = keys.current().fingerprint();
    output::line(&format!("Sealed {} under master key {name} in {}.", counted(&done), folder.display()))
}

pub(super) async fn undo(arguments: UnsealArguments, session: &Session<'_>) -> Result<(), CliError> {
    let (folder, keys) = arguments.subject.open("unseal", session).await?;
    let done = folder::unseal(&folder, &keys).map_err(CliError::plain)?;
    report(&folder, &done, session.output);
    session.output.warning("these keys are in clear now: everybody who can read the folder or a copy of it has them");
    output::line(&format!("Unsealed {} in {}.", counted(&done), folder.display()))
}

impl Subject {
    /// The folder, and the master keys.
    async fn open(self, verb: &str, session: &Session<'_>) -> Result<(PathBuf, MasterKeys), CliError> {
        if let Some(file) = &self.config {
            return of_config(file, session).await;
        }
        let missing = |what: &str| CliError::message(format!("no {what} specified. See 'kes {verb} --help'"));
        let folder = self.folder.ok_or_else(|| missing("folder"))?;
        let current = self.master_key.ok_or_else(|| match verb {
            "seal" => missing("master key (--master-key, --new-master-key or --config)"),
            _ => missing("master key (--master-key or --config)"),
        })?;
        refuse_inside(&current, Some(&folder))?;
        let read = |file: &Path| MasterKeys::read_file(file).map_err(CliError::plain);
        let previous = self.previous_master_key.as_deref().map(read).transpose()?;
        Ok((folder, MasterKeys::new(read(&current)?, previous.into_iter().collect())))
    }
}

async fn of_config(file: &Path, session: &Session<'_>) -> Result<(PathBuf, MasterKeys), CliError> {
    let failure = |error: &dyn std::fmt::Display| CliError::message(format!("{}: {error}", file.display()));
    let config = Config::load(file, &|name| session.environment.get(name)).map_err(|error| failure(&error))?;
    let KeyStoreConfig::Fs(config) = config.keystore else { return Err(failure(&"its keystore is not a folder")) };
    let Some(encryption) = config.encryption else {
        return Err(failure(&"it names no master key: add `encryption` to keystore.fs"));
    };
    let keys = MasterKeys::load(&encryption, &session.environment.for_keystores()).await;
    Ok((config.path, keys.map_err(|error| failure(&error))?))
}

/// A master key in the folder of its keys would be copied with them.
fn refuse_inside(file: &Path, folder: Option<&Path>) -> Result<(), CliError> {
    let parent = file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let Some(folder) = folder.and_then(|folder| folder.canonicalize().ok()) else { return Ok(()) };
    match parent.canonicalize() {
        Ok(parent) if parent.starts_with(&folder) => Err(CliError::message(format!(
            "master key '{}' is in the folder that it seals, and would be copied with it: keep it elsewhere",
            file.display()
        ))),
        _ => Ok(()),
    }
}

/// Makes a master key that lasts, and its recovery sheet.
fn make(file: &Path, folder: Option<&Path>) -> Result<Zeroizing<String>, CliError> {
    let digits = MasterKey::generate().map_err(CliError::plain)?;
    let key = MasterKey::parse(digits.as_bytes()).map_err(CliError::plain)?;
    write_new(file, &digits).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => CliError::message(format!(
            "master key '{0}' already exists: to use it, write '--master-key {0}'",
            file.display()
        )),
        _ => CliError::file("create", file, &error),
    })?;
    Ok(sheet(&key, &digits, file, folder))
}

fn write_new(file: &Path, digits: &str) -> io::Result<()> {
    let mut open = File::options().write(true).create_new(true).mode(0o600).open(file)?;
    let written = open.write_all(digits.as_bytes()).and_then(|()| open.write_all(b"\n")).and_then(|()| open.sync_all());
    let parent = file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let written = written.and_then(|()| File::open(parent)?.sync_all());
    // half a master key is none
    written.inspect_err(|_| drop(fs::remove_file(file)))
}

fn sheet(key: &MasterKey, digits: &str, file: &Path, folder: Option<&Path>) -> Zeroizing<String> {
    let group = |from: usize| digits.get(from..from + 8).unwrap_or_default();
    let row = |from: usize| format!("{} {} {} {}", group(from), group(from + 8), group(from + 16), group(from + 24));
    let (first, second) = (Zeroizing::new(row(0)), Zeroizing::new(row(32)));
    let keys = folder.map_or_else(|| "-".into(), |folder| folder.display().to_string());
    let (name, made) = (key.fingerprint(), jiff::Timestamp::now().strftime("%Y-%m-%d %H:%M UTC"));
    Zeroizing::new(format!(
        "Recovery sheet of a master key. It is shown only now: print it, and keep it away from this machine.\n\n    \
         fingerprint  {name}\n    master key   {}\n                 {}\n    made         {made}\n    \
         file         {}\n    keys in      {keys}\n\n\
         Without this master key nobody can open the keys that it seals, and the data that they\n\
         encrypt is lost: there is no other way to it. To use it again, write the digits into a file\n\
         (spaces and line ends do not count) and name the file as masterKeyPath.\n\n",
        *first,
        *second,
        file.display()
    ))
}

fn report(folder: &Path, done: &Converted, output: Output) {
    for name in &done.folders {
        output.warning(&format!("'{}' is a folder and was left as it is", folder.join(printable(name)).display()));
    }
}

fn counted(done: &Converted) -> String {
    let keys = if done.changed == 1 { "key" } else { "keys" };
    match done.unchanged {
        0 => format!("{} {keys}", done.changed),
        unchanged => format!("{} {keys} ({unchanged} already)", done.changed),
    }
}
