//! Deployments as people have them, rewritten from public files without anybody's names or secrets: `compose/`, `tenant/`
//! and `kes/` (a configuration of KES, with the Compose file that they share). Each has a golden with the files that the
//! import writes, notes and commands included, or with the refusal. `KESTACK_BLESS=1` writes the goldens again; read the
//! difference.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "test")]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const IDENTITY: &str = "3ecfcdf38fcbe141ae26a1030f81e96b753365a46760ae6b578698a97c59fd22";

fn data(kind: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/import").join(kind)
}

/// The names of the cases of one kind.
fn cases(kind: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(data(kind)).unwrap().map(|entry| entry.unwrap().path());
    let mut cases: Vec<_> = entries.filter(|path| path.extension().is_none_or(|end| end != "golden")).collect();
    cases.sort();
    cases
}

fn import(source: &Path, output: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kestack"));
    command.args(["import".as_ref(), source.as_os_str(), "--output-dir".as_ref(), output.as_os_str()]);
    command.env_clear().env("HOME", output).env("FROM_SHELL", "from-the-shell").output().unwrap()
}

/// What an import says and writes, with the folders of this run left out.
fn told(source: &Path, folder: &Path) -> String {
    let output = folder.join("out");
    let result = import(source, &output);
    let (said, complained) = (String::from_utf8(result.stdout).unwrap(), String::from_utf8(result.stderr).unwrap());
    let mut text = format!("exit {}\n{said}{complained}", result.status.code().unwrap());
    let mut files = Vec::new();
    collect(&output, &mut files);
    files.sort();
    assert!(result.status.success() || files.is_empty(), "refused, and written: {files:?}");
    for file in files {
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600, "{}", file.display());
        let name = file.strip_prefix(&output).unwrap();
        let content = std::fs::read_to_string(&file).unwrap();
        // one half of a key is by chance
        let is_key = name.parent().is_some_and(|folder| folder.ends_with("keys"));
        let content = if is_key { "a key\n".to_owned() } else { content };
        write!(text, "==> {}\n{content}", name.display()).unwrap();
    }
    let folders = [folder.canonicalize().unwrap(), folder.to_owned()];
    let text = folders.iter().fold(text, |text, folder| text.replace(&folder.display().to_string(), "DIR"));
    // only root gives files to the servers' user
    text.lines()
        .filter(|line| !line.trim_start().starts_with("chown "))
        .fold(String::new(), |text, line| text + line + "\n")
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() { collect(&path, files) } else { files.push(path) }
    }
}

fn compare(kind: &str, name: &str, text: &str) {
    let golden = data(kind).join(format!("{name}.golden"));
    if std::env::var_os("KESTACK_BLESS").is_some() {
        std::fs::write(&golden, text).unwrap();
    }
    let expected = std::fs::read_to_string(&golden).unwrap_or_default();
    let wrong = expected.lines().zip(text.lines()).find(|(expected, found)| expected != found);
    assert!(expected == text, "{}: first difference: {wrong:#?}\n{text}", golden.display());
    assert!(!text.contains("${") || kind == "kes" || text.contains("credentials.env"), "{name}: {text}");
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(|entry| entry.unwrap().path()) {
        let target = to.join(entry.file_name().unwrap());
        if entry.is_dir() {
            copy(&entry, &target);
        } else {
            std::fs::copy(&entry, &target).unwrap();
        }
    }
}

/// The file of a case that is imported: a folder holds it next to what it names.
fn placed(case: &Path, folder: &Path) -> PathBuf {
    let place = folder.join("project");
    if case.is_dir() {
        copy(case, &place);
        let files = std::fs::read_dir(&place).unwrap().map(|entry| entry.unwrap().path());
        let mut files: Vec<_> = files.filter(|path| path.to_str().unwrap().contains("compose")).collect();
        files.sort();
        // the shared configuration, where the case brings none
        if !place.join("kes.yaml").exists() {
            std::fs::write(place.join("kes.yaml"), kes_config()).unwrap();
        }
        return files.into_iter().find(|path| !path.to_str().unwrap().contains("override")).unwrap();
    }
    std::fs::create_dir_all(&place).unwrap();
    let target = place.join(case.file_name().unwrap());
    std::fs::copy(case, &target).unwrap();
    if !place.join("kes.yaml").exists() {
        std::fs::write(place.join("kes.yaml"), kes_config()).unwrap();
    }
    target
}

