//! The client against a server of canned answers: what is sent, what is trusted, how failures are reported.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "test")]

use std::{
    collections::VecDeque,
    convert::Infallible,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{Request, Response, Version, body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use kes_server::client::{Client, ClientError, Credentials, Timeouts, Trust};
use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::TcpListener;
use tokio_rustls::{TlsAcceptor, rustls::ServerConfig};

const TIMEOUTS: Timeouts = Timeouts { connect: Duration::from_secs(5), request: Duration::from_secs(5) };

type Answers = Arc<Mutex<VecDeque<(u16, &'static str, &'static str)>>>;
type Seen = Arc<Mutex<Vec<String>>>;

/// Gives its answers in order, then never again; remembers the requests.
struct Fake {
    address: SocketAddr,
    certificate_pem: String,
    seen: Seen,
}

impl Fake {
    async fn start(is_ca: bool, answers: &[(u16, &'static str, &'static str)]) -> Self {
        let (certificate_pem, config) = server_config(is_ca);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Seen::default();
        let answers: Answers = Arc::new(Mutex::new(answers.iter().copied().collect()));
        tokio::spawn(accept(listener, TlsAcceptor::from(Arc::new(config)), answers, seen.clone()));
        Self { address, certificate_pem, seen }
    }

    fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }
}

async fn accept(listener: TcpListener, tls: TlsAcceptor, answers: Answers, seen: Seen) {
    while let Ok((stream, _)) = listener.accept().await {
        let (tls, answers, seen) = (tls.clone(), answers.clone(), seen.clone());
        tokio::spawn(async move {
            let Ok(stream) = tls.accept(stream).await else { return };
            let service = service_fn(move |request| answer(request, answers.clone(), seen.clone()));
            let _ = auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn answer(request: Request<Incoming>, answers: Answers, seen: Seen) -> Result<Response<Full<Bytes>>, Infallible> {
    assert_eq!(request.version(), Version::HTTP_2);
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let body = request.into_body().collect().await.unwrap().to_bytes();
    seen.lock().unwrap().push(format!("{method} {path} {}", String::from_utf8_lossy(&body)));
    let next = answers.lock().unwrap().pop_front();
    let Some((status, content_type, body)) = next else { std::future::pending().await };
    let response = Response::builder().status(status).header("content-type", content_type);
    Ok(response.body(Full::from(body)).unwrap())
}

fn server_config(is_ca: bool) -> (String, ServerConfig) {
    let (certificate, key) = self_signed(is_ca);
    let pem = certificate.pem();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], PrivateKeyDer::try_from(key.serialize_der()).unwrap())
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    (pem, config)
}

fn self_signed(is_ca: bool) -> (rcgen::Certificate, KeyPair) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(["127.0.0.1".to_owned(), "localhost".to_owned()]).unwrap();
    params.is_ca = if is_ca { IsCa::Ca(BasicConstraints::Unconstrained) } else { IsCa::ExplicitNoCa };
    (params.self_signed(&key).unwrap(), key)
}

fn credentials() -> Credentials {
    let (certificate, key) = self_signed(false);
    Credentials::from_pem(certificate.pem().as_bytes(), key.serialize_pem().as_bytes()).unwrap()
}

fn client(endpoints: &[String], trust: &Trust) -> Client {
    Client::new(endpoints, credentials(), trust, TIMEOUTS).unwrap()
}

const JSON: &str = "application/json";

#[tokio::test]
async fn requests_are_those_of_the_sdk() {
    let fake = Fake::start(
        false,
        &[
            (200, JSON, ""),
            (200, JSON, r#"{"plaintext":"AAE=","ciphertext":"Ag=="}"#),
            (200, JSON, r#"{"names":["a"],"continue_at":"b"}"#),
            (200, JSON, r#"{"names":["b"]}"#),
            (200, "application/x-ndjson", "{\"name\":\"c\"}\n"),
        ],
    )
    .await;
    let client = client(&[fake.address.to_string()], &Trust::Insecure);
    client.create_key("my-key").await.unwrap();
    let key = client.generate_key("my-key", b"ctx").await.unwrap();
    assert_eq!((key.plaintext.as_slice(), key.ciphertext.as_slice()), (&[0, 1][..], &[2][..]));
    assert_eq!(client.list_keys("").await.unwrap(), ["a", "b"]);
    assert_eq!(client.list_keys("").await.unwrap(), ["c"]);
    let expected = [
        "POST /v1/key/create/my-key ",
        r#"POST /v1/key/generate/my-key {"context":"Y3R4"}"#,
        "GET /v1/key/list/ ",
        "GET /v1/key/list/b ",
        "GET /v1/key/list/ ",
    ];
    assert_eq!(fake.seen(), expected);
}

#[tokio::test]
async fn a_listing_may_have_a_hundred_thousand_names() {
    let names: Vec<String> = (0..100_000).map(|number| format!("{number:080}")).collect();
    let document = serde_json::json!({ "names": names }).to_string();
    let fake = Fake::start(false, &[(200, JSON, document.leak())]).await;
    let timeouts = Timeouts { request: Duration::from_secs(60), ..TIMEOUTS };
    let client = Client::new(&[fake.address.to_string()], credentials(), &Trust::Insecure, timeouts).unwrap();
    assert_eq!(client.list_keys("").await.unwrap(), names);
}

#[tokio::test]
async fn refusals_keep_status_and_message() {
    let fake = Fake::start(
        false,
        &[
            (400, JSON, "{\"message\":\"key already exists\"\n}"),
            (403, JSON, "{\"error\":\"not authorized: insufficient permissions\"}"),
            (404, "text/plain; charset=utf-8", "404 page not found\n"),
        ],
    )
    .await;
    let client = client(&[fake.address.to_string()], &Trust::Insecure);
    assert!(client.create_key("a").await.unwrap_err().is_key_exists());
    assert!(client.create_key("a").await.unwrap_err().is_not_allowed());
    let unknown = client.version().await.unwrap_err();
    assert_eq!((unknown.status(), unknown.message().as_str()), (Some(404), "404 page not found"));
    assert!(unknown.to_string().contains(&format!("GET https://{}/version", fake.address)));
}

#[tokio::test]
async fn only_the_certificate_that_was_given_is_trusted() {
    for is_ca in [false, true] {
        let version = (200, JSON, r#"{"version":"v"}"#);
        let fake = Fake::start(is_ca, &[version, version]).await;
        let endpoint = [fake.address.to_string()];
        let pinned = Trust::Pem(fake.certificate_pem.clone().into_bytes());
        assert_eq!(client(&endpoint, &pinned).version().await.unwrap().version, "v", "is_ca: {is_ca}");

        let other = Trust::Pem(self_signed(is_ca).0.pem().into_bytes());
        let error = client(&endpoint, &other).version().await.unwrap_err();
        assert!(error.to_string().contains("x509: certificate signed by unknown authority"), "{error}");

        let wrong_name = [format!("127.0.0.2:{}", fake.address.port())];
        let listener = TcpListener::bind((std::net::Ipv4Addr::new(127, 0, 0, 2), fake.address.port())).await.unwrap();
        tokio::spawn(forward(listener, fake.address));
        let error = client(&wrong_name, &pinned).version().await.unwrap_err();
        assert!(error.to_string().contains("x509: certificate is not valid for 127.0.0.2"), "{error}");
    }
}

async fn forward(listener: TcpListener, to: SocketAddr) {
    while let Ok((mut from, _)) = listener.accept().await {
        let mut to = tokio::net::TcpStream::connect(to).await.unwrap();
        let _ = tokio::io::copy_bidirectional(&mut from, &mut to).await;
    }
}

#[tokio::test]
async fn another_endpoint_answers_for_one_that_cannot() {
    let broken = Fake::start(false, &[(503, JSON, r#"{"message":"down"}"#)]).await;
    let good = Fake::start(false, &[(200, JSON, r#"{"version":"a"}"#), (200, JSON, r#"{"version":"b"}"#)]).await;
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let endpoints = [nobody, broken.address, good.address].map(|address| address.to_string());
    let client = client(&endpoints, &Trust::Insecure);
    assert_eq!(client.version().await.unwrap().version, "a");
    assert_eq!(client.version().await.unwrap().version, "b");
    assert_eq!(broken.seen().len(), 1, "the endpoint that answered is asked first");
}

#[tokio::test]
async fn failures_without_an_answer_name_the_call() {
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let error = client(&[nobody.to_string()], &Trust::Insecure).status().await.unwrap_err();
    let expected = format!(
        "kes: connection error: Get \"https://{nobody}/v1/status\": dial tcp {nobody}: connect: connection refused"
    );
    assert_eq!(error.to_string(), expected);

    let silent = Fake::start(false, &[]).await;
    let timeouts = Timeouts { request: Duration::from_millis(200), ..TIMEOUTS };
    let client = Client::new(&[silent.address.to_string()], credentials(), &Trust::Insecure, timeouts).unwrap();
    let error = client.status().await.unwrap_err();
    assert!(matches!(error, ClientError::TimedOut { .. }), "{error}");
}

#[tokio::test]
async fn log_streams_end_with_the_server() {
    let lines = "{\"message\":\"one\"}\n\n{\"message\":\"two\"}\n";
    let fake = Fake::start(false, &[(200, "application/x-ndjson", lines)]).await;
    let mut log = client(&[fake.address.to_string()], &Trust::Insecure).error_log().await.unwrap();
    assert_eq!(log.next().await.unwrap().unwrap().message, "one");
    assert_eq!(log.next().await.unwrap().unwrap().message, "two");
    assert!(log.next().await.unwrap().is_none());
}

#[test]
fn credentials_and_trust_must_hold_what_they_say() {
    let (certificate, key) = self_signed(false);
    assert!(Credentials::from_pem(b"", key.serialize_pem().as_bytes()).is_err());
    assert!(Credentials::from_pem(certificate.pem().as_bytes(), b"").is_err());
    let mismatched = Credentials::new(
        vec![CertificateDer::from(certificate.der().to_vec())],
        PrivateKeyDer::try_from(KeyPair::generate().unwrap().serialize_der()).unwrap(),
    );
    assert!(Client::new(&["a:1"], mismatched, &Trust::Insecure, TIMEOUTS).is_err());
    assert!(Client::new(&["a:1"], credentials(), &Trust::Pem(Vec::new()), TIMEOUTS).is_err());
}
