//! HTTP/1.1 of clients that are slow, loud or lie.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::TcpStream,
    thread,
    time::{Duration, Instant},
};

use crate::{
    dial::{Dialer, rest},
    support::{Folder, Server},
    witness::{Witness, assert_memory},
};

/// How many clients do the same thing at a time.
const CLIENTS: usize = 50;

/// A byte every so often: never silent, never done.
const DRIP: Duration = Duration::from_millis(200);

fn server() -> (Folder, Server, Dialer) {
    let folder = Folder::new();
    let server = folder.serve();
    let dialer = Dialer::admin(&folder, "http/1.1");
    (folder, server, dialer)
}

#[test]
fn a_head_has_an_end() {
    let (folder, server, dialer) = server();
    let witness = Witness::start(&folder);
    let head = |bytes: usize| {
        format!("GET /version HTTP/1.1\r\nHost: kes\r\nConnection: close\r\nX: {}\r\n\r\n", "a".repeat(bytes))
    };
    let taken = dialer.say(head(60_000).as_bytes()).unwrap();
    assert!(taken.starts_with("HTTP/1.1 200 "), "{taken}");
    for _ in 0..CLIENTS {
        let mut connection = dialer.connect().unwrap();
        // it need not be read to its end
        let _ = connection.write_all(head(3 << 20).as_bytes());
        if let Ok((refused, _)) = rest(&mut connection) {
            assert!(refused.is_empty() || refused.starts_with("HTTP/1.1 431 "), "{refused}");
        }
    }
    // just enough to be too much, so that nothing that is left unread resets the connection before the answer is read
    let refused = dialer.say(&head(2 << 16).as_bytes()[..=(1 << 16)]).unwrap();
    assert!(refused.starts_with("HTTP/1.1 431 "), "{refused}");
    witness.finish("huge heads");
    assert_memory(&server, "huge heads", 96);
}

