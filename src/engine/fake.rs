//! A scripted engine behind a real unix socket, for tests of what goes over the wire and what may go wrong there.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};

/// What the engine does with one request.
#[derive(Debug, Clone)]
pub(super) enum Reply {
    /// Answers with a status and a body, and keeps the connection.
    Answer(u16, &'static str),
    /// Writes these bytes and closes the connection.
    Cut(&'static str),
    /// Says nothing and keeps the connection.
    Silence,
}

/// The engine; it goes with the test's runtime.
#[derive(Debug)]
pub(super) struct FakeEngine {
    folder: TempDir,
    requests: Arc<Mutex<Vec<String>>>,
    connections: Arc<Mutex<usize>>,
}

impl FakeEngine {
    /// Starts an engine that decides by the request line, for example `GET /_ping`.
    pub(super) fn start(script: impl Fn(&str) -> Reply + Send + Sync + 'static) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(folder.path().join("socket")).unwrap();
        let engine = Self { folder, requests: Arc::default(), connections: Arc::default() };
        let (script, requests, connections) =
            (Arc::new(script), Arc::clone(&engine.requests), Arc::clone(&engine.connections));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                *connections.lock().unwrap() += 1;
                let (script, requests) = (Arc::clone(&script), Arc::clone(&requests));
                tokio::spawn(async move { serve(stream, script.as_ref(), &requests).await });
            }
        });
        engine
    }

    pub(super) fn socket(&self) -> PathBuf {
        self.folder.path().join("socket")
    }

    /// Request lines and bodies so far, as `METHOD path body`.
    pub(super) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }

    pub(super) fn connections(&self) -> usize {
        *self.connections.lock().unwrap()
    }
}

async fn serve(mut stream: UnixStream, script: &(dyn Fn(&str) -> Reply + Sync), requests: &Mutex<Vec<String>>) {
    while let Some((line, body)) = read_request(&mut stream).await {
        requests.lock().unwrap().push(format!("{line} {body}").trim_end().to_owned());
        match script(&line) {
            Reply::Answer(status, body) => {
                let answer = format!(
                    "HTTP/1.1 {status} X\r\nLibpod-Api-Version: 4.3.1\r\nContent-Length: {}\r\n\r\n{body}",
                    body.len()
                );
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
            Reply::Cut(bytes) => return stream.write_all(bytes.as_bytes()).await.unwrap(),
            Reply::Silence => {}
        }
    }
}

/// The request line without its version, and the body.
async fn read_request(stream: &mut UnixStream) -> Option<(String, String)> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).unwrap();
    let length =
        head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ").map(str::to_owned));
    let mut body = vec![0; length.map_or(0, |length| length.trim().parse().unwrap())];
    stream.read_exact(&mut body).await.ok()?;
    if head.to_ascii_lowercase().contains("transfer-encoding: chunked") {
        // a body that is streamed is not looked at, only read to its last, empty chunk
        while !body.ends_with(b"\r\n0\r\n\r\n") {
            body.push(stream.read_u8().await.ok()?);
        }
        body.clear();
    }
    let line = head.lines().next().unwrap().trim_end_matches(" HTTP/1.1").to_owned();
    Some((line, String::from_utf8(body).unwrap()))
}
