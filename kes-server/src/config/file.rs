//! The text of a configuration file.

use std::{fs, path::Path};

use zeroize::Zeroizing;

use super::ConfigError;

/// Reads the text of a configuration file: UTF-8, or UTF-16 with a byte order mark, as some editors write it.
///
/// # Errors
/// If the file cannot be read, or its bytes are not a text.
pub fn read(path: &Path) -> Result<Zeroizing<String>, ConfigError> {
    let bytes = fs::read(path).map(Zeroizing::new);
    let bytes = bytes.map_err(|source| ConfigError::Open { path: path.to_owned(), source })?;
    match bytes.as_slice() {
        [0xff, 0xfe, text @ ..] => utf16(text, u16::from_le_bytes),
        [0xfe, 0xff, text @ ..] => utf16(text, u16::from_be_bytes),
        text => utf8(text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text)),
    }
}

fn utf8(bytes: &[u8]) -> Result<Zeroizing<String>, ConfigError> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let line = bytes.iter().take(error.valid_up_to()).filter(|byte| **byte == b'\n').count() + 1;
        ConfigError::Yaml(format!("line {line}: invalid UTF-8"))
    })?;
    Ok(Zeroizing::new(text.to_owned()))
}

fn utf16(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> Result<Zeroizing<String>, ConfigError> {
    let (units, rest) = bytes.as_chunks();
    let text: Result<String, _> = char::decode_utf16(units.iter().map(|bytes| unit(*bytes))).collect();
    match text {
        Ok(text) if rest.is_empty() => Ok(Zeroizing::new(text)),
        _ => Err(ConfigError::Yaml("invalid UTF-16".into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_encoding_of_yaml_is_read() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let read_bytes = |bytes: &[u8]| {
            fs::write(file.path(), bytes).unwrap();
            read(file.path()).map(|text| text.to_string()).map_err(|error| error.to_string())
        };
        let units = |unit: fn(u16) -> [u8; 2]| -> Vec<u8> { "\u{feff}a: é\n".encode_utf16().flat_map(unit).collect() };
        for bytes in
            [units(u16::to_le_bytes), units(u16::to_be_bytes), "a: é\n".into(), "\u{feff}a: é\n".as_bytes().to_vec()]
        {
            assert_eq!(read_bytes(&bytes).as_deref(), Ok("a: é\n"), "{bytes:?}");
        }
        assert_eq!(read_bytes(b"a: b\nc: \xff"), Err("yaml: line 2: invalid UTF-8".into()));
        assert_eq!(read_bytes(b"\xff\xfea"), Err("yaml: invalid UTF-16".into()));
        assert_eq!(read_bytes(b"\xff\xfe\x00\xd8"), Err("yaml: invalid UTF-16".into()));
    }
}
