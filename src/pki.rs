//! The stack's own certificate authority and the leafs it issues. Pure: no files, no clock but what it is given.
//!
//! Everything is ECDSA P-256, which Go and rustls both take. A leaf that is due is issued again for the same key,
//! so that the identity at KES, the hash of the public key, stays.

use std::net::IpAddr;

use jiff::{Span, Timestamp};
use kes_server::auth::Identity;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};
use serde::Serialize;
use x509_parser::pem::parse_x509_pem;
use x509_parser::prelude::{GeneralName, X509Certificate};
use zeroize::Zeroizing;

mod validity;

pub use validity::Validity;

/// Life of the authority in hours: ten years. It never leaves the host.
const AUTHORITY_HOURS: i64 = 10 * 365 * 24;

/// Life of a leaf in hours: a year.
const LEAF_HOURS: i64 = 365 * 24;

/// Certificates that were made a moment ago must not lie in the future of a clock that is behind.
const BACKDATED_HOURS: i64 = 1;

/// Why a certificate could not be made or read.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// The library refused.
    #[error("cannot make a certificate: {0}")]
    Make(#[from] rcgen::Error),
    /// A text that is not a certificate or key.
    #[error("cannot read a certificate of this stack: {0}\n  remove the file; `kestack up` makes a new one")]
    Read(String),
}

/// A certificate authority.
#[derive(Clone)]
pub struct Authority {
    /// Its certificate.
    pub cert_pem: String,
    /// Its private key.
    pub key_pem: Zeroizing<String>,
}

/// A certificate with its private key.
#[derive(Clone)]
pub struct Leaf {
    /// The certificate.
    pub cert_pem: String,
    /// The private key.
    pub key_pem: Zeroizing<String>,
}

/// The wanted properties of a leaf.
#[derive(Debug, Clone)]
pub struct LeafSpec {
    /// Common name: for people only.
    pub common_name: String,
    /// DNS names under which a server is dialled.
    pub dns: Vec<String>,
    /// Addresses under which a server is dialled.
    pub ip: Vec<IpAddr>,
    /// May be used by a server.
    pub server: bool,
    /// May be used by a client.
    pub client: bool,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Authority(..)")
    }
}

impl std::fmt::Debug for Leaf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Leaf(..)")
    }
}

impl Authority {
    /// Makes an authority for a stack.
    pub fn generate(stack: &str, now: Timestamp) -> Result<Self, PkiError> {
        Self::self_signed(&KeyPair::generate()?, &format!("kestack {stack}"), now)
    }

    /// Takes an authority up again.
    ///
    /// # Errors
    /// [`PkiError::Read`] if one of the texts cannot be read, or they do not belong together.
    pub fn load(cert_pem: &str, key_pem: &str) -> Result<Self, PkiError> {
        let authority = Self { cert_pem: cert_pem.to_owned(), key_pem: Zeroizing::new(key_pem.to_owned()) };
        let key = authority.key()?;
        let theirs =
            |ca: &X509Certificate<'_>| ca.public_key().subject_public_key.data.as_ref() == key.public_key_raw();
        if with_certificate(cert_pem, theirs)? {
            return Ok(authority);
        }
        Err(PkiError::Read("the key does not match the certificate of the authority".into()))
    }

    /// The authority with a new certificate for the same key and name: what it issued before stays valid under the new
    /// certificate, and what it will issue is valid under the old one for as long as that lives.
    pub fn renew(&self, now: Timestamp) -> Result<Self, PkiError> {
        let name = with_certificate(&self.cert_pem, |ca| {
            let names = ca.subject().iter_common_name().filter_map(|name| name.as_str().ok());
            names.map(str::to_owned).next()
        })?;
        let name = name.ok_or_else(|| PkiError::Read("the authority has no name".into()))?;
        Self::self_signed(&self.key()?, &name, now)
    }

    /// Issues a leaf with a new key.
    pub fn issue(&self, spec: &LeafSpec, now: Timestamp) -> Result<Leaf, PkiError> {
        self.sign(&KeyPair::generate()?, spec, now)
    }

    /// Issues a leaf for the key of an old one; for a new key if the old one cannot be read.
    pub fn reissue(&self, old: &Leaf, spec: &LeafSpec, now: Timestamp) -> Result<Leaf, PkiError> {
        match KeyPair::from_pem(&old.key_pem) {
            Ok(key) => self.sign(&key, spec, now),
            Err(_) => self.issue(spec, now),
        }
    }

    /// A certificate for the key of a leaf that expired a day ago, for tests of what its readers do then.
    pub(crate) fn expired(&self, leaf: &Leaf, spec: &LeafSpec) -> Result<Leaf, PkiError> {
        let issued = Timestamp::now() - Span::new().hours(LEAF_HOURS + 24);
        self.sign(&KeyPair::from_pem(&leaf.key_pem)?, spec, issued)
    }

