//! One call: signed, sent, and its answer or refusal read.

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{Bytes, BytesMut};
use reqwest::{Method, StatusCode, Url};
use serde::{Deserialize, Serialize};

use super::objects::encoded;
use super::{S3Client, S3Error};

/// Header with the digest of the content, which is signed.
pub(super) const CONTENT_DIGEST: &str = "x-amz-content-sha256";

/// What [`S3Client::get_start`] asks for: as much as MinIO encrypts together.
const START: u64 = 64 << 10;

/// Longest answer that is not an object.
pub(super) const LARGEST: usize = 16 << 20;

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
        self.start(&format!("{bucket}/{}", encoded(key)), &query, if is_empty { 0 } else { START }).await
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

    /// An object of any length.
    pub(super) async fn whole(&self, path: &str) -> Result<Bytes, S3Error> {
        let call = Call { method: Method::GET, path: format!("/{path}"), query: "", headers: &[], body: Bytes::new() };
        Ok(self.send_within(&call, true, Most::Object).await?.body)
    }

    /// No more than the first bytes of an object, also from a server that does not know ranges.
    pub(super) async fn start(&self, path: &str, query: &str, length: u64) -> Result<Bytes, S3Error> {
        let range = format!("bytes=0-{}", length.saturating_sub(1));
        // of nothing there is no first byte
        let headers: Headers<'_> = if length == 0 { &[] } else { &[("range", &range)] };
        let call = Call { method: Method::GET, path: format!("/{path}"), query, headers, body: Bytes::new() };
        let most = Most::Start(usize::try_from(length).unwrap_or(LARGEST));
        Ok(self.send_within(&call, true, most).await?.body)
    }

    async fn send(&self, call: &Call<'_>, signed: bool) -> Result<Answer, S3Error> {
        self.send_within(call, signed, Most::Answer).await
    }

    async fn send_within(&self, call: &Call<'_>, signed: bool, most: Most) -> Result<Answer, S3Error> {
        let name = call.name(&self.endpoint);
        tracing::debug!("{name}");
        let request = self.request(call, signed, &name).await?;
        self.answer_within(name, request, most).await
    }

    /// Sends a request and understands the answer.
    pub(super) async fn answer(&self, name: String, request: reqwest::Request) -> Result<Answer, S3Error> {
        self.answer_within(name, request, Most::Answer).await
    }

    async fn answer_within(&self, name: String, request: reqwest::Request, most: Most) -> Result<Answer, S3Error> {
        let broken = |error: reqwest::Error| S3Error::Connection { call: name.clone(), cause: chain(&error) };
        let response = self.http.execute(request).await.map_err(broken)?;
        let (status, headers) = (response.status(), response.headers().clone());
        if !status.is_success() {
            let body = read(response, LARGEST).await.map_err(broken)?;
            return Err(refused(name, status, &body));
        }
        let limit = match most {
            Most::Object if response.content_length().is_some() => {
                let body = response.bytes().await.map_err(broken)?;
                return Ok(Answer { call: name, headers, body });
            }
            Most::Start(length) => length,
            Most::Answer | Most::Object => LARGEST,
        };
        let mut body = read(response, limit).await.map_err(broken)?;
        if body.len() > limit && !matches!(most, Most::Start(_)) {
            let cause = format!("the answer is longer than {limit} bytes");
            return Err(S3Error::Invalid { call: name, cause });
        }
        body.truncate(limit);
        Ok(Answer { call: name, headers, body })
    }

    /// The URL of a path, whose names are encoded.
    ///
    /// # Errors
    /// If a URL would take a part of it for a step: an object's name would lead out of its bucket.
    pub(super) fn place(&self, path: &str) -> Result<Url, String> {
        // as URLs are read: without these signs, with both slashes, and with dots in either form
        let read = path.replace(['\t', '\n', '\r'], "").to_ascii_lowercase().replace("%2e", ".");
        if read.split(['/', '\\']).any(|part| part == "." || part == "..") {
            return Err("no name may have a part '.' or '..'".into());
        }
        let mut url = self.endpoint.clone();
        url.set_path(path);
        Ok(url)
    }

    pub(super) async fn request(&self, call: &Call<'_>, signed: bool, name: &str) -> Result<reqwest::Request, S3Error> {
        let invalid = |cause: String| S3Error::Invalid { call: name.to_owned(), cause };
        let mut url = self.place(&call.path).map_err(invalid)?;
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

/// How much of an answer is read.
#[derive(Clone, Copy)]
enum Most {
    /// All of it: XML, JSON or nothing, of bounded length.
    Answer,
    /// All of an object, as long as the server says that it is.
    Object,
    /// So many bytes of an object, whatever follows.
    Start(usize),
}

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

/// A body, or its start that is longer than `limit`.
pub(super) async fn read(mut response: reqwest::Response, limit: usize) -> Result<Bytes, reqwest::Error> {
    let mut body = BytesMut::new();
    while body.len() <= limit
        && let Some(chunk) = response.chunk().await?
    {
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
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

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::super::{Encryption, Upload};
    use super::*;

    #[tokio::test]
    async fn no_name_leads_out_of_its_bucket() {
        // nothing listens there: whatever is sent ends as a broken connection
        let s3 = S3Client::new("http://127.0.0.1:9", "user", "password").unwrap();
        for path in ["/b/../c", "/b/./c", "/b/..", "/b/%2e%2E/c", "/b/.%2e", "/b/..\\c", "/b/.\t./c", "/b/.\n"] {
            assert!(s3.place(path).is_err(), "{path:?}");
        }
        for (path, sent) in [("/b/a..b/...", "/b/a..b/..."), ("/b/%252e%252e/c", "/b/%252e%252e/c"), ("/", "/")] {
            assert_eq!(s3.place(path).unwrap().path(), sent);
        }
        let key = "../minio/admin/v3/export-iam";
        let upload = Upload { key, size: 0, sha256: "", content_type: None };
        let results = [
            s3.put_object("b", key, b"").await,
            s3.get_object("b", key).await.map(drop),
            s3.head_object("b", key).await.map(drop),
            s3.properties("b", key).await.map(drop),
            s3.first_bytes("b", key, 1).await.map(drop),
            s3.get_start(("b", key), None, false).await.map(drop),
            s3.read_object(("b", key), None, 1).await.map(drop),
            s3.encrypt_object("b", key, 1, &Encryption::SseS3).await,
            s3.upload("b", &upload, std::fs::File::open("/dev/null").unwrap()).await,
        ];
        for (number, result) in results.into_iter().enumerate() {
            assert!(matches!(result, Err(S3Error::Invalid { .. })), "{number}: {result:?}");
        }
    }

    /// A server that answers every request with so many bytes, without their length.
    async fn endless() -> S3Client {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let place = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut connection, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let mut request = vec![0; 4096];
                    let _ = connection.read(&mut request).await;
                    let head = b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n";
                    let mut sent = connection.write_all(head).await;
                    // until the reader has enough
                    while sent.is_ok() {
                        sent = connection.write_all(&[b'a'; 1 << 12]).await;
                    }
                });
            }
        });
        S3Client::new(&format!("http://{place}"), "user", "password").unwrap()
    }

    #[tokio::test]
    async fn an_endless_answer_ends() {
        let s3 = endless().await;
        assert_eq!(s3.first_bytes("b", "o", 4096).await.unwrap().len(), 4096);
        assert_eq!(s3.get_start(("b", "o"), None, false).await.unwrap().len(), 65536);
        for result in [s3.list_buckets().await.map(drop), s3.get_object("b", "o").await.map(drop)] {
            let error = result.unwrap_err().to_string();
            assert!(error.contains("longer than 16777216 bytes"), "{error}");
        }
    }
}
