//! Thousands of connections that do nothing.

use std::{
    env,
    io::{self, Read as _},
    net::TcpStream,
};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::{
    dial::Dialer,
    support::Folder,
    witness::{Witness, assert_memory, memory},
};

/// Files that the test and the server need in addition to connections.
const OTHERS: u64 = 300;

/// As many connections as wanted and possible, and how many of them must finish their handshake.
/// `KES_IDLE_HANDSHAKES` says so; all 10,000 take a minute.
fn connections() -> (u64, u64) {
    let wanted = 10_000;
    let handshakes: u64 = env::var("KES_IDLE_HANDSHAKES").map_or(2_000, |value| value.parse().unwrap());
    let limit = getrlimit(Resource::Nofile);
    let most = limit.maximum.unwrap_or(u64::MAX);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }).unwrap();
    let possible = wanted.min(most.saturating_sub(OTHERS));
    if possible < wanted {
        println!("{possible} connections instead of {wanted}: a process may have {most} files here");
    }
    (possible, handshakes.min(possible))
}

/// A connection that has shown a certificate, and does nothing more.
fn idle(dialer: &Dialer) -> io::Result<TcpStream> {
    dialer.connect().map(|connection| connection.sock)
}

#[test]
fn idle_connections_neither_cost_much_nor_keep_others_out() {
    let (count, handshakes) = connections();
    let folder = Folder::new();
    let server = folder.serve();
    let before = memory(&server).0;
    let witness = Witness::start(&folder);
    let mut open: Vec<TcpStream> = Vec::new();
    for dialer in [Dialer::admin(&folder, "h2"), Dialer::admin(&folder, "http/1.1")] {
        let first = memory(&server).0;
        for _ in 0..handshakes / 2 {
            open.push(idle(&dialer).unwrap());
        }
        let each = memory(&server).0.saturating_sub(first) / (handshakes / 2).max(1);
        println!("{handshakes} / 2 idle connections of {:?} cost {each} bytes each", dialer.config.alpn_protocols);
        assert!(each < 64 << 10, "{each} bytes");
    }
    let dialer = Dialer::admin(&folder, "h2");
    // the rest never begins a handshake; together they are more than the server takes
    open.extend((handshakes..count).map(|_| dialer.tcp()));
    println!("{} MiB of memory before, {} MiB with {count} connections", before >> 20, memory(&server).0 >> 20);
    witness.finish("idle connections");
    assert_memory(&server, "idle connections", 400);
}

/// A server that may open few files: whoever holds all of them open is sent away in favour of those who come.
#[test]
fn idle_connections_give_way_when_there_are_too_many() {
    let folder = Folder::new();
    let server = folder.serve_within("nofile", 400);
    let dialer = Dialer::admin(&folder, "http/1.1");
    let mut first = idle(&dialer).unwrap();
    let witness = Witness::start(&folder);
    let open: Vec<_> = (0..1_000).map(|_| idle(&dialer).unwrap()).collect();
    witness.finish("more connections than the server may have");
    let mut rest = Vec::new();
    assert!(first.read_to_end(&mut rest).is_ok_and(|_| rest.len() < 10_000), "the first one was sent away");
    assert!(dialer.get("/version").unwrap().starts_with("HTTP/1.1 200 "));
    assert_eq!((open.len(), server.terminate()), (1_000, Some(0)));
}
