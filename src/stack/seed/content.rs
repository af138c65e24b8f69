//! The content as it is on this host: files of folders with their digests, and policies. Whatever cannot be taken is
//! refused here, before anything is touched.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use serde_json::Value;

use crate::error::Error;
use crate::host::digest;
use crate::manifest::{Seed, SeedObjects};

/// Most files of one folder: each is asked about with every `up`.
const MOST_FILES: usize = 20_000;

/// Deepest folder below a declared one.
const DEEPEST: usize = 64;

/// Most bytes of one file: what S3 takes in one piece.
const MOST_BYTES: u64 = 5 << 30;

/// Most bytes of a policy: MinIO takes no more.
const MOST_POLICY: u64 = 20 << 10;

/// What `seed:` means on this host.
#[derive(Debug, Clone, Default)]
pub struct Content {
    pub(super) folders: Vec<Folder>,
    pub(super) policies: BTreeMap<String, Value>,
    /// Digest of the program that the command names by its path.
    pub(super) program: Option<String>,
}

/// The files of one declared folder.
#[derive(Debug, Clone)]
pub(super) struct Folder {
    pub(super) declared: SeedObjects,
    pub(super) files: Vec<Entry>,
}

/// A file that becomes an object.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    /// Name of the object.
    pub(super) key: String,
    /// The file, without links.
    pub(super) path: PathBuf,
    pub(super) size: u64,
    /// SHA-256 in hex.
    pub(super) sha256: String,
}

impl Content {
    /// Reads folders, policies and the program.
    ///
    /// # Errors
    /// [`Error::Usage`] for what cannot be taken, naming it.
    pub fn load(seed: &Seed) -> Result<Self, Error> {
        let folders = seed.objects.iter().map(Folder::load).collect::<Result<Vec<_>, _>>()?;
        let mut seen = BTreeMap::new();
        for (folder, entry) in folders.iter().flat_map(|folder| folder.files.iter().map(move |entry| (folder, entry))) {
            let object = format!("{}/{}", folder.declared.bucket, entry.key);
            if let Some(other) = seen.insert(object.clone(), &entry.path) {
                let (one, other) = (entry.path.display(), other.display());
                return Err(wrong(
                    format!("'{other}' and '{one}' would both be object {object}"),
                    "give one of them another prefix",
                ));
            }
        }
        let policy = |declared: &crate::manifest::SeedPolicy| Ok((declared.name.clone(), read_policy(&declared.file)?));
        let program = seed.run.as_ref().and_then(|run| run.program.as_deref()).map(digest_of_program).transpose()?;
        Ok(Self { folders, policies: seed.policies.iter().map(policy).collect::<Result<_, Error>>()?, program })
    }
}

/// Reads all of it and keeps nothing: what cannot be taken is refused.
///
/// # Errors
/// As [`Content::load`].
pub(crate) fn check(seed: &Seed) -> Result<(), Error> {
    Content::load(seed).map(drop)
}

impl Folder {
    fn load(declared: &SeedObjects) -> Result<Self, Error> {
        let from = &declared.from;
        let named = format!("seed.objects names '{}'", from.display());
        let root =
            std::fs::canonicalize(from).map_err(|error| wrong(format!("{named}: {error}"), "make that folder"))?;
        if !root.is_dir() {
            return Err(wrong(format!("{named}, which is not a folder"), "name the folder of the file"));
        }
        let mut files = Vec::new();
        let mut open = vec![(from.clone(), 0)];
        while let Some((folder, depth)) = open.pop() {
            if depth > DEEPEST {
                return Err(wrong(
                    format!("'{}' lies too deep", folder.display()),
                    "take at most 64 levels of folders",
                ));
            }
            for found in std::fs::read_dir(&folder).map_err(Error::file("read", &folder))? {
                let path = found.map_err(Error::file("read", &folder))?.path();
                match kind(&path, &root)? {
                    Kind::Folder => open.push((path, depth + 1)),
                    Kind::File(real) => files.push(Entry::load(declared, &path, real)?),
                }
                if files.len() > MOST_FILES {
                    return Err(wrong(
                        format!("{named}, which holds more than {MOST_FILES} files"),
                        "put them into an archive, or store them with `seed.run`",
                    ));
                }
            }
        }
        files.sort_by(|one, other| one.key.cmp(&other.key));
        Ok(Self { declared: declared.clone(), files })
    }
}

enum Kind {
    Folder,
    /// The file without links.
    File(PathBuf),
}

