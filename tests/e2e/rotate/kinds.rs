//! Objects of every kind that MinIO knows get another key, and nothing else of them changes: neither for clients nor on the
//! drive.

use super::{drive, is_free, versions};
use crate::sandbox::{Sandbox, text};
use crate::signed;

/// Longest name that a key may have.
const LONGEST: usize = 80;

/// A stack with a bucket that locks its objects, and a key that kestack.yaml does not name: nothing is restarted for it.
struct Kinds {
    stack: Sandbox,
    root: (String, String),
    key: String,
}

impl Kinds {
    fn new(key: &str) -> Self {
        let stack = Sandbox::new("");
        stack.ok(&["up"]);
        stack.ok(&["key", "create", key]);
        let root = (stack.variable("AWS_ACCESS_KEY_ID"), stack.variable("AWS_SECRET_ACCESS_KEY"));
        let kinds = Self { stack, root, key: key.to_owned() };
        kinds.call("PUT", "/kinds", None, &["x-amz-bucket-object-lock-enabled: true"]);
        kinds.put("clear", b"clear", &[]);
        kinds.stack.ok(&["bucket", "encrypt", "kinds", "--key", key]);
        kinds
    }

    fn call(&self, method: &str, path: &str, body: Option<&[u8]>, headers: &[&str]) -> String {
        let (status, answer) = self.stack.s3_as(&self.root, method, path, body, headers);
        assert!(matches!(status, 200 | 204), "{method} {path}: {}", text(&answer));
        text(&answer)
    }

    fn put(&self, name: &str, body: &[u8], headers: &[&str]) {
        self.call("PUT", &format!("/kinds/{name}"), Some(body), headers);
    }

    /// Stores an object in two parts.
    fn upload(&self, name: &str, parts: [&[u8]; 2], headers: &[&str]) {
        let begun = self.call("POST", &format!("/kinds/{name}?uploads="), None, headers);
        self.complete(name, &begun, parts);
    }

    /// Stores the parts of an upload that has begun.
    fn complete(&self, name: &str, begun: &str, parts: [&[u8]; 2]) {
        let path = format!("/kinds/{name}");
        let id = &all(begun, "UploadId")[0];
        for (number, part) in parts.iter().enumerate() {
            self.call("PUT", &format!("{path}?partNumber={}&uploadId={id}", number + 1), Some(part), &[]);
        }
        let stored = self.call("GET", &format!("{path}?uploadId={id}"), None, &[]);
        let part = |(tag, number): (&String, u32)| format!("<Part><PartNumber>{number}</PartNumber>{tag}</Part>");
        let tags: Vec<_> = all(&stored, "ETag").iter().map(|tag| format!("<ETag>{tag}</ETag>")).collect();
        let parts: String = tags.iter().zip(1..).map(part).collect();
        let body = format!("<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>");
        self.call("POST", &format!("{path}?uploadId={id}"), Some(body.as_bytes()), &[]);
    }

    fn fill(&self) {
        for content in ["first", "second", "third"] {
            self.put("versions", content.as_bytes(), &[]);
        }
        self.put("deleted", b"deleted", &[]);
        self.call("DELETE", "/kinds/deleted", None, &[]);
        self.put("deep/we%3Ci%3E%26rd%20%C3%BC", b"odd", &["x-amz-meta-color: blue", "content-type: text/x-odd"]);
        self.put("folder/", b"", &[]);
        // listings hide them
        self.put("versions/below", b"below another object", &[]);
        self.put("big/far/below", b"far below another object", &[]);
        self.put("big", &vec![7; 300_000], &[]);
        self.put("tagged", b"tagged", &["x-amz-tagging: k=v&l=w"]);
        let mode = "x-amz-object-lock-mode: GOVERNANCE";
        self.put("retained", b"kept", &[mode, "x-amz-object-lock-retain-until-date: 2099-01-01T00:00:00Z"]);
        self.put("held", b"held", &["x-amz-object-lock-legal-hold: ON"]);
        let replica = ["x-amz-replication-status: REPLICA", "x-minio-source-replication-request: true"];
        self.put("replica", b"replica", &replica);
        self.upload("parts", [&vec![1; 5 << 20], b"rest"], &["x-amz-meta-color: red"]);
        // a client's own pairs, to which the data key is bound too
        let with_context =
            |method: &str, path: &str, body: &[u8]| signed::with_context(&self.stack, method, path, body, &self.key);
        with_context("PUT", "/kinds/context", b"bound");
        let begun = with_context("POST", "/kinds/context-parts?uploads=", b"");
        self.complete("context-parts", &text(&begun), [&vec![2; 5 << 20], b"bound"]);
        // under another key
        self.put("default", b"s3", &["x-amz-server-side-encryption: AES256"]);
    }

