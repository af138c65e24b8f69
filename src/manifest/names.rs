//! Names with rules.

use std::fmt;
use std::net::IpAddr;
use std::path::Path;
use std::str::FromStr;

/// Name of a stack: it becomes the name of a pod, a folder and a part of variables' names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct StackName(String);

/// The path of MinIO's own pages and calls: it refuses everything below it as S3.
const RESERVED: &str = "minio";

/// Name of a bucket, by the rules of S3.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct BucketName(String);

/// Name or address of a machine, as certificates carry it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct HostName(String);

/// Longest name of a stack.
const LONGEST: usize = 48;

/// True if the name of a stack may hold that byte.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'_'
}

impl HostName {
    /// The address, if it is one.
    pub fn address(&self) -> Option<IpAddr> {
        self.0.parse().ok()
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for HostName {
    type Err = String;

    /// An IP address, or a DNS name (RFC 1123, section 2.1).
    fn from_str(name: &str) -> Result<Self, String> {
        if let Ok(address) = name.parse::<IpAddr>() {
            return Ok(Self(address.to_string()));
        }
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let label = |label: &str| {
            let edges = label.starts_with('-') || label.ends_with('-');
            (1..=63).contains(&label.len()) && !edges && label.bytes().all(plain)
        };
        let numeric = |label: &str| label.bytes().all(|byte| byte.is_ascii_digit());
        if name.len() > 253 || !name.split('.').all(label) || name.rsplit('.').next().is_some_and(numeric) {
            return Err(format!("'{name}' is neither an IP address nor a DNS name in lower case"));
        }
        Ok(Self(name.to_owned()))
    }
}

impl StackName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl StackName {
    /// The name of a stack whose manifest is in that folder and does not name it: the folder's, as far as a stack may
    /// be called so. The default name if nothing of it is left.
    pub fn of_folder(folder: &Path) -> Self {
        let name = folder.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
        let plain = name.chars().filter(|sign| u8::try_from(*sign).is_ok_and(is_plain));
        let mut name: String = plain.skip_while(|sign| ['-', '_'].contains(sign)).collect();
        name.truncate(LONGEST);
        name.truncate(name.trim_end_matches(['-', '_']).len());
        if name.is_empty() { Self::default() } else { Self(name) }
    }
}

impl BucketName {
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
        let edges = name.starts_with(['-', '_']) || name.ends_with(['-', '_']);
        if name.is_empty() || name.len() > LONGEST || edges || !name.bytes().all(is_plain) {
            return Err(format!(
                "'{name}' is not a valid name of a stack: 1 to 48 lower-case letters, digits, `-` and `_`, no `-` or `_` at its ends"
            ));
        }
        Ok(Self(name.to_owned()))
    }
}

impl FromStr for BucketName {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'.';
        let edges = name.split('.').any(|part| part.is_empty() || part.starts_with('-') || part.ends_with('-'));
        // MinIO takes any four numbers for an address
        let address = name.split('.').count() == 4 && name.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        if !(3..=63).contains(&name.len()) || edges || address || !name.bytes().all(plain) {
            return Err(format!(
                "'{name}' is not a valid name of a bucket: 3 to 63 lower-case letters, digits, `-` and `.`, a letter or digit at \
                 its ends and around each `.`"
            ));
        }
        if name == RESERVED {
            return Err(format!("'{name}' cannot be a bucket: MinIO keeps this name for itself"));
        }
        Ok(Self(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_gives_its_name_as_far_as_it_can() {
        for (folder, name) in [
            ("/src/My Project", "myproject"),
            ("/src/__a.b-", "ab"),
            ("/src/Größe_2", "gre_2"),
            ("/src/日本", "minio-kes"),
            ("/", "minio-kes"),
        ] {
            assert_eq!(StackName::of_folder(Path::new(folder)).as_str(), name, "{folder}");
        }
        let long = StackName::of_folder(&Path::new("/").join(format!("{}-{}", "a".repeat(47), "b".repeat(9))));
        assert_eq!(long.as_str(), "a".repeat(47));
        assert!(long.as_str().parse::<StackName>().is_ok());
    }

    #[test]
    fn a_bucket_has_a_name_that_minio_takes() {
        for good in ["abc", "a.b.c", "1.2.3", "1.2.3.a", "a--b", "minio2", "xn--ab"] {
            assert!(good.parse::<BucketName>().is_ok(), "{good}");
        }
        for bad in
            ["", "ab", "A-b", "-ab", "ab-", ".ab", "a..b", "a.-b", "a-.b", "192.0.2.1", "1.2.3.400", "a_b", "minio"]
        {
            assert!(bad.parse::<BucketName>().is_err(), "{bad}");
        }
        assert!("minio".parse::<BucketName>().unwrap_err().contains("MinIO keeps this name"));
    }

    #[test]
    fn a_host_is_an_address_or_a_name() {
        for good in ["kes", "kes-1.example.org", "192.0.2.7", "2001:db8::1"] {
            assert_eq!(good.parse::<HostName>().map(|host| host.to_string()), Ok(good.to_owned()));
        }
        for bad in ["", "a b", "-a", "a-", "a..b", "A", "192.0.2.256", "https://kes", "kes:7373", "*.example.org"] {
            assert!(bad.parse::<HostName>().is_err(), "{bad}");
        }
    }
}
