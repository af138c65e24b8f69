//! HTTP/2 abuse, frame by frame.

use std::{
    io::{self, Write as _},
    thread,
    time::Duration,
};

use crate::{
    dial::{Dialer, Tls, rest},
    frames::{DATA, END_HEADERS, END_STREAM, HEADERS, PREFACE, RST_STREAM, SETTINGS, frame},
    support::{Folder, Server},
    witness::{Witness, assert_memory},
};

const PING: u8 = 6;
const CONTINUATION: u8 = 9;

/// The header block of a request, in HPACK without Huffman.
pub(crate) fn head(is_post: bool, path: &str) -> Vec<u8> {
    let method = if is_post { 0x83 } else { 0x82 };
    let length = u8::try_from(path.len()).unwrap();
    [&[method, 0x87, 0x01, 3][..], b"kes", &[0x04, length], path.as_bytes()].concat()
}

fn connect(dialer: &Dialer, settings: &[u8]) -> Tls {
    let mut connection = dialer.connect().unwrap();
    connection.sock.set_write_timeout(Some(Duration::from_secs(5))).unwrap();
    connection.write_all(&[PREFACE, &frame(SETTINGS, 0, 0, settings)].concat()).unwrap();
    connection
}

/// Writes without end, or until the server has had enough.
fn pour(connection: &mut Tls, times: u32, mut bytes: impl FnMut(u32) -> Vec<u8>) -> io::Result<()> {
    (0..times).try_for_each(|number| connection.write_all(&bytes(number)))
}

/// What one hostile client does to its connection.
type Attack = fn(&mut Tls) -> io::Result<()>;

pub(crate) fn stream(number: u32) -> u32 {
    number * 2 + 1
}

fn rapid_reset(connection: &mut Tls) -> io::Result<()> {
    pour(connection, 50_000, |number| {
        let open = frame(HEADERS, END_HEADERS | END_STREAM, stream(number), &head(false, "/v1/key/list/"));
        [open, frame(RST_STREAM, 0, stream(number), &[0, 0, 0, 8])].concat()
    })
}

/// Streams that never end, far more than the server allows.
fn many_streams(connection: &mut Tls) -> io::Result<()> {
    pour(connection, 5_000, |number| {
        frame(HEADERS, END_HEADERS, stream(number), &head(true, "/v1/key/generate/witness"))
    })
}

/// One header list without end.
fn endless_headers(connection: &mut Tls) -> io::Result<()> {
    let header = [&[0x00, 1, b'x', 0x7f, 0xe1, 0x7e][..], &[b'a'; 16_224]].concat();
    connection.write_all(&frame(HEADERS, END_STREAM, 1, &head(false, "/version")))?;
    pour(connection, 2_000, |_| frame(CONTINUATION, 0, 1, &header))
}

/// As many empty frames as anyone likes, none of which is the last.
fn empty_continuations(connection: &mut Tls) -> io::Result<()> {
    connection.write_all(&frame(HEADERS, END_STREAM, 1, &head(false, "/version")))?;
    pour(connection, 50_000, |_| frame(CONTINUATION, 0, 1, &[]))
}

/// A large header is put into the table once, and then meant again by a byte each.
fn header_bomb(connection: &mut Tls) -> io::Result<()> {
    let large = [&[0x40, 1, b'x', 0x7f, 0x81, 0x1e][..], &[b'a'; 3_968]].concat();
    let first = frame(HEADERS, END_HEADERS | END_STREAM, 1, &[head(false, "/version"), large].concat());
    connection.write_all(&first)?;
    pour(connection, 100, |number| {
        let block = [head(false, "/version"), vec![0xbe; 16_000]].concat();
        frame(HEADERS, END_HEADERS | END_STREAM, stream(number + 1), &block)
    })
}

/// Answers that the client gives no room for.
fn closed_windows(connection: &mut Tls) -> io::Result<()> {
    pour(connection, 1_000, |number| {
        frame(HEADERS, END_HEADERS | END_STREAM, stream(number), &head(false, "/v1/metrics"))
    })
}

fn pings(connection: &mut Tls) -> io::Result<()> {
    pour(connection, 30_000, |_| frame(PING, 0, 0, &[7; 8]))
}

fn settings(connection: &mut Tls) -> io::Result<()> {
    pour(connection, 30_000, |_| frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 100]))
}

/// Bodies of many requests at once, as large as they may be, none of which ends.
fn large_bodies(connection: &mut Tls) -> io::Result<()> {
    pour(connection, 200, |number| {
        frame(HEADERS, END_HEADERS, stream(number), &head(true, "/v1/key/encrypt/witness"))
    })?;
    let data = [b'a'; 16_000];
    (0..60).try_for_each(|_| pour(connection, 200, |number| frame(DATA, 0, stream(number), &data)))
}

const ATTACKS: [(&str, Attack, u64); 9] = [
    ("rapid reset", rapid_reset, 64),
    ("too many streams", many_streams, 128),
    ("an endless header list", endless_headers, 96),
    ("empty continuations", empty_continuations, 64),
    ("a header bomb", header_bomb, 96),
    ("closed windows", closed_windows, 192),
    ("pings without end", pings, 64),
    ("settings without end", settings, 64),
    ("large bodies", large_bodies, 192),
];

/// Hostile clients at a time.
const CLIENTS: usize = 8;

fn attack(folder: &Folder, server: &Server, (what, attack, limit): (&str, Attack, u64)) {
    let dialer = Dialer::admin(folder, "h2");
    let witness = Witness::start(folder);
    // no room for any answer, which is the worst that a client can say
    let no_window = [0, 4, 0, 0, 0, 0];
    thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                let mut connection = connect(&dialer, &no_window);
                // being refused is what is hoped for
                let _ = attack(&mut connection);
                thread::sleep(Duration::from_millis(500));
            });
        }
    });
    witness.finish(what);
    assert_memory(server, what, limit);
}

#[test]
fn abuse_costs_only_its_author() {
    for case in ATTACKS {
        let folder = Folder::new();
        let server = folder.serve();
        attack(&folder, &server, case);
        assert_eq!(server.terminate(), Some(0), "{}", case.0);
    }
}

#[test]
fn a_header_list_without_end_ends_the_connection() {
    let folder = Folder::new();
    let _server = folder.serve();
    let dialer = Dialer::admin(&folder, "h2");
    for attack in [endless_headers, empty_continuations] {
        let mut connection = connect(&dialer, &[]);
        connection.sock.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        if attack(&mut connection).is_ok() {
            let (_, end) = rest(&mut connection).expect("the connection is closed");
            assert!(["closed", "cut", "reset"].contains(&end));
        }
    }
}