    /// Everything that clients see.
    fn seen(&self) -> Vec<String> {
        let listed = versions(&self.stack, "kinds");
        let names = all(&listed, "Key").into_iter().zip(all(&listed, "VersionId"));
        let mut seen = vec![listed.clone()];
        for (name, version) in names.filter(|(name, _)| !name.ends_with("parts")) {
            let path = format!("/kinds/{}?versionId={version}", encoded(&name));
            let (status, body) = self.stack.s3_as(&self.root, "GET", &path, None, &[]);
            // a delete marker has no content, and the answer a number of its own
            seen.push(if status == 200 { text(&body) } else { status.to_string() });
        }
        for path in ["versions/below", "big/far/below", "tagged?tagging=", "retained?retention=", "held?legal-hold="] {
            seen.push(self.call("GET", &format!("/kinds/{path}"), None, &[]));
        }
        assert!(self.stack.read("/kinds/parts") == [vec![1; 5 << 20], b"rest".to_vec()].concat());
        assert!(self.stack.read("/kinds/context-parts") == [vec![2; 5 << 20], b"bound".to_vec()].concat());
        seen
    }
}

/// What stands between each such pair of tags.
fn all(xml: &str, tag: &str) -> Vec<String> {
    let (start, end) = (format!("<{tag}>"), format!("</{tag}>"));
    xml.split(&start).skip(1).map(|rest| rest.split(&end).next().unwrap().to_owned()).collect()
}

/// A name out of XML, as a path.
fn encoded(name: &str) -> String {
    let plain = name.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&");
    let byte = |byte: u8| match byte {
        b'/' | b'-' | b'a'..=b'z' => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    };
    plain.bytes().map(byte).collect()
}

#[test]
#[ignore = "needs an engine"]
fn objects_of_every_kind_get_keys_with_names_of_any_length_and_nothing_else() {
    let kinds = Kinds::new("k");
    kinds.fill();
    let (stack, drive) = (&kinds.stack, kinds.stack.root().join("minio"));
    let (seen, first) = (kinds.seen(), drive::read(&drive));
    for (part, least) in [
        ("x-amz-object-lock-retain-until-date", 1),
        ("x-amz-object-lock-legal-hold", 1),
        ("X-Amz-Tagging", 1),
        ("replica-status", 1),
        ("/DelObj", 1),
        ("X-Minio-Internal-Server-Side-Encryption-Context", 2),
    ] {
        assert!(drive::names(&first, part) >= least, "{part} is not on the drive");
    }
    let (mut old, mut before) = ("k".to_owned(), first);
    for new in ["x".repeat(LONGEST), "a-key-of-usual-length".into(), "y".into(), "z".into()] {
        let done = stack.json(&["key", "rotate", &old, &new, "--no-snapshot", "--delete-old"]);
        assert_eq!((&done["left"], &done["deleted"]), (&serde_json::json!([]), &true.into()), "{done}");
        let after = drive::read(&drive);
        let replaced = drive::replaced(&before, &after, &old, &new);
        assert_eq!((replaced, &done["versions"]), (16, &16.into()), "{done}");
        assert!(is_free(stack, &old), "{old}");
        assert!(kinds.seen() == seen, "{old} -> {new}");
        (old, before) = (new, after);
    }
    stack.ok(&["down"]);
    stack.ok(&["up"]);
    assert!(kinds.seen() == seen);
}
