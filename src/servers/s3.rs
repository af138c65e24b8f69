//! The S3 calls that a stack makes of its MinIO. Signing is reqsign's, HTTP reqwest's, XML quick-xml's.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use reqsign_aws_v4::{Credential, RequestSigner, StaticCredentialProvider};
use reqsign_core::{Context, Signer};
use reqwest::{Method, Url};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

mod call;
mod copy;
mod form;
mod loopback;
pub(crate) mod objects;
pub(crate) mod pieces;
mod policy;
mod read;
mod rules;
mod upload;

pub(super) use loopback::any_certificate;
pub use read::Reading;
pub use upload::Upload;

use form::{
    EncryptionConfiguration, EncryptionDefault, EncryptionRule, ListBuckets, Uploads, Version, VersionEntry,
    Versioning, Versions,
};
use objects::{decoded, encoded};

/// Longest time for one call. A call whose data key KES does not answer for would hang forever
/// (docs/minio-kms-client.md §2.2).
const DEADLINE: Duration = Duration::from_secs(30);

/// MinIO's region unless its configuration names another.
pub(crate) const REGION: &str = "us-east-1";

/// MinIO shows key names with this in front, and takes them with or without it.
const KEY_PREFIX: &str = "arn:aws:kms:";

/// A client of one MinIO, as one of its users.
#[derive(Clone)]
pub struct S3Client {
    http: reqwest::Client,
    endpoint: Url,
    signer: Arc<Signer<Credential>>,
}

/// Default encryption of a bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Encryption {
    /// SSE-KMS with the key of this name.
    SseKms(String),
    /// SSE-S3: with MinIO's default key.
    SseS3,
}

/// The properties of an object that are known without reading it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectHead {
    /// `x-amz-server-side-encryption`: `aws:kms`, `AES256` or nothing.
    pub encryption: Option<String>,
    /// Name of the key that protects it, under SSE-KMS.
    pub kms_key: Option<String>,
    /// Its length in bytes.
    pub length: u64,
    /// SHA-256 in hex of the file that [`S3Client::upload`] stored there.
    pub seeded: Option<String>,
}

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum S3Error {
    /// No connection, or it broke, or the deadline passed.
    #[error("{call}: {cause}")]
    Connection {
        /// Method and URL.
        call: String,
        /// What went wrong.
        cause: String,
    },
    /// MinIO refused.
    #[error("{call} answered {status} {code}: {message}")]
    Refused {
        /// Method and URL.
        call: String,
        /// HTTP status.
        status: u16,
        /// S3 error code, e.g. `NoSuchBucket`.
        code: String,
        /// Its text.
        message: String,
    },
    /// The answer is not understood, or the request could not be made.
    #[error("{call}: {cause}")]
    Invalid {
        /// Method and URL.
        call: String,
        /// What is wrong.
        cause: String,
    },
}

impl S3Error {
    /// The S3 error code, empty if there is none.
    pub fn code(&self) -> &str {
        match self {
            Self::Refused { code, .. } => code,
            _ => "",
        }
    }

    /// True if there is no such bucket, object or configuration.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused { status: 404, .. })
    }

    /// True if there is no such bucket.
    pub(crate) fn is_no_bucket(&self) -> bool {
        self.code() == "NoSuchBucket"
    }

    /// True if the same call will have the same answer later.
    pub(crate) fn is_final(&self) -> bool {
        matches!(self, Self::Refused { status: 400..500, .. })
    }

    /// True if MinIO's drive is full.
    pub(crate) fn is_full(&self) -> bool {
        self.code() == "XMinioStorageFull"
    }

    /// True if no answer came at all.
    pub fn is_connection(&self) -> bool {
        matches!(self, Self::Connection { .. })
    }
}

impl fmt::Debug for S3Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("S3Client").field("endpoint", &self.endpoint.as_str()).finish_non_exhaustive()
    }
}

impl fmt::Display for Encryption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SseKms(key) => write!(f, "SSE-KMS with key '{key}'"),
            Self::SseS3 => f.write_str("SSE-S3"),
        }
    }
}

impl S3Client {
    /// A client of `endpoint` (`http://127.0.0.1:9000`), which trusts no certificate. Nothing is connected yet.
    ///
    /// # Errors
    /// [`S3Error::Invalid`] if the endpoint is not a URL.
    pub fn new(endpoint: &str, user: &str, password: &str) -> Result<Self, S3Error> {
        Self::trusting(None, endpoint, user, password)
    }