/// What is at a path below a declared folder. Links count for files inside of it.
fn kind(path: &Path, root: &Path) -> Result<Kind, Error> {
    let failed = |error| Error::file("look at", path)(error);
    let meta = std::fs::symlink_metadata(path).map_err(failed)?;
    if meta.is_dir() {
        return Ok(Kind::Folder);
    }
    let shown = path.display();
    let real = match std::fs::canonicalize(path) {
        Err(error) if meta.is_symlink() => {
            return Err(wrong(format!("'{shown}' is a link that leads nowhere: {error}"), "remove it, or repair it"));
        }
        real => real.map_err(failed)?,
    };
    if !real.starts_with(root) {
        return Err(wrong(
            format!("'{shown}' is a link that leads out of its folder, to '{}'", real.display()),
            "put a copy there",
        ));
    }
    let is_file = std::fs::metadata(&real).map_err(failed)?.is_file();
    match (is_file, meta.is_symlink()) {
        (true, _) => Ok(Kind::File(real)),
        (false, true) => {
            Err(wrong(format!("'{shown}' is a link to something that is not a file"), "put the files there themselves"))
        }
        (false, false) => {
            Err(wrong(format!("'{shown}' is neither a file nor a folder"), "remove it: only files become objects"))
        }
    }
}

impl Entry {
    fn load(declared: &SeedObjects, path: &Path, real: PathBuf) -> Result<Self, Error> {
        let below = path.strip_prefix(&declared.from).unwrap_or(path);
        let shown = path.to_string_lossy().escape_debug().to_string();
        let name = below.to_str().filter(|name| !name.contains(|sign: char| sign.is_control() || sign == '\\'));
        let Some(name) = name else {
            return Err(wrong(
                format!(
                    "'{shown}' cannot be the name of an object: it is not UTF-8, or holds `\\` or a control character"
                ),
                "rename that file",
            ));
        };
        let key = format!("{}{name}", declared.prefix);
        if key.len() > 1024 {
            return Err(wrong(
                format!("'{shown}' would be an object with a name of more than 1,024 bytes"),
                "shorten it",
            ));
        }
        let file = open(&real).map_err(Error::file("read", &real))?;
        let (size, sha256) = digest::copy(file, &mut io::sink()).map_err(Error::file("read", &real))?;
        if size > MOST_BYTES {
            return Err(wrong(format!("'{shown}' has more than 5 GiB"), "store it with `seed.run`"));
        }
        Ok(Self { key, path: real, size, sha256 })
    }
}

/// Opens a file, and nothing that has taken its place since it was looked at: no link, no pipe.
pub(super) fn open(path: &Path) -> io::Result<File> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let flags = i32::try_from(flags.bits()).map_err(io::Error::other)?;
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::other("it is not a file any more")) }
}

fn digest_of_program(path: &Path) -> Result<String, Error> {
    let named = |error: io::Error| {
        wrong(
            format!("seed.run names '{}': {error}", path.display()),
            "name a program that is there, or one in PATH without `/`",
        )
    };
    let real = std::fs::canonicalize(path).map_err(named)?;
    let file = open(&real).map_err(named)?;
    Ok(digest::copy(file, &mut io::sink()).map_err(named)?.1)
}

fn read_policy(path: &Path) -> Result<Value, Error> {
    let named = |what: String| {
        wrong(format!("the policy in '{}' {what}", path.display()), "see MinIO's documentation of policies")
    };
    let meta = std::fs::metadata(path).map_err(|error| named(format!("cannot be read: {error}")))?;
    if !meta.is_file() || meta.len() > MOST_POLICY {
        return Err(named("is not a file of at most 20 KiB".into()));
    }
    let text = std::fs::read(path).map_err(Error::file("read", path))?;
    let policy: Value = serde_json::from_slice(&text).map_err(|error| named(format!("is not valid JSON: {error}")))?;
    match mistake(&policy) {
        Some(mistake) => Err(named(mistake)),
        None => Ok(policy),
    }
}

/// What is wrong with a policy. MinIO takes some of these without a word, and then they allow nothing.
fn mistake(policy: &Value) -> Option<String> {
    let Some(statements) = policy.get("Statement").and_then(Value::as_array).filter(|all| !all.is_empty()) else {
        return Some("has no list of statements".into());
    };
    if policy.get("Version").and_then(Value::as_str) != Some("2012-10-17") {
        return Some("must have `\"Version\": \"2012-10-17\"`".into());
    }
    statements.iter().enumerate().find_map(|(index, statement)| {
        mistake_of_statement(statement).map(|mistake| format!("has a mistake in statement {}: {mistake}", index + 1))
    })
}

