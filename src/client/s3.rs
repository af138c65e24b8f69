//! The S3 calls that a stack makes of its MinIO. Signing is reqsign's, HTTP reqwest's, XML quick-xml's.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use reqsign_aws_v4::{Credential, RequestSigner, StaticCredentialProvider};
use reqsign_core::{Context, Signer};
use reqwest::{Method, StatusCode, Url};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

/// Longest time for one call. A call whose data key KES does not answer for would hang for ever
/// (minio-kes-client.md §2.2).
const DEADLINE: Duration = Duration::from_secs(30);

/// MinIO's region unless it is told another.
const REGION: &str = "us-east-1";

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

/// What is known of an object without reading it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectHead {
    /// `x-amz-server-side-encryption`: `aws:kms`, `AES256` or nothing.
    pub encryption: Option<String>,
    /// Name of the key that protects it, under SSE-KMS.
    pub kms_key: Option<String>,
    /// Its length in bytes.
    pub length: u64,
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
    /// A client of `endpoint` (`http://127.0.0.1:9000`). Nothing is connected yet.
    pub fn new(endpoint: &str, user: &str, password: &str) -> Result<Self, S3Error> {
        let invalid = |cause: String| S3Error::Invalid { call: endpoint.to_owned(), cause };
        // A stack's S3 has no TLS; the client still wants to know how it would be done.
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| invalid(error.to_string()))?
            .with_root_certificates(rustls::RootCertStore::empty())
            .with_no_client_auth();
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .no_proxy()
            .connect_timeout(Duration::from_secs(5))
            .timeout(DEADLINE)
            .build()
            .map_err(|error| invalid(error.to_string()))?;
        let signer = Signer::new(
            Context::new(),
            StaticCredentialProvider::new(user, password),
            RequestSigner::new("s3", REGION),
        );
        let endpoint = endpoint.parse().map_err(|error| invalid(format!("{error}")))?;
        Ok(Self { http, endpoint, signer: Arc::new(signer) })
    }

    /// Asks `/minio/health/<check>`: `live`, `ready` or `cluster`.
    pub async fn health(&self, check: &str) -> Result<(), S3Error> {
        let path = format!("/minio/health/{check}");
        let call = Call { method: Method::GET, path, query: "", headers: &[], body: Bytes::new() };
        self.send(&call, false).await.map(drop)
    }

    /// Creates a bucket.
    pub async fn create_bucket(&self, bucket: &str) -> Result<(), S3Error> {
        self.call(Method::PUT, bucket, "", Bytes::new()).await.map(drop)
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
        let (algorithm, key) = match encryption {
            Encryption::SseKms(key) => ("aws:kms", Some(key.clone())),
            Encryption::SseS3 => ("AES256", None),
        };
        let configuration = EncryptionConfiguration {
            rule: EncryptionRule { apply: EncryptionDefault { algorithm: algorithm.to_owned(), key } },
        };
        self.put_xml(bucket, "encryption=", "ServerSideEncryptionConfiguration", &configuration).await
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

    /// Turns versioning on, or suspends it.
    pub async fn put_bucket_versioning(&self, bucket: &str, on: bool) -> Result<(), S3Error> {
        let status = if on { "Enabled" } else { "Suspended" };
        let configuration = Versioning { status: Some(status.to_owned()) };
        self.put_xml(bucket, "versioning=", "VersioningConfiguration", &configuration).await
    }

    /// Stores an object.
    pub async fn put_object(&self, bucket: &str, key: &str, body: &[u8]) -> Result<(), S3Error> {
        self.call(Method::PUT, &format!("{bucket}/{key}"), "", Bytes::copy_from_slice(body)).await.map(drop)
    }

    /// Reads an object.
    pub async fn get_object(&self, bucket: &str, key: &str) -> Result<Vec<u8>, S3Error> {
        Ok(self.call(Method::GET, &format!("{bucket}/{key}"), "", Bytes::new()).await?.body.to_vec())
    }

    /// Asks for an object's metadata.
    pub async fn head_object(&self, bucket: &str, key: &str) -> Result<ObjectHead, S3Error> {
        let answer = self.call(Method::HEAD, &format!("{bucket}/{key}"), "", Bytes::new()).await?;
        let header = |name: &str| answer.headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        Ok(ObjectHead {
            encryption: header("x-amz-server-side-encryption"),
            kms_key: header("x-amz-server-side-encryption-aws-kms-key-id")
                .map(|key| key.trim_start_matches(KEY_PREFIX).to_owned()),
            length: header("content-length").and_then(|length| length.parse().ok()).unwrap_or_default(),
        })
    }

    /// Removes an object with all its versions and delete markers.
    pub async fn delete_object_versions(&self, bucket: &str, key: &str) -> Result<(), S3Error> {
        let query = format!("prefix={key}&versions=");
        let listing: Versions = self.call(Method::GET, bucket, &query, Bytes::new()).await?.xml()?;
        for version in listing.entries.into_iter().filter_map(VersionEntry::version).filter(|entry| entry.key == key) {
            let query = format!("versionId={}", version.id);
            self.call(Method::DELETE, &format!("{bucket}/{key}"), &query, Bytes::new()).await?;
        }
        Ok(())
    }

    pub(super) async fn put_xml(
        &self,
        bucket: &str,
        query: &str,
        root: &str,
        value: &impl serde::Serialize,
    ) -> Result<(), S3Error> {
        let body = quick_xml::se::to_string_with_root(root, value)
            .map_err(|error| S3Error::Invalid { call: format!("PUT /{bucket}?{query}"), cause: error.to_string() })?;
        self.call(Method::PUT, bucket, query, body.into()).await.map(drop)
    }

    pub(super) async fn call(&self, method: Method, path: &str, query: &str, body: Bytes) -> Result<Answer, S3Error> {
        self.send(&Call { method, path: format!("/{path}"), query, headers: &[], body }, true).await
    }

    pub(super) async fn call_with(&self, method: Method, path: &str, headers: Headers<'_>) -> Result<Answer, S3Error> {
        self.send(&Call { method, path: format!("/{path}"), query: "", headers, body: Bytes::new() }, true).await
    }

    async fn send(&self, call: &Call<'_>, signed: bool) -> Result<Answer, S3Error> {
        let name = call.name(&self.endpoint);
        tracing::debug!("{name}");
        let request = self.request(call, signed, &name).await?;
        let broken = |error: reqwest::Error| S3Error::Connection { call: name.clone(), cause: chain(&error) };
        let response = self.http.execute(request).await.map_err(broken)?;
        let (status, headers) = (response.status(), response.headers().clone());
        let body = response.bytes().await.map_err(broken)?;
        if status.is_success() {
            return Ok(Answer { call: name, headers, body });
        }
        Err(refused(name, status, &body))
    }

    async fn request(&self, call: &Call<'_>, signed: bool, name: &str) -> Result<reqwest::Request, S3Error> {
        let invalid = |cause: String| S3Error::Invalid { call: name.to_owned(), cause };
        let mut url = self.endpoint.clone();
        url.set_path(&call.path);
        url.set_query(Some(call.query).filter(|query| !query.is_empty()));
        let digest = hex::encode(Sha256::digest(&call.body));
        let mut request = http::Request::builder()
            .method(call.method.clone())
            .uri(url.as_str())
            .header("x-amz-content-sha256", digest);
        for (name, value) in call.headers {
            request = request.header(*name, *value);
        }
        let request = request.body(call.body.clone()).map_err(|error| invalid(error.to_string()))?;
        let (mut head, body) = request.into_parts();
        if signed {
            self.signer.sign(&mut head, None).await.map_err(|error| invalid(error.to_string()))?;
        }
        http::Request::from_parts(head, body).try_into().map_err(|error: reqwest::Error| invalid(error.to_string()))
    }
}

