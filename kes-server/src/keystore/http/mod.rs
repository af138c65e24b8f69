//! Common to all remote keystores: calls over HTTPS that are bounded in time and size, retried where that is right,
//! and whose errors say what was called (docs/keystores-protocol.md §1.9, §12).

use std::path::PathBuf;
use std::time::{Duration, Instant};

use reqwest::header::{CONTENT_TYPE, HeaderMap, LOCATION};
use reqwest::{Client, Request, StatusCode, Url};
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

use super::KeyStoreError;
use crate::config::named;
use crate::outbound::{Names, Proxies};

mod failure;
mod listing;
mod retry;
mod trust;
mod web;

pub(super) use failure::Failure;
pub(super) use listing::{Entries, Listing};
pub(super) use retry::{Retry, between, retry_after};
pub(super) use trust::Trust;
pub(super) use web::Web;

/// Longest time until a connection is established, TLS included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest time for one call with all its retries (docs/keystores-protocol.md §14, 16): nothing hangs forever.
const DEADLINE: Duration = Duration::from_secs(30);
/// Longest answer that is read, in bytes, unless it is a page of a listing.
const MAX_ANSWER: usize = 1 << 20;
/// How much of an answer is read of which only the status counts, so that its connection can be used again.
const MAX_IDLE_ANSWER: u64 = 64 << 10;
/// How much of an answer that reports an error goes into the log.
const MAX_QUOTE: usize = 512;

/// How a keystore is reached.
#[derive(Debug, Clone, Default)]
pub(super) struct Settings {
    /// Which certificates of the server are trusted.
    pub(super) trust: Trust,
    /// Private key and certificate to show, as PEM files.
    pub(super) client: Option<(PathBuf, PathBuf)>,
    /// The socket to call instead of the host of the URL.
    pub(super) socket: Option<PathBuf>,
    /// Every call opens a connection of its own (Vault).
    pub(super) no_keep_alive: bool,
    /// The proxies to use; none for what is next to this machine, as metadata services are.
    pub(super) proxies: Proxies,
    /// Which calls are repeated, and when.
    pub(super) retry: Retry,
}

/// A client of one keystore.
#[derive(Debug, Clone)]
pub(super) struct Http {
    client: Client,
    retry: Retry,
    proxies: Proxies,
}

/// What a keystore answered.
#[derive(Debug)]
pub(super) struct Answer {
    /// Status.
    pub(super) status: StatusCode,
    /// Headers.
    pub(super) headers: HeaderMap,
    /// The complete body: it may hold a key.
    pub(super) body: Zeroizing<Vec<u8>>,
    /// True if an attempt before got no good answer: it may still have been carried out.
    pub(super) repeated: bool,
    /// `POST https://host/path`, for error texts.
    call: String,
}

