//! What ends with a certificate, with the CA that issued it, and with a right: connections, sessions that could be
//! resumed, log streams.

use std::{
    io::{self, Read as _, Write as _},
    thread::sleep,
    time::{Duration, Instant, SystemTime},
};

use rcgen::KeyPair;
use rustls::HandshakeKind;

use crate::{
    certificates::{Client, authority, folder, for_clients},
    dial::{Dialer, Tls, VERSIONS, rest},
    support::{ADMIN, Folder, Server, eventually, read},
};

/// How long the certificate of a test is valid: long enough for a few handshakes on a busy machine.
const LIFE: Duration = Duration::from_secs(8);

/// Far less than an idle connection may take, far more than the server needs.
const SOON: Duration = Duration::from_secs(40);

/// A connection that is kept open after a request.
fn kept(dialer: &Dialer) -> Tls {
    let mut connection = dialer.connect().unwrap();
    ask(&mut connection).unwrap();
    connection
}

/// One request more over a connection that is kept open.
fn ask(connection: &mut Tls) -> io::Result<String> {
    connection.write_all(b"GET /v1/status HTTP/1.1\r\nHost: kes\r\n\r\n")?;
    let mut answer = Vec::new();
    while !answer.ends_with(b"}\n") {
        let mut byte = [0];
        connection.read_exact(&mut byte)?;
        answer.push(byte[0]);
    }
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    Ok(answer)
}

fn assert_ends_soon(connection: &mut Tls, what: &str) {
    let began = Instant::now();
    connection.sock.set_read_timeout(Some(SOON)).unwrap();
    let ended = rest(connection);
    assert!(ended.is_ok() && began.elapsed() < SOON, "{what} goes on: {ended:?}");
}

/// Asks again and again until it is refused with this alert.
fn assert_is_refused_soon(dialer: &Dialer, alert: &str, what: &str) {
    let began = Instant::now();
    let refused = loop {
        match dialer.get("/v1/status") {
            Ok(answer) => assert!(began.elapsed() < SOON, "{what} is still accepted: {answer}"),
            Err(refused) => break refused.to_string(),
        }
        sleep(Duration::from_millis(100));
    };
    assert!(refused.contains(alert), "{what}: {refused}");
}

fn reload(folder: &Folder, server: &Server) {
    let reloads = || read(folder.path("stdout").as_ref()).matches("completed.").count();
    let before = reloads();
    server.hang_up();
    eventually("the server has reloaded", || reloads() > before);
}

#[test]
fn what_a_certificate_opened_ends_with_it() {
    let (ca, key) = (authority("first"), KeyPair::generate().unwrap());
    let folder = folder("auth: on, ca: ca.crt", &[&Client::new(&key, for_clients, Some(&ca))]);
    folder.write("ca.crt", &ca.pem());
    let _server = folder.serve();
    for version in VERSIONS {
        let end = SystemTime::now() + LIFE;
        let short = |params: &mut rcgen::CertificateParams| {
            for_clients(params);
            params.not_after = end.into();
        };
        let dialer = Client::new(&key, short, Some(&ca)).dialer(&folder, version);
        assert!(dialer.get("/v1/status").unwrap().starts_with("HTTP/1.1 200 "));
        let mut open = kept(&dialer);
        assert_is_refused_soon(&dialer, "CertificateExpired", &format!("an expired certificate, {version:?}"));
        assert!(SystemTime::now() > end, "{version:?}: not before its end");
        assert_ends_soon(&mut open, &format!("the connection of an expired certificate, {version:?}"));
    }
    assert!(read(folder.path("stderr").as_ref()).contains("not accepted any more"), "it is in the log");
}

#[test]
fn what_a_ca_opened_ends_when_the_configuration_names_another() {
    let (first, second) = (authority("first"), authority("second"));
    let (former, later) = (Client::usual(for_clients, Some(&first)), Client::usual(for_clients, Some(&second)));
    let folder = folder("auth: on, ca: ca.crt", &[&former, &later]);
    folder.write("ca.crt", &first.pem());
    let server = folder.serve();
    let mut open: Vec<_> = VERSIONS
        .map(|version| former.dialer(&folder, version))
        .into_iter()
        .map(|dialer| (kept(&dialer), dialer))
        .collect();
    reload(&folder, &server);
    sleep(Duration::from_secs(2));
    for (connection, _) in &mut open {
        ask(connection).expect("a reload that changes nothing ends nothing");
    }
    folder.write("ca.crt", &second.pem());
    reload(&folder, &server);
    for (connection, dialer) in &mut open {
        assert_is_refused_soon(dialer, "UnknownC", "a certificate of the former CA");
        assert_ends_soon(connection, "a connection of the former CA");
    }
    assert!(later.dialer(&folder, VERSIONS[0]).get("/v1/status").unwrap().starts_with("HTTP/1.1 200 "));
}

