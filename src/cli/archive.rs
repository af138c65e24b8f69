//! `kestack snapshot export` and `import`

use std::io::{ErrorKind, IsTerminal as _, Read as _};
use std::path::{Path, PathBuf};

use age::x25519::Recipient;
use clap::{ArgGroup, Args};
use schemars::JsonSchema;
use serde::Serialize;
use zeroize::Zeroizing;

use super::Globals;
use super::output::Output;
use super::session::{CHANGE, Intent, Opened, environment};
use crate::error::Error;
use crate::host::blocking::blocking;
use crate::host::interrupt::Interrupt;
use crate::operate::drill::refuse_reserved;
use crate::operate::snapshot::archive::{self, Closed, Exported, Opener, Seal};
use crate::operate::snapshot::{Snapshot, SnapshotName, refuse_pending};

/// Where a passphrase may be.
const VARIABLE: &str = "KESTACK_SNAPSHOT_PASSPHRASE";

/// Longest passphrase.
const LONGEST: u64 = 4096;

#[derive(Debug, Args)]
#[command(group(ArgGroup::new("how").args(["passphrase_file", "recipients", "plain"])))]
pub(super) struct Export {
    /// Name of the snapshot
    name: SnapshotName,
    /// File to write; it must not exist yet
    archive: PathBuf,
    /// File with the passphrase [default: that in `KESTACK_SNAPSHOT_PASSPHRASE`, or kestack asks]
    #[arg(long, value_name = "PATH")]
    passphrase_file: Option<PathBuf>,
    /// Public key of age that can open it, instead of a passphrase; can be repeated
    #[arg(long = "recipient", value_name = "AGE1…")]
    recipients: Vec<String>,
    /// Do not encrypt: everybody who has the file has keys and credentials
    #[arg(long)]
    plain: bool,
}

#[derive(Debug, Args)]
#[command(group(ArgGroup::new("how").args(["passphrase_file", "identities", "plain"])))]
pub(super) struct Import {
    /// File that `kestack snapshot export` wrote
    archive: PathBuf,
    /// New name of the snapshot [default: its former name]
    name: Option<SnapshotName>,
    /// File with the passphrase [default: that in `KESTACK_SNAPSHOT_PASSPHRASE`, or kestack asks]
    #[arg(long, value_name = "PATH")]
    passphrase_file: Option<PathBuf>,
    /// File with an identity of age that can open it; can be repeated
    #[arg(long = "identity", value_name = "PATH")]
    identities: Vec<PathBuf>,
    /// Accept a file that is not encrypted
    #[arg(long)]
    plain: bool,
    /// Replace a snapshot of that name
    #[arg(long)]
    replace: bool,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct Imported {
    #[serde(flatten)]
    snapshot: Snapshot,
    /// The file.
    file: PathBuf,
}

impl Export {
    pub(super) async fn run(&self, globals: &Globals, output: &Output, interrupt: &Interrupt) -> Result<(), Error> {
        let layout = Opened::of(globals, Intent::Read).await?.options.layout();
        Snapshot::find(&layout, &self.name)?;
        let seal = self.seal()?;
        let interrupt = interrupt.clone();
        let (name, file) = (self.name.clone(), self.archive.clone());
        let work = move || archive::export(&layout, &name, &file, seal, &interrupt);
        output.done(&blocking("write", &self.archive, work).await?, human_exported)?;
        Ok(())
    }

    fn seal(&self) -> Result<Seal, Error> {
        if self.plain {
            tracing::warn!("the file is not encrypted; it holds keys and credentials in clear");
            return Ok(Seal::Plain);
        }
        if !self.recipients.is_empty() {
            return self.recipients.iter().map(|text| recipient(text)).collect::<Result<_, _>>().map(Seal::Recipients);
        }
        passphrase(self.passphrase_file.as_deref(), true).map(Seal::Passphrase)
    }
}

impl Import {
    pub(super) async fn run(&self, globals: &Globals, output: &Output, interrupt: &Interrupt) -> Result<(), Error> {
        self.name.as_ref().map_or(Ok(()), refuse_reserved)?;
        let opener = self.opener(Closed::of(&self.archive)?)?;
        let opened = interrupt.ends(Opened::of(globals, CHANGE)).await?;
        let layout = opened.options.layout();
        layout.check_writable()?;
        refuse_pending(&layout)?;
        let interrupt = interrupt.clone();
        let (file, name, replace) = (self.archive.clone(), self.name.clone(), self.replace);
        let work = move || archive::import(&layout, &file, name.as_ref(), opener, replace, &interrupt);
        let snapshot = blocking("read", &self.archive, work).await?;
        output.done(&Imported { snapshot, file: self.archive.clone() }, human_imported)?;
        Ok(())
    }