impl Http {
    /// Prepares a client; sends nothing.
    ///
    /// # Errors
    /// If a certificate file cannot be read or holds none.
    pub(super) fn new(settings: &Settings) -> Result<Self, KeyStoreError> {
        let tls = trust::client_config(&settings.trust, settings.client.as_ref())?;
        let mut builder = Client::builder()
            .tls_backend_preconfigured(tls)
            .connect_timeout(CONNECT_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .dns_resolver(Names::of_system())
            // only ours: by itself it reads the environment, by other rules
            .no_proxy()
            .proxy(settings.proxies.as_proxy());
        if let Some(socket) = &settings.socket {
            builder = builder.unix_socket(socket.as_path());
        }
        if settings.no_keep_alive {
            builder = builder.pool_max_idle_per_host(0);
        }
        let client = builder.build().map_err(|error| KeyStoreError::Other(format!("cannot set up HTTP: {error}")))?;
        Ok(Self { client, retry: settings.retry.clone(), proxies: settings.proxies.clone() })
    }

    /// The client, to build requests with.
    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    /// Sends a request, again where the retry rules say so, and reads the answer, whatever its status.
    pub(super) async fn send(&self, request: reqwest::RequestBuilder) -> Result<Answer, Failure> {
        self.send_by(&self.retry, request).await
    }

    /// Like [`Self::send`], by other rules than those of this keystore.
    pub(super) async fn send_by(&self, retry: &Retry, request: reqwest::RequestBuilder) -> Result<Answer, Failure> {
        let request = request.build().map_err(|error| Failure::other("request", error.without_url().to_string()))?;
        bounded(retry.run(|| self.once(copy(&request)))).await
    }

    /// Like [`Self::send`] with a request that is made again for each attempt, for example because it is signed.
    pub(super) async fn send_each<F>(&self, make: impl Fn() -> F) -> Result<Answer, Failure>
    where
        F: Future<Output = Result<Request, Failure>>,
    {
        bounded(self.retry.run(|| async { self.once(make().await?).await })).await
    }

    /// Sends a request once.
    pub(super) async fn once(&self, request: Request) -> Result<Answer, Failure> {
        let call = self.call(&request)?;
        let exchange = async {
            let mut response = self.client.execute(request).await.map_err(|error| Failure::of(&call, &error))?;
            let (status, headers) = (response.status(), std::mem::take(response.headers_mut()));
            let body = read(response, &call).await?;
            Ok(Answer { status, headers, body, repeated: false, call: call.clone() })
        };
        match tokio::time::timeout(DEADLINE, exchange).await {
            Ok(result) => result,
            Err(_) => Err(Failure::timeout(&call, DEADLINE)),
        }
    }

    /// Whether anything at all answers at `url`, and how fast (docs/keystores-protocol.md §14, 20).
    pub(super) async fn reach(&self, url: Url) -> Result<Duration, KeyStoreError> {
        let start = Instant::now();
        let request = Request::new(reqwest::Method::GET, url);
        let call = self.call(&request)?;
        let response = match tokio::time::timeout(DEADLINE, self.client.execute(request)).await {
            Ok(result) => result.map_err(|error| Failure::of(&call, &error)),
            Err(_) => Err(Failure::timeout(&call, DEADLINE)),
        };
        let response = response.map_err(|failure| KeyStoreError::Unreachable(failure.to_string()))?;
        let took = start.elapsed();
        if response.content_length().is_some_and(|length| length <= MAX_IDLE_ANSWER) {
            // an answer that stops in the middle is still an answer
            let _: Result<_, _> = tokio::time::timeout(Duration::from_secs(1), response.bytes()).await;
        }
        Ok(took)
    }

    /// The call as error texts name it, with the proxy that it goes by.
    fn call(&self, request: &Request) -> Result<String, Failure> {
        let (method, url) = (request.method(), shown(request.url()));
        let call = format!("{method} {url}");
        Ok(match self.proxies.to(request.url()).map_err(|why| Failure::other(&call, why))? {
            Some(proxy) => format!("{call} through the proxy {}", proxy.origin().ascii_serialization()),
            None => call,
        })
    }
}

impl Answer {
    /// The body as JSON.
    ///
    /// # Errors
    /// If the body is not JSON, or not of that shape. The text names the place, not the value: that may be a key.
    pub(super) fn json<T: DeserializeOwned>(&self) -> Result<T, KeyStoreError> {
        serde_json::from_slice(&self.body).map_err(|error| {
            let (line, column) = (error.line(), error.column());
            KeyStoreError::Other(format!("{} answered JSON that cannot be read ({line}:{column})", self.call))
        })
    }

    /// True if the answer says that it is JSON.
    pub(super) fn is_json(&self) -> bool {
        let value = self.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        value.is_some_and(|value| value.starts_with("application/json"))
    }

    /// True if the same call may have another outcome later: the server is overloaded, or not ready to serve.
    pub(super) fn is_passing(&self) -> bool {
        match self.status {
            StatusCode::TOO_MANY_REQUESTS => true,
            status => status.is_server_error() && status != StatusCode::NOT_IMPLEMENTED,
        }
    }

    /// The error that this answer stands for: call, status and what it says. A success may hold a key: nothing of it is
    /// quoted.
    pub(super) fn refused(&self) -> KeyStoreError {
        if self.status.is_success() {
            return self.foreign();
        }
        let said = String::from_utf8_lossy(self.body.get(..MAX_QUOTE).unwrap_or(&self.body)).trim().to_owned();
        let said = if said.is_empty() { String::new() } else { format!(": {said}") };
        let (call, status, elsewhere) = (&self.call, self.status.as_u16(), self.elsewhere());
        self.graded(format!("{call} answered {status}{elsewhere}{said}"))
    }

    /// Like [`Self::refused`] for a login, with what to check if it says no rather than later; then nothing is quoted.
    pub(super) fn denied(&self, advice: &str) -> KeyStoreError {
        if self.is_passing() { self.refused() } else { self.unexpected(advice) }
    }

    /// Like [`Self::refused`], quoting nothing of the answer.
    pub(super) fn unexpected(&self, why: &str) -> KeyStoreError {
        self.graded(format!("{} answered {}: {why}", self.call, self.status.as_u16()))
    }

    fn graded(&self, text: String) -> KeyStoreError {
        if self.is_passing() { KeyStoreError::Unreachable(text) } else { KeyStoreError::Other(text) }
    }

    /// The body as JSON, for an answer that must prove that the keystore itself carried out the request: a proxy
    /// in between may answer with success, too.
    ///
    /// # Errors
    /// If the status is another one, or the body is not of that shape.
    pub(super) fn proof<T: DeserializeOwned>(&self, status: StatusCode) -> Result<T, KeyStoreError> {
        if self.status != status {
            return Err(self.refused());
        }
        serde_json::from_slice(&self.body).map_err(|_| self.foreign())
    }

    /// The error for a success that is not the keystore's own.
    pub(super) fn foreign(&self) -> KeyStoreError {
        self.unexpected("this is not how the keystore answers; look for a proxy or another server in between")
    }

