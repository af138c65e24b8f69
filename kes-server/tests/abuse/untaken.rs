//! Answers that nobody takes: how much memory they cost, and when it is given back.

use std::{
    fs,
    io::{Read as _, Write as _},
    sync::Arc,
    thread::sleep,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::Full;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use kes_server::auth::ApiKey;
use rustls_pki_types::ServerName;
use tokio::{net::TcpStream, runtime::Runtime, task::JoinSet};
use tokio_rustls::TlsConnector;

use crate::{
    dial::Dialer,
    frames::{END_HEADERS, END_STREAM, HEADERS, PREFACE, SETTINGS, frame},
    http2::{head, stream},
    support::{Folder, Server},
    witness::{Witness, memory},
};

/// How long requests are sent and answers left alone.
const ATTACK: Duration = Duration::from_secs(4);

/// How long to wait for what was held to be given back.
const PATIENCE: Duration = Duration::from_secs(60);

/// MiB that one connection may cost, that a hundred may cost, and that may stay of either.
const ONE: u64 = 12;
const HUNDRED: u64 = 64;
const STAYS: u64 = 12;

type Ask = Request<Full<Bytes>>;

fn request(method: impl TryInto<Method>, target: &str, body: impl Into<Bytes>) -> Ask {
    let Ok(method) = method.try_into() else { panic!("a method") };
    let request = Request::builder().method(method).uri(format!("https://kes{target}"));
    request.body(Full::new(body.into())).unwrap()
}

/// A kind of request, how many of them are sent over one connection, and how many over each of a hundred.
struct Flood {
    what: &'static str,
    ask: fn() -> Ask,
    count: (usize, usize),
}

fn encrypt(length: usize) -> Ask {
    let document = format!("{{\"plaintext\":\"{}\"}}", "QUFB".repeat(length / 4));
    request(Method::POST, "/v1/key/encrypt/witness", document)
}

const FLOODS: [Flood; 6] = [
    Flood {
        what: "redirects of 60 kB",
        ask: || request(Method::GET, &format!("//{}", "&".repeat(60_000)), ""),
        count: (400, 40),
    },
    Flood {
        what: "methods of 200 kB",
        ask: || request("M".repeat(200_000).as_bytes(), "/v1/status", ""),
        count: (150, 20),
    },
    Flood { what: "names of 30 kB", ask: || request(Method::POST, &name(30_000), "{}"), count: (400, 40) },
    Flood { what: "bodies of 0.99 MB", ask: || encrypt(990_000), count: (300, 4) },
    Flood { what: "metrics", ask: || request(Method::GET, "/v1/metrics", ""), count: (1_000, 250) },
    Flood { what: "data keys", ask: || request(Method::POST, "/v1/key/generate/witness", "{}"), count: (1_000, 250) },
];

const LISTINGS: Flood =
    Flood { what: "listings of 2,000 keys", ask: || request(Method::GET, "/v1/key/list/", ""), count: (250, 40) };

fn name(length: usize) -> String {
    format!("/v1/key/encrypt/{}", "&".repeat(length))
}

/// A connection over which no answer has room.
async fn connect(dialer: &Dialer) -> Option<SendRequest<Full<Bytes>>> {
    let stream = TcpStream::connect(&dialer.address).await.ok()?;
    let name = ServerName::try_from("127.0.0.1").unwrap();
    let tls = TlsConnector::from(Arc::clone(&dialer.config)).connect(name, stream).await.ok()?;
    let mut builder = Builder::new(TokioExecutor::new());
    let io = TokioIo::new(tls);
    let (sender, connection) = builder.initial_stream_window_size(0).handshake(io).await.ok()?;
    // that the server ends it is what is hoped for
    tokio::spawn(async move { drop(connection.await) });
    Some(sender)
}

/// Sends requests over so many connections at a time and takes none of the answers.
fn flood(runtime: &Runtime, dialer: &Dialer, connections: usize, flood: &Flood) -> JoinSet<()> {
    let each = if connections == 1 { flood.count.0 } else { flood.count.1 };
    let mut clients = JoinSet::new();
    for _ in 0..connections {
        let (dialer, ask) = (dialer.clone(), flood.ask);
        let client = async move {
            let Some(sender) = connect(&dialer).await else { return };
            let mut answers = JoinSet::new();
            for _ in 0..each {
                let mut sender = sender.clone();
                answers.spawn(async move {
                    sender.ready().await?;
                    let answer = sender.send_request(ask()).await;
                    // it is not dropped: that would tell the server that nobody wants it
                    std::future::pending::<()>().await;
                    answer.map(drop)
                });
            }
            while answers.join_next().await.is_some() {}
        };
        clients.spawn_on(client, runtime.handle());
    }
    clients
}

fn measure(hostile: fn(&Folder) -> Dialer, connections: usize, kind: &Flood, limit: u64) {
    measure_in(&Folder::new(), hostile, connections, kind, limit);
}

fn measure_in(folder: &Folder, hostile: fn(&Folder) -> Dialer, connections: usize, kind: &Flood, limit: u64) {
    let server = folder.serve();
    let witness = Witness::start(folder);
    sleep(Duration::from_millis(500));
    let idle = memory(&server).0;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let clients = flood(&runtime, &hostile(folder), connections, kind);
    sleep(ATTACK);
    drop(clients);
    runtime.shutdown_background();
    let what = format!("{connections} connections, {}", kind.what);
    let most = (memory(&server).1.saturating_sub(idle)) >> 20;
    let (seconds, stays) = given_back(&server, idle);
    println!("{what}: {} MiB before, {most} MiB more at most, {stays} MiB more after {seconds} s", idle >> 20);
    witness.finish(&what);
    assert!(most <= limit, "{what}: {most} MiB, allowed are {limit}");
    assert!(stays <= STAYS, "{what}: {stays} MiB stay");
    assert_eq!(server.terminate(), Some(0));
}

fn admin(folder: &Folder) -> Dialer {
    Dialer::admin(folder, "h2")
}

fn stranger(folder: &Folder) -> Dialer {
    Dialer::stranger(folder, "h2")
}

/// How many MiB are left of what was taken, and after how many seconds.
fn given_back(server: &Server, idle: u64) -> (u64, u64) {
    let began = Instant::now();
    loop {
        let stays = memory(server).0.saturating_sub(idle) >> 20;
        if stays <= STAYS || began.elapsed() > PATIENCE {
            return (began.elapsed().as_secs(), stays);
        }
        sleep(Duration::from_millis(500));
    }
}

#[test]
fn answers_that_nobody_takes_cost_a_few_megabytes() {
    for kind in &FLOODS {
        measure(admin, 1, kind, ONE);
    }
    for kind in &FLOODS[..3] {
        measure(stranger, 1, kind, ONE);
    }
}

#[test]
fn a_hundred_such_connections_cost_little_more() {
    for kind in &FLOODS[..4] {
        measure(admin, 100, kind, HUNDRED);
    }
    measure(stranger, 100, &FLOODS[0], HUNDRED);
}

/// What is collected for an answer counts too.
#[test]
fn listings_that_nobody_takes_cost_a_few_megabytes() {
    for (connections, limit) in [(1, ONE), (100, HUNDRED)] {
        let folder = Folder::new();
        fs::create_dir(folder.path("keys")).unwrap();
        for number in 0..2_000 {
            folder.write(&format!("keys/a-key-for-a-bucket-of-someone-{number:04}"), "");
        }
        measure_in(&folder, admin, connections, &LISTINGS, limit);
    }
}

/// Tens of thousands of small answers at once, to clients with rights.
#[test]
fn many_small_answers_cost_little_more() {
    for kind in &FLOODS[4..] {
        measure(admin, 100, kind, HUNDRED);
    }
}

/// Small answers again, but the server did not run while all of them were asked for: it finds them all at once.
#[test]
fn small_answers_asked_for_during_a_pause_cost_little_more() {
    for (path, is_post) in [("/v1/metrics", false), ("/v1/key/generate/witness", true)] {
        let folder = Folder::new();
        let server = folder.serve();
        let witness = Witness::start(&folder);
        sleep(Duration::from_millis(500));
        let idle = memory(&server).0;
        let dialer = admin(&folder);
        // no room for any answer
        let hello = [PREFACE, &frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0])].concat();
        let mut clients: Vec<_> = (0..100).map(|_| dialer.connect().unwrap()).collect();
        for client in &mut clients {
            client.write_all(&hello).unwrap();
            client.read_exact(&mut [0; 9]).expect("the settings of the server");
        }
        let ask = |number| frame(HEADERS, END_HEADERS | END_STREAM, stream(number), &head(is_post, path));
        let requests: Vec<_> = (0..250).flat_map(ask).collect();
        server.pause();
        for client in &mut clients {
            client.write_all(&requests).unwrap();
        }
        server.go_on();
        sleep(ATTACK);
        drop(clients);
        let most = (memory(&server).1.saturating_sub(idle)) >> 20;
        let (seconds, stays) = given_back(&server, idle);
        println!("{path}, all at once: {most} MiB more at most, {stays} MiB more after {seconds} s");
        witness.finish(path);
        assert!(most <= HUNDRED && stays <= STAYS, "{path}: {most} MiB, {stays} MiB stay");
        assert_eq!(server.terminate(), Some(0));
    }
}

