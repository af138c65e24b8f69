//! Encrypted private keys in PEM. As in RFC 1423 (docs/kes-protocol.md §2), the only encryption of key files that the
//! original knows: the key derivation is a single round of MD5; it is here for files that exist, not as a
//! recommendation. And as PKCS#8 with PBES2 (RFC 8018), which is what tools write today.

use aws_lc_rs::{
    cipher::{
        AES_128, AES_128_KEY_LEN, AES_192, AES_192_KEY_LEN, AES_256, AES_256_KEY_LEN, Algorithm, DecryptionContext,
        PaddedBlockDecryptingKey, PaddedBlockEncryptingKey, UnboundCipherKey,
    },
    iv::FixedLength,
    rand,
};
use cbc::cipher::{BlockModeDecrypt as _, KeyIvInit as _, block_padding::Pkcs7};
use md5::{Digest as _, Md5};
use pem::{EncodeConfig, LineEnding, Pem};
use pkcs8::{
    EncryptedPrivateKeyInfoRef,
    der::{Decode as _, asn1::AnyRef},
};
use zeroize::Zeroizing;

/// Why an encrypted key cannot be read or written; the texts are those of MinIO KES.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EncryptedPemError {
    /// `DEK-Info` names no known cipher, or its IV is none.
    #[error("x509: unknown encryption mode")]
    Mode,
    /// The password is wrong, or the content is damaged.
    #[error("x509: decryption password incorrect")]
    Password,
    /// No randomness.
    #[error("x509: cannot generate IV: no random bytes")]
    Random,
}

#[derive(Clone, Copy)]
enum Cipher {
    /// With the length of its key.
    Aes(&'static Algorithm, usize),
    Des,
    TripleDes,
}

impl Cipher {
    fn from_name(name: &str) -> Option<Self> {
        match name {
            "AES-128-CBC" => Some(Self::Aes(&AES_128, AES_128_KEY_LEN)),
            "AES-192-CBC" => Some(Self::Aes(&AES_192, AES_192_KEY_LEN)),
            "AES-256-CBC" => Some(Self::Aes(&AES_256, AES_256_KEY_LEN)),
            "DES-CBC" => Some(Self::Des),
            "DES-EDE3-CBC" => Some(Self::TripleDes),
            _ => None,
        }
    }

    fn key_length(self) -> usize {
        match self {
            Self::Aes(_, length) => length,
            Self::Des => 8,
            Self::TripleDes => 24,
        }
    }
}

/// The label of encrypted PKCS#8.
const PKCS8: &str = "ENCRYPTED PRIVATE KEY";

/// Whether the content of the block is encrypted.
pub fn is_encrypted(block: &Pem) -> bool {
    block.tag() == PKCS8 || block.headers().get("DEK-Info").is_some()
}

/// The content of an encrypted block: DER.
pub fn decrypt(block: &Pem, password: &str) -> Result<Zeroizing<Vec<u8>>, EncryptedPemError> {
    if block.tag() == PKCS8 {
        return decrypt_pkcs8(block.contents(), password);
    }
    let info = block.headers().get("DEK-Info").ok_or(EncryptedPemError::Mode)?;
    let (name, iv) = info.split_once(',').ok_or(EncryptedPemError::Mode)?;
    let cipher = Cipher::from_name(name.trim()).ok_or(EncryptedPemError::Mode)?;
    let iv = hex::decode(iv.trim()).map_err(|_| EncryptedPemError::Mode)?;
    let key = derive(password, &iv, cipher.key_length())?;
    let content = match cipher {
        Cipher::Aes(algorithm, _) => decrypt_aes(algorithm, &key, &iv, block.contents()),
        Cipher::Des => decrypt_des::<des::Des>(&key, &iv, block.contents()),
        Cipher::TripleDes => decrypt_des::<des::TdesEde3>(&key, &iv, block.contents()),
    }?;
    // the padding alone lets about one wrong password in 256 pass
    AnyRef::from_der(&content).map_err(|_| EncryptedPemError::Password)?;
    Ok(content)
}

/// A block of the given label, encrypted with AES-256-CBC.
pub fn encrypt(label: &str, der: &[u8], password: &str) -> Result<Zeroizing<String>, EncryptedPemError> {
    let mut iv = [0; 16];
    rand::fill(&mut iv).map_err(|_| EncryptedPemError::Random)?;
    let key = derive(password, &iv, AES_256_KEY_LEN)?;
    let mut content = Zeroizing::new(der.to_vec());
    UnboundCipherKey::new(&AES_256, &key)
        .and_then(PaddedBlockEncryptingKey::cbc_pkcs7)
        .and_then(|key| key.less_safe_encrypt(&mut *content, aws_lc_rs::cipher::EncryptionContext::Iv128(iv.into())))
        .map_err(|_| EncryptedPemError::Mode)?;
    let mut block = Pem::new(label, std::mem::take(&mut *content));
    let header = |block: &mut Pem, name: &str, value: &str| {
        block.headers_mut().add(name, value).map_err(|_| EncryptedPemError::Mode)
    };
    header(&mut block, "Proc-Type", "4,ENCRYPTED")?;
    header(&mut block, "DEK-Info", &format!("AES-256-CBC,{}", hex::encode(iv)))?;
    Ok(Zeroizing::new(pem::encode_config(&block, EncodeConfig::new().set_line_ending(LineEnding::LF))))
}

/// `EVP_BytesToKey` of OpenSSL: MD5 once, the first 8 bytes of the IV as salt.
fn derive(password: &str, iv: &[u8], length: usize) -> Result<Zeroizing<Vec<u8>>, EncryptedPemError> {
    let salt = iv.first_chunk::<8>().ok_or(EncryptedPemError::Mode)?;
    let mut key = Zeroizing::new(Vec::with_capacity(length + 16));
    let mut digest = Zeroizing::new(Vec::new());
    while key.len() < length {
        let next = Md5::new().chain_update(&*digest).chain_update(password).chain_update(salt).finalize();
        digest = Zeroizing::new(next.to_vec());
        key.extend_from_slice(&digest);
    }
    key.truncate(length);
    Ok(key)
}

fn decrypt_pkcs8(content: &[u8], password: &str) -> Result<Zeroizing<Vec<u8>>, EncryptedPemError> {
    let info = EncryptedPrivateKeyInfoRef::try_from(content).map_err(|_| EncryptedPemError::Mode)?;
    let key = info.decrypt(password).map_err(|_| EncryptedPemError::Password)?;
    Ok(key.to_bytes())
}

fn decrypt_aes(
    algorithm: &'static Algorithm,
    key: &[u8],
    iv: &[u8],
    content: &[u8],
) -> Result<Zeroizing<Vec<u8>>, EncryptedPemError> {
    let iv: [u8; 16] = iv.try_into().map_err(|_| EncryptedPemError::Mode)?;
    let mut content = Zeroizing::new(content.to_vec());
    let length = UnboundCipherKey::new(algorithm, key)
        .and_then(PaddedBlockDecryptingKey::cbc_pkcs7)
        .and_then(|key| Ok(key.decrypt(&mut content, DecryptionContext::Iv128(FixedLength::from(iv)))?.len()))
        .map_err(|_| EncryptedPemError::Password)?;
    content.truncate(length);
    Ok(content)
}

fn decrypt_des<C>(key: &[u8], iv: &[u8], content: &[u8]) -> Result<Zeroizing<Vec<u8>>, EncryptedPemError>
where
    C: cbc::cipher::BlockCipherDecrypt + cbc::cipher::KeyInit,
{
    let cipher = cbc::Decryptor::<C>::new_from_slices(key, iv).map_err(|_| EncryptedPemError::Mode)?;
    cipher.decrypt_padded_vec::<Pkcs7>(content).map(Zeroizing::new).map_err(|_| EncryptedPemError::Password)
}

#[cfg(test)]
mod tests {

