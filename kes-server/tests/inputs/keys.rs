//! Stored keys and ciphertexts, made by rule (docs/kes-protocol.md §5).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kes_server::crypto::{Algorithm, CreatedAt, CryptoError, DecodeError, Key};
use kes_server::fuzzing::legacy_ciphertext;
use proptest::array::uniform32;
use proptest::collection::vec;
use proptest::prelude::*;

use super::checks;

/// What a stored key says, written here by hand and byte by byte.
#[derive(Debug, Clone)]
struct Stored {
    secret: [u8; 32],
    kind: u8,
    hmac: [u8; 32],
    seconds: i64,
    nanos: u32,
    creator: String,
}

/// From the year 1 to 9999.
const SECONDS: std::ops::RangeInclusive<i64> = -62_135_596_800..=253_402_207_200;

fn stored() -> impl Strategy<Value = Stored> {
    let times = (prop_oneof![Just(0), 1_600_000_000..2_000_000_000_i64, SECONDS], 0..1_000_000_000_u32);
    (uniform32(any::<u8>()), 1..=2_u8, uniform32(any::<u8>()), times, "[0-9a-f]{64}|\\PC{0,20}").prop_map(
        |(secret, kind, hmac, (seconds, nanos), creator)| Stored { secret, kind, hmac, seconds, nanos, creator },
    )
}

fn varint(mut number: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number >= 0x80 {
        bytes.push(u8::try_from(number & 0x7f).unwrap() | 0x80);
        number >>= 7;
    }
    bytes.push(u8::try_from(number).unwrap());
    bytes
}

fn bytes_field(tag: u8, bytes: &[u8]) -> Vec<u8> {
    [&[tag << 3 | 2], varint(bytes.len() as u64).as_slice(), bytes].concat()
}

fn number_field(tag: u8, number: u64) -> Vec<u8> {
    if number == 0 { Vec::new() } else { [vec![tag << 3], varint(number)].concat() }
}

impl Stored {
    /// The fields of the message, in order.
    fn fields(&self) -> [Vec<u8>; 4] {
        let creator = if self.creator.is_empty() { Vec::new() } else { bytes_field(4, self.creator.as_bytes()) };
        [
            bytes_field(1, &[bytes_field(1, &self.secret), number_field(2, self.kind.into())].concat()),
            bytes_field(2, &[bytes_field(1, &self.hmac), number_field(2, 1)].concat()),
            bytes_field(
                3,
                &[number_field(1, self.seconds.cast_unsigned()), number_field(2, self.nanos.into())].concat(),
            ),
            creator,
        ]
    }

    fn text(fields: &[Vec<u8>]) -> String {
        STANDARD.encode(fields.concat())
    }

    fn algorithm(&self) -> Algorithm {
        if self.kind == 1 { Algorithm::Aes256 } else { Algorithm::ChaCha20 }
    }
}

fn algorithms() -> impl Strategy<Value = Algorithm> {
    prop_oneof![Just(Algorithm::Aes256), Just(Algorithm::ChaCha20)]
}

/// `sealed ‖ iv ‖ nonce` in the MessagePack form, with the shortest or a longer length of each part.
fn msgpack(name: &str, modern: &[u8], wide: bool) -> Vec<u8> {
    let (rest, nonce) = modern.split_at(modern.len() - 12);
    let (sealed, iv) = rest.split_at(rest.len() - 16);
    let mut out = vec![0x95];
    for text in [name, "an-id"] {
        let length = u8::try_from(text.len()).unwrap();
        out.extend_from_slice(if wide { vec![0xda, 0, length] } else { vec![0xa0 | length] }.as_slice());
        out.extend_from_slice(text.as_bytes());
    }
    for bytes in [iv, nonce, sealed] {
        let length = u16::try_from(bytes.len()).unwrap().to_be_bytes();
        let is_short = length[0] == 0 && !wide;
        out.extend_from_slice(
            if is_short { vec![0xc4, length[1]] } else { vec![0xc5, length[0], length[1]] }.as_slice(),
        );
        out.extend_from_slice(bytes);
    }
    out
}

