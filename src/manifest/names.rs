//! Names with rules.

use std::fmt;
use std::str::FromStr;

/// Name of a stack: it becomes the name of a pod, a folder and a part of variables' names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct StackName(String);

/// Name of a bucket, by the rules of S3.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct BucketName(String);

impl StackName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for StackName {
    fn default() -> Self {
        Self("minio-kes".into())
    }
}

impl Default for BucketName {
    fn default() -> Self {
        Self("encrypted".into())
    }
}

impl fmt::Display for StackName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for BucketName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for StackName {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'_';
        let edges = name.starts_with(['-', '_']) || name.ends_with(['-', '_']);
        if name.is_empty() || name.len() > 48 || edges || !name.bytes().all(plain) {
            return Err(format!(
                "'{name}' is no name of a stack: 1 to 48 lower-case letters, digits, `-` and `_`, no `-` or `_` at its ends"
            ));
        }
        Ok(Self(name.to_owned()))
    }
}

impl FromStr for BucketName {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'.';
        let edges = name.starts_with(['-', '.']) || name.ends_with(['-', '.']) || name.contains("..");
        let address = name.parse::<std::net::Ipv4Addr>().is_ok();
        if !(3..=63).contains(&name.len()) || edges || address || !name.bytes().all(plain) {
            return Err(format!(
                "'{name}' is no name of a bucket: 3 to 63 lower-case letters, digits, `-` and `.`, a letter or digit at \
                 its ends"
            ));
        }
        Ok(Self(name.to_owned()))
    }
}