    fn self_signed(key: &KeyPair, name: &str, now: Timestamp) -> Result<Self, PkiError> {
        let mut params = CertificateParams::default();
        params.distinguished_name = named(name);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        live(&mut params, now, AUTHORITY_HOURS);
        let certificate = params.self_signed(key)?;
        Ok(Self { cert_pem: certificate.pem(), key_pem: Zeroizing::new(key.serialize_pem()) })
    }

    fn sign(&self, key: &KeyPair, spec: &LeafSpec, now: Timestamp) -> Result<Leaf, PkiError> {
        let mut params = CertificateParams::new(spec.dns.clone())?;
        params.subject_alt_names.extend(spec.ip.iter().copied().map(SanType::IpAddress));
        params.distinguished_name = named(&spec.common_name);
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        let usages =
            [(spec.server, ExtendedKeyUsagePurpose::ServerAuth), (spec.client, ExtendedKeyUsagePurpose::ClientAuth)];
        params.extended_key_usages = usages.into_iter().filter(|(on, _)| *on).map(|(_, usage)| usage).collect();
        live(&mut params, now, LEAF_HOURS);
        let certificate = params.signed_by(key, &self.issuer()?)?;
        Ok(Leaf { cert_pem: certificate.pem(), key_pem: Zeroizing::new(key.serialize_pem()) })
    }

    fn issuer(&self) -> Result<Issuer<'static, KeyPair>, PkiError> {
        Ok(Issuer::from_ca_cert_pem(&self.cert_pem, self.key()?)?)
    }

    fn key(&self) -> Result<KeyPair, PkiError> {
        KeyPair::from_pem(&self.key_pem).map_err(|error| PkiError::Read(error.to_string()))
    }
}

/// Why a certificate cannot go on being used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Mismatch {
    /// It cannot be read, or its key is another's.
    Broken,
    /// Another authority issued it.
    Issuer,
    /// It is for other names.
    Names,
    /// Two thirds of its life are over, or it is in the future of a clock that was set back.
    Due,
}

impl std::fmt::Display for Mismatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Broken => "it could not be read, or its key did not match",
            Self::Issuer => "another authority had issued it",
            Self::Names => "its names have changed",
            Self::Due => "it was due",
        })
    }
}

/// Says whether a leaf still is what `spec` asks for.
pub fn leaf_matches(leaf: &Leaf, spec: &LeafSpec, authority: &Authority, now: Timestamp) -> Result<(), Mismatch> {
    let broken = |_| Mismatch::Broken;
    let key = KeyPair::from_pem(&leaf.key_pem).map_err(|_| Mismatch::Broken)?;
    with_certificate(&leaf.cert_pem, |certificate| {
        if certificate.public_key().subject_public_key.data.as_ref() != key.public_key_raw() {
            return Err(Mismatch::Broken);
        }
        let issued =
            with_certificate(&authority.cert_pem, |ca| certificate.verify_signature(Some(ca.public_key())).is_ok());
        if !issued.map_err(broken)? {
            return Err(Mismatch::Issuer);
        }
        if names(certificate) != wanted_names(spec) {
            return Err(Mismatch::Names);
        }
        if Validity::in_certificate(certificate).is_due(now) { Err(Mismatch::Due) } else { Ok(()) }
    })
    .map_err(broken)?
}

/// The identity of a certificate's holder at KES.
pub fn identity(cert_pem: &str) -> Result<Identity, PkiError> {
    with_certificate(cert_pem, |certificate| Identity::of_public_key(certificate.public_key().raw))
}

/// The identity at KES of a client's certificate; `None` for one that is marked as an authority's, which KES ignores.
pub fn client_identity(cert_pem: &str) -> Result<Option<Identity>, PkiError> {
    with_certificate(cert_pem, |certificate| {
        (!certificate.is_ca()).then(|| Identity::of_public_key(certificate.public_key().raw))
    })
}

fn with_certificate<T>(pem: &str, look: impl FnOnce(&X509Certificate<'_>) -> T) -> Result<T, PkiError> {
    let (_, pem) = parse_x509_pem(pem.as_bytes()).map_err(|error| PkiError::Read(error.to_string()))?;
    let certificate = pem.parse_x509().map_err(|error| PkiError::Read(error.to_string()))?;
    Ok(look(&certificate))
}

fn names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(sans)) = certificate.subject_alternative_name() else { return vec![] };
    let mut names: Vec<_> = sans
        .value
        .general_names
        .iter()
        .map(|name| match name {
            GeneralName::DNSName(name) => (*name).to_owned(),
            GeneralName::IPAddress(bytes) => match (<[u8; 4]>::try_from(*bytes), <[u8; 16]>::try_from(*bytes)) {
                (Ok(v4), _) => IpAddr::from(v4).to_string(),
                (_, Ok(v6)) => IpAddr::from(v6).to_string(),
                _ => String::new(),
            },
            other => other.to_string(),
        })
        .collect();
    names.sort();
    names
}

