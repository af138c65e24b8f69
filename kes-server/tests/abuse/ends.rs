//! The metrics of certificates: until when the CA and each client's certificate are valid, and whom TLS refuses.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{CertificateParams, KeyPair};

use crate::{
    certificates::{Client, authority, folder, for_clients},
    dial::{Dialer, VERSIONS},
    support::{Folder, eventually, read},
};

/// Days from now, in full seconds as certificates have them, and as the metrics show it.
fn days(days: u64) -> (SystemTime, String) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let end = Duration::from_secs(now + days * 86_400);
    (UNIX_EPOCH + end, end.as_secs().to_string())
}

fn until(end: SystemTime) -> impl FnOnce(&mut CertificateParams) {
    move |params| {
        for_clients(params);
        params.not_after = end.into();
    }
}

/// As Prometheus asks if `accept`, and else as clients of MinIO KES do.
fn metrics(dialer: &Dialer, accept: bool) -> String {
    let accept = if accept { "Accept: text/plain;version=0.0.4;q=0.5,*/*;q=0.1\r\n" } else { "" };
    let request = format!("GET /v1/metrics HTTP/1.1\r\nHost: kes\r\n{accept}Connection: close\r\n\r\n");
    dialer.say(request.as_bytes()).unwrap()
}

fn refused(text: &str) -> u64 {
    let counts = text.lines().find_map(|line| line.strip_prefix("kes_tls_refused_certificate "));
    counts.unwrap().parse().unwrap()
}

fn serving(tls: &str, clients: &[&Client]) -> Folder {
    let folder = folder(tls, clients);
    let config = read(folder.path("config.yaml").as_ref());
    folder.write("config.yaml", &config.replace("/v1/status", "/v1/status, /v1/metrics"));
    folder
}

#[test]
fn the_ends_of_ca_and_clients_are_shown_to_those_who_can_read_labels() {
    let ca = authority("first");
    let (first, second) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let [(soon, soon_text), (late, late_text)] = [days(3), days(90)];
    let monitor = Client::new(&first, until(late), Some(&ca));
    let client = Client::new(&second, until(soon), Some(&ca));
    let folder = serving("auth: on, ca: ca.crt", &[&monitor, &client]);
    folder.write("ca.crt", &ca.pem());
    let _server = folder.serve();
    let dialer = monitor.dialer(&folder, VERSIONS[0]);
    client.dialer(&folder, VERSIONS[0]).get("/v1/status").unwrap();
    let line = |client: &Client, end: &str| {
        format!("kes_tls_client_certificate_end{{identity=\"{}\"}} {end}\n", client.identity())
    };
    let text = metrics(&dialer, true);
    assert!(text.contains(&line(&client, &soon_text)) && text.contains(&line(&monitor, &late_text)), "{text}");
    assert!(
        text.contains("kes_tls_authority_end 67090118400\n"),
        "the end that the authority of the tests has: {text}"
    );
    assert!(!metrics(&dialer, false).contains("kes_tls_client"), "the SDK refuses two members of a family");

    let renewed = Client::new(&second, until(late), Some(&ca));
    renewed.dialer(&folder, VERSIONS[0]).get("/v1/status").unwrap();
    assert!(metrics(&dialer, true).contains(&line(&client, &late_text)), "the last one counts");

    let stranger = Client::usual(for_clients, Some(&authority("stranger")));
    let before = refused(&metrics(&dialer, false));
    stranger.dialer(&folder, VERSIONS[0]).get("/v1/status").unwrap_err();
    eventually("the refused handshake counts", || refused(&metrics(&dialer, false)) == before + 1);
    assert!(!metrics(&dialer, true).contains(&stranger.identity()));
}

#[test]
fn ends_that_matter_to_nobody_are_not_shown() {
    let (ca, key) = (authority("first"), KeyPair::generate().unwrap());
    let client = Client::new(&key, until(days(3).0), Some(&ca));
    let folder = serving("auth: off, ca: ca.crt", &[&client]);
    folder.write("ca.crt", &ca.pem());
    let _server = folder.serve();
    let text = metrics(&client.dialer(&folder, VERSIONS[0]), true);
    assert!(text.contains("kes_tls_authority_end 0\n") && !text.contains("kes_tls_client"), "{text}");
}
