//! Requests of every kind, and how Go's HTTP server and JSON decoder take them, which are those of MinIO KES:
//! `data/exchanges` has the programs that recorded them. Only what README.md names is taken in another way.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "test")]

#[allow(dead_code, reason = "the other tests call the rest")]
#[path = "abuse/dial.rs"]
mod dial;
#[path = "abuse/frames.rs"]
mod frames;
mod support;

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Read as _, Write as _},
};

use dial::{Dialer, Tls};
use frames::{DATA, END_HEADERS, END_STREAM, HEADERS, PREFACE, RST_STREAM, SETTINGS, frame};
use kes_server::{
    crypto::{Algorithm, Key},
    fuzzing::request_body,
};
use serde_json::Value;
use support::Folder;

fn lines(text: &str) -> Vec<Vec<Value>> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The files have a character of Latin-1 for each byte.
fn bytes(text: &Value) -> Vec<u8> {
    text.as_str().unwrap().chars().map(|character| u8::try_from(u32::from(character)).unwrap()).collect()
}

struct Answer {
    status: u64,
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }
}

/// Asks over one connection for as long as that lives.
struct Asker {
    dialer: Dialer,
    connection: Option<BufReader<Tls>>,
}

impl Asker {
    fn ask(&mut self, method: &str, target: &[u8], head: &[u8]) -> Answer {
        let connection = self.connection.take().unwrap_or_else(|| BufReader::new(self.dialer.connect().unwrap()));
        let mut connection = connection;
        let request = [method.as_bytes(), b" ", target, b" HTTP/1.1\r\n", head, b"\r\n"].concat();
        connection.get_mut().write_all(&request).unwrap();
        let mut line = || {
            let mut line = String::new();
            connection.read_line(&mut line).unwrap();
            line.trim_end().to_owned()
        };
        let status = line().split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        let headers = std::iter::from_fn(|| Some(line()).filter(|line| !line.is_empty()));
        let headers = headers.filter_map(|line| {
            let (name, value) = line.split_once(": ")?;
            Some((name.to_ascii_lowercase(), value.to_owned()))
        });
        let mut answer = Answer { status, headers: headers.collect(), body: Vec::new() };
        let length = if method == "HEAD" { 0 } else { answer.header("content-length").parse().unwrap_or_default() };
        answer.body.resize(length, 0);
        connection.read_exact(&mut answer.body).unwrap();
        if answer.header("connection") != "close" {
            self.connection = Some(connection);
        }
        answer
    }
}

/// What a URI or a header cannot have (RFC 3986 §2, RFC 9110 §5.5). The HTTP library refuses it before anybody sees the
/// request.
fn is_malformed(target: &[u8], head: &[u8]) -> bool {
    let has_path = target.starts_with(b"/") || target.starts_with(b"http") || target == b"*";
    let is_uri = std::str::from_utf8(target).is_ok() && !target.iter().any(|byte| b"<>`".contains(byte));
    !has_path || !is_uri || head.iter().any(|byte| byte.is_ascii_control() && !b"\t\r\n".contains(byte))
}

/// Whether `answer` is the recorded one, where a recorded `served` stands for every answer of a handler.
fn is_recorded(answer: &Answer, recorded: &[Value], method: &str) -> bool {
    let (status, head, body) = (recorded[3].as_u64().unwrap(), &recorded[4], recorded[5].as_str().unwrap());
    if status == 200 {
        let text = String::from_utf8_lossy(&answer.body);
        let is_of_handler = text.contains("does not exist") || text.contains("request body");
        return answer.status == 200 || is_of_handler;
    }
    let mut headers = ["content-type", "location", "accept"].iter().zip(head.as_array().unwrap());
    let has_headers = headers.all(|(name, recorded)| answer.header(name) == recorded.as_str().unwrap());
    let has_length = method != "HEAD" || status != 307 || answer.header("content-length").is_empty();
    answer.status == status && has_headers && has_length && answer.body == body.as_bytes()
}

#[test]
fn targets_are_taken_as_by_go() {
    let folder = Folder::new();
    let _server = folder.serve();
    let mut asker = Asker { dialer: Dialer::admin(&folder, "http/1.1"), connection: None };
    let mut wrong = Vec::new();
    let recorded = lines(include_str!("data/exchanges/targets.jsonl"));
    for line in &recorded {
        let (method, target, head) = (line[0].as_str().unwrap(), bytes(&line[1]), bytes(&line[2]));
        let answer = asker.ask(method, &target, &head);
        let is_clean = !target.starts_with(b"//") && !target.windows(2).any(|two| two == b"/.");
        let is_of_listing = line[4][1].as_str().unwrap().split('?').next().is_some_and(|to| to.ends_with("/list/"));
        let is_right = if is_malformed(&target, &head) {
            answer.status == 400 && answer.body.is_empty()
        } else if target.contains(&b'#') {
            // it ends the path
            true
        } else if method == "GET" && line[3] == 307 && is_of_listing && is_clean {
            answer.status == 200
        } else {
            is_recorded(&answer, line, method)
        };
        if !is_right {
            let body = String::from_utf8_lossy(&answer.body).into_owned();
            wrong.push(format!(
                "{} {:?} {body:?}, recorded {}",
                answer.status,
                answer.headers,
                Value::from(line.clone())
            ));
        }
    }
    assert!(wrong.is_empty(), "{} of {} differ:\n{}", wrong.len(), recorded.len(), wrong.join("\n"));
}

