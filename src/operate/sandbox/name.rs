//! Names of sandboxes, and of what belongs to one.

use std::fmt;
use std::str::FromStr;

use crate::error::Error;
use crate::host::random;

/// What the names of bucket, key and user of a sandbox begin with. Nothing else is ever taken for a sandbox.
pub(super) const PREFIX: &str = "kestack-sandbox-";

/// Longest name: with the prefix that of a bucket, 63 characters.
const LONGEST: usize = 47;

/// Name of a sandbox.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct SandboxName(String);

impl SandboxName {
    /// A name that nobody else has.
    ///
    /// # Errors
    /// [`Error::Environment`] if the system gives no random bytes.
    pub fn random() -> Result<Self, Error> {
        Ok(Self(random::hex::<6>().map_err(Error::no_random_bytes)?.to_string()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The one name of its bucket, its key and its user: so one policy does for all of them, by a variable.
    pub fn resource(&self) -> String {
        format!("{PREFIX}{}", self.0)
    }

    /// The sandbox that a bucket or key of this name belongs to, if it is one's.
    pub(crate) fn of_resource(name: &str) -> Option<Self> {
        name.strip_prefix(PREFIX)?.parse().ok()
    }
}

impl fmt::Display for SandboxName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for SandboxName {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let edges = name.starts_with('-') || name.ends_with('-');
        if name.is_empty() || name.len() > LONGEST || edges || !name.bytes().all(plain) {
            return Err(format!(
                "'{name}' is not a valid name of a sandbox: 1 to {LONGEST} lower-case letters, digits and `-`, no `-` at its ends"
            ));
        }
        Ok(Self(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::BucketName;

    #[test]
    fn every_name_makes_a_bucket_and_a_key() {
        for name in ["a", "pr-17", &"x".repeat(LONGEST), SandboxName::random().unwrap().as_str()] {
            let resource = name.parse::<SandboxName>().unwrap().resource();
            assert!(resource.parse::<BucketName>().is_ok(), "{resource}");
            assert!(resource.parse::<kes_server::auth::KeyName>().is_ok(), "{resource}");
            assert_eq!(SandboxName::of_resource(&resource).unwrap().as_str(), name);
        }
        for name in ["", "-a", "a-", "A", "a_b", "a.b", "ä", &"x".repeat(LONGEST + 1)] {
            assert!(name.parse::<SandboxName>().is_err(), "{name}");
        }
        for foreign in ["encrypted", "kestack-sandbox-", "my-kestack-sandbox-a", "kestack-sandbox-A"] {
            assert_eq!(SandboxName::of_resource(foreign), None);
        }
    }
}
