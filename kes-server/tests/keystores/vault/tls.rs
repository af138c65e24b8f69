//! Certificates, both ways (docs/keystores-protocol.md §4.1, §14: 13).

use std::fs;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};

use super::*;

/// A folder with `ca.pem`, `client.pem` and `client.key`, and a server that asks for the client's certificate.
fn pki() -> (tempfile::TempDir, ServerConfig) {
    let folder = tempfile::tempdir().unwrap();
    let ca_key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = params.self_signed(&ca_key).unwrap();
    let issuer = Issuer::new(params, ca_key);
    let leaf = |name: &str| {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
        (certificate, key)
    };
    let (client, client_key) = leaf("client");
    let (server, server_key) = leaf("127.0.0.1");
    for (name, text) in [("ca.pem", ca.pem()), ("client.pem", client.pem()), ("client.key", client_key.serialize_pem())]
    {
        fs::write(folder.path().join(name), text).unwrap();
    }
    let mut roots = RootCertStore::empty();
    roots.add(ca.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build().unwrap();
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let key = rustls_pki_types::PrivatePkcs8KeyDer::from(server_key.serialize_der());
    let config = config.with_client_cert_verifier(verifier);
    (folder, config.with_single_cert(vec![server.der().clone()], key.into()).unwrap())
}

#[tokio::test]
async fn the_ca_is_trusted_and_the_client_certificate_shown() {
    let (folder, server) = pki();
    let fake = Fake::start_tls_with(Arc::<Vault>::default(), Arc::new(server).into()).await;
    let file = |name: &str| folder.path().join(name);
    let client = Some((file("client.key"), file("client.pem")));
    let config = |client: Option<(PathBuf, PathBuf)>, ca: Option<PathBuf>| {
        let endpoint = format!("https://{}", fake.address);
        VaultConfig { endpoint, tls: VaultTls { client, ca }, ..v1(&fake) }
    };
    let store = connect(config(client.clone(), Some(file("ca.pem")))).await.unwrap();
    store.create("key", VALUE).await.unwrap();
    store.status().await.unwrap();

    let text = refusal(connect(config(client.clone(), None))).await;
    assert!(text.contains("certificate"), "{text}");
    assert!(matches!(connect(config(None, Some(file("ca.pem")))).await, Err(KeyStoreError::Unreachable(_))));
    fs::write(file("empty.pem"), "").unwrap();
    for (broken, name) in [
        (config(Some((file("no.key"), file("client.pem"))), Some(file("ca.pem"))), "no.key"),
        (config(Some((file("client.key"), file("empty.pem"))), Some(file("ca.pem"))), "empty.pem"),
        (config(client.clone(), Some(file("empty.pem"))), "empty.pem"),
        (config(client, Some(file("none"))), "none"),
    ] {
        let text = refusal(connect(broken)).await;
        assert!(text.contains("cannot use '") && text.contains(name), "{text}");
    }
}