/// MinIO shows key names with this in front, and takes them with or without it.
const KEY_PREFIX: &str = "arn:aws:kms:";

type Headers<'a> = &'a [(&'static str, &'a str)];

struct Call<'a> {
    method: Method,
    path: String,
    query: &'a str,
    headers: Headers<'a>,
    body: Bytes,
}

impl Call<'_> {
    /// What is shown in messages: something the user can repeat.
    fn name(&self, endpoint: &Url) -> String {
        let mark = if self.query.is_empty() { "" } else { "?" };
        format!("{} {}{}{mark}{}", self.method, endpoint.as_str().trim_end_matches('/'), self.path, self.query)
    }
}

pub(super) struct Answer {
    call: String,
    headers: reqwest::header::HeaderMap,
    pub(super) body: Bytes,
}

impl Answer {
    pub(super) fn xml<T: for<'de> Deserialize<'de>>(&self) -> Result<T, S3Error> {
        quick_xml::de::from_reader(self.body.as_ref())
            .map_err(|error| S3Error::Invalid { call: self.call.clone(), cause: error.to_string() })
    }
}

fn refused(call: String, status: StatusCode, body: &[u8]) -> S3Error {
    // S3 answers in XML, the admin API in JSON
    let error: ErrorBody =
        serde_json::from_slice(body).ok().or_else(|| quick_xml::de::from_reader(body).ok()).unwrap_or_default();
    let code = if error.code.is_empty() && status == StatusCode::NOT_FOUND { "NotFound".into() } else { error.code };
    S3Error::Refused { call, status: status.as_u16(), code, message: error.message }
}

/// An error with its causes: reqwest's own text names only the outermost.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = String::new();
    let mut next = error.source();
    while let Some(cause) = next {
        text = cause.to_string();
        next = cause.source();
    }
    if text.is_empty() { error.to_string() } else { text }
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct ErrorBody {
    code: String,
    message: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ListBuckets {
    buckets: Buckets,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Buckets {
    #[serde(default)]
    bucket: Vec<BucketEntry>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct BucketEntry {
    name: String,
}

#[derive(Deserialize, serde::Serialize)]
#[serde(rename_all = "PascalCase")]
struct EncryptionConfiguration {
    rule: EncryptionRule,
}

#[derive(Deserialize, serde::Serialize)]
struct EncryptionRule {
    #[serde(rename = "ApplyServerSideEncryptionByDefault")]
    apply: EncryptionDefault,
}

#[derive(Deserialize, serde::Serialize)]
struct EncryptionDefault {
    #[serde(rename = "SSEAlgorithm")]
    algorithm: String,
    #[serde(rename = "KMSMasterKeyID", default, skip_serializing_if = "Option::is_none")]
    key: Option<String>,
}

#[derive(Deserialize, serde::Serialize)]
#[serde(rename_all = "PascalCase")]
struct Versioning {
    #[serde(default)]
    status: Option<String>,
}

#[derive(Deserialize)]
struct Versions {
    #[serde(rename = "$value", default)]
    entries: Vec<VersionEntry>,
}

#[derive(Deserialize)]
enum VersionEntry {
    Version(Version),
    DeleteMarker(Version),
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
struct Version {
    #[serde(rename = "Key")]
    key: String,
    #[serde(rename = "VersionId")]
    id: String,
}

impl VersionEntry {
    fn version(self) -> Option<Version> {
        match self {
            Self::Version(version) | Self::DeleteMarker(version) => Some(version),
            Self::Other => None,
        }
    }
}
