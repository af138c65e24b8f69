//! What a rehearsal needs to know of a deployment: the manifest that an import would write, with the values of its
//! variables, and the deployment's own policies.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use kes_server::auth::{Access, ApiKey};
use serde_json::{Value, json};

use super::kes::{self, Kes};
use super::minio::{self, Minio};
use super::translate::{Placed, copies, keystore_folder, manifest_text};
use super::{Found, buckets, refused, static_key, text_of};
use crate::error::Error;
use crate::keystore;
use crate::manifest::{self, Environment, Manifest};
use crate::operate::rehearse::{Caller, Deployment, Rules};
use crate::pki;

impl Found {
    /// Takes drive and keys from other places than the deployment says, such as a snapshot that is mounted.
    ///
    /// # Errors
    /// [`Error::File`] if one of them is not there.
    pub fn take_from(&mut self, drive: Option<&Path>, keys: Option<&Path>) -> Result<(), Error> {
        let found = |path: &Path| std::fs::canonicalize(path).map_err(Error::file("find", path));
        if let Some(drive) = drive {
            self.drive = Some(found(drive)?);
        }
        self.keys = keys.map(found).transpose()?;
        Ok(())
    }

    /// What is rehearsed of the deployment that was read from `source` and would be imported into `output`. `env` gives
    /// credentials that its files do not hold: only those that the vendor's own tools read from there.
    ///
    /// # Errors
    /// Those of an import, and [`Error::Usage`] if its drive or a credential is not here.
    pub(crate) fn rehearsal(
        &self,
        (source, output): (&Path, &Path),
        env: Environment<'_>,
    ) -> Result<Deployment, Error> {
        let placed = Placed::of(self, output)?;
        let (minio, kes) = (minio::read(self)?, kes::read(self)?);
        let drive = self.drive.clone().filter(|drive| drive.is_dir()).ok_or_else(|| self.no_drive(&placed))?;
        check_credentials(&kes, env)?;
        let stored = self.static_key.as_ref().map(|key| {
            let made = static_key::made(key, Some(&drive))?;
            Ok::<_, Error>((key.name().clone(), made.encode()))
        });
        Ok(Deployment {
            manifest: self.manifest(&placed, &minio, &kes, env)?,
            folder: folder_of(source)?,
            rules: self.rules(kes.access)?,
            static_key: stored.transpose()?,
            keys_elsewhere: kes.in_volume.map(|path| self.in_volume(&placed, &path)),
            drive,
        })
    }

    /// The manifest of an import, with the values of its variables. Keys stay where they are.
    fn manifest(&self, placed: &Placed, minio: &Minio, kes: &Kes, env: Environment<'_>) -> Result<Manifest, Error> {
        let declared = buckets::declared(self, minio, &mut vec![]);
        let text = manifest_text(self, &placed.name, kes, minio, &declared, &placed.layout)?;
        let of_minio = |name: &str| minio.secrets.iter().find(|(own, _)| own == name).map(|(_, value)| value);
        let given = |name: &str| {
            let known = kes.credentials.get(name).or_else(|| of_minio(name));
            known.map(|value| value.to_string()).or_else(|| own_value(kes, name, env))
        };
        let mut manifest = manifest::parse(&text, placed.layout.root(), &given).map_err(|mistakes| {
            refused(
                format!("what was found does not make a stack: {}", mistakes.join("; ")),
                "correct it where it comes from, then rehearse again",
            )
        })?;
        keep_folder(&mut manifest, &kes.keystore);
        Ok(manifest)
    }

    /// Why keys in a volume of the engine cannot be used, and what to do.
    fn in_volume(&self, placed: &Placed, path: &Path) -> String {
        let copied = copies(self, &placed.layout, Some(path)).into_iter().next();
        let copied = copied.map(|command| format!("copy them out, as with `{command}`, and ")).unwrap_or_default();
        format!("the keys are in a volume of the engine, '{}': {copied}name their folder with --keys", path.display())
    }

    fn no_drive(&self, placed: &Placed) -> Error {
        let copied = copies(self, &placed.layout, None).into_iter().next();
        let copied =
            copied.map(|command| format!("; `{command}` copies it out of the engine's volume")).unwrap_or_default();
        refused(
            "the drive of the deployment is not on this machine",
            format!("name the folder that MinIO serves, or a snapshot of it, with --drive{copied}"),
        )
    }

