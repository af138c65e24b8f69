//! Private keys of TLS in PEM (docs/kes-protocol.md §2). Some tools label them badly, so their content says of which kind
//! they are, as Go decides it.

use pem::Pem;
use pkcs8::der::{Decode as _, SliceReader, Tag, asn1::AnyRef};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs1KeyDer, PrivatePkcs8KeyDer, PrivateSec1KeyDer};

/// The first private key of a file, which may hold certificates and parameters too.
pub(crate) fn find(blocks: &[Pem]) -> Option<&Pem> {
    blocks.iter().find(|block| block.tag() == "PRIVATE KEY" || block.tag().ends_with(" PRIVATE KEY"))
}

/// The first private key of a file with this content; `None` if there is none, or it is encrypted.
pub(crate) fn from_pem(text: &[u8]) -> Option<PrivateKeyDer<'static>> {
    let blocks = pem::parse_many(text).ok()?;
    from_der(find(&blocks)?.contents().to_vec())
}

/// The key that this is.
pub(crate) fn from_der(der: Vec<u8>) -> Option<PrivateKeyDer<'static>> {
    Some(match second_tag(&der)? {
        // an algorithm
        Tag::Sequence => PrivatePkcs8KeyDer::from(der).into(),
        // the modulus
        Tag::Integer => PrivatePkcs1KeyDer::from(der).into(),
        // the key itself
        Tag::OctetString => PrivateSec1KeyDer::from(der).into(),
        _ => return None,
    })
}

/// What stands behind the version of the key.
fn second_tag(der: &[u8]) -> Option<Tag> {
    let mut parts = SliceReader::new(AnyRef::from_der(der).ok()?.value()).ok()?;
    AnyRef::decode(&mut parts).ok()?;
    Tag::peek(&parts).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_content_says_of_which_kind_a_key_is() {
        let content = |text: &str| pem::parse(text).unwrap().into_contents();
        let keys = [
            content(include_str!("../../tests/data/pem/pkcs8-plain.pem")),
            content(include_str!("../../tests/data/pem/pkcs1.pem")),
            content(include_str!("../../tests/data/pem/plain.pem")),
        ];
        for label in ["PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY", "ED25519 PRIVATE KEY"] {
            let kinds = keys.each_ref().map(|der| {
                let before = Pem::new("EC PARAMETERS", [6, 0]);
                match from_pem(pem::encode_many(&[before, Pem::new(label, der.clone())]).as_bytes()).unwrap() {
                    PrivateKeyDer::Pkcs8(key) => ("PKCS#8", key.secret_pkcs8_der() == der),
                    PrivateKeyDer::Pkcs1(key) => ("PKCS#1", key.secret_pkcs1_der() == der),
                    PrivateKeyDer::Sec1(key) => ("SEC 1", key.secret_sec1_der() == der),
                    _ => ("none", false),
                }
            });
            assert_eq!(kinds, [("PKCS#8", true), ("PKCS#1", true), ("SEC 1", true)], "{label}");
        }
        for none in [&b""[..], &[0x30, 0], &[0x30, 3, 2, 1, 0], &[0x30, 5, 2, 1, 0, 5, 0]] {
            assert!(from_der(none.to_vec()).is_none(), "{none:?}");
        }
    }
}
