//! Runs `kestack export` and holds what it wrote.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::keystores;
pub(crate) use crate::support::{binary, text};

/// What an export wrote or printed.
pub(crate) struct Exported {
    pub(crate) folder: tempfile::TempDir,
    /// Content by path below the folder.
    pub(crate) files: BTreeMap<String, String>,
    /// Standard output.
    pub(crate) stdout: String,
}

/// A folder with a manifest for that keystore and the files that it names.
pub(crate) fn manifest(keystore: &str, more: &str) -> tempfile::TempDir {
    manifest_with_kes(keystore, "", more)
}

/// Several KES with a variable of their environment, as more of the section `kes`.
pub(crate) const REPLICAS: &str = ", replicas: 3, env: { HTTPS_PROXY: 'http://proxy.example:3128' }";

/// The same with more in the section `kes`.
pub(crate) fn manifest_with_kes(keystore: &str, kes: &str, more: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in [("ca.pem", "-CA-\n"), ("cert.pem", "-CERTIFICATE-\n"), ("key.pem", "-KEY-\n")] {
        std::fs::write(folder.path().join(name), content).unwrap();
    }
    let text = format!(
        "name: stack\nkeystore: {}\nkeys: [stack-key, other-key]\nkes: {{ image: registry.example/kes:v1.0.0{kes} }}\n\
         minio: {{ image: registry.example/minio:v1, root_user: rootuser, root_password: s3cret-root }}\n\
         buckets: [{{ name: encrypted, key: other-key }}]\n{more}",
        keystores::section(keystore)
    );
    std::fs::write(folder.path().join("kestack.yaml"), text).unwrap();
    folder
}

/// The tool in the folder of a manifest.
pub(crate) fn export(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(binary());
    command.arg("export").args(arguments).current_dir(folder).env("KESTACK_DIR", folder.join("stacks"));
    for variable in ["KESTACK_NAME", "KESTACK_FILE", "KESTACK_OUTPUT"] {
        command.env_remove(variable);
    }
    for (variable, file) in [("CA", "ca.pem"), ("CERT", "cert.pem"), ("KEY", "key.pem")] {
        command.env(variable, folder.join(file));
    }
    command.output().unwrap()
}

impl Exported {
    /// Exports to a folder.
    pub(crate) fn new(keystore: &str, arguments: &[&str]) -> Self {
        let folder = manifest(keystore, "");
        Self::of(folder, arguments)
    }

    /// Exports what the manifest in that folder says.
    pub(crate) fn of(folder: tempfile::TempDir, arguments: &[&str]) -> Self {
        let output = export(folder.path(), &[arguments, &["--output-dir", "out"]].concat());
        assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
        let out = folder.path().join("out");
        let mut files = BTreeMap::new();
        collect(&out, &out, &mut files);
        Self { folder, files, stdout: text(&output.stdout) }
    }

    /// The folder that was written to.
    pub(crate) fn out(&self) -> PathBuf {
        self.folder.path().join("out")
    }

    /// A file by its path.
    pub(crate) fn file(&self, path: &str) -> &str {
        self.files.get(path).unwrap_or_else(|| panic!("no {path} in {:?}", self.files.keys()))
    }

    /// Permission bits of a file.
    pub(crate) fn mode(&self, path: &str) -> u32 {
        std::fs::metadata(self.out().join(path)).unwrap().permissions().mode() & 0o777
    }

    /// Each file with its mode, without what is random.
    pub(crate) fn redacted(&self) -> BTreeMap<String, String> {
        let redact = |(path, content): (&String, &String)| {
            let text = if path.ends_with("digest.key") { "<random>\n".to_owned() } else { self.redact(content) };
            (format!("{path} {:o}", self.mode(path)), text)
        };
        self.files.iter().map(redact).collect()
    }

    fn redact(&self, content: &str) -> String {
        let mut text = String::new();
        let mut pem = false;
        for line in content.replace(&*self.folder.path().to_string_lossy(), "<folder>").lines() {
            let (begins, ends) = (line.contains("-----BEGIN"), line.contains("-----END"));
            match (pem, begins && !ends, ends) {
                (false, false, _) => writeln!(text, "{}", without_hashes(line)).unwrap(),
                (false, true, _) => {
                    pem = true;
                    writeln!(text, "{}", line.replace("-----", "")).unwrap();
                }
                (true, _, ends) => pem = !ends,
            }
        }
        text
    }
}

/// Identities and other hashes by what they are.
fn without_hashes(line: &str) -> String {
    let is_hash = |word: &str| word.len() == 64 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
    let mut rest = line;
    let mut text = String::new();
    while let Some(found) = rest.find(|letter: char| letter.is_ascii_hexdigit()) {
        let end = rest[found..].find(|letter: char| !letter.is_ascii_hexdigit()).map_or(rest.len(), |end| found + end);
        let word = &rest[found..end];
        text.push_str(&rest[..found]);
        text.push_str(if is_hash(word) { "<hash>" } else { word });
        rest = &rest[end..];
    }
    text + rest
}

fn collect(root: &Path, folder: &Path, files: &mut BTreeMap<String, String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(root, &path, files);
        } else if path.extension().is_none_or(|extension| extension != "tar") {
            let content = std::fs::read_to_string(&path).unwrap();
            files.insert(path.strip_prefix(root).unwrap().display().to_string(), content);
        }
    }
}
