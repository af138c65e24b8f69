use std::path::{Path, PathBuf};

use age::secrecy::ExposeSecret as _;
use age::x25519;
use proptest::prelude::*;
use tar::{Builder, EntryType, Header};
use tempfile::TempDir;
use zeroize::Zeroizing;

use super::super::{DESCRIPTION, Interrupt, Snapshot, SnapshotName, folder, unfinished};
use super::{Closed, Opener, SUMS, Seal, export, import};
use crate::error::Error;
use crate::host::interrupt::Cause;
use crate::stack::Layout;

const SECRET: &str = "very secret";

/// A stack with a snapshot `one`.
struct Stack {
    base: TempDir,
    layout: Layout,
}

impl Stack {
    fn new() -> Self {
        let base = tempfile::tempdir().unwrap();
        let layout = Layout::new(&base.path().join("stacks"), "s");
        let place = folder(&layout, &name("one"));
        let long = format!("minio/docs/{}/{}", "a".repeat(200), "b".repeat(100));
        let files = [
            ("minio/docs/a/xl.meta", vec![7; 200_000]),
            (&format!("{long}/xl.meta"), b"long".to_vec()),
            ("minio/empty", vec![]),
            ("keys/k", SECRET.into()),
            ("guard.json", b"{}".to_vec()),
        ];
        for (path, content) in &files {
            std::fs::create_dir_all(place.join(path).parent().unwrap()).unwrap();
            std::fs::write(place.join(path), content).unwrap();
        }
        std::fs::create_dir(place.join("certs")).unwrap();
        let bytes: usize = files.iter().map(|(_, content)| content.len()).sum();
        std::fs::write(place.join(DESCRIPTION), description(files.len() as u64, bytes as u64)).unwrap();
        Self { base, layout }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.base.path().join(name)
    }

    fn export(&self, file: &Path, seal: Seal) -> super::Exported {
        export(&self.layout, &name("one"), file, seal, &Interrupt::default()).unwrap()
    }

    fn import(&self, file: &Path, to: &str, opener: Opener) -> Result<Snapshot, Error> {
        import(&self.layout, file, Some(&name(to)), opener, false, &Interrupt::default())
    }

    /// Why the file is refused; nothing of it is left.
    fn refused(&self, bytes: &[u8], opener: Opener) -> String {
        let (file, before) = (self.file("refused"), self.entries());
        std::fs::write(&file, bytes).unwrap();
        let error = self.import(&file, "other", opener).unwrap_err();
        assert_eq!(self.entries(), before, "{error}");
        error.to_string()
    }

    fn entries(&self) -> usize {
        std::fs::read_dir(self.layout.snapshots()).unwrap().count()
    }

    fn plain(&self) -> Vec<u8> {
        let file = self.file("plain.tar");
        self.export(&file, Seal::Plain);
        let bytes = std::fs::read(&file).unwrap();
        std::fs::remove_file(file).unwrap();
        bytes
    }
}

fn name(text: &str) -> SnapshotName {
    text.parse().unwrap()
}

fn description(files: u64, bytes: u64) -> String {
    format!(
        r#"{{ "version": 1, "name": "one", "stack": "s", "created": "2026-01-02T03:04:05Z", "keystore": "fs",
              "keys": 1, "files": {files}, "bytes": {bytes}, "method": "clones" }}"#
    )
}

fn passphrase(text: &str) -> Zeroizing<String> {
    Zeroizing::new(text.to_owned())
}

/// All paths below a folder with their modes, times and content.
fn content(folder: &Path) -> Vec<(PathBuf, u32, Option<std::time::SystemTime>, Vec<u8>)> {
    use std::os::unix::fs::PermissionsExt as _;
    let (mut found, mut open) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(path) = open.pop() {
        for entry in std::fs::read_dir(path).unwrap() {
            let path = entry.unwrap().path();
            let meta = path.metadata().unwrap();
            let is_file = meta.is_file();
            let bytes = if is_file { std::fs::read(&path).unwrap() } else { Vec::new() };
            let below = path.strip_prefix(folder).unwrap().to_owned();
            let seconds = |time: std::time::SystemTime| {
                let whole = time.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
                std::time::UNIX_EPOCH + std::time::Duration::from_secs(whole)
            };
            if below != Path::new(DESCRIPTION) {
                let time = is_file.then(|| seconds(meta.modified().unwrap()));
                found.push((below, meta.permissions().mode(), time, bytes));
            }
            if !is_file {
                open.push(path);
            }
        }
    }
    found.sort();
    found
}

