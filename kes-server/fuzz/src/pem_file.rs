//! Files of keys and certificates, encrypted ones too (docs/kes-protocol.md §2).

use kes_server::crypto::encrypted_pem;
use kes_server::fuzzing::{certificates, private_key};
use pem::Pem;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};

/// The first line is a password, the rest a file. What is read can be written and is read again, by ours and by the
/// reader that TLS clients have; a key survives encryption, and not without its password.
pub fn check(input: &[u8]) {
    let at = input.iter().position(|byte| *byte == b'\n').unwrap_or(input.len());
    let (password, file) = input.split_at(at);
    let password = String::from_utf8_lossy(password);
    if let Ok(chain) = certificates(file) {
        check_chain(&chain);
    }
    if let Ok(key) = private_key(file, Some(&password)) {
        check_key(file, &key, &password);
    }
    for block in pem::parse_many(file).unwrap_or_default() {
        let content = encrypted_pem::decrypt(&block, &password);
        assert!(content.is_err() || encrypted_pem::is_encrypted(&block));
        assert!(content.is_err() || content.is_ok_and(|plain| plain.len() < block.contents().len()));
    }
}

fn check_chain(chain: &[CertificateDer<'static>]) {
    assert!(!chain.is_empty());
    let blocks: Vec<_> = chain.iter().map(|certificate| Pem::new("CERTIFICATE", certificate.to_vec())).collect();
    let text = pem::encode_many(&blocks);
    assert_eq!(certificates(text.as_bytes()).as_deref(), Ok(chain));
    let theirs: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text.as_bytes()).collect();
    assert_eq!(theirs.unwrap(), chain);
    assert!(private_key(text.as_bytes(), None).is_err());
    let with_key = text + &pem::encode(&Pem::new("PRIVATE KEY", [0]));
    assert!(certificates(with_key.as_bytes()).is_err());
}

fn check_key(file: &[u8], key: &PrivateKeyDer<'static>, password: &str) {
    let label = match key {
        PrivateKeyDer::Pkcs1(_) => "RSA PRIVATE KEY",
        PrivateKeyDer::Sec1(_) => "EC PRIVATE KEY",
        _ => "PRIVATE KEY",
    };
    let plain = pem::encode(&Pem::new(label, key.secret_der()));
    assert_eq!(private_key(plain.as_bytes(), None).unwrap(), *key);
    assert_eq!(PrivateKeyDer::from_pem_slice(plain.as_bytes()).unwrap(), *key);
    let sealed = encrypted_pem::encrypt(label, key.secret_der(), password).unwrap();
    assert_eq!(private_key(sealed.as_bytes(), Some(password)).unwrap(), *key);
    let refused = private_key(sealed.as_bytes(), None).unwrap_err();
    assert_eq!(refused, "https: private key is encrypted: password required");
    let other = private_key(sealed.as_bytes(), Some(&format!("{password}x")));
    assert!(other.is_err() || other.is_ok_and(|other| other != *key));
    // a password that is not needed is not looked at
    if let Ok(unprotected) = private_key(file, None) {
        assert_eq!(unprotected, *key);
    }
}