fn mistake_of_statement(statement: &Value) -> Option<String> {
    const KNOWN: [&str; 8] =
        ["Sid", "Effect", "Action", "NotAction", "Resource", "NotResource", "Condition", "Principal"];
    let Some(fields) = statement.as_object() else { return Some("it is not an object".into()) };
    if let Some(unknown) = fields.keys().find(|field| !KNOWN.contains(&field.as_str())) {
        return Some(format!("'{unknown}' is not known"));
    }
    if !matches!(statement.get("Effect").and_then(Value::as_str), Some("Allow" | "Deny")) {
        return Some("Effect must be Allow or Deny".into());
    }
    let words = |field: &str| match fields.get(field) {
        Some(Value::String(word)) => vec![word.as_str()],
        Some(Value::Array(words)) => words.iter().filter_map(Value::as_str).collect(),
        _ => vec![],
    };
    let actions = [words("Action"), words("NotAction")].concat();
    if actions.is_empty() {
        return Some("Action is missing".into());
    }
    let known =
        |action: &&str| *action == "*" || ["s3:", "admin:", "kms:", "sts:"].iter().any(|of| action.starts_with(of));
    if let Some(unknown) = actions.iter().find(|action| !known(action)) {
        return Some(format!("'{unknown}' is not an action such as s3:GetObject"));
    }
    let resources = [words("Resource"), words("NotResource")].concat();
    if resources.is_empty() && actions.iter().any(|action| action.starts_with("s3:")) {
        return Some("Resource is missing".into());
    }
    let unknown = resources.iter().find(|resource| **resource != "*" && !resource.starts_with("arn:"));
    unknown.map(|unknown| format!("'{unknown}' is not a resource such as arn:aws:s3:::bucket/*"))
}

fn wrong(what: impl Into<String>, hint: &str) -> Error {
    Error::Usage { what: what.into(), hint: hint.into() }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use rustix::fs::{CWD, FileType, Mode, mknodat};
    use serde_json::json;

    use super::*;

    fn declared(from: &Path) -> SeedObjects {
        SeedObjects { from: from.to_owned(), bucket: "encrypted".parse().unwrap(), prefix: "demo/".into() }
    }

    #[test]
    fn every_file_below_the_folder_is_an_object() {
        let top = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(top.path().join("a/b")).unwrap();
        for name in ["a/b/ü 100%.txt", "z", ".hidden"] {
            std::fs::write(top.path().join(name), name).unwrap();
        }
        symlink("z", top.path().join("inside")).unwrap();
        let folder = Folder::load(&declared(top.path())).unwrap();
        let keys: Vec<_> = folder.files.iter().map(|file| file.key.as_str()).collect();
        assert_eq!(keys, ["demo/.hidden", "demo/a/b/ü 100%.txt", "demo/inside", "demo/z"]);
        assert_eq!(folder.files[2].sha256, folder.files[3].sha256);
        assert_eq!(folder.files[3].size, 1);
    }

    #[test]
    fn what_is_not_a_file_of_the_folder_is_refused() {
        let refused = |make: &dyn Fn(&Path), why: &str| {
            let top = tempfile::tempdir().unwrap();
            let folder = top.path().join("seed");
            std::fs::create_dir(&folder).unwrap();
            make(&folder);
            let error = Folder::load(&declared(&folder)).unwrap_err();
            assert!(error.exit_code() == 2 && error.to_string().contains(why), "{error}");
        };
        refused(&|folder| symlink("/etc/passwd", folder.join("x")).unwrap(), "leads out of its folder");
        refused(&|folder| symlink("..", folder.join("x")).unwrap(), "leads out of its folder");
        refused(&|folder| symlink(".", folder.join("x")).unwrap(), "not a file");
        refused(&|folder| symlink("gone", folder.join("x")).unwrap(), "leads nowhere");
        refused(
            &|folder| mknodat(CWD, folder.join("x"), FileType::Fifo, Mode::RUSR, 0).unwrap(),
            "neither a file nor a folder",
        );
        refused(&|folder| std::fs::write(folder.join("a\nb"), "").unwrap(), "control character");
        refused(&|folder| std::fs::remove_dir(folder).unwrap(), "seed.objects names");
    }

    #[test]
    fn policies_that_allow_nothing_are_refused() {
        let statement = |statement: Value| json!({ "Version": "2012-10-17", "Statement": [statement] });
        let good = json!({ "Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::a/*" });
        assert_eq!(mistake(&statement(good.clone())), None);
        let changed = |field: &str, value: Value| {
            let mut changed = good.clone();
            changed[field] = value;
            mistake(&statement(changed)).unwrap_or_default()
        };
        assert!(changed("Effect", json!("allow")).contains("Effect must be"));
        assert!(changed("Action", json!(["GetObject"])).contains("'GetObject' is not an action"));
        assert!(changed("Resource", json!("a/*")).contains("'a/*' is not a resource"));
        assert!(changed("Resource", json!([])).contains("Resource is missing"));
        assert!(changed("Actions", json!("s3:*")).contains("'Actions' is not known"));
        assert!(mistake(&json!({ "Version": "2012-10-17" })).unwrap().contains("no list of statements"));
        assert!(mistake(&json!({ "Statement": [good] })).unwrap().contains("2012-10-17"));
    }
}
