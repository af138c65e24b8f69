//! An object stored in pieces, for a sender who does not say how long it will be: no more than one piece is in memory.

use bytes::{Bytes, BytesMut};
use reqwest::Method;
use serde::{Deserialize, Serialize};

use super::objects::encoded;
use super::{S3Client, S3Error};

/// The most pieces of an object.
const MOST: usize = 10_000;
/// The length of a piece: as many as S3 takes are 78 GiB.
const PIECE: usize = 8 << 20;
/// That of a piece of the largest objects: 156 GiB.
const LARGEST: usize = 16 << 20;

/// How long a piece has to be for an object of that length, if it is known; `None` if that would take too much memory.
pub(crate) fn piece_of(length: Option<u64>) -> Option<usize> {
    let least = length.unwrap_or_default().div_ceil(MOST as u64);
    let least = usize::try_from(least).ok().filter(|least| *least <= LARGEST)?;
    Some(least.max(PIECE))
}

/// An object on its way.
pub(crate) struct Pieces<'a> {
    s3: &'a S3Client,
    path: String,
    content_type: String,
    /// Length of a piece.
    piece: usize,
    held: BytesMut,
    /// Name of the upload, once one piece was not enough.
    upload: Option<String>,
    sent: Vec<Sent>,
    length: u64,
}

impl<'a> Pieces<'a> {
    /// An object of that name and type, in pieces of that length. Nothing is sent yet.
    pub(crate) fn new(s3: &'a S3Client, (bucket, key): (&str, &str), content_type: &str, piece: usize) -> Self {
        Self {
            s3,
            path: format!("{bucket}/{}", encoded(key)),
            content_type: content_type.to_owned(),
            piece,
            held: BytesMut::new(),
            upload: None,
            sent: Vec::new(),
            length: 0,
        }
    }

    /// Takes more of it.
    ///
    /// # Errors
    /// Those of the calls; then [`Self::abort`] is due.
    pub(crate) async fn add(&mut self, mut chunk: Bytes) -> Result<(), S3Error> {
        self.length += chunk.len() as u64;
        while !chunk.is_empty() {
            let room = self.piece.saturating_sub(self.held.len()).min(chunk.len());
            self.held.extend_from_slice(&chunk.split_to(room));
            if self.held.len() == self.piece && !chunk.is_empty() {
                self.send().await?;
            }
        }
        Ok(())
    }

    /// Stores what was taken, and says how long it is.
    ///
    /// # Errors
    /// Those of the calls; then [`Self::abort`] is due.
    pub(crate) async fn finish(&mut self) -> Result<u64, S3Error> {
        if self.upload.is_none() {
            let content = self.held.split().freeze();
            let headers: &[_] = &[("content-type", self.content_type.as_str())];
            self.s3.call_on(Method::PUT, &self.path, "", headers, content).await?;
            return Ok(self.length);
        }
        self.send().await?;
        let all = Complete { part: std::mem::take(&mut self.sent) };
        let invalid = |cause: String| S3Error::Invalid { call: format!("POST /{}", self.path), cause };
        let body = quick_xml::se::to_string_with_root("CompleteMultipartUpload", &all)
            .map_err(|error| invalid(error.to_string()))?;
        let answer = self.s3.call_on(Method::POST, &self.path, &self.query(""), &[], body.into()).await?;
        // the status may be that of success although it failed later
        let text = String::from_utf8_lossy(&answer.body);
        if text.contains("<CompleteMultipartUploadResult") { Ok(self.length) } else { Err(invalid(text.into_owned())) }
    }

    /// Removes what was sent of an object that is not to be.
    pub(crate) async fn abort(&self) {
        if self.upload.is_some()
            && let Err(error) = self.s3.call_on(Method::DELETE, &self.path, &self.query(""), &[], Bytes::new()).await
        {
            tracing::warn!("an upload was not removed: {error}");
        }
    }

    /// Sends the piece that is held.
    async fn send(&mut self) -> Result<(), S3Error> {
        if self.upload.is_none() {
            let headers: &[_] = &[("content-type", self.content_type.as_str())];
            let answer = self.s3.call_on(Method::POST, &self.path, "uploads=", headers, Bytes::new()).await?;
            self.upload = Some(answer.xml::<Begun>()?.id);
        }
        let number = self.sent.len() + 1;
        if number > MOST {
            let cause = format!("it is larger than {MOST} pieces of {} bytes", self.piece);
            return Err(S3Error::Invalid { call: format!("PUT /{}", self.path), cause });
        }
        let query = self.query(&format!("partNumber={number}&"));
        let answer = self.s3.call_on(Method::PUT, &self.path, &query, &[], self.held.split().freeze()).await?;
        let etag = answer.headers.get("etag").and_then(|etag| etag.to_str().ok()).unwrap_or_default().to_owned();
        self.sent.push(Sent { part_number: number, etag });
        Ok(())
    }

    fn query(&self, before: &str) -> String {
        format!("{before}uploadId={}", encoded(self.upload.as_deref().unwrap_or_default()))
    }
}

#[derive(Deserialize)]
struct Begun {
    #[serde(rename = "UploadId")]
    id: String,
}

#[derive(Serialize)]
struct Complete {
    #[serde(rename = "Part")]
    part: Vec<Sent>,
}

#[derive(Serialize)]
struct Sent {
    #[serde(rename = "PartNumber")]
    part_number: usize,
    #[serde(rename = "ETag")]
    etag: String,
}
