//! Versions, suites and protocols of docs/kes-protocol.md §2, asked for by OpenSSL; handshakes that are none.

use std::{
    io::{Read as _, Write as _},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use crate::{
    dial::Dialer,
    support::{Folder, Server},
    witness::{Witness, assert_memory},
};

/// What OpenSSL offers, and what must come out.
const OFFERS: [(&[&str], Result<&str, &str>); 21] = [
    (&["-tls1_3", "-ciphersuites", "TLS_AES_128_GCM_SHA256"], Ok("TLSv1.3, Cipher is TLS_AES_128_GCM_SHA256")),
    (&["-tls1_3", "-ciphersuites", "TLS_AES_256_GCM_SHA384"], Ok("TLSv1.3, Cipher is TLS_AES_256_GCM_SHA384")),
    (
        &["-tls1_3", "-ciphersuites", "TLS_CHACHA20_POLY1305_SHA256"],
        Ok("TLSv1.3, Cipher is TLS_CHACHA20_POLY1305_SHA256"),
    ),
    (&["-tls1_3", "-ciphersuites", "TLS_AES_128_CCM_SHA256"], Err("alert handshake failure")),
    (&["-tls1_3", "-groups", "X25519"], Ok("TLSv1.3")),
    (&["-tls1_3", "-groups", "P-256"], Ok("TLSv1.3")),
    (&["-tls1_3", "-groups", "P-384"], Ok("TLSv1.3")),
    (&["-tls1_3", "-groups", "P-521"], Err("alert handshake failure")),
    (&["-tls1_2", "-groups", "P-521"], Err("alert handshake failure")),
    (&["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-GCM-SHA256"], Ok("Cipher is ECDHE-ECDSA-AES128-GCM-SHA256")),
    (&["-tls1_2", "-cipher", "ECDHE-ECDSA-AES256-GCM-SHA384"], Ok("Cipher is ECDHE-ECDSA-AES256-GCM-SHA384")),
    (&["-tls1_2", "-cipher", "ECDHE-ECDSA-CHACHA20-POLY1305"], Ok("Cipher is ECDHE-ECDSA-CHACHA20-POLY1305")),
    (&["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA"], Err("alert handshake failure")),
    (&["-tls1_2", "-cipher", "AES128-GCM-SHA256"], Err("alert handshake failure")),
    (&["-tls1_2", "-cipher", "DHE-RSA-AES128-GCM-SHA256"], Err("alert handshake failure")),
    (&["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"], Err("alert")),
    (&["-tls1", "-cipher", "ALL:@SECLEVEL=0"], Err("alert")),
    (&["-alpn", "h2"], Ok("ALPN protocol: h2")),
    (&["-alpn", "spdy/3,http/1.1"], Ok("ALPN protocol: http/1.1")),
    (&["-alpn", "spdy/3"], Err("alert no application protocol")),
    (&[], Ok("No ALPN negotiated")),
];

fn server() -> (Folder, Server) {
    let folder = Folder::new();
    let server = folder.serve();
    (folder, server)
}

fn openssl(folder: &Folder, offer: &[&str], shows_certificate: bool) -> String {
    let mut command = Command::new("timeout");
    command.args(["20", "openssl", "s_client", "-connect", &folder.address]).current_dir(folder.dir.path());
    if shows_certificate {
        // any certificate will do
        command.args(["-cert", "server.crt", "-key", "server.key"]);
    }
    let output = command.args(offer).stdin(std::process::Stdio::null()).output().expect("openssl");
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}

#[test]
fn only_known_versions_and_suites_are_spoken() {
    let (folder, _server) = server();
    for (offer, expected) in OFFERS {
        let said = openssl(&folder, offer, true);
        let (Ok(text) | Err(text)) = expected;
        assert!(said.contains(text), "{offer:?}: {said}");
        assert_eq!(said.contains(":SSL alert number "), expected.is_err(), "{offer:?}: {said}");
    }
}

#[test]
fn a_certificate_is_asked_for_by_alert() {
    let (folder, _server) = server();
    let said = openssl(&folder, &["-tls1_2"], false);
    assert!(said.contains("alert handshake failure") || said.contains("alert certificate required"), "{said}");
    let anonymous = Dialer::new(&folder, None, &[&rustls::version::TLS13], "http/1.1");
    let refused = anonymous.get("/version").unwrap_err().to_string();
    assert!(refused.contains("CertificateRequired"), "{refused}");
}

/// First bytes of a connection that no handshake has, or none that ends.
fn malformed() -> Vec<Vec<u8>> {
    let hello = |length: u16, body: &[u8]| [&[22, 3, 1], &length.to_be_bytes()[..], body].concat();
    vec![
        vec![0; 1000],
        vec![0xff; 70_000],
        // an SSL 2.0 and an SSL 3.0 hello
        vec![0x80, 0x2e, 1, 0, 2, 0, 0x15, 0, 0, 0, 0x10, 1, 0, 0x80],
        [&[22, 3, 0, 0, 45, 1, 0, 0, 41, 3, 0][..], &[7; 32], &[0, 0, 2, 0, 5, 1, 0]].concat(),
        // a record longer than may be, an empty one, one that says it holds 16 MiB of hello
        hello(0xffff, &[1].repeat(70_000)),
        hello(0, &[]).repeat(1000),
        hello(16_384, &[&[1, 0xff, 0xff, 0xff][..], &[3; 16_380]].concat()).repeat(8),
        // data and alerts before any handshake
        [&[23, 3, 3, 0, 5][..], b"hello"].concat(),
        [21, 3, 3, 0, 2, 1, 90].repeat(1000),
        // change_cipher_spec without end
        [20, 3, 3, 0, 1, 1].repeat(10_000),
    ]
}

#[test]
fn malformed_handshakes_are_ended() {
    let (folder, server) = server();
    let (dialer, witness) = (Dialer::admin(&folder, "http/1.1"), Witness::start(&folder));
    let began = Instant::now();
    thread::scope(|scope| {
        for (number, bytes) in malformed().into_iter().enumerate() {
            let dialer = dialer.clone();
            scope.spawn(move || {
                for _ in 0..20 {
                    let mut stream = dialer.tcp();
                    // the server may have closed already
                    let _ = stream.write_all(&bytes);
                    let mut answer = Vec::new();
                    let ended = stream.read_to_end(&mut answer);
                    let timed_out = |error: &std::io::Error| error.kind() == std::io::ErrorKind::WouldBlock;
                    assert!(!ended.as_ref().is_err_and(timed_out), "malformed {number}: {ended:?}");
                    assert!(answer.len() < 100 && (answer.is_empty() || answer[0] == 21), "malformed {number}");
                    if began.elapsed() > Duration::from_secs(20) {
                        break;
                    }
                }
            });
        }
    });
    witness.finish("malformed handshakes");
    assert_memory(&server, "malformed handshakes", 64);
}

#[test]
fn plain_http_is_answered_in_plain_words() {
    let (folder, _server) = server();
    let mut stream = Dialer::admin(&folder, "http/1.1").tcp();
    stream.write_all(b"GET /version HTTP/1.1\r\nHost: kes\r\n\r\n").unwrap();
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    assert_eq!(answer, "HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n");
}