    use super::*;

    #[test]
    fn what_is_encrypted_is_decrypted() {
        let der = b"\x04\x08some key";
        let text = encrypt("PRIVATE KEY", der, "sesame").unwrap();
        assert!(text.starts_with("-----BEGIN PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,"));
        let block = pem::parse(text.as_bytes()).unwrap();
        assert!(is_encrypted(&block));
        assert_eq!(*decrypt(&block, "sesame").unwrap(), der);
    }

    /// Among 2,000 wrong passwords some leave valid padding.
    #[test]
    fn no_wrong_password_passes() {
        for text in [include_str!("../../tests/data/pem/des3.pem"), include_str!("../../tests/data/pem/aes256.pem")] {
            let block = pem::parse(text).unwrap();
            for guess in 0..2_000 {
                assert_eq!(decrypt(&block, &guess.to_string()), Err(EncryptedPemError::Password), "{guess}");
            }
        }
    }

    /// One P-256 key, encrypted with `openssl ec -<cipher>`, password `secret`.
    #[test]
    fn files_of_openssl_are_read() {
        let plain = pem::parse(include_str!("../../tests/data/pem/plain.pem")).unwrap();
        assert!(!is_encrypted(&plain));
        assert_eq!(decrypt(&plain, "secret"), Err(EncryptedPemError::Mode));
        for text in [
            include_str!("../../tests/data/pem/des.pem"),
            include_str!("../../tests/data/pem/des3.pem"),
            include_str!("../../tests/data/pem/aes128.pem"),
            include_str!("../../tests/data/pem/aes192.pem"),
            include_str!("../../tests/data/pem/aes256.pem"),
        ] {
            let block = pem::parse(text).unwrap();
            assert_eq!(decrypt(&block, "secret").unwrap().as_slice(), plain.contents(), "{:?}", block.headers());
        }
    }

    /// The same key as PKCS#8, by `openssl pkcs8 -topk8`.
    #[test]
    fn encrypted_pkcs8_is_read() {
        let plain = pem::parse(include_str!("../../tests/data/pem/pkcs8-plain.pem")).unwrap();
        let block = pem::parse(include_str!("../../tests/data/pem/pkcs8.pem")).unwrap();
        assert!(is_encrypted(&block) && !is_encrypted(&plain));
        assert_eq!(decrypt(&block, "secret").unwrap().as_slice(), plain.contents());
        assert_eq!(decrypt(&block, "Secret"), Err(EncryptedPemError::Password));
    }

    #[test]
    fn an_unknown_cipher_is_refused() {
        let block = pem::parse(include_str!("../../tests/data/pem/aes256.pem").replace("AES-256-CBC", "AES-256-GCM"));
        assert_eq!(decrypt(&block.unwrap(), "secret"), Err(EncryptedPemError::Mode));
    }
}
