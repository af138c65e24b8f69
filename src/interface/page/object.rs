//! An object from both sides: what a client reads, and what is on the drive.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use axum::extract::State;
use serde::{Deserialize, Serialize};

use super::frame::Shown;
use super::recorder::LastUse;
use super::upload::check;
use crate::interface::Interface;
use crate::interface::given::{Asked, Named};
use crate::manifest::BucketName;
use crate::operate::content::{self, Seen};

/// How much of an object is shown.
const SHOWN: u64 = 4096;
/// Bytes of a line.
const LINE: usize = 8;

/// Which object.
#[derive(Deserialize)]
pub(super) struct Which {
    name: String,
}

#[derive(Serialize)]
struct View {
    bucket: String,
    name: String,
    sealing: Sealing,
    facts: Vec<(&'static str, String)>,
    own: Vec<(String, String)>,
    last_use: Option<LastUse>,
    client: Side,
    drive: Side,
    file: Option<String>,
    offset: u64,
}

/// How the object is encrypted.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Sealing {
    tone: &'static str,
    scheme: &'static str,
    key: Option<String>,
    words: String,
}

/// Bytes of one side, in columns.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
struct Side {
    places: String,
    hex: String,
    text: String,
    bytes: usize,
    /// Why there are none.
    problem: Option<String>,
}

pub(super) async fn show(
    State(interface): State<Interface>,
    Named(bucket): Named<BucketName>,
    Asked(Which { name }): Asked<Which>,
) -> Shown {
    check(&name)?;
    let reach = interface.0.known.running().await?;
    let seen = content::look(reach.stack(), reach.context(), &bucket, &name, SHOWN).await?;
    let sealing = Sealing::of(&seen);
    let last_use = sealing.key.as_deref().and_then(|key| interface.0.page.recorder.last_use(key));
    let properties = seen.properties.as_ref().ok();
    let stored = seen.stored.as_ref().ok().and_then(Option::as_ref);
    let view = View {
        facts: properties.map(facts).unwrap_or_default(),
        own: properties.map(own).unwrap_or_default(),
        file: stored.map(|stored| stored.file.display().to_string()),
        offset: stored.map(|stored| stored.offset).unwrap_or_default(),
        client: Side::of_client(&seen),
        drive: Side::of_drive(&seen),
        bucket: bucket.to_string(),
        name,
        sealing,
        last_use,
    };
    interface.show("object.html", ("Object", "buckets"), &view).await
}

impl Sealing {
    fn of(seen: &Seen) -> Self {
        let Ok(properties) = &seen.properties else {
            let words = "MinIO does not describe the object at the moment.".into();
            return Self { tone: "warn", scheme: "unknown", key: None, words };
        };
        let header = |name: &str| properties.get(name).map(String::as_str);
        let key = header("x-amz-server-side-encryption-aws-kms-key-id");
        let key = key.map(|key| key.trim_start_matches("arn:aws:kms:").to_owned());
        match header("x-amz-server-side-encryption") {
            Some("aws:kms") => {
                let words =
                    "A data key of its own encrypts this object. KES sealed that data key with the key named here.";
                Self { tone: "good", scheme: "SSE-KMS", key, words: words.into() }
            }
            Some(_) => {
                // only the drive names it: the default key may have changed since
                let key = seen.stored.as_ref().ok().and_then(Option::as_ref).and_then(|stored| stored.key.clone());
                let words = "A data key of its own encrypts this object. KES sealed that data key with the default key of that time.";
                Self { tone: "good", scheme: "SSE-S3", key, words: words.into() }
            }
            None if header("x-amz-server-side-encryption-customer-algorithm").is_some() => {
                let words = "Only the client has the key of this object.";
                Self { tone: "good", scheme: "SSE-C", key: None, words: words.into() }
            }
            None => {
                let words = "Whoever has the drive can read this object: compare both sides below.";
                Self { tone: "bad", scheme: "not encrypted", key: None, words: words.into() }
            }
        }
    }
}

