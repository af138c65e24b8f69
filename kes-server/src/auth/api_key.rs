//! API keys: an Ed25519 seed as text, from which a client derives its certificate (docs/kes-protocol.md §3.2).

use std::fmt;
use std::str::FromStr;
use std::time::SystemTime;

use aws_lc_rs::rand;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::SignedDuration;
use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, KeyUsagePurpose, SanType, SerialNumber,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use zeroize::Zeroizing;

use super::Identity;

const PREFIX: &str = "kes:v1:";

/// The only type of key there is.
const ED25519: u8 = 0;

/// An API key.
#[derive(Clone)]
pub struct ApiKey {
    seed: Zeroizing<[u8; 32]>,
    identity: Identity,
}

/// A text that is not an API key, or a key from which nothing can be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApiKeyError {
    /// Not base64.
    #[error("illegal base64 data at input byte {0}")]
    Base64(usize),
    /// Not 33 bytes.
    #[error("kes: invalid API key: invalid length")]
    Length,
    /// Not an Ed25519 key.
    #[error("kes: invalid API key: unsupported type")]
    Type,
    /// No randomness, or the library refused.
    #[error("kes: cannot make a certificate: {0}")]
    Certificate(String),
}

impl ApiKey {
    /// Makes a random key.
    pub fn generate() -> Result<Self, ApiKeyError> {
        let mut seed = Zeroizing::new([0; 32]);
        rand::fill(seed.as_mut()).map_err(|_| ApiKeyError::Certificate("no random bytes".into()))?;
        Self::from_seed(seed)
    }

    /// The key of an Ed25519 seed (RFC 8032).
    pub fn from_seed(seed: Zeroizing<[u8; 32]>) -> Result<Self, ApiKeyError> {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed.as_ref()).map_err(|_| ApiKeyError::Type)?;
        let spki = [SPKI_PREFIX, pair.public_key().as_ref()].concat();
        Ok(Self { seed, identity: Identity::of_public_key(&spki) })
    }

    /// The identity that a server sees.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The private key as PKCS#8.
    pub fn private_key(&self) -> PrivateKeyDer<'static> {
        let der = [PKCS8_PREFIX, self.seed.as_ref()].concat();
        PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(der))
    }

    /// The text form; keep it secret.
    pub fn reveal(&self) -> Zeroizing<String> {
        let bytes = Zeroizing::new([&[ED25519], self.seed.as_slice()].concat());
        Zeroizing::new(format!("{PREFIX}{}", STANDARD.encode(bytes.as_slice())))
    }

    /// A client certificate as MinIO KES's SDK makes it: self-signed, valid 90 days from now.
    pub fn certificate(&self) -> Result<CertificateDer<'static>, ApiKeyError> {
        let usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.certificate_for(self.identity.as_str(), SignedDuration::from_hours(90 * 24), usages, vec![])
    }

    /// A self-signed certificate with a common name, a life from now on, extended usages and SANs. One whose life is not
    /// longer than nothing has expired already.
    pub fn certificate_for(
        &self,
        common_name: &str,
        life: SignedDuration,
        usages: Vec<ExtendedKeyUsagePurpose>,
        sans: Vec<SanType>,
    ) -> Result<CertificateDer<'static>, ApiKeyError> {
        let fail = |error: rcgen::Error| ApiKeyError::Certificate(error.to_string());
        let mut serial = [0; 16];
        rand::fill(&mut serial).map_err(|_| ApiKeyError::Certificate("no random bytes".into()))?;
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, common_name);
        params.serial_number = Some(SerialNumber::from_slice(&serial));
        let (now, length) = (SystemTime::now(), life.unsigned_abs());
        params.not_before = now.into();
        params.not_after = if life.is_negative() { now - length } else { now + length }.into();
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = usages;
        params.is_ca = IsCa::ExplicitNoCa;
        params.subject_alt_names = sans;
        let key = self.private_key();
        let pair = rcgen::KeyPair::try_from(&key).map_err(fail)?;
        Ok(params.self_signed(&pair).map_err(fail)?.der().clone())
    }
}

/// SubjectPublicKeyInfo and PKCS#8 of Ed25519 up to the key itself (RFC 8410).
const SPKI_PREFIX: &[u8] = &[0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
const PKCS8_PREFIX: &[u8] =
    &[0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiKey").field("identity", &self.identity).finish_non_exhaustive()
    }
}

impl FromStr for ApiKey {
    type Err = ApiKeyError;

    /// The prefix may be missing. Line breaks are ignored: files end in one, and so do variables that are made of them.
    fn from_str(text: &str) -> Result<Self, ApiKeyError> {
        let text = text.strip_prefix(PREFIX).unwrap_or(text);
        let unbroken = Zeroizing::new(text.replace(['\r', '\n'], ""));
        let bytes = STANDARD.decode(unbroken.as_bytes()).map_err(|error| {
            let foreign = |byte: u8| !byte.is_ascii_alphanumeric() && !b"+/=\r\n".contains(&byte);
            ApiKeyError::Base64(match (text.bytes().position(foreign), error) {
                (Some(at), _)
                | (None, base64::DecodeError::InvalidByte(at, _) | base64::DecodeError::InvalidLastSymbol(at, _)) => at,
                // the last four characters are not four
                (None, _) => text.len() / 4 * 4,
            })
        })?;
        let bytes = Zeroizing::new(bytes);
        let Some((kind, seed)) = bytes.split_first() else { return Err(ApiKeyError::Length) };
        let seed: [u8; 32] = seed.try_into().map_err(|_| ApiKeyError::Length)?;
        if *kind != ED25519 {
            return Err(ApiKeyError::Type);
        }
        Self::from_seed(Zeroizing::new(seed))
    }
}
