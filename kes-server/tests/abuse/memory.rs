//! What is left in the memory of a server, and who could see it: by reading all of it, as root may.

use std::{
    fs::{self, File},
    os::unix::{fs::FileExt as _, process::ExitStatusExt as _},
    process::Command,
    thread::sleep,
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use rustix::process::{Resource, geteuid, getrlimit};

use crate::{
    dial::{Dialer, Tls, rest},
    support::{Folder, Server, eventually, read},
};

/// Longest wait for a connection to be gone from memory.
const PATIENCE: Duration = Duration::from_secs(20);

/// Bytes of a secret that are looked for: a piece of it is too much.
const PIECE: usize = 16;

/// A server whose memory this process may read: root may, and so may whoever owns the namespace that it runs in.
fn serve(folder: &Folder) -> Server {
    if geteuid().is_root() {
        return folder.serve();
    }
    folder.serve_through(&["unshare", "--user", "--map-root-user"])
}

/// A mapping of a process that it may write.
struct Mapping {
    start: u64,
    bytes: Vec<u8>,
    name: String,
}

fn memory(server: &Server) -> Vec<Mapping> {
    let maps = fs::read_to_string(format!("/proc/{}/maps", server.id())).unwrap();
    let memory = File::open(format!("/proc/{}/mem", server.id())).unwrap();
    let mut mappings = Vec::new();
    for line in maps.lines().filter(|line| line.contains(" rw")) {
        let (range, rest) = line.split_once(' ').unwrap();
        let (start, end) = range.split_once('-').unwrap();
        let [start, end] = [start, end].map(|text| u64::from_str_radix(text, 16).unwrap());
        let mut bytes = vec![0; usize::try_from(end - start).unwrap()];
        // a mapping may go while it is read
        if memory.read_exact_at(&mut bytes, start).is_ok() {
            mappings.push(Mapping { start, bytes, name: rest.split_whitespace().last().unwrap().to_owned() });
        }
    }
    assert!(mappings.iter().any(|mapping| mapping.name == "[stack]"), "{maps}");
    mappings
}

/// Something that must not stay: as it is, and as text.
struct Secret {
    what: &'static str,
    pieces: Vec<Vec<u8>>,
}

impl Secret {
    fn new(what: &'static str, bytes: &[u8]) -> Self {
        let text = STANDARD.encode(bytes).into_bytes();
        let pieces = [bytes, &text].into_iter().flat_map(|form| form.chunks_exact(PIECE)).map(<[u8]>::to_vec).collect();
        Self { what, pieces }
    }

    fn text(what: &'static str, text: &str) -> Self {
        Self { what, pieces: text.as_bytes().chunks_exact(PIECE).map(<[u8]>::to_vec).collect() }
    }
}

/// Where pieces of secrets are.
fn find(secrets: &[Secret], server: &Server) -> Vec<String> {
    let mut by_head = vec![Vec::new(); 1 << 16];
    let head = |piece: &[u8]| usize::from(u16::from_be_bytes([piece[0], piece[1]]));
    for secret in secrets {
        secret.pieces.iter().for_each(|piece| by_head[head(piece)].push((secret.what, piece)));
    }
    let mut places = Vec::new();
    for Mapping { start, bytes, name } in memory(server) {
        for (at, window) in bytes.windows(PIECE).enumerate() {
            let found = by_head[head(window)].iter().find(|(_, piece)| *piece == window);
            places.extend(found.map(|(what, _)| format!("a piece of {what} at {:x}, {name}", start + at as u64)));
        }
    }
    places
}

/// Sends one request over a connection that stays open; the body of the answer.
fn call(connection: &mut Tls, path: &str, body: &str) -> String {
    use std::io::{Read as _, Write as _};

    let length = body.len();
    write!(connection, "PUT {path} HTTP/1.1\r\nHost: kes\r\nContent-Length: {length}\r\n\r\n{body}").unwrap();
    let mut answer = String::new();
    while !answer.ends_with("\r\n\r\n") {
        let mut byte = [0];
        connection.read_exact(&mut byte).unwrap();
        answer.push(char::from(byte[0]));
    }
    assert!(answer.starts_with("HTTP/1.1 200 "), "{path}: {answer}");
    let length =
        answer.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    connection.read_exact(&mut body).unwrap();
    String::from_utf8(body).unwrap()
}

fn field(document: &str, name: &str) -> String {
    serde_json::from_str::<serde_json::Value>(document).unwrap()[name].as_str().unwrap().to_owned()
}

/// Bytes that nothing else has.
fn random(length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    aws_lc_rs::rand::fill(&mut bytes).unwrap();
    bytes
}

/// Does with a key what clients do; what must not be left of it.
fn use_key(folder: &Folder, connection: &mut Tls, cipher: &str) -> Vec<Secret> {
    let (key, plaintext, large) = (random(32), random(48), random(300_000));
    let [text, plain, long] = [&key, &plaintext, &large].map(|bytes| STANDARD.encode(bytes));
    call(connection, "/v1/key/import/mine", &format!(r#"{{"key":"{text}","cipher":"{cipher}"}}"#));
    let stored = fs::read_to_string(folder.path("keys/mine")).unwrap();
    for plain in [&plain, &long] {
        let sealed = call(connection, "/v1/key/encrypt/mine", &format!(r#"{{"plaintext":"{plain}"}}"#));
        let body = format!(r#"{{"ciphertext":"{}"}}"#, field(&sealed, "ciphertext"));
        assert_eq!(&field(&call(connection, "/v1/key/decrypt/mine", &body), "plaintext"), plain);
    }
    let made = call(connection, "/v1/key/generate/mine", "{}");
    let data_key = STANDARD.decode(field(&made, "plaintext")).unwrap();
    // HTTP/2, with the command line
    let by_command = random(32);
    let text = STANDARD.encode(&by_command);
    assert!(folder.kes(&["key", "import", "-k", "other", &text]).status.success());
    assert!(folder.kes(&["key", "dek", "-k", "other"]).status.success());
    vec![
        Secret::new("the imported key", &key),
        Secret::new("the plaintext", &plaintext),
        // all pieces of 300,000 bytes would take minutes to look for
        Secret::new("the large plaintext", &large[150_000..150_048]),
        Secret::new("the data key", &data_key),
        Secret::text("the stored key", &stored[20..stored.len() - 20]),
        Secret::new("the key imported over HTTP/2", &by_command),
    ]
}

#[test]
fn nothing_of_a_key_is_left_once_it_is_deleted() {
    for cipher in ["AES256", "ChaCha20"] {
        let folder = Folder::new();
        let server = serve(&folder);
        let mut connection = Dialer::admin(&folder, "http/1.1").connect().unwrap();
        let secrets = use_key(&folder, &mut connection, cipher);
        let in_use = find(&secrets[..1], &server);
        assert!(!in_use.is_empty(), "a key in use is found, or this test looks in the wrong place");
        for name in ["mine", "other"] {
            assert!(folder.kes(&["key", "rm", "-k", name]).status.success());
        }
        connection.conn.send_close_notify();
        let _ = rest(&mut connection);
        drop(connection);
        let began = Instant::now();
        loop {
            let left = find(&secrets, &server);
            if left.is_empty() {
                break;
            }
            assert!(began.elapsed() < PATIENCE, "{cipher}: {left:#?}");
            sleep(Duration::from_millis(200));
        }
    }
}

/// KiB of memory that a server has locked, by what it says and by what the kernel says.
fn locked(folder: &Folder, server: &Server) -> (Option<u64>, u64) {
    let banner = read(folder.path("stdout").as_ref());
    let said = banner.lines().find_map(|line| line.strip_prefix("MLock")).unwrap().trim().to_owned();
    let number = |text: &str| text.split_whitespace().next().unwrap().parse::<u64>().unwrap();
    let said = said.strip_prefix("secrets only (").map(number);
    let status = fs::read_to_string(format!("/proc/{}/status", server.id())).unwrap();
    (said, number(status.lines().find_map(|line| line.strip_prefix("VmLck:")).unwrap()))
}

#[test]
fn the_banner_says_whether_the_memory_of_keys_is_locked() {
    let limit = getrlimit(Resource::Memlock).current;
    if limit.is_none_or(|limit| limit >= 64 << 10) {
        let folder = Folder::new();
        let server = folder.serve();
        let (said, is) = locked(&folder, &server);
        assert!(said.is_some_and(|said| said > 0 && said <= is), "said: {said:?}, in truth: {is} KiB");
    }
    let folder = Folder::new();
    let no_limit_holds = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"];
    let none = ["prlimit", "--memlock=0"];
    let program = if geteuid().is_root() { [&no_limit_holds[..], &none].concat() } else { none.to_vec() };
    let server = folder.serve_through(&program);
    assert_eq!(locked(&folder, &server), (None, 0));
    assert!(read(folder.path("stdout").as_ref()).contains("MLock       off: the limit is too low"));
    for command in ["create", "dek"] {
        assert!(folder.kes(&["key", command, "-k", "my-key"]).status.success(), "it serves all the same: {command}");
    }
}

/// A server that crashes must not write its keys to a file.
#[test]
fn a_server_that_is_aborted_leaves_no_core_dump() {
    let folder = Folder::new();
    let core = ["prlimit", "--core=unlimited"];
    let mut other =
        Command::new(core[0]).args([core[1], "sleep", "60"]).current_dir(folder.dir.path()).spawn().unwrap();
    let named = || read(format!("/proc/{}/comm", other.id()).as_ref());
    eventually("prlimit has become sleep", || named() == "sleep\n");
    assert!(Command::new("kill").args(["-ABRT", &other.id().to_string()]).status().unwrap().success());
    if !other.wait().unwrap().core_dumped() {
        println!("no process leaves a core dump on this machine: /proc/sys/kernel/core_pattern");
    }
    let ended = folder.serve_through(&core).abort();
    assert_eq!((ended.signal(), ended.core_dumped()), (Some(6), false));
}
