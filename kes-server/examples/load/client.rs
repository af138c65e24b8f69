//! The client: HTTP over mTLS with nothing around it, so that it takes as little as possible of what is measured.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::join_all;
use http_body_util::BodyExt as _;
use hyper::client::conn::{http1, http2};
use hyper::{Request, Response, body::Incoming};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::Case;
use crate::body::{Content, How};
use crate::server::{Files, Server};

/// What a case took: requests per second, µs that a request took, µs of the server's CPU for each.
pub(crate) struct Cost {
    pub(crate) rate: f64,
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) cpu: f64,
}

/// Speaks HTTP/1.1 or HTTP/2 over connections that the caller asks for.
pub(crate) struct Client {
    tls: [TlsConnector; 2],
}

/// One connection, of which HTTP/2 has one for all workers.
#[derive(Clone)]
enum Connection {
    One(Arc<tokio::sync::Mutex<http1::SendRequest<Content>>>),
    Two(http2::SendRequest<Content>),
}

impl Client {
    pub(crate) fn new(files: &Files) -> Self {
        let connector = |protocol: &[u8]| {
            let mut roots = rustls::RootCertStore::empty();
            roots.add(CertificateDer::from_pem_file(files.path("server.crt")).unwrap()).unwrap();
            let chain = vec![CertificateDer::from_pem_file(files.path("client.crt")).unwrap()];
            let key = PrivateKeyDer::from_pem_file(files.path("client.key")).unwrap();
            let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
            let mut config = rustls::ClientConfig::builder_with_provider(provider)
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_root_certificates(roots)
                .with_client_auth_cert(chain, key)
                .unwrap();
            config.alpn_protocols = vec![protocol.to_vec()];
            // every handshake is a complete one
            config.resumption = rustls::client::Resumption::disabled();
            TlsConnector::from(Arc::new(config))
        };
        Self { tls: [connector(b"h2"), connector(b"http/1.1")] }
    }

    async fn connect(&self, address: SocketAddr, is_http1: bool) -> Option<Connection> {
        let stream = TcpStream::connect(address).await.ok()?;
        stream.set_nodelay(true).ok()?;
        let name = ServerName::IpAddress(address.ip().into());
        let io = TokioIo::new(self.tls[usize::from(is_http1)].connect(name, stream).await.ok()?);
        if is_http1 {
            let (sender, connection) = http1::handshake(io).await.ok()?;
            tokio::spawn(connection);
            return Some(Connection::One(Arc::new(tokio::sync::Mutex::new(sender))));
        }
        let (sender, connection) = http2::handshake(TokioExecutor::new(), io).await.ok()?;
        tokio::spawn(connection);
        Some(Connection::Two(sender))
    }

    /// One request over a connection of its own; `None` if there is no server or it says no.
    pub(crate) async fn try_once(&self, address: SocketAddr, path: &str, body: &str) -> Option<Bytes> {
        let connection = self.connect(address, true).await?;
        connection.call(path, &Bytes::copy_from_slice(body.as_bytes()), How::AtOnce).await
    }

    /// One request over a connection of its own.
    pub(crate) async fn once(&self, address: SocketAddr, path: &str, body: &str) -> Bytes {
        self.try_once(address, path, body).await.unwrap()
    }

    /// Asks for `time`, and says what that cost.
    pub(crate) async fn load(
        &self,
        server: &Server,
        case: &Case,
        (path, body): &(&str, String),
        time: Duration,
    ) -> Cost {
        let body = &Bytes::copy_from_slice(body.as_bytes());
        let shared = self.connect(server.address, case.http1).await.unwrap();
        let (cpu, start) = (server.cpu(), Instant::now());
        let until = start + time;
        let workers = (0..case.workers).map(|_| {
            let shared = shared.clone();
            let worker: Pin<Box<dyn Future<Output = Vec<Duration>>>> = if case.fresh {
                Box::pin(repeat(until, async || {
                    self.connect(server.address, case.http1).await.unwrap().call(path, body, How::AtOnce).await
                }))
            } else {
                Box::pin(async move {
                    let own = if case.http1 { self.connect(server.address, true).await.unwrap() } else { shared };
                    repeat(until, async || own.call(path, body, case.sent).await).await
                })
            };
            worker
        });
        let latencies = join_all(workers).await.concat();
        cost(latencies, server.cpu() - cpu, start.elapsed())
    }
}

impl Connection {
    async fn call(&self, path: &str, body: &Bytes, sent: How) -> Option<Bytes> {
        let request = |target: &str| {
            let head = Request::put(target).header("host", "127.0.0.1").header("content-type", "application/json");
            head.body(Content::new(body.clone(), sent)).unwrap()
        };
        let response: Response<Incoming> = match self {
            Self::One(sender) => {
                let mut sender = sender.lock().await;
                sender.ready().await.ok()?;
                sender.send_request(request(path)).await.ok()?
            }
            Self::Two(sender) => {
                let mut sender = sender.clone();
                sender.ready().await.ok()?;
                sender.send_request(request(&format!("https://127.0.0.1{path}"))).await.ok()?
            }
        };
        let is_good = response.status().is_success();
        let body = response.into_body().collect().await.ok()?.to_bytes();
        is_good.then_some(body)
    }
}

async fn repeat(until: Instant, call: impl AsyncFn() -> Option<Bytes>) -> Vec<Duration> {
    let mut latencies = Vec::new();
    while Instant::now() < until {
        let start = Instant::now();
        call().await.unwrap();
        latencies.push(start.elapsed());
    }
    latencies
}

fn cost(mut latencies: Vec<Duration>, cpu: f64, time: Duration) -> Cost {
    latencies.sort_unstable();
    let count = latencies.len();
    let at = |share: usize| latencies[(count * share / 1000).min(count - 1)].as_secs_f64() * 1e6;
    Cost { rate: count as f64 / time.as_secs_f64(), p50: at(500), p99: at(990), cpu: cpu / 1e3 / count as f64 }
}