fn wanted_names(spec: &LeafSpec) -> Vec<String> {
    let mut names: Vec<_> = spec.dns.iter().cloned().chain(spec.ip.iter().map(ToString::to_string)).collect();
    names.sort();
    names
}

fn named(common_name: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common_name);
    name
}

fn live(params: &mut CertificateParams, now: Timestamp, hours: i64) {
    let from = now.saturating_sub(Span::new().hours(BACKDATED_HOURS)).unwrap_or(now);
    let to = now.saturating_add(Span::new().hours(hours)).unwrap_or(now);
    params.not_before = std::time::SystemTime::from(from).into();
    params.not_after = std::time::SystemTime::from(to).into();
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn spec() -> LeafSpec {
        LeafSpec {
            common_name: "kes-server".into(),
            dns: vec!["localhost".into()],
            ip: vec![Ipv4Addr::LOCALHOST.into()],
            server: true,
            client: false,
        }
    }

    fn in_days(days: i64) -> Timestamp {
        Timestamp::now() + Span::new().hours(days * 24)
    }

    fn authority() -> Authority {
        Authority::generate("test", Timestamp::now()).unwrap()
    }

    #[test]
    fn a_leaf_is_good_for_two_thirds_of_its_life() {
        let authority = authority();
        let leaf = authority.issue(&spec(), in_days(0)).unwrap();
        let matches = |days| leaf_matches(&leaf, &spec(), &authority, in_days(days));
        assert_eq!(matches(0), Ok(()));
        assert_eq!(matches(242), Ok(()));
        assert_eq!(matches(245), Err(Mismatch::Due));
        assert_eq!(matches(400), Err(Mismatch::Due), "expired");
        assert_eq!(matches(-1), Err(Mismatch::Due), "the clock was set back");
    }

    #[test]
    fn a_leaf_of_another_authority_key_or_name_is_not() {
        let authority = authority();
        let now = Timestamp::now();
        let leaf = authority.issue(&spec(), now).unwrap();
        let other = Authority::generate("test", now).unwrap();
        assert_eq!(leaf_matches(&leaf, &spec(), &other, now), Err(Mismatch::Issuer));
        let renamed = LeafSpec { dns: vec!["elsewhere".into()], ..spec() };
        assert_eq!(leaf_matches(&leaf, &renamed, &authority, now), Err(Mismatch::Names));
        let mixed = Leaf { key_pem: authority.issue(&spec(), now).unwrap().key_pem, ..leaf.clone() };
        assert_eq!(leaf_matches(&mixed, &spec(), &authority, now), Err(Mismatch::Broken));
        let torn = Leaf { cert_pem: leaf.cert_pem.get(..100).unwrap().into(), ..leaf };
        assert_eq!(leaf_matches(&torn, &spec(), &authority, now), Err(Mismatch::Broken));
    }

    #[test]
    fn a_reissued_leaf_keeps_its_identity() {
        let made = authority();
        let authority = Authority::load(&made.cert_pem, &made.key_pem).unwrap();
        let leaf = authority.issue(&spec(), in_days(-300)).unwrap();
        let again = authority.reissue(&leaf, &spec(), in_days(0)).unwrap();
        assert_ne!(leaf.cert_pem, again.cert_pem);
        assert_eq!(identity(&leaf.cert_pem).unwrap(), identity(&again.cert_pem).unwrap());
    }

    #[test]
    fn a_renewed_authority_keeps_what_it_issued() {
        let old = Authority::generate("test", in_days(-3000)).unwrap();
        assert!(Validity::of(&old.cert_pem).unwrap().is_due(in_days(0)));
        let leaf = old.issue(&spec(), in_days(0)).unwrap();
        let new = old.renew(in_days(0)).unwrap();
        assert_ne!(old.cert_pem, new.cert_pem);
        assert_eq!(leaf_matches(&leaf, &spec(), &new, in_days(0)), Ok(()));
        let later = new.issue(&spec(), in_days(0)).unwrap();
        assert_eq!(leaf_matches(&later, &spec(), &old, in_days(0)), Ok(()), "for whoever has the old certificate");
        let subject = |pem: &str| with_certificate(pem, |ca| (ca.subject().to_string(), ca.issuer().to_string()));
        assert_eq!(subject(&old.cert_pem).unwrap(), subject(&new.cert_pem).unwrap());
    }

    #[test]
    fn an_authority_with_anothers_key_is_refused() {
        let error = Authority::load(&authority().cert_pem, &authority().key_pem).unwrap_err().to_string();
        assert!(error.contains("does not match the certificate") && error.contains("kestack up"), "{error}");
    }
}