    /// A client of `endpoint` (`https://127.0.0.1:9000`), which trusts the authority `ca` (PEM) and no other. Nothing is
    /// connected yet.
    ///
    /// # Errors
    /// [`S3Error::Invalid`] if the endpoint is not a URL, or `ca` does not hold a certificate.
    pub fn trusting(ca: Option<&str>, endpoint: &str, user: &str, password: &str) -> Result<Self, S3Error> {
        let invalid = |cause: String| S3Error::Invalid { call: endpoint.to_owned(), cause };
        let mut roots = rustls::RootCertStore::empty();
        if let Some(ca) = ca {
            let ca = CertificateDer::from_pem_slice(ca.as_bytes()).map_err(|error| invalid(error.to_string()))?;
            roots.add(ca).map_err(|error| invalid(error.to_string()))?;
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| invalid(error.to_string()))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Self::over(tls, endpoint, user, password)
    }

    fn over(tls: rustls::ClientConfig, endpoint: &str, user: &str, password: &str) -> Result<Self, S3Error> {
        let invalid = |cause: String| S3Error::Invalid { call: endpoint.to_owned(), cause };
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .no_proxy()
            .connect_timeout(Duration::from_secs(5))
            .timeout(DEADLINE)
            .build()
            .map_err(|error| invalid(error.to_string()))?;
        let endpoint = endpoint.parse().map_err(|error| invalid(format!("{error}")))?;
        Ok(Self { http, endpoint, signer: Arc::new(signer(user, password, REGION)) })
    }

    /// The same client as another user.
    pub(super) fn of(&self, user: &str, password: &str) -> Self {
        Self { signer: Arc::new(signer(user, password, REGION)), ..self.clone() }
    }

    /// Asks `/minio/health/<check>`: `live`, `ready` or `cluster`.
    pub async fn health(&self, check: &str) -> Result<(), S3Error> {
        self.ask(format!("/minio/health/{check}")).await.map(drop)
    }

    /// Creates a bucket.
    pub async fn create_bucket(&self, bucket: &str) -> Result<(), S3Error> {
        self.call(Method::PUT, bucket, "", Bytes::new()).await.map(drop)
    }

    /// Removes a bucket, which must be empty.
    pub async fn delete_bucket(&self, bucket: &str) -> Result<(), S3Error> {
        self.call(Method::DELETE, bucket, "", Bytes::new()).await.map(drop)
    }

    /// Names of all buckets.
    pub async fn list_buckets(&self) -> Result<Vec<String>, S3Error> {
        let answer = self.call(Method::GET, "", "", Bytes::new()).await?;
        let list: ListBuckets = answer.xml()?;
        Ok(list.buckets.bucket.into_iter().map(|bucket| bucket.name).collect())
    }

    /// The default encryption of a bucket, `None` if it has none.
    pub async fn bucket_encryption(&self, bucket: &str) -> Result<Option<Encryption>, S3Error> {
        let answer = match self.call(Method::GET, bucket, "encryption=", Bytes::new()).await {
            Err(error) if error.code() == "ServerSideEncryptionConfigurationNotFoundError" => return Ok(None),
            answer => answer?,
        };
        let configuration: EncryptionConfiguration = answer.xml()?;
        let default = configuration.rule.apply;
        let key = default.key.map(|key| key.trim_start_matches(KEY_PREFIX).to_owned());
        Ok(match (default.algorithm.as_str(), key) {
            ("aws:kms", Some(key)) => Some(Encryption::SseKms(key)),
            _ => Some(Encryption::SseS3),
        })
    }

    /// Sets the default encryption of a bucket. With SSE-KMS MinIO makes one data key to try the key out.
    pub async fn put_bucket_encryption(&self, bucket: &str, encryption: &Encryption) -> Result<(), S3Error> {
        self.call(Method::PUT, bucket, "encryption=", Self::encryption(encryption)?.into()).await.map(drop)
    }

    pub(super) fn encryption(encryption: &Encryption) -> Result<String, S3Error> {
        let (algorithm, key) = match encryption {
            Encryption::SseKms(key) => ("aws:kms", Some(key.clone())),
            Encryption::SseS3 => ("AES256", None),
        };
        let configuration = EncryptionConfiguration {
            rule: EncryptionRule { apply: EncryptionDefault { algorithm: algorithm.to_owned(), key } },
        };
        Self::written("ServerSideEncryptionConfiguration", &configuration)
    }

    /// Removes the default encryption of a bucket; one without is left so.
    pub async fn delete_bucket_encryption(&self, bucket: &str) -> Result<(), S3Error> {
        self.call(Method::DELETE, bucket, "encryption=", Bytes::new()).await.map(drop)
    }

    /// True if the bucket keeps versions.
    pub async fn bucket_versioning(&self, bucket: &str) -> Result<bool, S3Error> {
        let answer = self.call(Method::GET, bucket, "versioning=", Bytes::new()).await?;
        let configuration: Versioning = answer.xml()?;
        Ok(configuration.status.as_deref() == Some("Enabled"))
    }

