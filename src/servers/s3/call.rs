//! One call: signed, sent, and its answer or refusal read.

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use reqwest::{Method, StatusCode, Url};
use serde::{Deserialize, Serialize};

use super::{S3Client, S3Error};

/// Header with the digest of the content, which is signed.
pub(super) const CONTENT_DIGEST: &str = "x-amz-content-sha256";

/// What [`S3Client::get_start`] asks for: as much as MinIO encrypts together.
const START: &str = "bytes=0-65535";

impl S3Client {
    /// A body in XML.
    pub(in crate::servers) fn written(root: &str, value: &impl Serialize) -> Result<String, S3Error> {
        let text = quick_xml::se::to_string_with_root(root, value);
        text.map_err(|error| S3Error::Invalid { call: format!("write {root}"), cause: error.to_string() })
    }

    pub(in crate::servers) async fn call(
        &self,
        method: Method,
        path: &str,
        query: &str,
        body: Bytes,
    ) -> Result<Answer, S3Error> {
        self.send(&Call { method, path: format!("/{path}"), query, headers: &[], body }, true).await
    }

    pub(in crate::servers) async fn call_with(
        &self,
        method: Method,
        path: &str,
        headers: Headers<'_>,
    ) -> Result<Answer, S3Error> {
        self.send(&Call { method, path: format!("/{path}"), query: "", headers, body: Bytes::new() }, true).await
    }

    pub(super) async fn put_with(&self, path: &str, headers: Headers<'_>, body: Bytes) -> Result<(), S3Error> {
        let call = Call { method: Method::PUT, path: format!("/{path}"), query: "", headers, body };
        self.send(&call, true).await.map(drop)
    }

    /// The first bytes of an object, in that version; MinIO opens and checks what they are part of.
    pub(crate) async fn get_start(
        &self,
        (bucket, key): (&str, &str),
        version: Option<&str>,
        is_empty: bool,
    ) -> Result<Bytes, S3Error> {
        let query = format!("versionId={}", version.unwrap_or("null"));
        // of nothing there is no first byte
        let headers: Headers<'_> = if is_empty { &[] } else { &[("range", START)] };
        let path = format!("/{bucket}/{}", Self::escaped(key));
        let call = Call { method: Method::GET, path, query: &query, headers, body: Bytes::new() };
        Ok(self.send(&call, true).await?.body)
    }

    /// A call whose body MinIO takes only with a checksum of it in a header.
    pub(super) async fn put_checked(&self, bucket: &str, query: &str, body: Bytes) -> Result<(), S3Error> {
        let checksum = STANDARD.encode(digest(&SHA256, &body));
        let headers: Headers<'_> = &[("x-amz-checksum-sha256", &checksum)];
        self.send(&Call { method: Method::PUT, path: format!("/{bucket}"), query, headers, body }, true).await.map(drop)
    }

    /// A call that anybody may make.
    pub(super) async fn ask(&self, path: String) -> Result<Answer, S3Error> {
        self.send(&Call { method: Method::GET, path, query: "", headers: &[], body: Bytes::new() }, false).await
    }

    /// A call on an object, whose path is escaped already.
    pub(super) async fn call_on(
        &self,
        method: Method,
        path: &str,
        query: &str,
        headers: Headers<'_>,
        body: Bytes,
    ) -> Result<Answer, S3Error> {
        self.send(&Call { method, path: format!("/{path}"), query, headers, body }, true).await
    }

    async fn send(&self, call: &Call<'_>, signed: bool) -> Result<Answer, S3Error> {
        let name = call.name(&self.endpoint);
        tracing::debug!("{name}");
        let request = self.request(call, signed, &name).await?;
        self.answer(name, request).await
    }

    /// Sends a request and understands the answer.
    pub(super) async fn answer(&self, name: String, request: reqwest::Request) -> Result<Answer, S3Error> {
        let broken = |error: reqwest::Error| S3Error::Connection { call: name.clone(), cause: chain(&error) };
        let response = self.http.execute(request).await.map_err(broken)?;
        let (status, headers) = (response.status(), response.headers().clone());
        let body = response.bytes().await.map_err(broken)?;
        if status.is_success() {
            return Ok(Answer { call: name, headers, body });
        }
        Err(refused(name, status, &body))
    }

    pub(super) async fn request(&self, call: &Call<'_>, signed: bool, name: &str) -> Result<reqwest::Request, S3Error> {
        let invalid = |cause: String| S3Error::Invalid { call: name.to_owned(), cause };
        let mut url = self.endpoint.clone();
        url.set_path(&call.path);
        url.set_query(Some(call.query).filter(|query| !query.is_empty()));
        let mut request = http::Request::builder().method(call.method.clone()).uri(url.as_str());
        if call.headers.iter().all(|(name, _)| *name != CONTENT_DIGEST) {
            request = request.header(CONTENT_DIGEST, hex::encode(digest(&SHA256, &call.body)));
        }
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

pub(in crate::servers) type Headers<'a> = &'a [(&'static str, &'a str)];

/// One call.
pub(super) struct Call<'a> {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) query: &'a str,
    pub(super) headers: Headers<'a>,
    pub(super) body: Bytes,
}

impl Call<'_> {
    /// What is shown in messages: something the user can repeat.
    pub(super) fn name(&self, endpoint: &Url) -> String {
        let mark = if self.query.is_empty() { "" } else { "?" };
        format!("{} {}{}{mark}{}", self.method, endpoint.as_str().trim_end_matches('/'), self.path, self.query)
    }
}

/// What MinIO answered.
pub(in crate::servers) struct Answer {
    call: String,
    pub(super) headers: reqwest::header::HeaderMap,
    pub(in crate::servers) body: Bytes,
}

impl Answer {
    pub(in crate::servers) fn xml<T: for<'de> Deserialize<'de>>(&self) -> Result<T, S3Error> {
        quick_xml::de::from_reader(self.body.as_ref())
            .map_err(|error| S3Error::Invalid { call: self.call.clone(), cause: error.to_string() })
    }
}

/// The answer of a server of Go that speaks TLS to a request without it.
const WANTS_TLS: &[u8] = b"Client sent an HTTP request to an HTTPS server";

/// The refusal that a body tells of.
pub(super) fn refused(call: String, status: StatusCode, body: &[u8]) -> S3Error {
    if status == StatusCode::BAD_REQUEST && body.starts_with(WANTS_TLS) {
        return S3Error::Connection { call, cause: "the server speaks TLS, which was not expected".into() };
    }
    // S3 answers in XML, the admin API in JSON
    let error: ErrorBody =
        serde_json::from_slice(body).ok().or_else(|| quick_xml::de::from_reader(body).ok()).unwrap_or_default();
    let code = if error.code.is_empty() && status == StatusCode::NOT_FOUND { "NotFound".into() } else { error.code };
    S3Error::Refused { call, status: status.as_u16(), code, message: error.message }
}

/// An error with its causes: reqwest's own text names only the outermost.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
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
