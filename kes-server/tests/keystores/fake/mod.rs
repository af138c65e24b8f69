//! Keystores in this process, written from the specification (docs/keystores-protocol.md §4–§11): each is a [`Service`]
//! behind one HTTP server that writes down what it is asked and fails on demand.
#![allow(
    dead_code,
    unused_imports,
    clippy::unwrap_used,
    unreachable_pub,
    reason = "test; not every binary that includes this uses all of it"
)]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

pub mod aws;
pub mod azure;
pub mod entrust;
pub mod fortanix;
pub mod gcp;
pub mod keysecure;
mod tls;
pub mod vault;

pub use tls::Certificate;

/// A request as the fake sees it.
#[derive(Debug, Clone)]
pub struct Request {
    pub method: String,
    /// Path, still percent-encoded.
    pub path: String,
    /// Query, decoded.
    pub query: BTreeMap<String, String>,
    /// Names in lower case.
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
    /// `https://127.0.0.1:port`, as the client wrote it.
    pub origin: String,
}

impl Request {
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    pub fn query(&self, name: &str) -> &str {
        self.query.get(name).map_or("", String::as_str)
    }

    /// The segments of the path, decoded.
    pub fn segments(&self) -> Vec<String> {
        let path = self.path.split('/').filter(|segment| !segment.is_empty());
        path.map(percent).collect()
    }

    /// One line of a golden trace: `PUT /path?query {"body":…}`; the action, if it is in a header, is before the body.
    fn line(&self) -> String {
        let query: Vec<_> = self.query.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let query = if query.is_empty() { String::new() } else { format!("?{}", query.join("&")) };
        let (action, body) = (self.header("x-amz-target"), String::from_utf8_lossy(&self.body));
        let words = [&self.method, &*format!("{}{query}", self.path), action, &*body];
        words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
    }
}

/// What the fake answers.
#[derive(Debug, Clone)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Reply {
    pub fn status(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Vec::new() }
    }

    pub fn json(status: u16, body: &serde_json::Value) -> Self {
        let headers = vec![("content-type".into(), "application/json".into())];
        Self { status, headers, body: body.to_string().into_bytes() }
    }

    pub fn text(status: u16, body: &str) -> Self {
        Self { status, headers: vec![("content-type".into(), "text/plain".into())], body: body.into() }
    }

    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }
}

/// What a keystore does with a request. State is kept inside, behind a lock.
pub trait Service: Send + Sync + 'static {
    fn answer(&self, request: &Request) -> Reply;
}

impl<S: Service> Service for Arc<S> {
    fn answer(&self, request: &Request) -> Reply {
        (**self).answer(request)
    }
}

/// What goes wrong.
#[derive(Debug, Clone)]
pub enum Fault {
    /// This answer instead of the keystore's; the request is not carried out.
    Answer(Reply),
    /// The request is not carried out and the connection is closed.
    Drop,
    /// The request is carried out and the connection is closed before the answer.
    DropAnswer,
    /// The request is carried out, and this is the answer.
    Instead(Reply),
    /// No answer at all, forever.
    Hang,
    /// The answer comes late.
    Slow(Duration),
}

#[derive(Debug)]
struct Rule {
    matching: String,
    times: usize,
    fault: Fault,
}

#[derive(Debug, Default)]
struct Script {
    trace: Vec<String>,
    /// No trace is kept.
    forgetful: bool,
    /// The `Authorization` headers, not in the trace because they change.
    authorizations: Vec<String>,
    rules: Vec<Rule>,
}

/// A keystore that listens.
#[derive(Debug)]
pub struct Fake {
    pub address: SocketAddr,
    script: Arc<Mutex<Script>>,
    task: JoinHandle<()>,
    certificate: Option<Certificate>,
}

impl Fake {
    /// Listens on a free port of 127.0.0.1 until dropped.
    pub async fn start(service: impl Service) -> Self {
        Self::start_at("127.0.0.1:0".parse().unwrap(), service).await
    }

    /// Speaks TLS with a certificate of its own for `127.0.0.1` and `localhost`.
    pub async fn start_tls(service: impl Service) -> Self {
        Self::start_tls_as(service, Certificate::new()).await
    }