#[test]
fn requests_that_can_be_read_in_two_ways_are_refused() {
    let (_folder, _server, dialer) = server();
    let post = "POST /v1/key/generate/a HTTP/1.1\r\nHost: kes\r\n";
    for (request, expected) in [
        ("GET /version HTTP/1.1\r\n\r\n".to_owned(), "400"),
        ("GET /version HTTP/1.1\r\nHost: kes\r\nHost: other\r\n\r\n".to_owned(), "400"),
        ("GET  /version HTTP/1.1\r\nHost: kes\r\n\r\n".to_owned(), "400"),
        ("GET /version HTTP/1.1\r\nHost: kes\r\nA B: c\r\n\r\n".to_owned(), "400"),
        ("GET /version HTTP/1.1\r\nHost: kes\r\nA: b\r\n c\r\n\r\n".to_owned(), "400"),
        ("GET /version HTTP/3.7\r\nHost: kes\r\n\r\n".to_owned(), "400"),
        (format!("{post}Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello"), "400"),
        (format!("{post}Content-Length: +5\r\n\r\nhello"), "400"),
        (format!("{post}Content-Length: 99999999999999999999\r\n\r\nhello"), "400"),
        (format!("{post}Transfer-Encoding: gzip\r\n\r\nhello"), "400"),
        (format!("{post}Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n"), "400"),
        (format!("{post}Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n"), "501"),
        (format!("{post}Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), "501"),
        (format!("{post}Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"), "501"),
        (format!("{post}Expect: foo\r\n\r\n"), "417"),
        ("GET /version HTTP/2.0\r\nHost: kes\r\n\r\n".to_owned(), "400"),
    ] {
        let answer = dialer.say(request.as_bytes()).unwrap_or_else(|error| format!("{error}"));
        assert!(answer.starts_with(&format!("HTTP/1.1 {expected} ")), "{request:?}: {answer:?}");
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{request:?}: {answer:?}");
    }
}

#[test]
fn a_client_that_never_reads_is_not_waited_for() {
    let (folder, server, dialer) = server();
    let witness = Witness::start(&folder);
    let request = b"GET /v1/metrics HTTP/1.1\r\nHost: kes\r\n\r\n".repeat(100);
    let deaf: Vec<_> = (0..8)
        .map(|_| {
            let mut connection = dialer.connect().unwrap();
            connection.sock.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
            while connection.write_all(&request).is_ok() {}
            connection
        })
        .collect();
    witness.finish("pipelined requests whose answers nobody reads");
    assert_memory(&server, "pipelined requests whose answers nobody reads", 128);
    drop(deaf);
}

/// Sends a byte at a time until the server has had enough; how long that took.
fn drip(
    mut write: impl FnMut(&[u8]) -> std::io::Result<()>,
    mut is_over: impl FnMut() -> bool,
    bytes: &[u8],
) -> Duration {
    let began = Instant::now();
    for byte in bytes.iter().cycle() {
        if write(&[*byte]).is_err() || is_over() || began.elapsed() > Duration::from_secs(40) {
            break;
        }
        thread::sleep(DRIP);
    }
    began.elapsed()
}

/// Whether the other end has closed.
fn closed(stream: &TcpStream) -> bool {
    stream.set_nonblocking(true).unwrap();
    let mut buffer = [0; 4096];
    let mut stream_ref = stream;
    let over = loop {
        match stream_ref.read(&mut buffer) {
            Ok(0) => break true,
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => break false,
            Err(_) => break true,
        }
    };
    stream.set_nonblocking(false).unwrap();
    over
}

#[test]
fn slow_handshakes_heads_and_bodies_are_ended() {
    let (folder, server, dialer) = server();
    let witness = Witness::start(&folder);
    let hello = [&[22, 3, 1, 1, 0, 1, 0, 0, 252, 3, 3][..], &[7; 240]].concat();
    let head = b"GET /version HTTP/1.1\r\nHost: kes\r\nX: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
        .to_vec();
    let body_head = "POST /v1/key/generate/witness HTTP/1.1\r\nHost: kes\r\nContent-Length: 100000\r\n\r\n";
    thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                let stream = dialer.tcp();
                let took = drip(|byte| (&stream).write_all(byte), || closed(&stream), &hello);
                assert!(took < Duration::from_secs(15), "a handshake of {took:?}");
            });
            scope.spawn(|| {
                let mut connection = dialer.connect().unwrap();
                let stream = connection.sock.try_clone().unwrap();
                let took = drip(|byte| connection.write_all(byte), || closed(&stream), &head);
                assert!(took < Duration::from_secs(15), "a head of {took:?}");
            });
            scope.spawn(|| {
                let mut connection = dialer.connect().unwrap();
                connection.write_all(body_head.as_bytes()).unwrap();
                let stream = connection.sock.try_clone().unwrap();
                let took = drip(|byte| connection.write_all(byte), || closed(&stream), b" ");
                assert!(took < Duration::from_secs(30), "a body of {took:?}");
            });
        }
    });
    witness.finish("slow handshakes, heads and bodies");
    assert_memory(&server, "slow handshakes, heads and bodies", 64);
}

/// A client that fails over may send its request again without the body: MinIO's does. Taken for an empty context, it
/// would get a data key that opens nothing later on. It has announced a body, though.
#[test]
fn a_body_that_was_lost_is_not_taken_for_an_empty_one() {
    let (_folder, _server, dialer) = server();
    let put = |path: &str, more: &str| {
        let request = format!("PUT /v1/key/{path}/my-key HTTP/1.1\r\nHost: kes\r\nConnection: close\r\n{more}");
        dialer.say(request.as_bytes()).unwrap()
    };
    let none = "Content-Length: 0\r\n\r\n";
    assert!(put("create", none).starts_with("HTTP/1.1 200 "));
    for path in ["generate", "encrypt", "decrypt", "hmac"] {
        let answer = put(path, "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n");
        assert!(answer.starts_with("HTTP/1.1 400 "), "{path}: {answer}");
        let answer = put(path, none);
        assert!(path == "generate" || answer.starts_with("HTTP/1.1 400 "), "{path}: {answer}");
    }
    // who announces none means none, whatever type it would have
    for none in [none, "\r\n", "Content-Type: application/json\r\nContent-Length: 0\r\n\r\n"] {
        let answer = put("generate", none);
        assert!(answer.starts_with("HTTP/1.1 200 "), "{none}: {answer}");
    }
}
