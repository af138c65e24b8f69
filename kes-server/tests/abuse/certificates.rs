//! What is asked of client certificates (docs/kes-protocol.md §2): proof of the key, and with `tls.auth: on` an issuer.

use std::{fs, io};

use kes_server::auth::Identity;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair, RsaKeySize, SanType,
    SignatureAlgorithm,
};
use rustls::SupportedProtocolVersion;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::{
    dial::{Dialer, VERSIONS},
    support::{ADMIN, Folder},
};

/// A certificate and the key that belongs to it.
pub(crate) struct Client {
    chain: Vec<CertificateDer<'static>>,
    key: Vec<u8>,
}

pub(crate) type Issuer = CertifiedIssuer<'static, KeyPair>;

pub(crate) fn authority(name: &str) -> Issuer {
    let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

impl Client {
    pub(crate) fn new(key: &KeyPair, change: impl FnOnce(&mut CertificateParams), issuer: Option<&Issuer>) -> Self {
        let mut params = CertificateParams::new(vec!["client".to_owned()]).unwrap();
        params.is_ca = IsCa::ExplicitNoCa;
        change(&mut params);
        let certificate = match issuer {
            Some(issuer) => params.signed_by(key, issuer),
            None => params.self_signed(key),
        };
        Self { chain: vec![certificate.unwrap().der().clone()], key: key.serialize_der() }
    }

    pub(crate) fn usual(change: impl FnOnce(&mut CertificateParams), issuer: Option<&Issuer>) -> Self {
        Self::new(&KeyPair::generate().unwrap(), change, issuer)
    }

    fn of(algorithm: &'static SignatureAlgorithm) -> Self {
        Self::new(&KeyPair::generate_for(algorithm).unwrap(), |_| (), None)
    }

    pub(crate) fn identity(&self) -> String {
        Identity::of_certificate(&self.chain[0]).unwrap().0.to_string()
    }

    /// Connects as this client, over HTTP/1.1.
    pub(crate) fn dialer(&self, folder: &Folder, version: &'static SupportedProtocolVersion) -> Dialer {
        let key = PrivateKeyDer::try_from(self.key.clone()).unwrap();
        Dialer::new(folder, Some((self.chain.clone(), key)), &[version], "http/1.1")
    }

    fn status(&self, folder: &Folder, version: &'static SupportedProtocolVersion) -> io::Result<String> {
        self.dialer(folder, version).get("/v1/status")
    }
}

fn expired(params: &mut CertificateParams) {
    params.not_before = rcgen::date_time_ymd(2001, 1, 1);
    params.not_after = rcgen::date_time_ymd(2002, 1, 1);
}

/// As the MinIO Operator makes them: the name is not a DNS name.
fn braces(params: &mut CertificateParams) {
    let name = "minio1-pool-0-{0...3}.minio1-hl.ns.svc.cluster.local";
    params.subject_alt_names = vec![SanType::DnsName(name.try_into().unwrap())];
}

fn server_only(params: &mut CertificateParams) {
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
}

pub(crate) fn for_clients(params: &mut CertificateParams) {
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
}

/// A server whose policy lets these clients ask for its status.
pub(crate) fn folder(tls: &str, clients: &[&Client]) -> Folder {
    let folder = Folder::new();
    let identities: Vec<_> = clients.iter().map(|client| client.identity()).collect();
    folder.write(
        "config.yaml",
        &format!(
            "address: {}\nadmin: {{ identity: {ADMIN} }}\ntls: {{ key: server.key, cert: server.crt, {tls} }}\n\
             policy: {{ some: {{ allow: [/v1/status], identities: [{}] }} }}\nkeystore: {{ fs: {{ path: keys }} }}\n",
            folder.address,
            identities.join(", ")
        ),
    );
    folder
}

#[test]
fn any_certificate_with_its_key_is_an_identity() {
    let clients = [
        ("Ed25519", Client::of(&rcgen::PKCS_ED25519)),
        ("P-256", Client::of(&rcgen::PKCS_ECDSA_P256_SHA256)),
        ("P-384", Client::of(&rcgen::PKCS_ECDSA_P384_SHA384)),
        ("P-521", Client::of(&rcgen::PKCS_ECDSA_P521_SHA512)),
        ("RSA", Client::new(&rsa(), |_| (), None)),
        ("expired", Client::usual(expired, None)),
        ("braces", Client::usual(braces, None)),
        ("server only", Client::usual(server_only, None)),
        ("issued by nobody", Client::usual(|_| (), Some(&authority("nobody")))),
    ];
    let folder = folder("auth: off", &clients.each_ref().map(|(_, client)| client));
    let _server = folder.serve();
    for (label, client) in &clients {
        for version in VERSIONS {
            let answer = client.status(&folder, version).unwrap();
            assert!(answer.starts_with("HTTP/1.1 200 "), "{label}, {version:?}: {answer}");
        }
    }
}

fn rsa() -> KeyPair {
    KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap()
}

#[test]
fn exactly_one_client_certificate_is_an_identity() {
    let (one, other) = (Client::usual(|_| (), None), Client::usual(|_| (), None));
    let ca = Client::usual(|params| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained), None);
    let two = Client { chain: [one.chain.clone(), other.chain.clone()].concat(), key: one.key.clone() };
    // whoever shows a CA certificate of its own in front of somebody else's is not that somebody
    let borrowed = Client { chain: [ca.chain.clone(), one.chain.clone()].concat(), key: ca.key.clone() };
    let folder = folder("auth: off", &[&one]);
    let _server = folder.serve();
    for version in VERSIONS {
        for (client, expected) in
            [(&two, "received more than one client certificate"), (&ca, "certificate"), (&borrowed, "certificate")]
        {
            let answer = client.status(&folder, version).unwrap();
            assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains(expected), "{answer}");
        }
    }
}