fn kes_config() -> String {
    format!(
        "version: v1\naddress: 0.0.0.0:7373\nadmin:\n  identity: disabled\ntls:\n  key: /certs/kes.key\n  cert: \
         /certs/kes.crt\npolicy:\n  minio:\n    allow:\n    - /v1/key/create/*\n    - /v1/key/generate/*\n    - \
         /v1/key/decrypt/*\n    identities:\n    - {IDENTITY}\nkeystore:\n  fs:\n    path: /keys\n"
    )
}

fn all(kind: &str, at_least: usize) {
    let cases = cases(kind);
    assert!(cases.len() >= at_least, "{kind}: {}", cases.len());
    for case in cases {
        let folder = tempfile::tempdir().unwrap();
        let name = case.file_stem().unwrap().to_str().unwrap();
        compare(kind, name, &told(&placed(&case, folder.path()), folder.path()));
    }
}

#[test]
fn compose_files() {
    all("compose", 20);
}

#[test]
fn tenants() {
    all("tenant", 10);
}

#[test]
fn configurations_of_kes() {
    let cases = cases("kes");
    assert!(cases.len() >= 10);
    for case in cases {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("project");
        std::fs::create_dir_all(place.join("keys")).unwrap();
        std::fs::write(place.join("keys/first-key"), "").unwrap();
        std::fs::copy(&case, place.join("kes.yaml")).unwrap();
        let compose = "services:\n  kes:\n    image: minio/kes\n    command: server --config /conf/kes.yaml\n    environment: { \
                       KNOWN_ID: known-id, KNOWN_SECRET: known-s3cret, KNOWN_URL: 'https://known.example:8200' }\n    volumes: \
                       ['./kes.yaml:/conf/kes.yaml', './keys:/keys']\n  minio:\n    image: minio/minio\n    command: server \
                       /data\n    volumes: ['./data:/data']\n    environment: { MINIO_ROOT_USER: root-user, \
                       MINIO_ROOT_PASSWORD: root-password, MINIO_KMS_KES_ENDPOINT: 'https://kes:7373', \
                       MINIO_KMS_KES_KEY_NAME: first-key }\n";
        let file = place.join("compose.yaml");
        std::fs::write(&file, compose).unwrap();
        compare("kes", case.file_stem().unwrap().to_str().unwrap(), &told(&file, folder.path()));
    }
}

/// A file of the project that is a FIFO would be waited for without an end.
#[test]
fn a_fifo_is_not_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("compose.yaml");
    let text = "services:\n  kes: { image: minio/kes, command: server --config /k.yaml, volumes: ['./kes.yaml:/k.yaml'] }\n  minio: { \
                image: minio/minio, env_file: pipe, environment: { MINIO_KMS_KES_ENDPOINT: 'https://kes:7373' } }\n";
    std::fs::write(&file, text).unwrap();
    for name in ["pipe", "kes.yaml"] {
        assert!(Command::new("mkfifo").arg(folder.path().join(name)).status().unwrap().success());
    }
    let output = import(&file, &folder.path().join("out"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("is not a regular file"), "{said}");
}

/// `KESTACK_DIR` comes before the folder that the manifest names: the stack would come up empty, with another root user.
#[test]
fn the_commands_find_the_stack_wherever_other_stacks_are() {
    let folder = tempfile::tempdir().unwrap();
    let source = placed(&data("compose/create-buckets"), folder.path());
    let output = folder.path().join("out");
    let mut command = Command::new(env!("CARGO_BIN_EXE_kestack"));
    command.arg("import").arg(&source).arg("--output-dir").arg(&output).env_clear().env("HOME", folder.path());
    let said = command.env("KESTACK_DIR", folder.path().join("elsewhere")).output().unwrap();
    let said = String::from_utf8(said.stdout).unwrap();
    let up = said.lines().find(|line| line.trim_start().starts_with("kestack up")).unwrap();
    assert!(up.ends_with(&format!(" --dir {}", output.join("stacks").display())), "{said}");
}
