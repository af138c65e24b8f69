//! Files of strangers, read within bounds: only regular files, and no more than a configuration has.

use std::io::Read as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use serde_json::Value;
use zeroize::Zeroizing;

use super::{refused, yaml};
use crate::error::Error;

/// Longest file that is read.
const MAX_FILE: u64 = 1 << 20;

/// The text of a file.
///
/// # Errors
/// [`Error::File`] if it cannot be read; [`Error::Usage`] if it is not a regular file, not text, or too long.
pub(super) fn text_of(path: &Path) -> Result<Zeroizing<String>, Error> {
    // a FIFO without a writer would be waited for
    let flags = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let file = std::fs::OpenOptions::new().read(true).custom_flags(flags).open(path);
    let (file, meta) = match file.and_then(|file| file.metadata().map(|meta| (file, meta))) {
        Ok(opened) => opened,
        Err(error) => return Err(Error::file("read", path)(error)),
    };
    let unfit = |why: &str| refused(format!("'{}' {why}", path.display()), "name a file with the text itself");
    if !meta.is_file() {
        return Err(unfit("is not a regular file"));
    }
    let mut bytes = Zeroizing::new(Vec::new());
    file.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(Error::file("read", path))?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length > MAX_FILE) {
        return Err(unfit("is longer than 1 MiB, which no configuration is"));
    }
    let text = std::str::from_utf8(&bytes).map_err(|_| unfit("is not text in UTF-8"))?;
    // editors of Windows begin a text with this mark
    Ok(Zeroizing::new(text.strip_prefix('\u{feff}').unwrap_or(text).to_owned()))
}

/// The YAML documents of a file.
pub(super) fn documents(path: &Path) -> Result<Vec<Value>, Error> {
    let text = text_of(path)?;
    yaml::documents(&text).map_err(|why| super::unknown(path, &why))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_regular_files_of_a_bounded_length_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        std::fs::write(path("text"), "\u{feff}a: 1").unwrap();
        assert_eq!(text_of(&path("text")).unwrap().as_str(), "a: 1");
        std::fs::write(path("long"), "#".repeat(2 << 20)).unwrap();
        std::fs::write(path("bytes"), [0xff, 0xfe]).unwrap();
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        rustix::fs::mknodat(rustix::fs::CWD, path("fifo"), rustix::fs::FileType::Fifo, mode, 0).unwrap();
        for (file, why) in [
            (path("long"), "longer than 1 MiB"),
            (path("bytes"), "not text"),
            (path("fifo"), "not a regular file"),
            (folder.path().to_owned(), "not a regular file"),
            ("/dev/zero".into(), "not a regular file"),
            (path("absent"), "cannot read"),
        ] {
            let error = text_of(&file).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
    }
}
