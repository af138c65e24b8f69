//! A file stored as an object: read while it is sent, so that its size does not matter.

use std::fs::File;
use std::io;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::stream::{self, Stream};
use tokio::io::AsyncReadExt as _;

use super::objects::encoded;
use super::{DEADLINE, S3Client, S3Error};

/// Metadata of an object: SHA-256 in hex of the file that it was stored from.
pub(super) const DIGEST: &str = "x-amz-meta-kestack-sha256";

/// How much is read at once.
const PIECE: usize = 128 << 10;

/// The slowest that a file may be stored, in bytes a second.
const SLOWEST: u64 = 1 << 20;

/// A file to be stored.
#[derive(Debug, Clone, Copy)]
pub struct Upload<'a> {
    /// Name of the object.
    pub key: &'a str,
    /// Length in bytes.
    pub size: u64,
    /// SHA-256 in hex, which MinIO compares with what arrives.
    pub sha256: &'a str,
    /// Its type, if that is known.
    pub content_type: Option<&'a str>,
}

impl S3Client {
    /// Stores a file.
    ///
    /// # Errors
    /// Those of the call, also if the file is not what its size and hash say.
    pub async fn upload(&self, bucket: &str, upload: &Upload<'_>, file: File) -> Result<(), S3Error> {
        let path = format!("/{bucket}/{}", encoded(upload.key));
        let invalid = |cause: String| S3Error::Invalid { call: format!("PUT {path}"), cause };
        let url = self.place(&path).map_err(invalid)?;
        let name = format!("PUT {url}");
        let invalid = |cause: String| S3Error::Invalid { call: name.clone(), cause };
        let mut head = http::Request::builder()
            .method("PUT")
            .uri(url.as_str())
            .header("x-amz-content-sha256", upload.sha256)
            .header(DIGEST, upload.sha256)
            .header("content-length", upload.size);
        if let Some(kind) = upload.content_type {
            head = head.header("content-type", kind);
        }
        let head = head.body(()).map_err(|error| invalid(error.to_string()))?;
        let (mut head, ()) = head.into_parts();
        self.signer.sign(&mut head, None).await.map_err(|error| invalid(error.to_string()))?;
        let body = reqwest::Body::wrap_stream(pieces(file));
        let mut request: reqwest::Request = http::Request::from_parts(head, body)
            .try_into()
            .map_err(|error: reqwest::Error| invalid(error.to_string()))?;
        *request.timeout_mut() = Some(DEADLINE + Duration::from_secs(upload.size / SLOWEST));
        self.answer(name, request).await.map(drop)
    }
}

/// The content of a file.
fn pieces(file: File) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
    stream::try_unfold(tokio::fs::File::from_std(file), |mut file| async move {
        let mut piece = BytesMut::with_capacity(PIECE);
        let length = file.read_buf(&mut piece).await?;
        Ok((length > 0).then(|| (piece.freeze(), file)))
    })
}