    /// Speaks TLS with this certificate.
    pub async fn start_tls_as(service: impl Service, certificate: Certificate) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self::listen(listener, service, Some(certificate), None)
    }

    pub async fn start_at(address: SocketAddr, service: impl Service) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        Self::listen(listener, service, None, None)
    }

    /// Speaks TLS as `acceptor` says.
    pub async fn start_tls_with(service: impl Service, acceptor: TlsAcceptor) -> Self {
        Self::listen(TcpListener::bind("127.0.0.1:0").await.unwrap(), service, None, Some(acceptor))
    }

    /// Serves on a listener until dropped.
    pub fn listen(
        listener: TcpListener,
        service: impl Service,
        certificate: Option<Certificate>,
        tls: Option<TlsAcceptor>,
    ) -> Self {
        let address = listener.local_addr().unwrap();
        let script = Arc::<Mutex<Script>>::default();
        let tls = tls.or_else(|| certificate.as_ref().map(Certificate::acceptor));
        let task = tokio::spawn(listen(listener, tls, Arc::new(service), script.clone()));
        Self { address, script, task, certificate }
    }

    /// How many requests since the last [`Self::trace`] have lines that contain `matching`.
    pub fn count(&self, matching: &str) -> usize {
        self.script.lock().unwrap().trace.iter().filter(|line| line.contains(matching)).count()
    }

    /// Serves until it is cancelled, and keeps no trace.
    pub async fn serve(mut self) {
        self.script.lock().unwrap().forgetful = true;
        let _ = (&mut self.task).await;
    }

    /// `http://127.0.0.1:port`
    pub fn url(&self) -> String {
        format!("{}://{}", if self.certificate.is_some() { "https" } else { "http" }, self.address)
    }

    /// The file with the certificate, if it speaks TLS.
    pub fn ca(&self) -> Option<std::path::PathBuf> {
        self.certificate.as_ref().map(Certificate::path)
    }

    /// Makes the next so many requests fail whose trace line contains `matching`.
    pub fn fail(&self, matching: &str, times: usize, fault: Fault) {
        let rule = Rule { matching: matching.into(), times, fault };
        self.script.lock().unwrap().rules.push(rule);
    }

    /// No more faults.
    pub fn heal(&self) {
        self.script.lock().unwrap().rules.clear();
    }

    /// The `Authorization` headers since the last call.
    pub fn authorizations(&self) -> Vec<String> {
        std::mem::take(&mut self.script.lock().unwrap().authorizations)
    }

    /// The requests since the last call, a line each.
    pub fn trace(&self) -> Vec<String> {
        std::mem::take(&mut self.script.lock().unwrap().trace)
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn listen<S: Service>(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    service: Arc<S>,
    script: Arc<Mutex<Script>>,
) {
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else { return };
        let (tls, service, script) = (tls.clone(), service.clone(), script.clone());
        connections.spawn(async move {
            let Some(tls) = tls else { return serve(stream, "http", service, script).await };
            // a client that does not trust us hangs up here
            if let Ok(stream) = tls.accept(stream).await {
                serve(stream, "https", service, script).await;
            }
        });
        while connections.try_join_next().is_some() {}
    }
}

async fn serve<S: Service>(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    scheme: &'static str,
    service: Arc<S>,
    script: Arc<Mutex<Script>>,
) {
    let handle = service_fn(|request| answer(request, scheme, service.clone(), script.clone()));
    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), handle).await;
}

/// Ends the connection without an answer.
#[derive(Debug, thiserror::Error)]
#[error("the connection is closed on demand")]
struct Closed;

async fn answer<S: Service>(
    request: hyper::Request<Incoming>,
    scheme: &str,
    service: Arc<S>,
    script: Arc<Mutex<Script>>,
) -> Result<hyper::Response<Full<Bytes>>, Closed> {
    let request = received(request, scheme).await.map_err(|_| Closed)?;
    let fault = {
        let mut script = script.lock().unwrap();
        let line = request.line();
        if !script.forgetful {
            script.trace.push(line.clone());
            script.authorizations.push(request.header("authorization").into());
        }
        let rule = script.rules.iter_mut().find(|rule| rule.times > 0 && line.contains(&rule.matching));
        rule.map(|rule| {
            rule.times -= 1;
            rule.fault.clone()
        })
    };
    match fault {
        None => Ok(response(service.answer(&request))),
        Some(Fault::Answer(reply)) => Ok(response(reply)),
        Some(Fault::Drop) => Err(Closed),
        Some(Fault::DropAnswer) => {
            service.answer(&request);
            Err(Closed)
        }
        Some(Fault::Instead(reply)) => {
            service.answer(&request);
            Ok(response(reply))
        }
        Some(Fault::Hang) => std::future::pending().await,
        Some(Fault::Slow(time)) => {
            tokio::time::sleep(time).await;
            Ok(response(service.answer(&request)))
        }
    }
}

async fn received(request: hyper::Request<Incoming>, scheme: &str) -> Result<Request, hyper::Error> {
    let (parts, body) = request.into_parts();
    let headers = parts.headers.iter();
    let headers =
        headers.map(|(name, value)| (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into()));
    let host = parts.headers.get("host").and_then(|host| host.to_str().ok()).unwrap_or_default();
    let query = parts.uri.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
    let query = query.map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    Ok(Request {
        method: parts.method.to_string(),
        path: parts.uri.path().to_owned(),
        query: query.map(|(name, value)| (percent(name), percent(value))).collect(),
        headers: headers.collect(),
        body: body.collect().await?.to_bytes().to_vec(),
        origin: format!("{scheme}://{host}"),
    })
}

fn response(reply: Reply) -> hyper::Response<Full<Bytes>> {
    let mut response = hyper::Response::builder().status(reply.status);
    for (name, value) in reply.headers {
        response = response.header(name, value);
    }
    response.body(Full::new(reply.body.into())).unwrap()
}

/// Percent-decoding; `+` is a blank.
pub fn percent(text: &str) -> String {
    let bytes = text.replace('+', " ").into_bytes();
    let (mut decoded, mut at) = (Vec::new(), 0);
    while let Some(&byte) = bytes.get(at) {
        let hex = bytes.get(at + 1..at + 3).filter(|_| byte == b'%');
        let value = hex.and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        decoded.push(value.unwrap_or(byte));
        at += if value.is_some() { 3 } else { 1 };
    }
    String::from_utf8_lossy(&decoded).into_owned()
}
