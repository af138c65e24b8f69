//! The least that a server of this API can be: the same libraries for TLS, HTTP, AES and JSON, one key, no identities,
//! policies, logs, limits, deadlines or metrics.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::server::{DECRYPT, GENERATE};

const NONCE: usize = 12;

#[derive(serde::Deserialize)]
struct Asked {
    #[serde(default)]
    context: String,
    #[serde(default)]
    ciphertext: String,
}

#[derive(serde::Serialize)]
struct Answer {
    plaintext: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    ciphertext: String,
}

/// Serves what is in the folder until it is killed: each connection by one of as many threads as there are CPUs.
pub(crate) fn serve(folder: &Path) {
    let address: SocketAddr = std::fs::read_to_string(folder.join("address")).unwrap().parse().unwrap();
    let tls = tls(folder);
    let key = Arc::new(LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &[7; 32]).unwrap()));
    let count = std::thread::available_parallelism().unwrap().get();
    let workers: Vec<_> = (0..count).map(|_| worker(tls.clone(), key.clone())).collect();
    let accept = async {
        let listener = TcpListener::bind(address).await.unwrap();
        let mut turns = workers.iter().cycle();
        loop {
            let stream = listener.accept().await.unwrap().0;
            stream.set_nodelay(true).unwrap();
            turns.next().unwrap().send(stream.into_std().unwrap()).unwrap();
        }
    };
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(accept);
}

fn tls(folder: &Path) -> TlsAcceptor {
    let chain = vec![CertificateDer::from_pem_file(folder.join("server.crt")).unwrap()];
    let key = PrivateKeyDer::from_pem_file(folder.join("server.key")).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(folder.join("client.crt")).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let clients = rustls::server::WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(clients.build().unwrap())
        .with_single_cert(chain, key)
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config.send_tls13_tickets = 1;
    TlsAcceptor::from(Arc::new(config))
}

type Connections = tokio::sync::mpsc::UnboundedSender<std::net::TcpStream>;

fn worker(tls: TlsAcceptor, key: Arc<LessSafeKey>) -> Connections {
    let (connections, mut accepted) = tokio::sync::mpsc::unbounded_channel();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    std::thread::spawn(move || {
        runtime.block_on(async {
            while let Some(stream) = accepted.recv().await {
                tokio::spawn(connection(TcpStream::from_std(stream).unwrap(), tls.clone(), key.clone()));
            }
        });
    });
    connections
}

async fn connection(stream: TcpStream, tls: TlsAcceptor, key: Arc<LessSafeKey>) {
    let Ok(stream) = tls.accept(stream).await else { return };
    let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    let service = service_fn(move |request| answer(key.clone(), request));
    let io = TokioIo::new(stream);
    // a client that goes is none of ours
    if is_http2 {
        let _ = http2::Builder::new(TokioExecutor::new()).serve_connection(io, service).await;
    } else {
        let _ = http1::Builder::new().serve_connection(io, service).await;
    }
}

async fn answer(key: Arc<LessSafeKey>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let is_generate = match request.uri().path() {
        GENERATE => true,
        DECRYPT => false,
        _ => return Ok(Response::builder().status(404).body(Full::default()).unwrap()),
    };
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let asked: Asked = serde_json::from_slice(&body).unwrap();
    let context = BASE64.decode(asked.context).unwrap();
    let answer = if is_generate { generate(&key, &context) } else { decrypt(&key, &context, &asked.ciphertext) };
    let body = serde_json::to_vec(&answer).unwrap();
    let head = Response::builder().header("content-type", "application/json");
    Ok(head.body(Full::from(body)).unwrap())
}

fn generate(key: &LessSafeKey, context: &[u8]) -> Answer {
    let (mut dek, mut nonce) = ([0; 32], [0; NONCE]);
    aws_lc_rs::rand::fill(&mut dek).unwrap();
    aws_lc_rs::rand::fill(&mut nonce).unwrap();
    let mut sealed = dek.to_vec();
    key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(context), &mut sealed).unwrap();
    Answer { plaintext: BASE64.encode(dek), ciphertext: BASE64.encode([&nonce[..], &sealed].concat()) }
}

fn decrypt(key: &LessSafeKey, context: &[u8], ciphertext: &str) -> Answer {
    let mut sealed = BASE64.decode(ciphertext).unwrap();
    let (nonce, sealed) = sealed.split_at_mut(NONCE);
    let nonce = Nonce::try_assume_unique_for_key(nonce).unwrap();
    let dek = key.open_in_place(nonce, Aad::from(context), sealed).unwrap();
    Answer { plaintext: BASE64.encode(dek), ciphertext: String::new() }
}
