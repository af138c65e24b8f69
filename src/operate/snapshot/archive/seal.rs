//! What age does for an exported snapshot: who can open it.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};

use age::secrecy::SecretString;
use age::stream::StreamWriter;
use age::{DecryptError, Decryptor, Encryptor, Identity, IdentityFile, scrypt, x25519};
use zeroize::Zeroizing;

use crate::error::Error;

/// How every file of age begins.
const AGE: &[u8] = b"age-encryption.org/";

/// Work that a passphrase is stretched with, as a power of two: about a second and 256 MiB, as `age` itself does.
const WORK: u8 = 18;

/// Most work that is done to open a file. One that asks for more was made to stall us.
const MOST_WORK: u8 = 20;

/// The recipients of a file that is being written.
pub enum Seal {
    /// Whoever knows the passphrase.
    Passphrase(Zeroizing<String>),
    /// The owners of these keys of age.
    Recipients(Vec<x25519::Recipient>),
    /// Everybody: keys and credentials are in clear.
    Plain,
}

/// The protection of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closed {
    /// A passphrase.
    Passphrase,
    /// Keys of age.
    Recipients,
    /// Nothing.
    Plain,
}

/// The means to open a file.
pub enum Opener {
    /// A passphrase.
    Passphrase(Zeroizing<String>),
    /// Files with identities of age.
    Identities(Vec<PathBuf>),
    /// Nothing, because it is in clear.
    Plain,
}

/// The way into a file: through age or not.
pub(super) enum Sealed<W: Write> {
    Plain(W),
    Age(Box<StreamWriter<W>>),
}

impl Seal {
    /// Begins the file.
    pub(super) fn begin<W: Write>(self, file: &Path, output: W) -> Result<Sealed<W>, Error> {
        let encryptor = match self {
            Self::Plain => return Ok(Sealed::Plain(output)),
            Self::Passphrase(passphrase) => {
                let mut recipient = scrypt::Recipient::new(SecretString::from(passphrase.as_str()));
                recipient.set_work_factor(WORK);
                Encryptor::with_recipients(std::iter::once(&recipient as &dyn age::Recipient))
            }
            Self::Recipients(recipients) => {
                Encryptor::with_recipients(recipients.iter().map(|recipient| recipient as &dyn age::Recipient))
            }
        };
        let encryptor = encryptor.map_err(|error| Error::Usage {
            what: format!("these recipients cannot be used: {error}"),
            hint: "name one or more public keys of age, `age1…`".into(),
        })?;
        encryptor.wrap_output(output).map(|writer| Sealed::Age(Box::new(writer))).map_err(Error::file("write", file))
    }

    /// True if not everybody can open it.
    pub(super) fn encrypts(&self) -> bool {
        !matches!(self, Self::Plain)
    }
}

impl<W: Write> Sealed<W> {
    /// Ends the file; without it, it cannot be opened.
    pub(super) fn finish(self) -> io::Result<W> {
        match self {
            Self::Plain(output) => Ok(output),
            Self::Age(writer) => writer.finish(),
        }
    }
}

impl<W: Write> Write for Sealed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(output) => output.write(bytes),
            Self::Age(writer) => writer.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(output) => output.flush(),
            Self::Age(writer) => writer.flush(),
        }
    }
}

impl Closed {
    /// Looks at the beginning of a file.
    ///
    /// # Errors
    /// If it cannot be read, or is of age and damaged.
    pub fn of(file: &Path) -> Result<Self, Error> {
        let mut input = begin(file)?;
        if !is_age(file, &mut input)? {
            return Ok(Self::Plain);
        }
        let decryptor = Decryptor::new_buffered(input).map_err(|error| refused(file, &error))?;
        Ok(if decryptor.is_scrypt() { Self::Passphrase } else { Self::Recipients })
    }
}

impl Opener {
    /// What is inside a file. Whether all of it is there and unchanged shows at its end.
    pub(super) fn open(self, file: &Path) -> Result<Box<dyn Read>, Error> {
        let mut input = begin(file)?;
        let identities: Vec<Box<dyn Identity + Send + Sync>> = match self {
            Self::Plain if is_age(file, &mut input)? => {
                return Err(Error::Usage {
                    what: format!("'{}' is encrypted", file.display()),
                    hint: "leave out --plain".into(),
                });
            }
            Self::Plain => return Ok(Box::new(input)),
            Self::Passphrase(passphrase) => {
                let mut identity = scrypt::Identity::new(SecretString::from(passphrase.as_str()));
                identity.set_max_work_factor(MOST_WORK);
                vec![Box::new(identity)]
            }
            Self::Identities(paths) => paths
                .iter()
                .map(|path| identities(path))
                .collect::<Result<Vec<_>, _>>()?
                .into_iter()
                .flatten()
                .collect(),
        };
        let identities = identities.iter().map(|identity| identity.as_ref() as &dyn Identity);
        let decryptor = Decryptor::new_buffered(input).map_err(|error| refused(file, &error))?;
        let reader = decryptor.decrypt(identities).map_err(|error| refused(file, &error))?;
        Ok(Box::new(reader))
    }
}

fn begin(file: &Path) -> Result<BufReader<File>, Error> {
    File::open(file).map(|open| BufReader::with_capacity(1 << 16, open)).map_err(Error::file("read", file))
}

fn is_age(file: &Path, input: &mut BufReader<File>) -> Result<bool, Error> {
    Ok(input.fill_buf().map_err(Error::file("read", file))?.starts_with(AGE))
}

fn identities(path: &Path) -> Result<Vec<Box<dyn Identity + Send + Sync>>, Error> {
    let unusable = |why: String| Error::Usage {
        what: format!("'{}' does not hold identities of age: {why}", path.display()),
        hint: "name a file that `age-keygen` wrote, with lines AGE-SECRET-KEY-1…".into(),
    };
    let open = File::open(path).map_err(Error::file("read", path))?;
    let found = IdentityFile::from_buffer(BufReader::new(open)).map_err(|error| unusable(error.to_string()))?;
    let found = found.into_identities().map_err(|error| unusable(error.to_string()))?;
    if found.is_empty() { Err(unusable("it is empty".into())) } else { Ok(found) }
}

/// Why age does not let us in, and whose mistake that is.
fn refused(file: &Path, error: &DecryptError) -> Error {
    let what = |why: &str| format!("'{}' {why}", file.display());
    let (what, hint) = match error {
        DecryptError::KeyDecryptionFailed | DecryptError::DecryptionFailed => (
            what("does not open with this passphrase"),
            "check it, and compare the file's SHA-256 with the one that `export` printed",
        ),
        DecryptError::NoMatchingKeys => {
            (what("was not encrypted for this identity"), "name the identity of one of its recipients with --identity")
        }
        error => return super::unpack::damaged(file, &format!("cannot be opened: {error}")),
    };
    Error::Usage { what, hint: format!("{hint}; nothing was changed") }
}

impl std::fmt::Debug for Seal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Seal(..)")
    }
}

impl std::fmt::Debug for Opener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Opener(..)")
    }
}