/// They are kept as long as their connection: strangers must not fill the memory with them.
#[test]
fn more_certificates_than_anybody_needs_are_refused() {
    let ca = authority("first");
    let (any, issued) = (Client::usual(|_| (), None), Client::usual(for_clients, Some(&ca)));
    for (client, tls) in [(&any, "auth: off"), (&issued, "auth: on, ca: ca.crt")] {
        let folder = folder(tls, &[client]);
        folder.write("ca.crt", &ca.pem());
        let _server = folder.serve();
        let shown = |others: usize, bytes: usize| {
            let other = CertificateDer::from(vec![0x30; bytes]);
            let chain = [client.chain.clone(), vec![other; others]].concat();
            Client { chain, key: client.key.clone() }
        };
        for version in VERSIONS {
            for (others, bytes) in [(10, 1_000), (1, 15_000)] {
                let answer = shown(others, bytes).status(&folder, version).unwrap();
                assert!(answer.starts_with("HTTP/1.1 "), "{tls}, {others} of {bytes} bytes: {answer}");
            }
            for (others, bytes) in [(11, 10), (1, 16 << 10), (60, 1_000)] {
                let refused = shown(others, bytes).status(&folder, version).unwrap_err().to_string();
                assert!(refused.contains("alert"), "{tls}, {others} of {bytes} bytes: {refused}");
            }
        }
        let told = fs::read_to_string(folder.path("stderr")).unwrap();
        assert!(told.contains("more than 10 certificates of CAs, or more than 16 KiB"), "{told}");
    }
}

#[test]
fn a_certificate_without_its_key_is_refused() {
    for (label, other) in [
        ("same kind of key", KeyPair::generate().unwrap()),
        ("other kind", KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap()),
        ("RSA", rsa()),
    ] {
        let mut thief = Client::usual(|_| (), None);
        let folder = folder("auth: off", &[&thief]);
        let _server = folder.serve();
        thief.key = other.serialize_der();
        for version in VERSIONS {
            let refused = thief.status(&folder, version).unwrap_err().to_string();
            assert!(refused.contains("alert"), "{label}, {version:?}: {refused}");
        }
    }
}