    /// Where a redirect leads, which is not followed.
    fn elsewhere(&self) -> String {
        let target = self.headers.get(LOCATION).filter(|_| self.status.is_redirection());
        let target = target.and_then(|target| Url::parse(target.to_str().ok()?).ok());
        target.map_or_else(String::new, |target| format!(", a redirect to {} that is not followed", origin(&target)))
    }
}

/// A URL from an endpoint of the configuration; without a scheme it is HTTPS.
///
/// # Errors
/// If it is none.
pub(super) fn endpoint(text: &str) -> Result<Url, KeyStoreError> {
    let text = text.trim().trim_end_matches('/');
    let whole = if text.contains("://") { text.to_owned() } else { format!("https://{text}") };
    match Url::parse(&whole) {
        Ok(url) if url.has_host() && matches!(url.scheme(), "http" | "https") => Ok(url),
        _ => Err(KeyStoreError::Other(format!("the endpoint '{}' is not an http or https URL", named(text)))),
    }
}

/// `base` followed by these path segments, each percent-encoded; empty ones are left out.
pub(super) fn join(base: &Url, segments: &[&str]) -> Url {
    let mut url = base.clone();
    if let Ok(mut path) = url.path_segments_mut() {
        path.pop_if_empty().extend(segments.iter().filter(|segment| !segment.is_empty()));
    }
    url
}

async fn bounded(attempts: impl Future<Output = Result<Answer, Failure>>) -> Result<Answer, Failure> {
    match tokio::time::timeout(DEADLINE, attempts).await {
        Ok(result) => result,
        Err(_) => Err(Failure::timeout("keystore", DEADLINE)),
    }
}

/// A URL without what may be secret: user, password and query.
fn shown(url: &Url) -> String {
    format!("{}{}", url.origin().ascii_serialization(), url.path())
}

/// A request once more. Ours have their bodies in memory.
fn copy(request: &Request) -> Request {
    request.try_clone().unwrap_or_else(|| Request::new(request.method().clone(), request.url().clone()))
}

/// Scheme, host and port, cut where a stranger made them long.
pub(super) fn origin(url: &Url) -> String {
    url.origin().ascii_serialization().chars().take(MAX_QUOTE).collect()
}

async fn read(mut response: reqwest::Response, call: &str) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let limit = listing::room().unwrap_or(MAX_ANSWER);
    let told = response.content_length().and_then(|length| usize::try_from(length).ok()).unwrap_or(16 << 10);
    let mut body = Zeroizing::new(Vec::with_capacity(told.min(limit)));
    while let Some(chunk) = response.chunk().await.map_err(|error| Failure::of(call, &error))? {
        if body.len() + chunk.len() > limit {
            return Err(Failure::other(call, too_large()));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

fn too_large() -> String {
    match listing::room() {
        Some(_) => format!("the listing is larger than {} MiB", listing::MAX_BYTES >> 20),
        None => format!("the answer is larger than {} MiB", MAX_ANSWER >> 20),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_a_url_or_a_host() {
        assert_eq!(endpoint("vault:8200").unwrap().as_str(), "https://vault:8200/");
        assert_eq!(endpoint(" http://127.0.0.1:8200/ ").unwrap().as_str(), "http://127.0.0.1:8200/");
        assert_eq!(endpoint("https://h/base").unwrap().as_str(), "https://h/base");
        assert!(endpoint("ftp://h").is_err());
        assert!(endpoint("").is_err());
        assert!(!endpoint("https://user:secret@h:port").unwrap_err().to_string().contains("secret"));
    }

    #[test]
    fn segments_are_encoded_and_empty_ones_left_out() {
        let base = endpoint("http://h/base/").unwrap();
        assert_eq!(join(&base, &["v1", "", "a/b", "ü"]).as_str(), "http://h/base/v1/a%2Fb/%C3%BC");
    }

    #[test]
    fn nothing_of_a_success_is_quoted() {
        let answer = |status: u16| Answer {
            status: StatusCode::from_u16(status).unwrap(),
            headers: HeaderMap::new(),
            body: Zeroizing::new(b"{\"value\":\"secret\"}".to_vec()),
            repeated: false,
            call: "GET https://h/p".into(),
        };
        for status in [200, 201, 203, 206] {
            let told = answer(status).refused().to_string();
            assert!(told.contains(&format!("answered {status}")) && !told.contains("secret"), "{told}");
        }
        assert!(answer(500).refused().to_string().contains("secret"));
        for (status, is_passing) in [(429, true), (500, true), (503, true), (403, false), (501, false)] {
            let answer = answer(status);
            for told in [answer.refused(), answer.unexpected("no"), answer.denied("no")] {
                assert_eq!(matches!(told, KeyStoreError::Unreachable(_)), is_passing, "{told}");
            }
            assert_eq!(answer.denied("check the password").to_string().contains("password"), !is_passing, "{status}");
        }
        let told = answer(203).proof::<serde_json::Value>(StatusCode::OK).unwrap_err().to_string();
        assert!(!told.contains("secret"), "{told}");
    }

    #[test]
    fn a_url_is_shown_without_its_secrets() {
        let url = Url::parse("https://user:pass@h:1/p?token=x").unwrap();
        assert_eq!(shown(&url), "https://h:1/p");
    }
}