#[test]
fn whoever_has_the_key_gets_all_of_it_back_and_nobody_else() {
    let stack = Stack::new();
    let identity = x25519::Identity::generate();
    let (keys, others) = (stack.file("keys"), stack.file("others"));
    std::fs::write(&keys, identity.to_string().expose_secret()).unwrap();
    std::fs::write(&others, x25519::Identity::generate().to_string().expose_secret()).unwrap();
    let file = stack.file("one.age");
    let exported = stack.export(&file, Seal::Recipients(vec![identity.to_public()]));
    let bytes = std::fs::read(&file).unwrap();
    assert!(exported.encrypted && exported.size == bytes.len() as u64);
    assert!(!bytes.windows(SECRET.len()).any(|run| run == SECRET.as_bytes()));
    assert_eq!(Closed::of(&file).unwrap(), Closed::Recipients);

    let found = stack.import(&file, "two", Opener::Identities(vec![others.clone(), keys.clone()])).unwrap();
    assert_eq!((found.name.to_string(), found.keys), ("two".into(), Some(1)));
    let folder = |text| folder(&stack.layout, &name(text));
    assert_eq!(content(&folder("one")), content(&folder("two")));
    assert_eq!(Snapshot::find(&stack.layout, &name("two")).unwrap(), found);
    assert!(stack.refused(&bytes, Opener::Identities(vec![others])).contains("was not encrypted for this identity"));
    assert!(stack.refused(&bytes, Opener::Plain).contains("leave out --plain"));
    let error = stack.import(&file, "three", Opener::Identities(vec![file.clone()])).unwrap_err();
    assert!(error.to_string().contains("does not hold identities"), "{error}");
    // cut short or changed anywhere, it leaves nothing
    for length in [10, 150, 200, bytes.len() / 2, bytes.len() - 100, bytes.len() - 1] {
        stack.refused(&bytes[..length], Opener::Identities(vec![keys.clone()]));
    }
    for at in [30, 100, 180, 300, bytes.len() / 2, bytes.len() - 1] {
        let mut bytes = bytes.clone();
        bytes[at] ^= 1;
        stack.refused(&bytes, Opener::Identities(vec![keys.clone()]));
    }
}

#[test]
fn a_passphrase_opens_what_it_closed() {
    let stack = Stack::new();
    let file = stack.file("one.age");
    stack.export(&file, Seal::Passphrase(passphrase("correct horse")));
    assert_eq!(Closed::of(&file).unwrap(), Closed::Passphrase);
    stack.import(&file, "two", Opener::Passphrase(passphrase("correct horse"))).unwrap();
    let error = stack.import(&file, "three", Opener::Passphrase(passphrase("wrong"))).unwrap_err();
    assert_eq!(error.exit_code(), 2);
    assert!(error.to_string().contains("does not open with this passphrase"), "{error}");
}

#[test]
fn nothing_is_overwritten_unless_asked_for() {
    let stack = Stack::new();
    let (file, none) = (stack.file("one.tar"), Interrupt::default());
    let exported = stack.export(&file, Seal::Plain);
    assert_eq!(
        exported.sha256,
        crate::host::digest::copy(std::fs::File::open(&file).unwrap(), &mut Vec::new()).unwrap().1
    );
    let error = export(&stack.layout, &name("one"), &file, Seal::Plain, &none).unwrap_err();
    assert!(error.exit_code() == 2 && error.to_string().contains("already exists"), "{error}");
    let error = import(&stack.layout, &file, None, Opener::Plain, false, &none).unwrap_err();
    assert!(error.exit_code() == 2 && error.to_string().contains("--replace"), "{error}");
    let old = folder(&stack.layout, &name("one")).join("keys/k");
    std::fs::write(&old, "not secret!").unwrap();
    import(&stack.layout, &file, None, Opener::Plain, true, &none).unwrap();
    assert_eq!(std::fs::read_to_string(&old).unwrap(), SECRET);
    assert_eq!(stack.entries(), 1);
    assert!(!unfinished(&stack.layout, &name("one")).exists());
}