#[test]
fn with_auth_on_the_issuer_must_be_known() {
    let (ca, second, stranger) = (authority("first"), authority("second"), authority("stranger"));
    let clients = [
        ("issued", Client::usual(for_clients, Some(&ca)), Ok(())),
        ("issued, without usage", Client::usual(|_| (), Some(&ca)), Ok(())),
        ("issued, braces", Client::usual(braces, Some(&ca)), Ok(())),
        ("self-signed", Client::usual(for_clients, None), Err("UnknownC")),
        ("issued by a stranger", Client::usual(for_clients, Some(&stranger)), Err("UnknownC")),
        ("expired", Client::usual(expired, Some(&ca)), Err("CertificateExpired")),
        ("for servers only", Client::usual(server_only, Some(&ca)), Err("ertificate")),
        ("of the second CA", Client::usual(for_clients, Some(&second)), Err("UnknownC")),
    ];
    let folder = folder("auth: on, ca: ca.crt", &clients.each_ref().map(|(_, client, _)| client));
    folder.write("ca.crt", &ca.pem());
    let server = folder.serve();
    for (label, client, expected) in &clients {
        expect(&folder, label, client, *expected);
    }
    drop(server);

    fs::create_dir(folder.path("authorities")).unwrap();
    folder.write("authorities/one.crt", &ca.pem());
    folder.write("authorities/two.crt", &second.pem());
    let config = fs::read_to_string(folder.path("config.yaml")).unwrap();
    folder.write("config.yaml", &config.replace("ca: ca.crt", "ca: authorities"));
    let _server = folder.serve();
    for (label, client, expected) in &clients {
        expect(&folder, label, client, if *label == "of the second CA" { Ok(()) } else { *expected });
    }
}

/// A client's own certificate as the CA: what those do who have no CA.
#[test]
fn with_auth_on_a_client_can_vouch_for_itself() {
    let (trusted, other) = (Client::usual(for_clients, None), Client::usual(for_clients, None));
    let folder = folder("auth: on, ca: own.crt", &[&trusted, &other]);
    folder.write("own.crt", &pem::encode(&pem::Pem::new("CERTIFICATE", trusted.chain[0].to_vec())));
    let _server = folder.serve();
    expect(&folder, "trusted", &trusted, Ok(()));
    for version in VERSIONS {
        assert!(other.status(&folder, version).is_err(), "another with the same name");
    }
}

fn expect(folder: &Folder, label: &str, client: &Client, expected: Result<(), &str>) {
    for version in VERSIONS {
        match (client.status(folder, version), expected) {
            (Ok(answer), Ok(())) => assert!(answer.starts_with("HTTP/1.1 200 "), "{label}: {answer}"),
            (Err(refused), Err(alert)) => {
                let refused = refused.to_string();
                assert!(refused.contains("alert") && refused.contains(alert), "{label}, {version:?}: {refused}");
            }
            (answer, _) => panic!("{label}, {version:?}: {answer:?}"),
        }
    }
}

#[test]
fn a_route_without_authentication_makes_certificates_optional() {
    let known = Client::usual(|_| (), None);
    let ca = authority("first");
    let issued = Client::usual(for_clients, Some(&ca));
    let skip = "\napi: { /v1/metrics: { skip_auth: true } }\n";
    for (auth, good, bad) in [("off", &known, None), ("on", &issued, Some(&known))] {
        let folder = folder(&format!("auth: {auth}, ca: ca.crt"), &[&known, &issued]);
        folder.write("ca.crt", &ca.pem());
        let config = fs::read_to_string(folder.path("config.yaml")).unwrap();
        folder.write("config.yaml", &(config + skip));
        let _server = folder.serve();
        for version in VERSIONS {
            let anonymous = Dialer::new(&folder, None, &[version], "http/1.1");
            assert!(anonymous.get("/v1/metrics").unwrap().starts_with("HTTP/1.1 200 "));
            let answer = anonymous.get("/v1/status").unwrap();
            assert!(
                answer.starts_with("HTTP/1.1 400 ") && answer.contains("client certificate is required"),
                "{answer}"
            );
            assert!(good.status(&folder, version).unwrap().starts_with("HTTP/1.1 200 "));
            if let Some(bad) = bad {
                assert!(bad.status(&folder, version).is_err(), "one that is shown must be good");
            }
        }
    }
}
