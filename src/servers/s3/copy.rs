//! An object copied onto itself: MinIO encrypts it, and keeps its metadata and its tags.

use std::time::Duration;

use super::objects::encoded;
use super::{DEADLINE, Encryption, S3Client, S3Error};

/// The slowest that MinIO may copy an object, in bytes a second.
const SLOWEST: u64 = 1 << 20;

/// SHA-256 of nothing.
const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

impl S3Client {
    /// Copies the current version of an object of that size onto itself, encrypted.
    ///
    /// # Errors
    /// Those of the call.
    pub async fn encrypt_object(
        &self,
        bucket: &str,
        key: &str,
        size: u64,
        encryption: &Encryption,
    ) -> Result<(), S3Error> {
        let path = format!("/{bucket}/{}", encoded(key));
        let invalid = |cause: String| S3Error::Invalid { call: format!("PUT {path}"), cause };
        let url = self.place(&path).map_err(invalid)?;
        let name = format!("PUT {url} (copy onto itself)");
        let invalid = |cause: String| S3Error::Invalid { call: name.clone(), cause };
        let mut head = http::Request::builder()
            .method("PUT")
            .uri(url.as_str())
            .header("x-amz-content-sha256", EMPTY)
            .header("x-amz-copy-source", source(bucket, key));
        head = match encryption {
            Encryption::SseS3 => head.header("x-amz-server-side-encryption", "AES256"),
            Encryption::SseKms(key) => head
                .header("x-amz-server-side-encryption", "aws:kms")
                .header("x-amz-server-side-encryption-aws-kms-key-id", key),
        };
        let (mut head, ()) = head.body(()).map_err(|error| invalid(error.to_string()))?.into_parts();
        self.signer.sign(&mut head, None).await.map_err(|error| invalid(error.to_string()))?;
        let mut request: reqwest::Request = http::Request::from_parts(head, reqwest::Body::default())
            .try_into()
            .map_err(|error: reqwest::Error| invalid(error.to_string()))?;
        *request.timeout_mut() = Some(DEADLINE + Duration::from_secs(size / SLOWEST));
        let answer = self.answer(name.clone(), request).await?;
        // a copy that fails after it was begun has the status of one that succeeds
        let text = String::from_utf8_lossy(&answer.body);
        if text.contains("<CopyObjectResult") { Ok(()) } else { Err(invalid(text.into_owned())) }
    }
}

/// Bucket and object in one header: only letters, digits and few signs as they are.
fn source(bucket: &str, key: &str) -> String {
    let encoded: String = form_urlencoded::byte_serialize(key.as_bytes()).collect();
    format!("{bucket}/{}", encoded.replace('+', "%20"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_source_holds_no_sign_that_a_header_or_a_url_takes_for_something_else() {
        assert_eq!(source("b", "a/ü +%?&"), "b/a%2F%C3%BC%20%2B%25%3F%26");
    }
}