fn facts(properties: &BTreeMap<String, String>) -> Vec<(&'static str, String)> {
    let names = [
        ("Size in bytes", "content-length"),
        ("Type", "content-type"),
        ("Written", "last-modified"),
        ("ETag", "etag"),
        ("Version", "x-amz-version-id"),
        ("x-amz-server-side-encryption", "x-amz-server-side-encryption"),
        ("…-aws-kms-key-id", "x-amz-server-side-encryption-aws-kms-key-id"),
    ];
    names.into_iter().filter_map(|(shown, name)| Some((shown, properties.get(name)?.clone()))).collect()
}

/// Metadata that a client gave to the object.
fn own(properties: &BTreeMap<String, String>) -> Vec<(String, String)> {
    let own = properties.iter().filter(|(name, _)| name.starts_with("x-amz-meta-"));
    own.map(|(name, value)| (name.clone(), value.clone())).collect()
}

impl Side {
    fn of_client(seen: &Seen) -> Self {
        match &seen.read {
            Ok(bytes) => Self::of(bytes),
            Err(error) => Self::without(error.to_string()),
        }
    }

    fn of_drive(seen: &Seen) -> Self {
        match &seen.stored {
            Ok(Some(stored)) => Self::of(&stored.bytes),
            Ok(None) => Self::without("kestack does not find these bytes on the drive".into()),
            Err(error) => Self::without(error.to_string()),
        }
    }

    fn of(bytes: &[u8]) -> Self {
        let mut side = Self { bytes: bytes.len(), ..Self::default() };
        for (number, line) in bytes.chunks(LINE).enumerate() {
            let _ = writeln!(side.places, "{:04x}", number * LINE);
            let pairs: Vec<_> = line.iter().map(|byte| format!("{byte:02x}")).collect();
            let _ = writeln!(side.hex, "{}", pairs.join(" "));
            let text = line.iter().map(|byte| if (0x20..0x7f).contains(byte) { char::from(*byte) } else { '·' });
            let _ = writeln!(side.text, "{}", text.collect::<String>());
        }
        side
    }

    fn without(problem: String) -> Self {
        Self { problem: Some(problem), ..Self::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::drive::Content;

    #[test]
    fn bytes_stand_in_lines_of_eight() {
        let side = Side::of(b"Hello, \xffworld\n");
        assert_eq!(side.places, "0000\n0008\n");
        assert_eq!(side.hex, "48 65 6c 6c 6f 2c 20 ff\n77 6f 72 6c 64 0a\n");
        assert_eq!(side.text, "Hello, ·\nworld·\n");
    }

    #[test]
    fn the_scheme_comes_from_the_headers() {
        let seen = |headers: &[(&str, &str)]| Seen {
            properties: Ok(headers.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()),
            read: Ok(vec![]),
            stored: Ok(Some(Content { file: "f".into(), offset: 0, bytes: vec![], key: Some("of-then".into()) })),
        };
        let of = |headers: &[(&str, &str)]| {
            let sealing = Sealing::of(&seen(headers));
            (sealing.scheme, sealing.key.unwrap_or_default(), sealing.tone)
        };
        let (scheme, key) = ("x-amz-server-side-encryption", "x-amz-server-side-encryption-aws-kms-key-id");
        assert_eq!(of(&[(scheme, "aws:kms"), (key, "arn:aws:kms:one")]), ("SSE-KMS", "one".into(), "good"));
        assert_eq!(of(&[(scheme, "AES256")]), ("SSE-S3", "of-then".into(), "good"));
        let hidden = Seen { stored: Ok(None), ..seen(&[(scheme, "AES256")]) };
        assert_eq!(Sealing::of(&hidden).key, None, "never a guess");
        assert_eq!(of(&[]), ("not encrypted", String::new(), "bad"));
    }
}
