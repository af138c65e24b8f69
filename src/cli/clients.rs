//! What single S3 clients need to work on a stack: variables for those that read them, the text of a file for the others.

use clap::ValueEnum;

use crate::error::Error;
use crate::manifest::Bucket;
use crate::servers::s3::REGION;
use crate::stack::Stack;

/// A client of S3.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum S3Program {
    /// Variables, for boto3 and other AWS SDKs
    #[value(alias = "aws")]
    Boto3,
    /// SQL: `CREATE SECRET`
    Duckdb,
    /// A variable that makes an alias of the stack's name
    Mc,
    /// Python, which takes the credentials from the variables of boto3
    Pyarrow,
    /// Variables that make a remote of the stack's name, and one more for each further key
    Rclone,
    /// Variables, with a repository in the first bucket
    Restic,
    /// A configuration file
    S3cmd,
    /// Variables
    S3fs,
}

/// What a client needs.
pub(super) enum Setup {
    /// Variables of its environment.
    Variables(Vec<(String, String)>),
    /// Text that it reads from a file or its standard input.
    Text(String),
}

impl S3Program {
    /// What this client needs for that stack. It holds secrets.
    ///
    /// # Errors
    /// [`Error::Usage`] if it needs a bucket and the stack declares none.
    pub(super) fn setup(self, stack: &Stack) -> Result<Setup, Error> {
        let all = stack.variables();
        let only = |prefix: &str| all.iter().filter(|(name, _)| name.starts_with(prefix)).cloned().collect::<Vec<_>>();
        Ok(match self {
            Self::Boto3 | Self::S3fs => Setup::Variables(only("AWS_")),
            Self::Mc => Setup::Variables([only("MC_HOST_"), authority(stack, "SSL_CERT_FILE")].concat()),
            Self::Restic => {
                let bucket = stack.manifest.buckets.first().ok_or_else(no_bucket)?;
                let repository = format!("s3:{}/{}/restic", stack.s3_endpoint(), bucket.name);
                let mut variables = only("AWS_");
                variables.push(("RESTIC_REPOSITORY".into(), repository));
                variables.extend(authority(stack, "SSL_CERT_FILE"));
                Setup::Variables(variables)
            }
            Self::Rclone => Setup::Variables([rclone(stack), authority(stack, "RCLONE_CA_CERT")].concat()),
            Self::Pyarrow => Setup::Text(pyarrow(stack)),
            Self::S3cmd => Setup::Text(s3cmd(stack)),
            Self::Duckdb => Setup::Text(duckdb(stack)),
        })
    }
}

/// The variable by which a client learns of the stack's authority; nothing without TLS. Programs in Go that have none of
/// their own read the system's.
fn authority(stack: &Stack, variable: &str) -> Vec<(String, String)> {
    stack.s3_authority().map(|ca| (variable.to_owned(), ca.display().to_string())).into_iter().collect()
}

fn no_bucket() -> Error {
    Error::Usage {
        what: "restic needs a bucket, and kestack.yaml declares none".into(),
        hint: "declare one below `buckets`, or take --client boto3 and set RESTIC_REPOSITORY yourself".into(),
    }
}

/// A remote for each key. rclone compares the `ETag` with an MD5 sum, which it is not under SSE-KMS: rclone knows that only of a
/// remote that asks for SSE-KMS itself. A request that does so without a key gets the default key, whatever the bucket's is.
fn rclone(stack: &Stack) -> Vec<(String, String)> {
    let alias = stack.manifest.name.as_str().replace('-', "_");
    let default = &stack.manifest.default_key;
    let others = stack
        .manifest
        .buckets
        .iter()
        .filter(|bucket| bucket.encrypts())
        .filter_map(|bucket: &Bucket| bucket.key.as_ref());
    let mut keys: Vec<_> = others.filter(|key| *key != default).collect();
    keys.sort_unstable_by_key(|key| key.as_str());
    keys.dedup();
    let mut variables = remote(stack, &alias, default.as_str());
    for key in keys {
        let own: String =
            key.as_str().chars().map(|sign| if sign.is_ascii_alphanumeric() { sign } else { '_' }).collect();
        variables.extend(remote(stack, &format!("{alias}_{own}"), key.as_str()));
    }
    variables
}

fn remote(stack: &Stack, name: &str, key: &str) -> Vec<(String, String)> {
    let root = &stack.material.credentials;
    let endpoint = stack.s3_endpoint();
    let options = [
        ("TYPE", "s3"),
        ("PROVIDER", "Minio"),
        ("ENV_AUTH", "false"),
        ("ACCESS_KEY_ID", &root.user),
        ("SECRET_ACCESS_KEY", &root.password),
        ("ENDPOINT", &endpoint),
        ("REGION", REGION),
        ("SERVER_SIDE_ENCRYPTION", "aws:kms"),
        ("SSE_KMS_KEY_ID", key),
    ];
    let name = name.to_uppercase();
    options.into_iter().map(|(option, value)| (format!("RCLONE_CONFIG_{name}_{option}"), value.to_owned())).collect()
}

/// Its `sync` compares the `ETag` with an MD5 sum, too; no setting of the file turns that off, only an option.
fn s3cmd(stack: &Stack) -> String {
    let root = &stack.material.credentials;
    let endpoint = stack.s3_endpoint();
    let (scheme, host) = endpoint.split_once("://").unwrap_or(("http", &endpoint));
    let use_https = if scheme == "https" { "True" } else { "False" };
    let trust = stack.s3_authority().map(|ca| format!("\nca_certs_file = {}", ca.display())).unwrap_or_default();
    format!(
        "# `s3cmd sync` needs --no-check-md5 with this: it sends every object again each time without it\n[default]\naccess_key = {}\nsecret_key = {}\nhost_base = {host}\nhost_bucket = {host}\nuse_https = {use_https}\n\
         bucket_location = {REGION}{trust}",
        root.user, *root.password
    )
}

/// It reads credentials from the environment, but no endpoint.
fn pyarrow(stack: &Stack) -> String {
    let endpoint = stack.s3_endpoint();
    let (scheme, host) = endpoint.split_once("://").unwrap_or(("http", &endpoint));
    let trust = stack.s3_authority().map(|ca| format!(", tls_ca_file_path={:?}", ca.display().to_string()));
    format!(
        "from pyarrow.fs import S3FileSystem\n\ns3 = S3FileSystem(endpoint_override=\"{host}\", scheme=\"{scheme}\", \
         region=\"{REGION}\"{})",
        trust.unwrap_or_default()
    )
}

fn duckdb(stack: &Stack) -> String {
    let root = &stack.material.credentials;
    let endpoint = stack.s3_endpoint();
    let (scheme, host) = endpoint.split_once("://").unwrap_or(("http", &endpoint));
    let quoted = |text: &str| format!("'{}'", text.replace('\'', "''"));
    let trust = stack.s3_authority().map(|ca| format!("SET ca_cert_file = {};\n", quoted(&ca.display().to_string())));
    format!(
        "INSTALL httpfs;\nLOAD httpfs;\n{}CREATE OR REPLACE SECRET kestack (\n    TYPE s3,\n    KEY_ID {},\n    SECRET {},\n    \
         ENDPOINT {},\n    REGION '{REGION}',\n    URL_STYLE 'path',\n    USE_SSL {}\n);",
        trust.unwrap_or_default(),
        quoted(&root.user),
        quoted(&root.password),
        quoted(host),
        scheme == "https"
    )
}
