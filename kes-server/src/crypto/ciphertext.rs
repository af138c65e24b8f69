//! Ciphertexts: the one form that is made, the three that are accepted (docs/kes-protocol.md §5.3, §5.4).

use aws_lc_rs::aead::{AES_256_GCM, Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chacha20::{R20, hchacha};
use serde::Deserialize;
use serde_bytes::ByteBuf;
use zeroize::{Zeroize as _, Zeroizing};

use super::{Algorithm, CryptoError, Key, fill, sha256_mac};

const IV_LEN: usize = 16;
const NONCE_LEN: usize = 12;
const TAG_LEN: usize = 16;

/// Random bytes at the end of a ciphertext: the input of the key derivation, then the nonce.
const RANDOM_LEN: usize = IV_LEN + NONCE_LEN;

impl Key {
    /// Encrypts `plaintext`, bound to `context`: the answer is 44 bytes longer.
    pub fn encrypt(&self, plaintext: &[u8], context: &[u8]) -> Result<Vec<u8>, CryptoError> {
        let mut random = [0; RANDOM_LEN];
        fill(&mut random)?;
        let mut output = Vec::with_capacity(plaintext.len() + TAG_LEN + RANDOM_LEN);
        output.extend_from_slice(plaintext);
        let (aead, nonce) = self.derive(&random)?;
        let tag =
            aead.seal_in_place_separate_tag(nonce, Aad::from(context), &mut output).map_err(|_| CryptoError::Failed)?;
        output.extend_from_slice(tag.as_ref());
        output.extend_from_slice(&random);
        Ok(output)
    }

    /// Decrypts what [`Key::encrypt`] made, or a version of KES before.
    ///
    /// # Errors
    /// [`CryptoError::NotAuthentic`] for whatever is wrong: callers must not learn more.
    pub fn decrypt(&self, ciphertext: &[u8], context: &[u8]) -> Result<Zeroizing<Vec<u8>>, CryptoError> {
        let legacy = legacy_ciphertext(ciphertext);
        let ciphertext = legacy.as_deref().unwrap_or(ciphertext);
        let (sealed, random) = ciphertext.split_last_chunk::<RANDOM_LEN>().ok_or(CryptoError::NotAuthentic)?;
        let (aead, nonce) = self.derive(random)?;
        let mut buffer = Zeroizing::new(sealed.to_vec());
        let length =
            aead.open_in_place(nonce, Aad::from(context), &mut buffer).map_err(|_| CryptoError::NotAuthentic)?.len();
        buffer.truncate(length);
        Ok(buffer)
    }

    /// The key and nonce of one message.
    fn derive(&self, random: &[u8; RANDOM_LEN]) -> Result<(LessSafeKey, Nonce), CryptoError> {
        let (iv, nonce) = random.split_first_chunk::<IV_LEN>().ok_or(CryptoError::Failed)?;
        let secret = self.secrets.first();
        let (algorithm, mut derived) = match self.algorithm {
            Algorithm::Aes256 => (&AES_256_GCM, sha256_mac(secret, iv)?),
            Algorithm::ChaCha20 => (&CHACHA20_POLY1305, hchacha::<R20>(secret.into(), iv.into()).into()),
        };
        let unbound = UnboundKey::new(algorithm, &derived);
        derived.zeroize();
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| CryptoError::Failed)?;
        Ok((LessSafeKey::new(unbound.map_err(|_| CryptoError::Failed)?), nonce))
    }
}

/// The present form of a ciphertext of an old version; `None` if it is not of that form, be it present or garbage.
pub fn legacy_ciphertext(ciphertext: &[u8]) -> Option<Vec<u8>> {
    match ciphertext.first() {
        Some(0x95) => from_msgpack(ciphertext),
        Some(b'{') => from_json(ciphertext),
        _ => None,
    }
}

/// A MessagePack array of algorithm, key ID, iv, nonce and sealed bytes, and nothing after it.
fn from_msgpack(ciphertext: &[u8]) -> Option<Vec<u8>> {
    let mut reader = rmp_serde::Deserializer::new(std::io::Cursor::new(ciphertext));
    let (algorithm, _id, iv, nonce, sealed): (String, String, ByteBuf, ByteBuf, ByteBuf) =
        Deserialize::deserialize(&mut reader).ok()?;
    if reader.position() != ciphertext.len() as u64 {
        return None;
    }
    algorithm.parse::<Algorithm>().ok()?;
    joined(&sealed, &iv, &nonce)
}

/// A JSON object of the same.
fn from_json(ciphertext: &[u8]) -> Option<Vec<u8>> {
    let object: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(ciphertext).ok()?;
    let field = |name: &str| {
        let found = object.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.and_then(|(_, value)| value.as_str())
    };
    let bytes = |name: &str| STANDARD.decode(field(name)?).ok();
    if !matches!(field("aead")?, "AES-256-GCM-HMAC-SHA-256" | "ChaCha20Poly1305") {
        return None;
    }
    joined(&bytes("bytes")?, &bytes("iv")?, &bytes("nonce")?)
}

fn joined(sealed: &[u8], iv: &[u8], nonce: &[u8]) -> Option<Vec<u8>> {
    (iv.len() == IV_LEN && nonce.len() == NONCE_LEN).then(|| [sealed, iv, nonce].concat())
}
