//! Requests with a signature of version 4; the signing is reqsign's.

use aws_lc_rs::digest::{SHA256, digest};
use bytes::Bytes;
use reqsign_aws_v4::RequestSigner;
use reqsign_core::{Context, SignRequest as _};
use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE, HOST};
use reqwest::{Request, Url};

use super::Held;
use crate::keystore::http::Failure;

/// Signs for Secrets Manager in one region.
#[derive(Debug)]
pub(super) struct Signature {
    signer: RequestSigner,
    /// The signer wants one and uses nothing of it.
    context: Context,
}

impl Signature {
    pub(super) fn new(region: &str) -> Self {
        Self { signer: RequestSigner::new("secretsmanager", region), context: Context::new() }
    }

    /// The request of an action, signed as of now.
    ///
    /// # Errors
    /// If it cannot be signed, for example because the region is not a valid header value.
    pub(super) async fn request(
        &self,
        endpoint: &Url,
        action: &str,
        body: &Bytes,
        credential: &Held,
    ) -> Result<Request, Failure> {
        let request = http::Request::post(endpoint.as_str())
            .header(CONTENT_LENGTH, body.len())
            .header(CONTENT_TYPE, "application/x-amz-json-1.1")
            .header("x-amz-target", format!("secretsmanager.{action}"))
            // where the signer takes the digest from
            .header("x-amz-content-sha256", hex::encode(digest(&SHA256, body)))
            .body(body.clone())
            .map_err(|error| Failure::other(action, error))?;
        let (mut head, body) = request.into_parts();
        let signed = self.signer.sign_request(&self.context, &mut head, Some(credential), None).await;
        signed.map_err(|error| Failure::other(action, format!("cannot sign: {error}")))?;
        // the connection writes the same one, or `:authority` in HTTP/2
        head.headers.remove(HOST);
        http::Request::from_parts(head, body)
            .try_into()
            .map_err(|error: reqwest::Error| Failure::other(action, error.without_url()))
    }
}
