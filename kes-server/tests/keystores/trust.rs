//! Certificates of keystores: which are trusted, and what is said of the others.

use kes_server::keystore::KeyStore as _;

use super::conformance::VALUE;
use super::everyone;
use super::fake::{Certificate, Fake};

/// The usual recipe for a private keystore: `openssl req -x509`, and that file as `tls.ca`.
#[tokio::test]
async fn a_certificate_that_is_its_own_ca_is_trusted() {
    for certificate in [Certificate::new as fn() -> Certificate, || Certificate::authority(&["127.0.0.1"])] {
        for (name, store, _fake) in everyone::with_tls(certificate, Fake::ca).await {
            let store = store.unwrap_or_else(|error| panic!("{name}: {error}"));
            store.create("key", VALUE).await.unwrap();
            assert_eq!(store.get("key").await.unwrap().as_slice(), VALUE, "{name}");
        }
    }
}

#[tokio::test]
async fn what_is_wrong_with_a_certificate_is_said_in_words() {
    let authority = || Certificate::authority(&["127.0.0.1"]);
    let other = authority();
    for (name, store, _fake) in everyone::with_tls(authority, |_| Some(other.path())).await {
        let text = store.unwrap_err().to_string();
        assert!(text.contains("certificate signed by unknown authority: set tls.ca of the keystore"), "{name}: {text}");
    }
    for (name, store, _fake) in everyone::with_tls(|| Certificate::authority(&["vault.example"]), Fake::ca).await {
        let text = store.unwrap_err().to_string();
        assert!(text.contains("certificate is not valid for 127.0.0.1: use a name or address"), "{name}: {text}");
    }
}
