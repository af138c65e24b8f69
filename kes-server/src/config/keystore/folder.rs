//! A folder, in clear or sealed under a master key (docs/sealed-keys.md §2).

use std::path::PathBuf;

use super::super::section::Section;
use super::super::{ConfigError, invalid};
use super::{KeyStoreConfig, required};

/// `keystore.fs`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FsConfig {
    /// The folder.
    pub path: PathBuf,
    /// How its keys are sealed; `None` if they lie in clear.
    pub encryption: Option<Encryption>,
}

/// `keystore.fs.encryption`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encryption {
    /// Seals what is written.
    pub current: MasterKeySource,
    /// Open what was sealed before.
    pub previous: Vec<MasterKeySource>,
}

/// The place that a master key comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MasterKeySource {
    /// A file.
    File(PathBuf),
    /// The standard output of a program: its path, then its arguments.
    Command(Vec<String>),
    /// A credential of the systemd unit, by its name.
    Credential(String),
}

impl FsConfig {
    /// A folder of keys in clear.
    pub fn plain(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), encryption: None }
    }
}

pub(super) fn fs(section: Section<'_>) -> Result<KeyStoreConfig, ConfigError> {
    let path = section.string("path");
    let sealed = section.section("encryption");
    let (current, cipher) = (source(sealed), cipher(sealed));
    let previous: Vec<_> = sealed.items("previous").map(source).collect();
    required("fs", &[(&path, "path")])?;
    let encryption = if sealed.exists() {
        cipher?;
        Some(Encryption { current: current?, previous: previous.into_iter().collect::<Result<_, _>>()? })
    } else {
        None
    };
    Ok(KeyStoreConfig::Fs(FsConfig { path: path.into(), encryption }))
}

/// The section that was proposed for MinIO KES, with one file as the master key.
pub(super) fn encryptedfs(section: Section<'_>) -> Result<KeyStoreConfig, ConfigError> {
    let (path, master) = (section.string("path"), section.string("masterKeyPath"));
    let cipher = cipher(section);
    required("encryptedfs", &[(&path, "path"), (&master, "masterKeyPath")])?;
    cipher?;
    let encryption = Encryption { current: MasterKeySource::File(master.into()), previous: Vec::new() };
    Ok(KeyStoreConfig::Fs(FsConfig { path: path.into(), encryption: Some(encryption) }))
}

/// The one source that a section names.
fn source(section: Section<'_>) -> Result<MasterKeySource, ConfigError> {
    let (path, credential) = (section.string("masterKeyPath"), section.string("masterKeyCredential"));
    let command = section.strings("masterKeyCommand");
    match (path.is_empty(), command.is_empty(), credential.is_empty()) {
        (false, true, true) => Ok(MasterKeySource::File(path.into())),
        (true, false, true) if command.first().is_some_and(String::is_empty) => {
            Err(wrong("the first item of masterKeyCommand is the program, and is empty"))
        }
        (true, false, true) => Ok(MasterKeySource::Command(command)),
        (true, true, false) if !credential.contains('/') && !credential.starts_with('.') => {
            Ok(MasterKeySource::Credential(credential))
        }
        (true, true, false) => Err(wrong("masterKeyCredential is the name of a credential, without '/'")),
        _ => Err(wrong("name one of masterKeyPath, masterKeyCommand, masterKeyCredential for each master key")),
    }
}

fn cipher(section: Section<'_>) -> Result<(), ConfigError> {
    match section.string("masterKeyCipher").as_str() {
        "" | "AES256" => Ok(()),
        other => Err(wrong(&format!("masterKeyCipher '{other}' is not supported: use AES256, or leave it out"))),
    }
}

fn wrong(text: &str) -> ConfigError {
    invalid(format!("kesconf: invalid fs keystore: {text}"))
}

#[cfg(test)]
mod tests {
    use super::super::super::Config;
    use super::*;

    fn read(keystore: &str) -> Result<FsConfig, String> {
        let text = format!("admin: {{ identity: x }}\ntls: {{ key: k, cert: c }}\nkeystore: {keystore}\n");
        let config = Config::parse(&text, &|name| (name == "KEY").then(|| "/run/key".to_owned()));
        let config = config.map_err(|error| error.to_string())?;
        assert_eq!(config.warnings, Vec::<String>::new());
        let KeyStoreConfig::Fs(fs) = config.keystore else { panic!("{:?}", config.keystore) };
        Ok(fs)
    }

    #[test]
    fn every_source_is_read_and_the_proposed_section_as_well() {
        let file = |path: &str| MasterKeySource::File(path.into());
        let command = MasterKeySource::Command(vec!["age".into(), "-d".into(), "k.age".into()]);
        let credential = MasterKeySource::Credential("kes-master-key".into());
        let sealed = |current, previous| {
            Ok(FsConfig { path: "/keys".into(), encryption: Some(Encryption { current, previous }) })
        };
        assert_eq!(read("{ fs: { path: /keys } }"), Ok(FsConfig::plain("/keys")));
        assert_eq!(
            read(
                "{ fs: { path: /keys, encryption: { masterKeyPath: \"${KEY}\", previous: [{ masterKeyCommand: [age, -d, k.age] }] } } }"
            ),
            sealed(file("/run/key"), vec![command])
        );
        let text =
            "{ fs: { path: /keys, encryption: { masterKeyCredential: kes-master-key, masterKeyCipher: AES256 } } }";
        assert_eq!(read(text), sealed(credential, vec![]));
        let text = "{ encryptedfs: { path: /keys, masterKeyPath: /m, masterKeyCipher: AES256 } }";
        assert_eq!(read(text), sealed(file("/m"), vec![]));
    }

    #[test]
    fn mistakes_say_what_to_write() {
        for (keystore, words) in [
            ("{ fs: { path: /keys, encryption: {} } }", "name one of masterKeyPath, masterKeyCommand"),
            (
                "{ fs: { path: /keys, encryption: { masterKeyPath: /m, masterKeyCredential: c } } }",
                "name one of masterKeyPath, masterKeyCommand",
            ),
            ("{ fs: { path: /keys, encryption: { masterKeyCommand: age -d k } } }", "into a list"),
            ("{ fs: { path: /keys, encryption: { masterKeyCommand: [\"\"] } } }", "is empty"),
            ("{ fs: { path: /keys, encryption: { masterKeyCredential: ../x } } }", "without '/'"),
            ("{ fs: { path: /keys, encryption: { masterKeyPath: /m, previous: [{}] } } }", "name one of"),
            ("{ fs: { path: /keys, encryption: { masterKeyPath: /m, masterKeyCipher: AES265 } } }", "use AES256"),
            ("{ encryptedfs: { path: /keys } }", "no masterKeyPath specified"),
            ("{ encryptedfs: { path: /a, masterKeyPath: /m }, fs: { path: /b } }", "more than once"),
        ] {
            let refused = read(keystore).expect_err(keystore);
            assert!(refused.contains(words), "{keystore}: {refused}");
        }
    }
}