#[test]
fn a_snapshot_that_was_changed_is_not_exported() {
    let stack = Stack::new();
    let place = folder(&stack.layout, &name("one"));
    let refused = || {
        let file = stack.file("one.tar");
        let error = export(&stack.layout, &name("one"), &file, Seal::Plain, &Interrupt::default()).unwrap_err();
        assert_eq!(std::fs::read_dir(stack.base.path()).unwrap().count(), 1, "only the stacks");
        error.to_string()
    };
    std::os::unix::fs::symlink("/etc/passwd", place.join("minio/link")).unwrap();
    assert!(refused().contains("neither a file nor a folder"));
    std::fs::remove_file(place.join("minio/link")).unwrap();
    std::fs::remove_file(place.join("keys/k")).unwrap();
    assert!(refused().contains("has 4 files"));
}

#[test]
fn a_file_in_clear_is_compared_to_its_last_byte() {
    let stack = Stack::new();
    let bytes = stack.plain();
    let at = |text: &str| bytes.windows(text.len()).position(|window| window == text.as_bytes()).unwrap();
    let flipped = |at: usize| {
        let mut bytes = bytes.clone();
        bytes[at] ^= 1;
        stack.refused(&bytes, Opener::Plain)
    };
    assert!(flipped(at(SECRET)).contains("'keys/k' was changed"));
    assert!(flipped(at("\"keys\"")).contains("cannot be read"));
    assert!(flipped(bytes.len() - 1).contains("content after its list of checksums"));
    let list = at(SUMS);
    assert!(stack.refused(&bytes[..list], Opener::Plain).contains("ends before its list"));
    assert!(stack.refused(&bytes[..at(SECRET)], Opener::Plain).contains("ends within 'keys/k'"));
    for nothing in [&b""[..], b"no tar at all", &[0; 4096]] {
        assert!(stack.refused(nothing, Opener::Plain).contains("not an exported snapshot"));
    }
    let cut = [&bytes[..], b"more"].concat();
    assert!(stack.refused(&cut, Opener::Plain).contains("content after its list of checksums"));
}

/// A tar of these members behind a description.
fn tar(description: &str, members: &[(EntryType, &str, &[u8])]) -> Vec<u8> {
    let mut tar = Builder::new(Vec::new());
    let first = [(EntryType::Regular, DESCRIPTION, description.as_bytes())];
    for (kind, path, content) in first.iter().chain(members) {
        let mut header = Header::new_gnu();
        header.set_entry_type(*kind);
        header.set_size(content.len() as u64);
        header.set_mode(0o600);
        // as `set_path` would not let us
        header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
        if *kind == EntryType::Symlink {
            header.set_link_name("/etc").unwrap();
        }
        header.set_cksum();
        tar.append(&header, *content).unwrap();
    }
    tar.into_inner().unwrap()
}

#[test]
fn what_leads_out_of_the_folder_is_refused() {
    use EntryType as Kind;
    let stack = Stack::new();
    let described = description(2, 1000);
    let foreign: [(Kind, &str); 12] = [
        (Kind::Regular, "../x"),
        (Kind::Regular, "minio/../../x"),
        (Kind::Regular, "/etc/x"),
        (Kind::Regular, "x"),
        (Kind::Regular, "minio/./../x"),
        (Kind::Directory, ".."),
        (Kind::Directory, "config/../../x"),
        (Kind::Symlink, "minio"),
        (Kind::Link, "keys"),
        (Kind::Fifo, "keys"),
        (Kind::Char, "keys"),
        (Kind::XHeader, "keys"),
    ];
    for (kind, path) in foreign {
        let error = stack.refused(&tar(&described, &[(kind, path, b"")]), Opener::Plain);
        assert!(error.contains(&format!("it holds '{path}'")), "{kind:?} {error}");
    }
    let long = vec![b'a'; 1 << 20];
    let error = stack.refused(&tar(&described, &[(Kind::GNULongName, "x", &long)]), Opener::Plain);
    assert!(error.contains("which does not belong in a snapshot"), "{error}");
    for twice in ["keys", "keys/x"] {
        let error =
            stack.refused(&tar(&described, &[(Kind::Regular, twice, b""), (Kind::Regular, twice, b"")]), Opener::Plain);
        assert!(error.contains("cannot be imported"), "{error}");
    }
    assert!(!stack.file("stacks/s/x").exists() && !stack.file("stacks/x").exists());
}

