//! Keys: `/v1/key/*`.

use std::sync::Arc;

use serde::{Serialize, de::MapAccess};

use super::{
    authorize::Authorized,
    error::{ApiError, ImportError, What},
    payload::{Payload, PayloadError},
    reply::{self, Reply},
};
use crate::{
    auth::{Identity, KeyName, ListPattern},
    crypto::{Algorithm, CryptoError, Key},
    json::{self, Base64, Bytes, Fields, Text},
    keystore::KeyStoreError,
};

/// Room for the names of fields and the punctuation of a response.
const PUNCTUATION: usize = 48;

/// Bytes that a name costs in addition to its text: 24 in the list, which doubles when it is full, and the heap's own.
const NAME: usize = 64;

pub(super) async fn create(call: &Authorized<'_>) -> Result<Reply, ApiError> {
    let name = name(call)?;
    let key = Key::generate(Algorithm::preferred(), creator(call)).map_err(crypto("failed to create key"))?;
    store(call, &name, &key).await
}

pub(super) async fn import(call: &Authorized<'_>, payload: Payload<'_, '_>) -> Result<Reply, ApiError> {
    let name = name(call)?;
    let body: ImportBody = payload.required().await.map_err(unreadable("invalid import key request body"))?;
    let cipher = body.cipher.0;
    let Ok(algorithm) = cipher.parse::<Algorithm>() else {
        return Err(ApiError::Import(ImportError::Algorithm(cipher)));
    };
    let key = Key::import(algorithm, &body.key.0, creator(call)).map_err(|error| match error {
        CryptoError::SecretLength(_) => ApiError::Import(ImportError::Length(cipher)),
        error => crypto("failed to create key")(error),
    })?;
    store(call, &name, &key).await
}

pub(super) async fn describe(call: &Authorized<'_>) -> Result<Reply, ApiError> {
    let name = name(call)?;
    let key = read(call, &name).await?;
    reply::json(
        &Description {
            name: name.as_str(),
            algorithm: key.algorithm().as_str(),
            created_at: key.created_at().to_string(),
            created_by: key.created_by(),
        },
        256,
    )
}

/// All names are in one page: clients would take the continuation for a prefix (docs/kes-protocol.md §11, Q8).
pub(super) async fn list(call: &Authorized<'_>, payload: Payload<'_, '_>) -> Result<Reply, ApiError> {
    let pattern = pattern(call)?;
    let largest = &call.state().largest_listing;
    let memory = payload.listing(largest.get()).await;
    let names = call.keys().list(pattern.prefix()).await.map_err(keystore("failed to list keys"))?;
    let length = names.iter().map(|name| name.len() + 3).sum::<usize>() + PUNCTUATION;
    largest.grow(2 * length + NAME * names.len());
    let reply = reply::json(&Names { names }, length);
    if let Some(memory) = memory {
        memory.shrink(length);
    }
    reply
}

pub(super) async fn delete(call: &Authorized<'_>) -> Result<Reply, ApiError> {
    let name = name(call)?;
    call.keys().delete(name.as_str()).await.map_err(keystore("failed to delete key"))?;
    Ok(reply::empty())
}

pub(super) async fn encrypt(call: &Authorized<'_>, payload: Payload<'_, '_>) -> Result<Reply, ApiError> {
    let name = name(call)?;
    let body: EncryptBody = payload.required().await.map_err(unreadable("invalid request body"))?;
    let key = read(call, &name).await?;
    let ciphertext = key.encrypt(&body.plaintext.0, &body.context.0).map_err(crypto("failed to encrypt plaintext"))?;
    reply::json(&Encrypted { ciphertext: Base64(&ciphertext) }, base64_len(ciphertext.len()) + PUNCTUATION)
}

pub(super) async fn generate(call: &Authorized<'_>, payload: Payload<'_, '_>) -> Result<Reply, ApiError> {
    let name = name(call)?;
    let body: GenerateBody = payload.optional().await.map_err(unreadable("invalid request body"))?;
    let key = read(call, &name).await?;
    let dek = key.generate_dek(&body.context.0).map_err(crypto("failed to generate encryption key"))?;
    let length = base64_len(dek.plaintext.len()) + base64_len(dek.ciphertext.len());
    let plaintext = Base64(dek.plaintext.as_slice());
    reply::json(&Generated { plaintext, ciphertext: Base64(&dek.ciphertext) }, length + PUNCTUATION)
}

pub(super) async fn decrypt(call: &Authorized<'_>, payload: Payload<'_, '_>) -> Result<Reply, ApiError> {
    let name = name(call)?;
    let body: DecryptBody = payload.required().await.map_err(unreadable("invalid request body"))?;
    let key = read(call, &name).await?;
    let plaintext = key.decrypt(&body.ciphertext.0, &body.context.0).map_err(crypto("failed to decrypt ciphertext"))?;
    reply::json(&Decrypted { plaintext: Base64(&plaintext) }, base64_len(plaintext.len()) + PUNCTUATION)
}