    /// Who may do what in the deployment as it is.
    fn rules(&self, access: Option<(Access, bool)>) -> Result<Option<Rules>, Error> {
        let Some((access, has_gaps)) = access else { return Ok(None) };
        Ok(Some(Rules { access, minio: self.caller()?, has_gaps }))
    }

    /// Whom KES takes its MinIO for.
    fn caller(&self) -> Result<Caller, Error> {
        if let Some(key) = self.variable("MINIO_KMS_KES_API_KEY") {
            let key: ApiKey = key.parse().map_err(|error| {
                refused(format!("MINIO_KMS_KES_API_KEY is not an API key: {error}"), "set it as MinIO has it")
            })?;
            return Ok(Caller::Known(key.identity().clone()));
        }
        let Some((path, _)) = self.certificates.iter().find(|(_, name)| *name == "minio-kes.cert") else {
            return Ok(Caller::Unknown);
        };
        Ok(pki::client_identity(&text_of(path)?)
            .map_err(|error| {
                refused(format!("'{}' is not a certificate: {error}", path.display()), "name MinIO's certificate there")
            })?
            .map_or(Caller::Authority, Caller::Known))
    }
}

/// Refuses to go on without a credential that nobody gave.
fn check_credentials(kes: &Kes, env: Environment<'_>) -> Result<(), Error> {
    let missing: Vec<_> = kes.missing.iter().filter(|name| own_value(kes, name, env).is_none()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let names = missing.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(", ");
    let to = keystore::endpoint(&kes.keystore).map(|place| format!(" for '{place}'")).unwrap_or_default();
    let own: BTreeSet<_> = missing.iter().flat_map(|name| keystore::own_variables(&kes.keystore, name)).collect();
    let own = own.into_iter().collect::<Vec<_>>().join(", ");
    let or_own = if own.is_empty() { own } else { format!(", or set {own} in the environment of this command") };
    Err(refused(
        format!("KES takes {names} from its environment{to}, and the value is not here"),
        format!(
            "write it into the environment that the deployment gives KES{or_own}: no other variable is taken from there"
        ),
    ))
}

/// The value of a variable that the deployment does not give, from this command's environment. The deployment's files may be a
/// stranger's: they do not choose which of the user's secrets is sent where.
fn own_value(kes: &Kes, name: &str, env: Environment<'_>) -> Option<String> {
    keystore::own_variables(&kes.keystore, name).into_iter().find_map(env)
}

/// Keys stay where they are: a folder that would become the stack's own is named.
fn keep_folder(manifest: &mut Manifest, keystore: &Value) {
    if let Some(folder) = keystore_folder(keystore)
        && let Some(fs) = manifest.keystore.get_mut("fs").and_then(Value::as_object_mut)
    {
        fs.insert("path".into(), json!(folder));
    }
}

/// The folder of what is imported.
fn folder_of(source: &Path) -> Result<PathBuf, Error> {
    let source = std::fs::canonicalize(source).map_err(Error::file("find", source))?;
    if source.is_dir() {
        return Ok(source);
    }
    Ok(source.parent().map_or_else(|| source.clone(), Path::to_owned))
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use kes_server::auth::Identity;

    use super::*;
    use crate::pki::{Authority, LeafSpec};

    const NOBODY: Environment<'static> = &|_| None;

    /// A folder with a Compose file whose KES has that configuration, and whose servers have those volumes.
    fn project(keystore: &str, identity: &str, [keys, data]: [&str; 2], more: &str) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let config = format!(
            "address: 0.0.0.0:7373\nadmin: {{ identity: disabled }}\ntls: {{ key: /k, cert: /c }}\npolicy: {{ minio: {{ \
             allow: [/v1/key/generate/*], identities: ['{identity}'] }} }}\nkeys: [{{ name: first }}]\nkeystore: {keystore}\n"
        );
        std::fs::write(folder.path().join("kes.yml"), config).unwrap();
        let compose = format!(
            "name: trial\nservices:\n  kes:\n    image: minio/kes\n    command: server --config=/kes.yml\n    volumes: \
             ['./kes.yml:/kes.yml', '{keys}:/keys']\n  minio:\n    image: minio/minio\n    command: server /data\n    volumes: \
             ['{data}:/data', '.:/certs']\n    environment: {{ MINIO_KMS_KES_KEY_NAME: first{more} }}\nvolumes: {{ a: {{}}, \
             b: {{}} }}\n"
        );
        std::fs::write(folder.path().join("compose.yaml"), compose).unwrap();
        for name in ["keys", "data"] {
            std::fs::create_dir(folder.path().join(name)).unwrap();
        }
        folder
    }

    fn read(folder: &Path) -> Found {
        Found::read(&folder.join("compose.yaml"), &|_| None).unwrap()
    }

    #[test]
    fn drive_and_keys_of_volumes_are_taken_from_where_the_user_says() {
        let folder = project("{ fs: { path: /keys } }", &"a".repeat(64), ["a", "b"], "");
        let (path, mut found) = (folder.path(), read(folder.path()));
        let source = path.join("compose.yaml");
        let error = found.rehearsal((&source, path), NOBODY).unwrap_err();
        assert!(error.exit_code() == 2 && error.to_string().contains("--drive"), "{error}");
        found.take_from(Some(&path.join("data")), None).unwrap();
        let deployment = found.rehearsal((&source, path), NOBODY).unwrap();
        let why = deployment.keys_elsewhere.unwrap();
        assert!(why.contains("volume of the engine, '/keys'") && why.contains("--keys"), "{why}");
        found.take_from(Some(&path.join("data")), Some(&path.join("keys"))).unwrap();
        let deployment = found.rehearsal((&source, path), NOBODY).unwrap();
        let keys = std::fs::canonicalize(path.join("keys")).unwrap();
        assert_eq!((deployment.keys_elsewhere, deployment.manifest.fs_path()), (None, Some(keys)));
        assert_eq!(deployment.folder, std::fs::canonicalize(path).unwrap());
        assert!(found.take_from(Some(Path::new("/absent")), None).is_err());
    }

    #[test]
    fn a_credential_that_nobody_gave_is_named_and_only_one_of_the_vendor_is_taken_from_the_environment() {
        let keystore =
            "{ vault: { endpoint: 'https://vault:8200', approle: { id: role, secret: '${VAULT_SECRET}' } } }";
        let folder = project(keystore, "${MINIO_IDENTITY}", ["./keys", "./data"], "");
        let (found, places) = (read(folder.path()), (folder.path().join("compose.yaml"), folder.path().to_owned()));
        let error = found.rehearsal((&places.0, &places.1), NOBODY).unwrap_err();
        assert!(error.exit_code() == 2 && error.to_string().contains("VAULT_SECRET"), "{error}");
        assert!(error.to_string().contains("'https://vault:8200'"), "{error}");
        let of_others = |name: &str| (name == "VAULT_SECRET").then(|| "of something else".to_owned());
        let error = found.rehearsal((&places.0, &places.1), &of_others).unwrap_err();
        assert!(error.exit_code() == 2 && error.to_string().contains("set VAULT_SECRET_ID in the"), "{error}");
        assert!(!error.to_string().contains("something else"), "{error}");
        let given = |name: &str| (name == "VAULT_SECRET_ID").then(|| "s3cret".to_owned());
        let deployment = found.rehearsal((&places.0, &places.1), &given).unwrap();
        assert_eq!(deployment.manifest.keystore["vault"]["approle"]["secret"], "s3cret");
        let rules = deployment.rules.unwrap();
        assert!(rules.has_gaps && rules.minio == Caller::Unknown);
    }

    #[test]
    fn kes_takes_minio_for_the_holder_of_its_certificate() {
        let named = ", MINIO_KMS_KES_CERT_FILE: /certs/minio.crt, MINIO_KMS_KES_KEY_FILE: /certs/minio.key";
        let folder = project("{ fs: { path: /keys } }", &"a".repeat(64), ["./keys", "./data"], named);
        let authority = Authority::generate("a", Timestamp::now()).unwrap();
        let spec = LeafSpec { common_name: "minio".into(), dns: vec![], ip: vec![], server: false, client: true };
        let leaf = authority.issue(&spec, Timestamp::now()).unwrap();
        let caller = |certificate: &str| {
            std::fs::write(folder.path().join("minio.crt"), certificate).unwrap();
            std::fs::write(folder.path().join("minio.key"), leaf.key_pem.as_bytes()).unwrap();
            read(folder.path()).caller()
        };
        let identity: Identity = pki::identity(&leaf.cert_pem).unwrap();
        assert_eq!(caller(&leaf.cert_pem).unwrap(), Caller::Known(identity));
        assert_eq!(caller(&authority.cert_pem).unwrap(), Caller::Authority);
        assert!(caller("no certificate").unwrap_err().to_string().contains("minio.crt' is not a certificate"));
    }
}