fn json(name: &str, modern: &[u8]) -> String {
    let (rest, nonce) = modern.split_at(modern.len() - 12);
    let (sealed, iv) = rest.split_at(rest.len() - 16);
    let [iv, nonce, sealed] = [iv, nonce, sealed].map(|bytes| STANDARD.encode(bytes));
    format!(r#"{{"aead":"{name}","id":"an-id","iv":"{iv}","nonce":"{nonce}","bytes":"{sealed}"}}"#)
}

proptest! {
    #[test]
    fn a_stored_key_is_read_and_written_byte_for_byte(stored in stored()) {
        let fields = stored.fields();
        let text = Stored::text(&fields);
        let key = Key::decode(text.as_bytes()).unwrap();
        let written = key.encode();
        prop_assert_eq!(std::str::from_utf8(&written).unwrap(), &text);
        prop_assert_eq!(key.algorithm(), stored.algorithm());
        prop_assert_eq!(key.created_by(), &stored.creator);
        prop_assert_eq!(key.created_at().parts(), (stored.seconds, i32::try_from(stored.nanos).unwrap()));
        checks::stored_key::check(text.as_bytes());
        // the secret, not the HMAC key, encrypts
        let imported = Key::import(stored.algorithm(), &stored.secret, "").unwrap();
        prop_assert_eq!(key.decrypt(&imported.encrypt(b"p", b"c").unwrap(), b"c").unwrap().to_vec(), b"p".to_vec());
        let other = Stored { secret: stored.hmac, hmac: stored.secret, ..stored.clone() };
        let other = Key::decode(Stored::text(&other.fields()).as_bytes()).unwrap();
        prop_assert_eq!(key.hmac(b"m") == other.hmac(b"m"), stored.secret == stored.hmac);
    }

    #[test]
    fn fields_may_come_in_any_order_and_unknown_ones_are_ignored(stored in stored(), turn in 0..4_usize, tag in 5..15_u8) {
        let mut fields = stored.fields();
        let expected = Stored::text(&fields);
        fields.rotate_left(turn);
        let text = Stored::text(&[fields.as_slice(), &[bytes_field(tag, b"new"), number_field(tag, 7)]].concat());
        let written = Key::decode(text.as_bytes()).unwrap().encode();
        prop_assert_eq!(std::str::from_utf8(&written).unwrap(), expected);
    }

    #[test]
    fn what_is_no_key_is_refused(stored in stored(), length in (0..64_usize).prop_filter("32 is a key", |n| *n != 32),
                                kind in 3..1000_u64, missing in 0..2_usize) {
        let refused = |change: &dyn Fn(&mut [Vec<u8>; 4])| {
            let mut fields = stored.fields();
            change(&mut fields);
            Key::decode(Stored::text(&fields).as_bytes()).unwrap_err()
        };
        let part = |tag: u8, length: usize, kind: u64| {
            bytes_field(tag, &[bytes_field(1, &vec![7; length]), number_field(2, kind)].concat())
        };
        for tag in [1, 2] {
            let at = usize::from(tag) - 1;
            prop_assert_eq!(refused(&|fields| fields[at] = part(tag, length, 1)), DecodeError::Length(length));
            prop_assert_eq!(refused(&|fields| fields[at] = part(tag, 32, kind)), DecodeError::Algorithm);
            prop_assert_eq!(refused(&|fields| fields[at] = part(tag, 32, 0)), DecodeError::Algorithm);
        }
        prop_assert!(matches!(refused(&|fields| fields[missing].clear()), DecodeError::Malformed(_)));
        let nanos = bytes_field(3, &number_field(2, 1_000_000_000));
        prop_assert!(matches!(refused(&|fields| fields[2].clone_from(&nanos)), DecodeError::Malformed(_)));
        prop_assert!(matches!(refused(&|fields| fields[0] = vec![0x0a, 0xff]), DecodeError::Malformed(_)));
        let text = Stored::text(&stored.fields());
        prop_assert_eq!(Key::decode(format!(" {text}").as_bytes()).unwrap_err(), DecodeError::Base64);
        prop_assert!(matches!(Key::decode(b"[]").unwrap_err(), DecodeError::Malformed(_)));
    }

    #[test]
    fn the_legacy_form_is_read_with_names_in_any_case(secret in uniform32(any::<u8>()), algorithm in 0..6_usize,
                                                      time in SECONDS, creator in "[a-z]{0,9}", upper in any::<bool>()) {
        let (name, expected) = [
            (None, Algorithm::Aes256), (Some(""), Algorithm::Aes256), (Some("AES256"), Algorithm::Aes256),
            (Some("AES256-GCM_SHA256"), Algorithm::Aes256), (Some("ChaCha20"), Algorithm::ChaCha20),
            (Some("XCHACHA20-POLY1305"), Algorithm::ChaCha20),
        ][algorithm];
        let case = |name: &str| if upper { name.to_uppercase() } else { name.to_owned() };
        let shown = CreatedAt::from_parts(time, 0).unwrap().to_string();
        let mut object = serde_json::Map::new();
        object.insert(case("bytes"), STANDARD.encode(secret).into());
        object.insert(case("created_at"), shown.clone().into());
        object.insert(case("created_by"), creator.clone().into());
        object.insert("other".into(), 1.into());
        if let Some(name) = name { object.insert(case("algorithm"), name.into()); }
        let document = format!(" {}\n", serde_json::Value::Object(object));
        let key = Key::decode(document.as_bytes()).unwrap();
        prop_assert_eq!((key.algorithm(), key.created_by()), (expected, creator.as_str()));
        prop_assert_eq!(key.created_at().to_string(), shown);
        prop_assert_eq!(key.hmac(b""), Err(CryptoError::NoHmacKey));
        checks::stored_key::check(document.as_bytes());
    }

    #[test]
    fn what_is_encrypted_is_decrypted_in_every_form(algorithm in algorithms(), secret in uniform32(any::<u8>()),
            plain in prop_oneof![vec(any::<u8>(), 0..70), vec(any::<u8>(), 200..1500)], context in vec(any::<u8>(), 0..100),
            damage in any::<proptest::sample::Index>(), bit in 0..8_u32, wide in any::<bool>()) {
        let key = Key::import(algorithm, &secret, "").unwrap();
        let mut sealed = key.encrypt(&plain, &context).unwrap();
        prop_assert_eq!(sealed.len(), plain.len() + 44);
        prop_assert_ne!(&sealed, &key.encrypt(&plain, &context).unwrap());
        prop_assert_eq!(key.decrypt(&sealed, &context).unwrap().to_vec(), plain.clone());
        for name in ["AES256", "AES256-GCM_SHA256", "ChaCha20", "XCHACHA20-POLY1305"] {
            let legacy = msgpack(name, &sealed, wide);
            prop_assert_eq!(key.decrypt(&legacy, &context).unwrap().to_vec(), plain.clone());
            prop_assert_eq!(legacy_ciphertext(&[legacy, vec![0]].concat()), None);
        }
        for name in ["AES-256-GCM-HMAC-SHA-256", "ChaCha20Poly1305"] {
            let legacy = json(name, &sealed);
            prop_assert_eq!(key.decrypt(format!("{legacy}\n ").as_bytes(), &context).unwrap().to_vec(), plain.clone());
            prop_assert_eq!(legacy_ciphertext(format!(" {legacy}").as_bytes()), None);
            prop_assert_eq!(legacy_ciphertext(format!("{legacy}x").as_bytes()), None);
        }
        // one's names are not the other's
        prop_assert_eq!(legacy_ciphertext(&msgpack("ChaCha20Poly1305", &sealed, wide)), None);
        prop_assert_eq!(legacy_ciphertext(json("AES256", &sealed).as_bytes()), None);
        let other = if algorithm == Algorithm::Aes256 { Algorithm::ChaCha20 } else { Algorithm::Aes256 };
        prop_assert!(Key::import(other, &secret, "").unwrap().decrypt(&sealed, &context).is_err());
        let at = damage.index(sealed.len());
        sealed[at] ^= 1_u8 << bit;
        prop_assert_eq!(key.decrypt(&sealed, &context).map(|plain| plain.to_vec()), Err(CryptoError::NotAuthentic));
    }

    #[test]
    fn parts_of_the_wrong_length_are_no_legacy_form(iv in 0..40_usize, nonce in 0..40_usize) {
        let bytes = |length: usize| [vec![0xc4, u8::try_from(length).unwrap()], vec![7; length]].concat();
        let document = [vec![0x95, 0xa6], b"AES256\xa0".to_vec(), bytes(iv), bytes(nonce), bytes(20)].concat();
        prop_assert_eq!(legacy_ciphertext(&document).is_some(), (iv, nonce) == (16, 12));
    }
}

#[test]
fn too_short_is_not_authentic() {
    let key = Key::generate(Algorithm::Aes256, "").unwrap();
    for length in 0..60 {
        assert_eq!(key.decrypt(&vec![0; length], b"").map(|plain| plain.to_vec()), Err(CryptoError::NotAuthentic));
    }
}

#[test]
fn two_keys_and_two_data_keys_are_never_the_same() {
    for algorithm in [Algorithm::Aes256, Algorithm::ChaCha20] {
        let keys: Vec<_> = (0..20).map(|_| Key::generate(algorithm, "me").unwrap()).collect();
        let mut stored: Vec<_> = keys.iter().map(|key| key.encode().to_vec()).collect();
        stored.sort();
        stored.dedup();
        assert_eq!(stored.len(), 20);
        let deks: std::collections::BTreeSet<_> =
            keys.iter().map(|key| *key.generate_dek(b"").unwrap().plaintext).collect();
        assert_eq!(deks.len(), 20);
        assert_eq!((keys[0].algorithm(), keys[0].created_by()), (algorithm, "me"));
    }
    let [one, other] = [0, 1].map(|_| Key::import(Algorithm::Aes256, &[1; 32], "").unwrap());
    assert_ne!(one.hmac(b""), other.hmac(b""));
    assert_eq!(Key::import(Algorithm::Aes256, &[1; 31], "").unwrap_err(), CryptoError::SecretLength(31));
}

#[test]
fn nothing_shows_a_secret() {
    let key = Key::import(Algorithm::ChaCha20, &[0x5a; 32], "me").unwrap();
    let shown = format!("{key:?}");
    assert!(shown.contains("ChaCha20") && shown.contains("me") && !shown.contains("90"), "{shown}");
    assert_eq!(format!("{:?}", key.generate_dek(b"").unwrap()), "Dek(..)");
    assert_eq!([Algorithm::Aes256, Algorithm::ChaCha20].map(|name| name.to_string()), ["AES256", "ChaCha20"]);
}
