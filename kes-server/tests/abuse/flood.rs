//! Strangers who want to fill a log.

use std::{
    fs,
    io::Write as _,
    net::TcpStream,
    time::{Duration, Instant},
};

use crate::{
    certificates::Client,
    dial::VERSIONS,
    support::{Folder, Server, eventually, read},
};

/// Requests of a stranger, each with a path of [`PATH`] bytes.
const REQUESTS: usize = 300;
const PATH: usize = 12_000;

/// Bytes of both logs of a server.
fn logged(folder: &Folder) -> u64 {
    ["stdout", "stderr"].iter().map(|name| fs::metadata(folder.path(name)).unwrap().len()).sum()
}

fn server(log: &str) -> (Folder, Server) {
    let folder = Folder::new();
    folder.write("config.yaml", &(folder.config("keys") + log));
    let server = folder.serve();
    (folder, server)
}

/// Everything that a stranger is refused; how many bytes that was.
fn flood(folder: &Folder) -> usize {
    let stranger = Client::usual(|_| (), None).dialer(folder, VERSIONS[0]);
    let path = "/v1/key/encrypt/".to_owned() + &"&".repeat(PATH);
    let request = format!("POST {path} HTTP/1.1\r\nHost: kes\r\nContent-Length: 0\r\n\r\n");
    let last = request.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n");
    let answers = stranger.say((request.repeat(REQUESTS) + &last).as_bytes()).unwrap();
    assert_eq!(answers.matches("HTTP/1.1 403 ").count(), REQUESTS + 1, "{answers}");
    for _ in 0..REQUESTS {
        // not a handshake, and not even that
        let mut stream = TcpStream::connect(&folder.address).unwrap();
        let _ = stream.write_all(&[22, 3, 1, 0, 1, 0]);
    }
    (REQUESTS + 1) * request.len()
}

#[test]
fn a_stranger_does_not_fill_the_log() {
    let (folder, server) = server("");
    let before = logged(&folder);
    let (sent, began) = (flood(&folder), Instant::now());
    eventually("the lines that were left out are counted", || {
        read(folder.path("stderr").as_ref()).contains(" more lines of this caller were left out")
    });
    let written = logged(&folder) - before;
    println!("{sent} bytes of refused requests and {REQUESTS} broken handshakes: {written} bytes of log");
    assert!(written < 16 << 10, "{written} bytes");
    assert!(began.elapsed() < Duration::from_secs(30));
    let text = read(folder.path("stderr").as_ref());
    assert!(!text.contains("access denied"), "refusals are for DEBUG");
    assert_eq!(server.terminate(), Some(0));
}

#[test]
fn refusals_are_cut_and_counted_where_they_are_logged() {
    let (folder, server) = server("log: { error: DEBUG, audit: DEBUG }\n");
    let before = logged(&folder);
    let sent = flood(&folder);
    // what was left out is said at the latest when the server ends
    assert!(folder.kes(&["key", "create", "-k", "my-key"]).status.success());
    assert_eq!(server.terminate(), Some(0));
    let written = logged(&folder) - before;
    println!("{sent} bytes of refused requests, at DEBUG: {written} bytes of log");
    assert!(written < 256 << 10, "{written} bytes");
    for (file, denied, what) in
        [("stderr", "access denied: identity not found", "lines"), ("stdout", "res.code=403", "refused requests")]
    {
        let text = read(folder.path(file).as_ref());
        assert_eq!(text.lines().filter(|line| line.contains(denied)).count(), 10, "{file}");
        let left_out = format!("{} more {what} of this caller were left out", REQUESTS + 1 - 10);
        assert!(text.contains(&left_out), "{file}");
        assert!(text.lines().all(|line| line.len() < 4 << 10), "{file}: a long line");
    }
    assert!(read(folder.path("stdout").as_ref()).contains("secret key 'my-key' created"), "others are not affected");
}
