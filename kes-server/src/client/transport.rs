//! One request to one of several endpoints, and what came back.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use reqwest::{Method, Response, StatusCode, Url, header::CONTENT_TYPE};
use serde::Deserialize;
use zeroize::Zeroizing;

use super::{
    Timeouts,
    error::{Call, ClientError},
    tls::{Credentials, Trust, client_config},
};
use crate::outbound::{Names, Proxies};

/// Longest answer that is read: a listing has all names, 400,000 of the longest.
const MAX_ANSWER: usize = 32 << 20;

pub(super) struct Transport {
    http: reqwest::Client,
    /// HTTP/1.1 only: asked for the TLS alert when a connection ends without a word.
    plain: reqwest::Client,
    endpoints: Vec<Url>,
    /// The endpoint that answered last; calls start with it.
    current: AtomicUsize,
    timeouts: Timeouts,
    proxies: Proxies,
}

/// Method, fixed path segments and the resource as one more segment.
pub(super) struct Request<'a> {
    pub(super) method: Method,
    pub(super) path: &'a str,
    pub(super) resource: Option<&'a str>,
    pub(super) body: Option<Vec<u8>>,
}

/// A successful answer, held in memory that is wiped.
pub(super) struct Answer {
    pub(super) call: Call,
    pub(super) content_type: String,
    pub(super) body: Zeroizing<Vec<u8>>,
}

impl Transport {
    pub(super) fn new(
        endpoints: &[impl AsRef<str>],
        credentials: Credentials,
        trust: &Trust,
        timeouts: Timeouts,
        proxies: Proxies,
    ) -> Result<Self, ClientError> {
        let endpoints = endpoints.iter().map(|text| endpoint(text.as_ref())).collect::<Result<Vec<_>, _>>()?;
        if endpoints.is_empty() {
            return Err(ClientError::Endpoint(String::new()));
        }
        let mut tls = client_config(credentials, trust)?;
        let http = http_client(tls.clone(), timeouts, &proxies)?;
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        let plain = http_client(tls, timeouts, &proxies)?;
        Ok(Self { http, plain, endpoints, current: AtomicUsize::new(0), timeouts, proxies })
    }

    pub(super) fn endpoints(&self) -> &[Url] {
        &self.endpoints
    }

    /// The same for each endpoint alone.
    pub(super) fn each(&self) -> impl Iterator<Item = Self> {
        self.endpoints.iter().map(|endpoint| Self {
            http: self.http.clone(),
            plain: self.plain.clone(),
            endpoints: vec![endpoint.clone()],
            current: AtomicUsize::new(0),
            timeouts: self.timeouts,
            proxies: self.proxies.clone(),
        })
    }

    /// The endpoint that answered last.
    pub(super) fn current(&self) -> Option<&Url> {
        self.endpoints.get(self.current.load(Ordering::Relaxed))
    }

    /// Sends the request and reads the complete answer within the deadline of the client.
    pub(super) async fn call(&self, request: Request<'_>) -> Result<Answer, ClientError> {
        let (call, response) = self.send(&request, Some(self.timeouts.request)).await?;
        let content_type = content_type(&response);
        let body = read(&call, response, Some(self.timeouts.request)).await?;
        Ok(Answer { call, content_type, body })
    }

    /// Sends the request and leaves the answer open: it may never end.
    pub(super) async fn open(&self, request: Request<'_>) -> Result<(Call, Response), ClientError> {
        self.send(&request, None).await
    }

    async fn send(&self, request: &Request<'_>, deadline: Option<Duration>) -> Result<(Call, Response), ClientError> {
        let first = self.current.load(Ordering::Relaxed);
        let mut failure = ClientError::Endpoint(String::new());
        for (index, base) in self.endpoints.iter().enumerate().cycle().skip(first).take(self.endpoints.len()) {
            match self.send_to(base, request, deadline).await {
                Ok(answer) => {
                    self.current.store(index, Ordering::Relaxed);
                    return Ok(answer);
                }
                Err(error) if error.tries_next_endpoint() => failure = error,
                Err(error) => return Err(error),
            }
        }
        Err(failure)
    }