#[test]
fn what_is_larger_than_it_says_is_refused_before_it_is_written() {
    let stack = Stack::new();
    let large =
        tar(&description(1, 999), &[(EntryType::Directory, "minio", b""), (EntryType::Regular, "minio/a", &[0; 1000])]);
    assert!(stack.refused(&large, Opener::Plain).contains("more than its description says"));
    let many = tar(&description(0, 1000), &[(EntryType::Regular, "guard.json", b"")]);
    assert!(stack.refused(&many, Opener::Plain).contains("more than its description says"));
    let endless = tar(&description(1, u64::MAX), &[]);
    assert!(stack.refused(&endless, Opener::Plain).contains("has room for"));
    let later = description(1, 1).replace("\"version\": 1", "\"version\": 2");
    assert!(stack.refused(&tar(&later, &[]), Opener::Plain).contains("a newer kestack made it"));
    let escaping = description(1, 1).replace("\"one\"", "\"../one\"");
    assert!(stack.refused(&tar(&escaping, &[]), Opener::Plain).contains("not a valid name of a snapshot"));
}

/// Whatever a terminal would obey.
#[test]
fn what_a_stranger_named_is_not_shown_as_it_is() {
    let stack = Stack::new();
    let shown = |bytes: &[u8]| {
        let error = stack.refused(bytes, Opener::Plain);
        assert!(!error.contains(|letter: char| letter.is_control() && letter != '\n'), "{error:?}");
        error
    };
    let error = shown(&tar(&description(1, 0), &[(EntryType::Regular, "\u{1b}[2J", b"")]));
    assert!(error.contains("it holds '\\u{1b}[2J'"), "{error}");
    for member in ["stack", "keystore"] {
        let named = format!("\"{member}\": \"");
        let foreign = description(1, 0).replace(&named, &format!("{named}\\u001b[2J"));
        assert!(shown(&tar(&foreign, &[])).contains("does not name a stack and a keystore"), "{member}");
    }
}

#[test]
fn folders_without_end_are_refused() {
    let stack = Stack::new();
    let names: Vec<_> = (0..10_600).map(|number| format!("minio/{number}")).collect();
    let folders = names.iter().map(|name| (EntryType::Directory, name.as_str(), &b""[..]));
    let members: Vec<_> = [(EntryType::Directory, "minio", &b""[..])].into_iter().chain(folders).collect();
    assert!(stack.refused(&tar(&description(1, 1000), &members), Opener::Plain).contains("more folders"));
    let many = stack.refused(&tar(&description(u64::MAX, 0), &[]), Opener::Plain);
    assert!(many.contains("has room for") && many.contains("files"), "{many}");
}

#[test]
fn an_interrupted_import_leaves_nothing() {
    let stack = Stack::new();
    let file = stack.file("one.tar");
    stack.export(&file, Seal::Plain);
    let elsewhere = Layout::new(&stack.file("elsewhere"), "t");
    let stopped = Interrupt::asking(Cause::Terminate);
    let error = import(&elsewhere, &file, None, Opener::Plain, false, &stopped).unwrap_err();
    assert!(matches!(error, Error::Interrupted(Cause::Terminate)), "{error}");
    assert!(!elsewhere.root().exists());
    import(&elsewhere, &file, None, Opener::Plain, false, &Interrupt::default()).unwrap();
    assert_eq!(Snapshot::list(&elsewhere).unwrap().len(), 1);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever is done to a file, the import either refuses it or brings the same snapshot.
    #[test]
    fn a_changed_file_is_refused_or_brings_the_same(at in 0usize..240_000, byte in 1u8..) {
        let stack = Stack::new();
        let mut bytes = stack.plain();
        let at = at % bytes.len();
        bytes[at] ^= byte;
        let file = stack.file("changed");
        std::fs::write(&file, &bytes).unwrap();
        if stack.import(&file, "two", Opener::Plain).is_ok() {
            let bytes_of = |text| {
                let found = content(&folder(&stack.layout, &name(text)));
                found.into_iter().map(|(path, _, _, bytes)| (path, bytes)).collect::<Vec<_>>()
            };
            prop_assert_eq!(bytes_of("one"), bytes_of("two"));
        } else {
            prop_assert_eq!(stack.entries(), 1);
        }
    }
}