    /// True if objects of the bucket can be locked: retention, legal hold.
    pub async fn bucket_locks(&self, bucket: &str) -> Result<bool, S3Error> {
        match self.call(Method::GET, bucket, "object-lock=", Bytes::new()).await {
            Err(error) if error.code() == "ObjectLockConfigurationNotFoundError" => Ok(false),
            answer => answer.map(|_| true),
        }
    }

    /// Turns versioning on, or suspends it.
    pub async fn put_bucket_versioning(&self, bucket: &str, on: bool) -> Result<(), S3Error> {
        self.call(Method::PUT, bucket, "versioning=", Self::versioning(on)?.into()).await.map(drop)
    }

    pub(super) fn versioning(on: bool) -> Result<String, S3Error> {
        let status = if on { "Enabled" } else { "Suspended" };
        Self::written("VersioningConfiguration", &Versioning { status: Some(status.to_owned()) })
    }

    /// Stores an object.
    pub async fn put_object(&self, bucket: &str, key: &str, body: &[u8]) -> Result<(), S3Error> {
        self.call(Method::PUT, &format!("{bucket}/{}", encoded(key)), "", Bytes::copy_from_slice(body)).await.map(drop)
    }

    /// Stores an object whose content is not signed.
    pub(crate) async fn put_unsigned(&self, bucket: &str, key: &str, body: Bytes) -> Result<(), S3Error> {
        self.put_with(&format!("{bucket}/{}", encoded(key)), &[(call::CONTENT_DIGEST, "UNSIGNED-PAYLOAD")], body).await
    }

    /// Reads an object.
    pub async fn get_object(&self, bucket: &str, key: &str) -> Result<Vec<u8>, S3Error> {
        Ok(self.get_object_bytes(bucket, key).await?.to_vec())
    }

    /// The same without a copy.
    pub(crate) async fn get_object_bytes(&self, bucket: &str, key: &str) -> Result<Bytes, S3Error> {
        self.whole(&format!("{bucket}/{}", encoded(key))).await
    }

    /// Asks for an object's metadata.
    pub async fn head_object(&self, bucket: &str, key: &str) -> Result<ObjectHead, S3Error> {
        let answer = self.call(Method::HEAD, &format!("{bucket}/{}", encoded(key)), "", Bytes::new()).await?;
        let header = |name: &str| answer.headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        Ok(ObjectHead {
            encryption: header("x-amz-server-side-encryption"),
            kms_key: header("x-amz-server-side-encryption-aws-kms-key-id")
                .map(|key| key.trim_start_matches(KEY_PREFIX).to_owned()),
            seeded: header(upload::DIGEST),
            length: header("content-length").and_then(|length| length.parse().ok()).unwrap_or_default(),
        })
    }

    /// Names of objects that start so, those with only a delete marker included: one page of them, each name once.
    pub async fn object_names(&self, bucket: &str, prefix: &str) -> Result<Vec<String>, S3Error> {
        let mut names: Vec<_> = self.versions(bucket, prefix).await?.into_iter().map(|version| version.key).collect();
        names.dedup();
        Ok(names)
    }

    /// Names of the objects of unfinished uploads: one page of them.
    pub async fn uploads(&self, bucket: &str) -> Result<Vec<String>, S3Error> {
        let query = "encoding-type=url&uploads=";
        let listing: Uploads = self.call(Method::GET, bucket, query, Bytes::new()).await?.xml()?;
        Ok(listing.uploads.into_iter().map(|upload| decoded(&upload.key)).collect())
    }

    /// Removes an object with all its versions and delete markers.
    pub async fn delete_object_versions(&self, bucket: &str, key: &str) -> Result<(), S3Error> {
        for version in self.versions(bucket, key).await?.into_iter().filter(|version| version.key == key) {
            let query = format!("versionId={}", encoded(&version.id));
            self.call(Method::DELETE, &format!("{bucket}/{}", encoded(key)), &query, Bytes::new()).await?;
        }
        Ok(())
    }

    /// Versions and delete markers of objects that start so: one page of them.
    async fn versions(&self, bucket: &str, prefix: &str) -> Result<Vec<Version>, S3Error> {
        let query = format!("encoding-type=url&prefix={}&versions=", encoded(prefix));
        let listing: Versions = self.call(Method::GET, bucket, &query, Bytes::new()).await?.xml()?;
        let versions = listing.entries.into_iter().filter_map(VersionEntry::version);
        Ok(versions.map(|version| Version { key: decoded(&version.key), ..version }).collect())
    }
}

fn signer(user: &str, password: &str, region: &str) -> Signer<Credential> {
    Signer::new(Context::new(), StaticCredentialProvider::new(user, password), RequestSigner::new("s3", region))
}
