//! Names of keys and policies, and the patterns that listings take (docs/kes-protocol.md §1.6).

use std::fmt;
use std::str::FromStr;

/// Longest name or pattern in bytes.
const MAX_LEN: usize = 80;

/// True for 1 to 80 characters of `0-9 A-Z a-z - _`, without `-` at either end, and not just `_`.
pub fn is_valid_name(name: &str) -> bool {
    let bytes = name.as_bytes();
    (1..=MAX_LEN).contains(&bytes.len())
        && name != "_"
        && bytes.first() != Some(&b'-')
        && bytes.last() != Some(&b'-')
        && bytes.iter().all(|byte| is_name_byte(*byte))
}

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_'
}

/// A text that is not a valid name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is empty, too long or contains invalid characters")]
pub struct NameError(pub String);

/// The name of a key, valid by construction.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyName(String);

impl KeyName {
    /// The key that MinIO's documents call the backend's: what a stack has if it names none.
    pub fn minio_backend() -> Self {
        Self("minio-backend-key".to_owned())
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for KeyName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for KeyName {
    type Err = NameError;

    fn from_str(name: &str) -> Result<Self, NameError> {
        if is_valid_name(name) { Ok(Self(name.to_owned())) } else { Err(NameError(name.to_owned())) }
    }
}

/// The pattern of a listing: every name that starts with a prefix. One trailing `*` means the same without it
/// (docs/kes-protocol.md §11, Q2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListPattern(String);

impl ListPattern {
    /// The prefix of matching names.
    pub fn prefix(&self) -> &str {
        &self.0
    }

    /// True if the listing includes this name.
    pub fn matches(&self, name: &str) -> bool {
        name.starts_with(&self.0)
    }
}

impl FromStr for ListPattern {
    type Err = NameError;

    fn from_str(pattern: &str) -> Result<Self, NameError> {
        let bytes = pattern.as_bytes();
        let (last, rest) = bytes.split_last().unwrap_or((&b'*', &[]));
        let valid = pattern.is_empty()
            || (bytes.len() <= MAX_LEN
                && pattern != "_"
                && bytes.first() != Some(&b'-')
                && *last != b'-'
                && rest.iter().all(|byte| is_name_byte(*byte))
                && (is_name_byte(*last) || *last == b'*'));
        if !valid && pattern != "*" {
            return Err(NameError(pattern.to_owned()));
        }
        Ok(Self(pattern.strip_suffix('*').unwrap_or(pattern).to_owned()))
    }
}

#[cfg(test)]
mod tests {

    use super::*;

    #[test]
    fn names_and_patterns_are_what_was_written() {
        let name: KeyName = "my-key".parse().unwrap();
        assert_eq!((name.as_str(), name.as_ref(), name.to_string().as_str()), ("my-key", "my-key", "my-key"));
        for pattern in ["my", "my*"] {
            let pattern: ListPattern = pattern.parse().unwrap();
            assert_eq!(pattern.prefix(), "my");
            assert!(pattern.matches("my-key") && !pattern.matches("key-my"));
        }
    }
}
