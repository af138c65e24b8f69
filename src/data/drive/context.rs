//! The context that MinIO has KES bind a data key to, as it writes it (docs/minio-kms-client.md §2.5).

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// End of the name of a folder that stands for an object whose name ends with `/`.
const FOLDER: &str = "__XLDIR__";

/// The name by which a client knows the object in a folder of the drive, with its bucket: `<bucket>/<object>`.
pub(super) fn name(path: &str) -> &str {
    path.strip_suffix(FOLDER).unwrap_or(path)
}

/// The folder, within its bucket, of the object that clients know by that name.
pub(super) fn folder(object: &str) -> String {
    object.strip_suffix('/').map_or_else(|| object.to_owned(), |name| format!("{name}{FOLDER}"))
}

/// The name, within its bucket, of the object whose metadata that is; `None` if it is not UTF-8.
pub(super) fn object(meta: &Path, bucket: &Path) -> Option<String> {
    let folder = meta.parent()?.strip_prefix(bucket).ok()?.to_str()?;
    Some(folder.strip_suffix(FOLDER).map_or_else(|| folder.to_owned(), |object| format!("{object}/")))
}

/// The context of the object in a folder of the drive; `None` for a folder that cannot be an object's.
pub(super) fn of_object(path: &str) -> Option<Vec<u8>> {
    with_clients(path, None)
}

/// The same with the pairs that a client gave, in the form in which MinIO keeps them: they win over the object's own.
pub(super) fn with_clients(path: &str, clients: Option<&[u8]>) -> Option<Vec<u8>> {
    let object = name(path);
    let (bucket, _) = object.split_once('/')?;
    let mut pairs = BTreeMap::from([(bucket.to_owned(), object.to_owned())]);
    if let Some(clients) = clients {
        let json = STANDARD.decode(clients).ok()?;
        pairs.extend(serde_json::from_slice::<BTreeMap<String, String>>(&json).ok()?);
    }
    Some(written(&pairs))
}

/// The context of the targets of a bucket's replication.
pub(super) fn of_targets(bucket: &str) -> Vec<u8> {
    const NAME: &str = "bucket-targets.json";
    written(&[bucket, NAME].map(|word| (word.to_owned(), word.to_owned())).into())
}

/// JSON as a program in Go writes it, without spaces, keys in the order of their bytes.
fn written(pairs: &BTreeMap<String, String>) -> Vec<u8> {
    let pairs: Vec<_> = pairs.iter().map(|(key, value)| format!("{}:{}", quoted(key), quoted(value))).collect();
    format!("{{{}}}", pairs.join(",")).into_bytes()
}

fn quoted(text: &str) -> String {
    let mut quoted = String::from('"');
    for sign in text.chars() {
        match sign {
            '"' | '\\' => quoted.extend(['\\', sign]),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '\0'..' ' | '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                let _ = write!(quoted, "\\u{:04x}", u32::from(sign));
            }
            sign => quoted.push(sign),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context(path: &str, clients: Option<&[u8]>) -> String {
        String::from_utf8(with_clients(path, clients).unwrap()).unwrap()
    }

    #[test]
    fn it_is_written_as_minio_writes_it() {
        assert_eq!(context("a/b/c.txt", None), r#"{"a":"a/b/c.txt"}"#);
        assert_eq!(context("a/dir__XLDIR__", None), r#"{"a":"a/dir"}"#);
        assert_eq!(context("a/<b>&\"c\\ü\t\u{1}", None), r#"{"a":"a/\u003cb\u003e\u0026\"c\\ü\t\u0001"}"#);
        assert_eq!(with_clients("a", None), None);
        assert_eq!(of_targets("docs"), br#"{"bucket-targets.json":"bucket-targets.json","docs":"docs"}"#);
    }

    #[test]
    fn a_clients_pairs_win() {
        let kept = |json: &str| STANDARD.encode(json).into_bytes();
        assert_eq!(context("b/o", Some(&kept(r#"{"a":"1","c":"2"}"#))), r#"{"a":"1","b":"b/o","c":"2"}"#);
        assert_eq!(context("b/o", Some(&kept(r#"{"b":"mine"}"#))), r#"{"b":"mine"}"#);
        assert_eq!(with_clients("b/o", Some(b"no base64")), None);
    }
}