    async fn send_to(
        &self,
        base: &Url,
        request: &Request<'_>,
        deadline: Option<Duration>,
    ) -> Result<(Call, Response), ClientError> {
        let call = Call { method: request.method.clone(), url: Box::new(url(base, request)) };
        let proxy = match self.proxies.to(&call.url) {
            Ok(proxy) => proxy,
            Err(cause) => return Err(ClientError::Connection { call, cause }),
        };
        let mut builder = self.http.request(call.method.clone(), call.url.as_ref().clone());
        if let Some(deadline) = deadline {
            builder = builder.timeout(deadline);
        }
        if let Some(body) = &request.body {
            builder = builder.header(CONTENT_TYPE, "application/json").body(body.clone());
        }
        match builder.send().await {
            Ok(response) if response.status() == StatusCode::OK => Ok((call, response)),
            Ok(response) => Err(refusal(call, response, deadline).await),
            Err(error) if error.is_connect() => {
                Err(ClientError::transport(call, &error, Some(self.timeouts.connect)).by_way_of(proxy))
            }
            Err(error) => {
                let failure = self.explained(base, ClientError::transport(call, &error, deadline)).await;
                Err(failure.by_way_of(proxy))
            }
        }
    }

    /// A TLS 1.3 server refuses a client after the client's side of the handshake; HTTP/2 swallows the alert.
    async fn explained(&self, base: &Url, failure: ClientError) -> ClientError {
        let ClientError::Connection { call, .. } = &failure else { return failure };
        match self.plain.get(base.clone()).timeout(self.timeouts.request).send().await {
            Ok(_) => failure,
            Err(error) => {
                let alert = ClientError::transport(call.clone(), &error, None);
                if alert.is_tls_alert() { alert } else { failure }
            }
        }
    }
}

fn http_client(
    tls: rustls::ClientConfig,
    timeouts: Timeouts,
    proxies: &Proxies,
) -> Result<reqwest::Client, ClientError> {
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .connect_timeout(timeouts.connect)
        .redirect(reqwest::redirect::Policy::none())
        // only ours: by itself it reads the environment, by other rules
        .no_proxy()
        .proxy(proxies.as_proxy())
        .dns_resolver(Names::of_system())
        .build()
        .map_err(|error| ClientError::Credentials(error.to_string()))
}

/// `host:port`, `http://…` and `https://…` all mean HTTPS.
fn endpoint(text: &str) -> Result<Url, ClientError> {
    let text = text.trim();
    let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://")).unwrap_or(text);
    let url = Url::parse(&format!("https://{rest}")).map_err(|_| ClientError::Endpoint(text.into()))?;
    if url.host_str().is_none() { Err(ClientError::Endpoint(text.into())) } else { Ok(url) }
}

fn url(base: &Url, request: &Request<'_>) -> Url {
    let mut url = base.clone();
    if let Ok(mut segments) = url.path_segments_mut() {
        segments.pop_if_empty().extend(request.path.split('/')).extend(request.resource);
    }
    url
}

async fn refusal(call: Call, response: Response, deadline: Option<Duration>) -> ClientError {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Message {
        message: String,
        error: String,
    }

    let status = response.status().as_u16();
    let is_json = content_type(&response).starts_with("application/json");
    let body = match read(&call, response, deadline).await {
        Ok(body) => body,
        Err(error) => return error,
    };
    let message = match serde_json::from_slice::<Message>(&body) {
        Ok(Message { error, .. }) if is_json && !error.is_empty() => error,
        Ok(Message { message, .. }) if is_json => message,
        _ => String::from_utf8_lossy(&body).trim_end().to_owned(),
    };
    ClientError::Refused { call, status, message }
}

async fn read(
    call: &Call,
    mut response: Response,
    deadline: Option<Duration>,
) -> Result<Zeroizing<Vec<u8>>, ClientError> {
    let mut body = Zeroizing::new(Vec::with_capacity(1024));
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if body.len() + chunk.len() <= MAX_ANSWER => body.extend_from_slice(&chunk),
            Ok(Some(_)) => {
                let cause = format!("it is larger than {MAX_ANSWER} bytes");
                return Err(ClientError::Answer { call: call.clone(), cause });
            }
            Ok(None) => return Ok(body),
            Err(error) => return Err(ClientError::transport(call.clone(), &error, deadline)),
        }
    }
}

pub(super) fn content_type(response: &Response) -> String {
    let value = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    value.unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {

    use super::*;

    #[test]
    fn an_endpoint_is_always_https() {
        for text in ["127.0.0.1:7373", "http://127.0.0.1:7373", "https://127.0.0.1:7373", " 127.0.0.1:7373 "] {
            assert_eq!(endpoint(text).unwrap().as_str(), "https://127.0.0.1:7373/");
        }
        assert!(endpoint("").is_err());
    }

    #[test]
    fn a_resource_is_one_segment() {
        let base = endpoint("kes:7373").unwrap();
        let path = |resource| {
            let request = Request { method: Method::GET, path: "v1/key/list", resource, body: None };
            url(&base, &request).path().to_owned()
        };
        assert_eq!(path(Some("a/b")), "/v1/key/list/a%2Fb");
        assert_eq!(path(Some("")), "/v1/key/list/");
        assert_eq!(path(None), "/v1/key/list");
    }
}