#[test]
fn bodies_are_taken_as_by_go() {
    let mut wrong = Vec::new();
    for line in lines(include_str!("data/exchanges/bodies.jsonl")) {
        let (route, document) = (line[0].as_str().unwrap(), bytes(&line[1]));
        let taken = match route {
            "stored" => stored(&document),
            route => request_body(route, &document),
        };
        let recorded: Option<Vec<Vec<u8>>> = line[2]
            .as_array()
            .map(|fields| fields.iter().map(|field| hex::decode(field.as_str().unwrap()).unwrap()).collect());
        let recorded = recorded.filter(|fields| route != "stored" || is_algorithm(&fields[1]));
        let recorded = recorded.map(|fields| if route == "stored" { fields[2..].to_vec() } else { fields });
        if taken != recorded {
            wrong.push(format!("{taken:?}, recorded {recorded:?} {}", Value::from(line)));
        }
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}

/// When and by whom a stored key was made.
fn stored(document: &[u8]) -> Option<Vec<Vec<u8>>> {
    let key = Key::decode(document).ok()?;
    Some(vec![key.created_at().to_string().into_bytes(), key.created_by().as_bytes().to_vec()])
}

fn is_algorithm(name: &[u8]) -> bool {
    name.is_empty() || std::str::from_utf8(name).is_ok_and(|name| name.parse::<Algorithm>().is_ok())
}

/// The first frame that answers the first stream: its kind, and its first byte.
fn answer(dialer: &Dialer, frames: &[u8]) -> (u8, u8) {
    let mut connection = dialer.connect().unwrap();
    let start = [PREFACE, &frame(SETTINGS, 0, 0, &[]), frames].concat();
    connection.write_all(&start).unwrap();
    loop {
        let mut head = [0; 9];
        connection.read_exact(&mut head).unwrap();
        let mut payload = vec![0; usize::from(u16::from_be_bytes([head[1], head[2]]))];
        connection.read_exact(&mut payload).unwrap();
        if [HEADERS, RST_STREAM].contains(&head[3]) {
            return (head[3], payload[0]);
        }
    }
}

/// POST of `generate` to this authority, in HPACK without Huffman, with these headers more.
fn generate(authority: &str, more: &[(&str, &str)]) -> Vec<u8> {
    let text = |text: &str| [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
    let more = more.iter().map(|(name, value)| [vec![0], text(name), text(value)].concat());
    let path = text("/v1/key/generate/my-key");
    [vec![0x83, 0x87, 0x01], text(authority), vec![0x04], path, more.collect::<Vec<_>>().concat()].concat()
}

#[test]
fn a_body_is_left_out_if_none_is_announced() {
    /// `:status` 200 and 400 in the static table of HPACK.
    const OK: u8 = 0x88;
    const BAD_REQUEST: u8 = 0x8c;
    let folder = Folder::new();
    let _server = folder.serve();
    assert!(folder.kes(&["key", "create", "-k", "my-key"]).status.success());
    let dialer = Dialer::admin(&folder, "h2");
    let json = ("content-type", "application/json");
    let end = frame(DATA, END_STREAM, 1, &[]);
    let open = |more: &[(&str, &str)]| frame(HEADERS, END_HEADERS, 1, &generate("kes", more));
    let closed = |more: &[(&str, &str)]| frame(HEADERS, END_HEADERS | END_STREAM, 1, &generate("kes", more));
    assert_eq!(answer(&dialer, &closed(&[json])), (HEADERS, OK));
    assert_eq!(answer(&dialer, &closed(&[json, ("content-length", "0")])), (HEADERS, OK));
    assert_eq!(answer(&dialer, &[open(&[json, ("content-length", "0")]), end.clone()].concat()), (HEADERS, OK));
    // a stream that goes on promises a body, even if its end comes at once
    assert_eq!(answer(&dialer, &[open(&[]), end.clone()].concat()), (HEADERS, BAD_REQUEST));
    assert_eq!(answer(&dialer, &[open(&[json]), end.clone()].concat()), (HEADERS, BAD_REQUEST));
    assert_eq!(answer(&dialer, &closed(&[json, ("content-length", "5")])).0, RST_STREAM);
    assert_eq!(answer(&dialer, &[open(&[json, ("content-length", "5")]), end].concat()).0, RST_STREAM);
}

#[test]
fn an_authority_does_not_name_a_user() {
    let folder = Folder::new();
    let _server = folder.serve();
    let dialer = Dialer::admin(&folder, "h2");
    let ask =
        |authority: &str| answer(&dialer, &frame(HEADERS, END_HEADERS | END_STREAM, 1, &generate(authority, &[])));
    assert_eq!(ask("user@kes"), (HEADERS, 0x8c));
    assert_eq!(ask("kes:7373"), (HEADERS, 0x8d), "there is no such key");
}