#[test]
fn what_nobody_vouched_for_ends_when_somebody_must() {
    let (ca, key) = (authority("first"), KeyPair::generate().unwrap());
    let unknown = Client::new(&key, |_| (), None);
    let folder = folder("auth: off, ca: ca.crt", &[&unknown]);
    folder.write("ca.crt", &ca.pem());
    let server = folder.serve();
    let mut open: Vec<_> = VERSIONS
        .map(|version| unknown.dialer(&folder, version))
        .into_iter()
        .map(|dialer| (kept(&dialer), dialer))
        .collect();
    let config = read(folder.path("config.yaml").as_ref());
    folder.write("config.yaml", &config.replace("auth: off", "auth: on"));
    reload(&folder, &server);
    for (connection, dialer) in &mut open {
        // this one has a session of before
        assert_is_refused_soon(dialer, "UnknownC", "a session of before");
        assert_ends_soon(connection, "a connection of before");
    }
}

/// Resuming saves time; it must not save the look at a certificate.
#[test]
fn sessions_are_resumed_only_where_nobody_looks_at_certificates() {
    let ca = authority("first");
    let client = Client::usual(for_clients, Some(&ca));
    for (auth, expected) in [("off", HandshakeKind::Resumed), ("on", HandshakeKind::Full)] {
        let folder = folder(&format!("auth: {auth}, ca: ca.crt"), &[&client]);
        folder.write("ca.crt", &ca.pem());
        let server = folder.serve();
        for version in VERSIONS {
            let dialer = client.dialer(&folder, version);
            let kind = || {
                let connection = kept(&dialer);
                connection.conn.handshake_kind().unwrap()
            };
            assert_eq!((kind(), kind()), (HandshakeKind::Full, expected), "auth: {auth}, {version:?}");
            folder.write("ca.crt", &[authority("other").pem(), ca.pem()].concat());
            reload(&folder, &server);
            assert_eq!(kind(), HandshakeKind::Full, "after a change of CA, auth: {auth}, {version:?}");
        }
    }
}

/// A connection keeps the limits that it began with: those of a stranger do not fit somebody who is known now.
#[test]
fn a_stranger_whose_policy_comes_later_connects_again() {
    let (known, newcomer) = (Client::usual(|_| (), None), Client::usual(|_| (), None));
    let folder = folder("auth: off", &[&known]);
    let server = folder.serve();
    for version in VERSIONS {
        let dialer = newcomer.dialer(&folder, version);
        let mut stays = kept(&known.dialer(&folder, version));
        let mut open = dialer.connect().unwrap();
        open.write_all(b"GET /v1/status HTTP/1.1\r\nHost: kes\r\n\r\n").unwrap();
        let mut answer = [0; 12];
        open.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"HTTP/1.1 403");
        let config = read(folder.path("config.yaml").as_ref());
        let both = format!("{}, {}", known.identity(), newcomer.identity());
        folder.write("config.yaml", &config.replace(&known.identity(), &both));
        reload(&folder, &server);
        assert_ends_soon(&mut open, &format!("the connection of a former stranger, {version:?}"));
        assert!(dialer.get("/v1/status").unwrap().starts_with("HTTP/1.1 200 "));
        ask(&mut stays).expect("others stay connected");
        folder.write("config.yaml", &config);
        reload(&folder, &server);
    }
}

#[test]
fn a_log_stream_ends_for_whoever_loses_the_right_to_it() {
    let reader = Client::usual(|_| (), None);
    let folder = folder("auth: off", &[&reader]);
    let readable = read(folder.path("config.yaml").as_ref()).replace("allow: [/v1/status]", "allow: [/v1/log/*]");
    folder.write("config.yaml", &(readable.clone() + "log: { error: DEBUG }\n"));
    let server = folder.serve();
    for stream in ["audit", "error"] {
        let mut open = reader.dialer(&folder, VERSIONS[0]).connect().unwrap();
        write!(open, "GET /v1/log/{stream} HTTP/1.1\r\nHost: kes\r\nConnection: close\r\n\r\n").unwrap();
        // every one of these is in both logs: a policy that does not exist is refused to the reader
        let cause = |name: &str| {
            let path = format!("/v1/policy/describe/{name}");
            reader.dialer(&folder, VERSIONS[0]).get(&path).unwrap();
        };
        let mut seen = String::new();
        let mut part = [0; 4096];
        while !seen.contains("/v1/policy/describe/before") {
            cause("before");
            let length = open.read(&mut part).unwrap();
            seen.push_str(&String::from_utf8_lossy(&part[..length]));
        }
        folder.write("config.yaml", &(readable.replace("/v1/log/*", "/v1/status") + "log: { error: DEBUG }\n"));
        reload(&folder, &server);
        cause("after");
        let (more, _) = rest(&mut open).expect("the stream ends");
        assert!(!more.contains("describe/after"), "{stream}: {more}");
        folder.write("config.yaml", &(readable.clone() + "log: { error: DEBUG }\n"));
        reload(&folder, &server);
    }
    assert!(folder.kes(&["identity", "info", "-k", ADMIN]).status.success());
}
