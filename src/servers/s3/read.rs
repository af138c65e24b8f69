//! An object read piece by piece, so that its size does not matter.

use std::time::Duration;

use bytes::Bytes;
use reqwest::Method;

use super::call::{Call, LARGEST, chain, read, refused};
use super::objects::encoded;
use super::{DEADLINE, S3Client, S3Error};

/// The slowest that MinIO may give an object, in bytes a second.
const SLOWEST: u64 = 1 << 20;

/// An object that is being read.
#[derive(Debug)]
pub struct Reading {
    call: String,
    response: reqwest::Response,
}

impl S3Client {
    /// Begins to read an object of about that size, in the version with that ID, or in the only one of a bucket that keeps
    /// none.
    ///
    /// # Errors
    /// Those of the call.
    pub async fn read_object(
        &self,
        (bucket, key): (&str, &str),
        version: Option<&str>,
        size: u64,
    ) -> Result<Reading, S3Error> {
        let query = format!("versionId={}", version.unwrap_or("null"));
        let path = format!("/{bucket}/{}", encoded(key));
        let call = Call { method: Method::GET, path, query: &query, headers: &[], body: Bytes::new() };
        let name = call.name(&self.endpoint);
        let mut request = self.request(&call, true, &name).await?;
        *request.timeout_mut() = Some(DEADLINE + Duration::from_secs(size / SLOWEST));
        let broken = |error: reqwest::Error| S3Error::Connection { call: name.clone(), cause: chain(&error) };
        let response = self.http.execute(request).await.map_err(broken)?;
        let status = response.status();
        if !status.is_success() {
            let body = read(response, LARGEST).await.map_err(broken)?;
            return Err(refused(name, status, &body));
        }
        Ok(Reading { call: name, response })
    }
}

impl Reading {
    /// The next piece; `None` at the end of the object.
    ///
    /// # Errors
    /// If the rest of it does not come: MinIO ends the connection where it finds the object damaged.
    pub async fn next(&mut self) -> Result<Option<Bytes>, S3Error> {
        let broken = |error: reqwest::Error| S3Error::Connection { call: self.call.clone(), cause: chain(&error) };
        self.response.chunk().await.map_err(broken)
    }
}