pub(super) async fn hmac(call: &Authorized<'_>, payload: Payload<'_, '_>) -> Result<Reply, ApiError> {
    let name = name(call)?;
    let body: HmacBody = payload.required().await.map_err(unreadable("invalid request body"))?;
    let key = read(call, &name).await?;
    let sum = key.hmac(&body.message.0).map_err(crypto("failed to compute HMAC"))?;
    reply::json(&Hmac { hmac: Base64(&sum) }, base64_len(sum.len()) + PUNCTUATION)
}

fn name(call: &Authorized<'_>) -> Result<KeyName, ApiError> {
    call.resource().parse().map_err(|_| ApiError::Invalid { what: What::Key, value: call.resource().to_owned() })
}

pub(super) fn pattern(call: &Authorized<'_>) -> Result<ListPattern, ApiError> {
    call.resource().parse().map_err(|_| ApiError::Invalid { what: What::Pattern, value: call.resource().to_owned() })
}

fn creator<'a>(call: &Authorized<'a>) -> &'a str {
    call.identity().map_or("", Identity::as_str)
}

async fn store(call: &Authorized<'_>, name: &KeyName, key: &Key) -> Result<Reply, ApiError> {
    call.keys().create(name.as_str(), key).await.map_err(keystore("failed to create key"))?;
    Ok(reply::empty())
}

async fn read(call: &Authorized<'_>, name: &KeyName) -> Result<Arc<Key>, ApiError> {
    call.keys().get(name.as_str()).await.map_err(keystore("failed to read key"))
}

fn keystore(operation: &'static str) -> impl FnOnce(KeyStoreError) -> ApiError {
    move |cause| ApiError::KeyStore { operation, cause }
}

fn crypto(operation: &'static str) -> impl FnOnce(CryptoError) -> ApiError {
    move |cause| ApiError::Crypto { operation, cause }
}

fn unreadable(what: &'static str) -> impl FnOnce(PayloadError) -> ApiError {
    move |cause| match cause {
        PayloadError::Busy => ApiError::Busy(cause.to_string()),
        cause => ApiError::Body { what, cause: cause.to_string() },
    }
}

fn base64_len(bytes: usize) -> usize {
    bytes.div_ceil(3) * 4
}

/// Declares the body of a request.
macro_rules! body {
    ($name:ident { $($field:ident: $type:ty),+ }) => {
        #[derive(Default)]
        struct $name {
            $($field: $type),+
        }

        impl Fields for $name {
            const NAMES: &'static [&'static str] = &[$(stringify!($field)),+];

            fn take<'de, A: MapAccess<'de>>(&mut self, field: &str, values: &mut A) -> Result<(), A::Error> {
                match field {
                    $(stringify!($field) => self.$field.replace(values.next_value()?),)+
                    _ => {}
                }
                Ok(())
            }
        }
    };
}

// The version of a key that a client may name must be a string, and is not looked at.
body!(ImportBody { key: Bytes, cipher: Text });
body!(EncryptBody { plaintext: Bytes, context: Bytes, version: Text });
body!(GenerateBody { context: Bytes, version: Text });
body!(DecryptBody { ciphertext: Bytes, context: Bytes, version: Text });
body!(HmacBody { message: Bytes, version: Text });

/// What the handler of a route would take from a body, field by field; `None` if it would refuse it.
pub(super) fn body_fields(route: &str, document: &[u8]) -> Option<Vec<Vec<u8>>> {
    let bytes = |fields: &[Bytes]| fields.iter().map(|field| field.0.to_vec()).collect();
    Some(match route {
        "/v1/key/import/" => {
            let body: ImportBody = json::decode(document).ok()?;
            vec![body.key.0.to_vec(), body.cipher.0.into_bytes()]
        }
        "/v1/key/encrypt/" => {
            let body: EncryptBody = json::decode(document).ok()?;
            bytes(&[body.plaintext, body.context])
        }
        "/v1/key/generate/" => bytes(&[json::decode::<GenerateBody>(document).ok()?.context]),
        "/v1/key/decrypt/" => {
            let body: DecryptBody = json::decode(document).ok()?;
            bytes(&[body.ciphertext, body.context])
        }
        "/v1/key/hmac/" => bytes(&[json::decode::<HmacBody>(document).ok()?.message]),
        _ => return None,
    })
}

#[derive(Serialize)]
struct Description<'a> {
    name: &'a str,
    algorithm: &'a str,
    created_at: String,
    #[serde(skip_serializing_if = "str::is_empty")]
    created_by: &'a str,
}

#[derive(Serialize)]
struct Names {
    names: Vec<String>,
}

#[derive(Serialize)]
struct Encrypted<'a> {
    ciphertext: Base64<'a>,
}

#[derive(Serialize)]
struct Generated<'a> {
    plaintext: Base64<'a>,
    ciphertext: Base64<'a>,
}

#[derive(Serialize)]
struct Decrypted<'a> {
    plaintext: Base64<'a>,
}

#[derive(Serialize)]
struct Hmac<'a> {
    hmac: Base64<'a>,
}
