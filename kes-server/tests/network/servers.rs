//! Others on that network: name servers and a proxy.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, UdpSocket};
use tokio::task::JoinHandle;

/// What somebody was asked, a line each; ends when dropped.
pub struct Server {
    asked: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

impl Server {
    /// What it was asked since the last call.
    pub fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What a name server does with questions for addresses.
#[derive(Debug, Clone, Copy)]
pub enum Answers {
    /// Takes them all and answers none.
    Nothing,
    /// Answers those for IPv4 addresses with this one, and drops those for IPv6.
    OnlyIpv4([u8; 4]),
}

/// A name server on port 53 of this address.
pub async fn name_server(address: [u8; 4], answers: Answers) -> Server {
    let socket = UdpSocket::bind(SocketAddr::from((address, 53))).await.unwrap();
    let asked = Arc::<Mutex<Vec<String>>>::default();
    let log = asked.clone();
    let task = tokio::spawn(async move {
        let mut question = [0; 1500];
        loop {
            let (length, from) = socket.recv_from(&mut question).await.unwrap();
            let question = question.get(..length).unwrap();
            let end = 12 + question.get(12..).unwrap().iter().position(|byte| *byte == 0).unwrap() + 5;
            let kind = question.get(end - 4..end - 2).unwrap();
            log.lock()
                .unwrap()
                .push(format!("{kind:?} {}", String::from_utf8_lossy(question.get(13..end - 5).unwrap())));
            if let (Answers::OnlyIpv4(own), [0, 1]) = (answers, kind) {
                socket.send_to(&reply(question.get(..end).unwrap(), own), from).await.unwrap();
            }
        }
    });
    Server { asked, task }
}

/// The question again, with one address (RFC 1035).
fn reply(question: &[u8], address: [u8; 4]) -> Vec<u8> {
    let header = [0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0];
    let answer = [0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4];
    [question.get(..2).unwrap(), &header, question.get(12..).unwrap(), &answer, &address].concat()
}

/// A proxy that writes down the first line of each connection and goes no further.
pub async fn proxy(address: [u8; 4]) -> Server {
    let listener = TcpListener::bind(SocketAddr::from((address, 3128))).await.unwrap();
    let asked = Arc::<Mutex<Vec<String>>>::default();
    let log = asked.clone();
    let task = tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = vec![0; 64 << 10];
            let length = stream.read(&mut head).await.unwrap_or_default();
            let head = String::from_utf8_lossy(head.get(..length).unwrap()).into_owned();
            log.lock().unwrap().push(head.lines().next().unwrap_or_default().to_owned());
            let answer = "HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
            // whoever has gone needs none
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    Server { asked, task }
}
