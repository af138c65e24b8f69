//! The schema of kestack.yaml, for editors.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::seed::SeedFile;
use super::{BucketEncryption, EngineKind};

pub(super) fn schema() -> Value {
    schemars::schema_for!(File).to_value()
}

/// The file as its schema describes it. Read by people's editors, not by the program: a test holds both together.
#[derive(Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "kestack.yaml", inline)]
struct File {
    /// Version of this format: v1
    version: Option<String>,
    /// Name of the stack and of its pod
    name: Option<String>,
    /// Kind of container engine
    engine: Option<EngineKind>,
    /// Folder in which stacks keep their files
    dir: Option<PathBuf>,
    /// Address that ports are published on
    host: Option<IpAddr>,
    /// KES's own keystore section
    keystore: Option<BTreeMap<String, Value>>,
    /// Encryption keys; the first one encrypts MinIO's backend
    keys: Option<Vec<String>>,
    /// What differs for KES
    kes: Option<KesFile>,
    /// What differs for MinIO
    minio: Option<MinioFile>,
    /// Buckets and their default encryption
    buckets: Option<Vec<BucketFile>>,
    /// Encrypt what is put into any other bucket, with the default key: true for a new stack, unless a bucket is `none`
    auto_encryption: Option<bool>,
    /// Whether `up` also starts the HTTP interface and its page, as `kestack ui` does
    ui: Option<bool>,
    /// Content that the stack holds from its start
    seed: Option<SeedFile>,
}

#[derive(Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct KesFile {
    /// Host port of the first replica, the others' follow it; 0 means any free ones
    port: Option<u16>,
    /// How many servers share the keystore on this machine: 1 to 9
    #[schemars(range(min = 1, max = 9))]
    replicas: Option<u16>,
    /// Image instead of the one composed from `kes`
    image: Option<String>,
    /// The `kes` program to compose the image from
    binary: Option<PathBuf>,
    /// Names and addresses by which clients on other machines reach KES: its certificate is for them, too
    names: Option<Vec<String>>,
    /// Variables of KES's environment, never secrets
    env: Option<BTreeMap<String, String>>,
    /// Seal the keys of the stack's own folder under a master key; without it they stay as they are
    seal: Option<bool>,
}

#[derive(Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct MinioFile {
    /// Host port of S3; 0 means any free one
    port: Option<u16>,
    /// Host port of the console; 0 means any free one
    console_port: Option<u16>,
    /// Image instead of the one that kestack finds or composes
    image: Option<String>,
    /// The `minio` program to compose the image from
    binary: Option<PathBuf>,
    /// Access key of the root user, if not a random one
    root_user: Option<String>,
    /// Secret key of the root user, if not a random one
    root_password: Option<String>,
    /// Key of the backend and of SSE-S3, if not the first one
    default_key: Option<String>,
    /// Whether S3 and the console speak TLS, with a certificate of the stack's own authority
    tls: Option<bool>,
    /// Names and addresses by which clients on other machines reach S3: its certificate is for them, too
    names: Option<Vec<String>>,
    /// More variables of MinIO's environment
    env: Option<BTreeMap<String, String>>,
}

#[derive(Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct BucketFile {
    /// Name of the bucket
    name: String,
    /// Default encryption: sse-kms unless said otherwise
    encryption: Option<BucketEncryption>,
    /// Key for SSE-KMS, if not the default key
    key: Option<String>,
    /// Whether it keeps versions
    versioning: Option<bool>,
}
