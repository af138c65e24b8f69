//! The secrets and certificates of a stack: what the folder holds, completed in memory by what is missing.

use std::collections::BTreeMap;
use std::path::Path;

use aws_lc_rs::rand;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use kes_server::auth::Identity;
use zeroize::Zeroizing;

use super::certificates::{Certificates, Renewal, kes_leaf};
use super::{Layout, seal};
use crate::error::Error;
use crate::host::digest::SecretKey;
use crate::host::ownership;
use crate::manifest::{AUTO_ENCRYPTION, Manifest, is_on};
use crate::pki::{self, Authority, Leaf};
use crate::template::parse_env;

/// Everything of a stack that is random or derived from randomness.
#[derive(Debug, Clone)]
pub struct Material {
    /// The stack's own certificate authority.
    pub authority: Authority,
    /// Server certificate of KES.
    pub kes: Leaf,
    /// Client certificate of MinIO.
    pub minio: Leaf,
    /// Client certificate of the stack's admin.
    pub admin: Leaf,
    /// Server certificate of MinIO, if S3 speaks TLS.
    pub s3: Option<Leaf>,
    /// Root user of MinIO.
    pub credentials: Credentials,
    /// Whether MinIO encrypts new objects in buckets without an encryption of their own.
    pub auto_encryption: bool,
    /// Key for the digests of secrets.
    pub digest_key: Zeroizing<Vec<u8>>,
    /// File of the master key that seals the stack's own keys, if kestack makes one.
    pub master_key: Option<Zeroizing<Vec<u8>>>,
    /// Certificates that are other ones than those in the folder.
    pub renewed: Vec<Renewal>,
}

/// MinIO's root user, which is also the S3 access key.
#[derive(Clone)]
pub struct Credentials {
    /// Access key.
    pub user: String,
    /// Secret key.
    pub password: Zeroizing<String>,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Credentials(..)")
    }
}

impl Material {
    /// Reads what is there and makes what is missing or about to expire. Writes nothing.
    ///
    /// # Errors
    /// [`Error::Environment`] if the folder is not the caller's alone.
    pub fn complete(layout: &Layout, manifest: &Manifest) -> Result<Self, Error> {
        ownership::check_stack(layout.root())?;
        let certificates = Certificates::complete(layout, manifest, Timestamp::now())?;
        let stored = read(&layout.minio_env())?.map(|text| parse_env(&text));
        let former = stored.as_ref().map(encrypts_all);
        Ok(Self {
            authority: certificates.authority,
            kes: certificates.kes,
            minio: certificates.minio,
            admin: certificates.admin,
            s3: certificates.s3,
            renewed: certificates.renewed,
            credentials: credentials(&stored.unwrap_or_default(), manifest)?,
            auto_encryption: manifest.auto_encryption(former),
            master_key: seal::master_key(manifest, layout)?,
            digest_key: match read(&layout.digest_key())? {
                Some(text) => Zeroizing::new(text.as_bytes().to_vec()),
                None => Zeroizing::new(random(32)?.as_bytes().to_vec()),
            },
        })
    }

    /// Reads the material of an existing stack; what MinIO encrypts is as it was started, whatever the manifest says now.
    ///
    /// # Errors
    /// [`Error::NotRunning`] if the folder does not hold one.
    pub fn existing(layout: &Layout, manifest: &Manifest) -> Result<Self, Error> {
        ownership::check_stack(layout.root())?;
        let env = read(&layout.minio_env())?.filter(|_| layout.admin_key().exists());
        let Some(env) = env else { return Err(Error::NotRunning(manifest.name.to_string())) };
        Ok(Self { auto_encryption: encrypts_all(&parse_env(&env)), ..Self::complete(layout, manifest)? })
    }

    /// Identity of the stack's admin at KES.
    pub fn admin_identity(&self) -> Result<Identity, Error> {
        Ok(pki::identity(&self.admin.cert_pem)?)
    }

    /// Identity of MinIO at KES.
    pub fn minio_identity(&self) -> Result<Identity, Error> {
        Ok(pki::identity(&self.minio.cert_pem)?)
    }

    /// A certificate for KES's key that expired yesterday, in PEM.
    pub(crate) fn expired_kes(&self, manifest: &Manifest) -> Result<String, Error> {
        Ok(self.authority.expired(&self.kes, &kes_leaf(manifest))?.cert_pem)
    }

    /// The key for digests of secrets.
    pub fn digests(&self) -> SecretKey {
        SecretKey::new(&self.digest_key)
    }
}

/// True if MinIO encrypts everything with that environment.
fn encrypts_all(env: &BTreeMap<String, String>) -> bool {
    env.get(AUTO_ENCRYPTION).is_some_and(|value| is_on(value))
}

/// The user's credentials, else those already in the env file, else new ones. Both parts are random: an unpatched
/// MinIO CVE needs only a known access key (docs/architecture.md §5).
fn credentials(stored: &BTreeMap<String, String>, manifest: &Manifest) -> Result<Credentials, Error> {
    let pick = |options: Option<&str>, name: &str, length: usize| match (options, stored.get(name)) {
        (Some(value), _) => Ok(value.to_owned()),
        (None, Some(value)) => Ok(value.clone()),
        (None, None) => random(length).map(|text| text.to_string()),
    };
    Ok(Credentials {
        user: pick(manifest.minio.root_user.as_deref(), "MINIO_ROOT_USER", 15)?,
        password: Zeroizing::new(pick(
            manifest.minio.root_password.as_deref().map(String::as_str),
            "MINIO_ROOT_PASSWORD",
            30,
        )?),
    })
}

/// Random bytes as URL-safe text of a third more characters.
fn random(bytes: usize) -> Result<Zeroizing<String>, Error> {
    let mut buffer = Zeroizing::new(vec![0; bytes]);
    rand::fill(&mut buffer).map_err(Error::no_random_bytes)?;
    // A leading `-` would read as an option wherever a person pastes the value.
    Ok(Zeroizing::new(URL_SAFE_NO_PAD.encode(&*buffer).replace(['-', '_'], "k")))
}

/// The text of a file; `None` if it is missing or empty.
pub(super) fn read(path: &Path) -> Result<Option<Zeroizing<String>>, Error> {
    match std::fs::read_to_string(path) {
        Ok(text) if text.trim().is_empty() => Ok(None),
        Ok(text) => Ok(Some(Zeroizing::new(text))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::file("read", path)(error)),
    }
}