    /// What the user gives must be what the file needs: one that is in clear could be anybody's.
    fn opener(&self, closed: Closed) -> Result<Opener, Error> {
        let refuse = |what: &str, hint: &str| {
            Err(Error::Usage { what: format!("'{}' {what}", self.archive.display()), hint: hint.to_owned() })
        };
        match closed {
            Closed::Plain if self.plain => Ok(Opener::Plain),
            Closed::Plain => refuse("is not encrypted", "if you trust its origin, import it with --plain"),
            Closed::Passphrase if self.plain || !self.identities.is_empty() => {
                refuse("is encrypted with a passphrase", "give the passphrase, without --plain and --identity")
            }
            Closed::Passphrase => passphrase(self.passphrase_file.as_deref(), false).map(Opener::Passphrase),
            Closed::Recipients if self.identities.is_empty() => {
                refuse("is encrypted for keys of age", "name the file with the identity of one: --identity PATH")
            }
            Closed::Recipients => Ok(Opener::Identities(self.identities.clone())),
        }
    }
}

/// A public key. The error does not repeat it, because it could be the private key.
fn recipient(text: &str) -> Result<Recipient, Error> {
    text.parse().map_err(|_| Error::Usage {
        what: "a recipient is not a public key of age".into(),
        hint: "give the text that `age-keygen` calls the public key: --recipient age1…".into(),
    })
}

/// From the file, else from the environment, else from the user at the terminal; a new one is asked for twice.
fn passphrase(file: Option<&Path>, new: bool) -> Result<Zeroizing<String>, Error> {
    let given = match (file, environment(VARIABLE).map(Zeroizing::new)) {
        (Some(file), _) => read_passphrase(file).map_err(Error::file("read", file))?,
        (None, Some(found)) => found,
        (None, None) => ask(new)?,
    };
    let usable = !given.is_empty() && given.len() as u64 <= LONGEST;
    usable.then_some(given).ok_or_else(|| Error::Usage {
        what: format!("the passphrase is empty, or longer than {LONGEST} bytes"),
        hint: format!("give another one: at the terminal, with --passphrase-file or in {VARIABLE}"),
    })
}

/// Without the end of its line, which editors add.
fn read_passphrase(file: &Path) -> std::io::Result<Zeroizing<String>> {
    let mut text = Zeroizing::new(String::new());
    std::fs::File::open(file)?.take(LONGEST + 3).read_to_string(&mut text)?;
    let line = text.strip_suffix('\n').unwrap_or(&text);
    Ok(Zeroizing::new(line.strip_suffix('\r').unwrap_or(line).to_owned()))
}

fn ask(new: bool) -> Result<Zeroizing<String>, Error> {
    let missing = || Error::Usage {
        what: "a passphrase is needed, and there is no terminal to ask for it".into(),
        hint: format!(
            "give it with --passphrase-file or in {VARIABLE}, or use keys of age: --recipient to export, --identity to import"
        ),
    };
    if !std::io::stdin().is_terminal() {
        return Err(missing());
    }
    let prompt = |text| match rpassword::prompt_password(text) {
        Ok(found) => Ok(Zeroizing::new(found)),
        Err(error) if error.kind() == ErrorKind::NotFound => Err(missing()),
        Err(error) => Err(Error::file("ask at", "/dev/tty")(error)),
    };
    let first = prompt("Passphrase of the snapshot: ")?;
    if new && *first != *prompt("Once more: ")? {
        return Err(Error::Usage { what: "the two passphrases differ".into(), hint: "try again".into() });
    }
    Ok(first)
}

fn human_exported(exported: &Exported) -> String {
    let Exported { snapshot, file, size, sha256, encrypted } = exported;
    let how = if *encrypted { "encrypted" } else { "NOT encrypted" };
    format!(
        "snapshot '{}' written to {file}, {how}\n  {}, {}; sha256 {sha256}",
        snapshot.name,
        indicatif::BinaryBytes(*size),
        keys(snapshot)
    )
}

fn human_imported(imported: &Imported) -> String {
    let Snapshot { name, stack, created, files, .. } = &imported.snapshot;
    format!(
        "snapshot '{name}' of stack '{stack}', taken {}, is complete\n  {files} files, {}\nnext:\n  kestack snapshot restore {name}",
        super::output::time(*created),
        keys(&imported.snapshot)
    )
}

fn keys(snapshot: &Snapshot) -> String {
    match snapshot.keys {
        Some(keys) => format!("{keys} keys inside"),
        None => format!("its keys stay in {}, and are NOT inside", snapshot.keystore),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_passphrase_is_one_line_of_a_file() {
        let file = tempfile::NamedTempFile::new().unwrap();
        for (content, wanted) in [("a b", "a b"), ("a b\n", "a b"), ("a b\r\n", "a b"), ("a\nb\n", "a\nb")] {
            std::fs::write(file.path(), content).unwrap();
            assert_eq!(*passphrase(Some(file.path()), true).unwrap(), wanted);
        }
        for content in [String::new(), "\n".into(), "x".repeat(5000)] {
            std::fs::write(file.path(), content).unwrap();
            assert_eq!(passphrase(Some(file.path()), true).unwrap_err().exit_code(), 2);
        }
    }

    #[test]
    fn a_secret_key_that_is_taken_for_a_public_one_is_not_repeated() {
        let error = recipient("AGE-SECRET-KEY-1QQQ").unwrap_err().to_string();
        assert!(!error.contains("QQQ") && error.contains("age1"), "{error}");
    }
}