/// Bodies as large as they may be, of more identities than there is memory for.
#[test]
fn large_bodies_of_many_identities_cost_little_more() {
    let folder = Folder::new();
    let keys: Vec<_> = (0..20).map(|_| ApiKey::generate().unwrap()).collect();
    let identities: Vec<_> = keys.iter().map(|key| format!("\"{}\"", key.identity())).collect();
    let known = "\"744f36cca67eb1912cb282e08e86bd2fe0d09004a28cf6e7c6bd56cdd6bf65aa\"";
    folder.write("config.yaml", &folder.config("keys").replace(known, &identities.join(", ")));
    let server = folder.serve();
    let witness = Witness::start(&folder);
    sleep(Duration::from_millis(500));
    let idle = memory(&server).0;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let clients: Vec<_> =
        keys.iter().map(|key| flood(&runtime, &Dialer::with_key(&folder, key, "h2"), 5, &FLOODS[3])).collect();
    sleep(ATTACK);
    drop(clients);
    runtime.shutdown_background();
    let most = (memory(&server).1.saturating_sub(idle)) >> 20;
    let (seconds, stays) = given_back(&server, idle);
    println!("20 identities, 100 connections: {most} MiB more at most, {stays} MiB more after {seconds} s");
    witness.finish("large bodies of many identities");
    assert!(most <= HUNDRED && stays <= HUNDRED, "{most} MiB, {stays} MiB stay");
    assert_eq!(server.terminate(), Some(0));
}

#[test]
fn a_connection_whose_answers_are_not_taken_is_ended() {
    let folder = Folder::new();
    let server = folder.serve();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let took = runtime.block_on(async {
        let mut sender = connect(&Dialer::admin(&folder, "h2")).await.unwrap();
        let began = Instant::now();
        let answer = sender.send_request(request(Method::GET, "/v1/metrics", "")).await.unwrap();
        while !sender.is_closed() && began.elapsed() < Duration::from_secs(60) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        drop(answer);
        began.elapsed()
    });
    println!("a connection whose answers are not taken is ended after {took:?}");
    assert!(took > Duration::from_secs(5) && took < Duration::from_secs(40), "{took:?}");
    assert_eq!(server.terminate(), Some(0));
}
