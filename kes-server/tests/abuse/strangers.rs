//! Clients that take all the places that a server has, and somebody with rights who wants one.

use std::{
    io::{self, Write as _},
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use kes_server::auth::ApiKey;

use crate::{
    dial::{Dialer, Tls},
    frames::{END_HEADERS, HEADERS, PREFACE, SETTINGS, frame},
    http2::{head, stream},
    support::{Folder, Server},
};

/// So many files leave 44 places.
const FILES: u32 = 300;

/// More clients than places.
const CLIENTS: usize = 60;

/// How long an attack takes, and how often its clients do something.
const ATTACK: Duration = Duration::from_secs(5);
const AGAIN: Duration = Duration::from_millis(500);

/// More than it may take to be let in, on a machine that runs other tests too. On an idle one it is some milliseconds.
const LONGEST: Duration = Duration::from_secs(3);

/// What a hostile client does until it is cut off or told to stop.
type Attack = fn(&Dialer, &AtomicBool) -> io::Result<()>;

/// Does something over and over.
fn again(stop: &AtomicBool, mut act: impl FnMut(u32) -> io::Result<()>) -> io::Result<()> {
    let mut number = 0;
    while !stop.load(Ordering::Relaxed) {
        act(number)?;
        number += 1;
        thread::sleep(AGAIN);
    }
    Ok(())
}

/// Begins requests over HTTP/2 that do not end.
fn endless_requests(dialer: &Dialer, stop: &AtomicBool) -> io::Result<()> {
    let mut connection: Tls = dialer.connect()?;
    connection.write_all(&[PREFACE, &frame(SETTINGS, 0, 0, &[])].concat())?;
    again(stop, |number| {
        let head = head(true, "/v1/key/encrypt/witness");
        connection.write_all(&frame(HEADERS, END_HEADERS, stream(number), &head))
    })
}

/// Sends a body over HTTP/1.1, a byte at a time.
fn slow_body(dialer: &Dialer, stop: &AtomicBool) -> io::Result<()> {
    let mut connection = dialer.connect()?;
    connection.write_all(b"POST /v1/key/encrypt/witness HTTP/1.1\r\nHost: kes\r\nContent-Length: 100000\r\n\r\n")?;
    again(stop, |_| connection.write_all(b" "))
}

/// Begins a handshake and does not go on with it.
fn half_a_handshake(dialer: &Dialer, stop: &AtomicBool) -> io::Result<()> {
    let mut stream = dialer.tcp();
    let hello = [&[22, 3, 1, 1, 0, 1, 0, 0, 252, 3, 3][..], &[7; 100]].concat();
    stream.write_all(&hello)?;
    again(stop, |_| stream.write_all(&[7]))
}

/// Connects and says nothing.
fn silence(dialer: &Dialer, stop: &AtomicBool) -> io::Result<()> {
    let stream = dialer.tcp();
    let mut nothing = [0];
    again(stop, |_| stream.peek(&mut nothing).map(drop))
}

/// Shows a certificate, asks, and connects again at once.
fn come_and_go(dialer: &Dialer, _: &AtomicBool) -> io::Result<()> {
    dialer.get("/v1/status").map(drop)
}

/// How long the admin needs at most until a request over a new connection is answered, while all others do the same
/// thing. A flood may cut a handshake: then the admin tries again.
fn longest_wait(folder: &Folder, what: &str, attack: Attack, hostile: &Dialer) -> Duration {
    let admin = Dialer::admin(folder, "http/1.1");
    let (stop, tries) = (AtomicBool::new(false), AtomicUsize::new(0));
    let (mut longest, mut count, mut again) = (Duration::ZERO, 0, 0);
    thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    tries.fetch_add(1, Ordering::Relaxed);
                    // being cut off is what is hoped for
                    let _ = attack(hostile, &stop);
                    thread::sleep(Duration::from_millis(5));
                }
            });
        }
        thread::sleep(AGAIN);
        let began = Instant::now();
        while began.elapsed() < ATTACK {
            let asked = Instant::now();
            while !admin.get("/v1/status").is_ok_and(|answer| answer.starts_with("HTTP/1.1 200 ")) {
                again += 1;
            }
            longest = longest.max(asked.elapsed());
            count += 1;
        }
        stop.store(true, Ordering::Relaxed);
    });
    let tries = tries.into_inner();
    println!("{what}: {tries} hostile connections, {count} of the admin and {again} cut, the slowest in {longest:?}");
    longest
}

fn assert_let_in(folder: &Folder, server: Server, attacks: &[(&str, Attack)], hostile: impl Fn(&str) -> Dialer) {
    for (what, attack) in attacks {
        let protocol = if what.contains("HTTP/2") { "h2" } else { "http/1.1" };
        let longest = longest_wait(folder, what, *attack, &hostile(protocol));
        assert!(longest < LONGEST, "{what}: the admin waited {longest:?}");
    }
    assert_eq!(server.terminate(), Some(0));
}

#[test]
fn strangers_keep_nobody_out() {
    let folder = Folder::new();
    let server = folder.serve_within("nofile", FILES);
    let attacks: [(&str, Attack); 5] = [
        ("endless requests over HTTP/2", endless_requests),
        ("slow bodies", slow_body),
        ("half a handshake", half_a_handshake),
        ("silence", silence),
        ("come and go", come_and_go),
    ];
    assert_let_in(&folder, server, &attacks, |protocol| Dialer::stranger(&folder, protocol));
}

/// Somebody with few rights is not a stranger, but whoever waits for his bytes is not at work.
#[test]
fn one_identity_does_not_keep_the_others_out() {
    let folder = Folder::new();
    let key = ApiKey::generate().unwrap();
    let known = "744f36cca67eb1912cb282e08e86bd2fe0d09004a28cf6e7c6bd56cdd6bf65aa";
    folder.write("config.yaml", &folder.config("keys").replace(known, key.identity().as_str()));
    let server = folder.serve_within("nofile", FILES);
    let attacks: [(&str, Attack); 2] = [
        ("endless requests of one identity over HTTP/2", endless_requests),
        ("slow bodies of one identity", slow_body),
    ];
    assert_let_in(&folder, server, &attacks, |protocol| Dialer::with_key(&folder, &key, protocol));
}
