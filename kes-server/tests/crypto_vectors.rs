//! Keys, ciphertexts, derivations and HMACs as MinIO KES made them (docs/kes-protocol.md §12).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "test")]

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kes_server::crypto::{Algorithm, Key};
use serde_json::Value;

fn vectors(name: &str) -> Vec<Value> {
    let all: Value = serde_json::from_str(include_str!("data/kes-vectors.json")).unwrap();
    all[name].as_array().unwrap_or_else(|| panic!("no {name}")).clone()
}

fn bytes(vector: &Value, field: &str) -> Vec<u8> {
    let text = vector[field].as_str().unwrap_or_default();
    if field.ends_with("_hex") { hex::decode(text).unwrap() } else { STANDARD.decode(text).unwrap() }
}

fn text<'a>(vector: &'a Value, field: &str) -> &'a str {
    vector[field].as_str().unwrap_or_else(|| panic!("no {field} in {vector}"))
}

fn key(vector: &Value) -> Key {
    let algorithm: Algorithm = text(vector, "algorithm").parse().unwrap();
    Key::import(algorithm, &bytes(vector, "secret_key_hex"), "").unwrap()
}

#[test]
fn key_files_decode_and_encode_to_the_same_text() {
    let files = vectors("key_files");
    assert_eq!(files.len(), 9);
    for file in files {
        let key = Key::decode(text(&file, "content").as_bytes()).unwrap();
        assert_eq!(key.encode().as_slice(), text(&file, "content").as_bytes(), "{}", file["name"]);
        let shown: Value = serde_json::from_str(text(&file, "describe_response")).unwrap();
        assert_eq!(key.algorithm().as_str(), text(&shown, "algorithm"));
        assert_eq!(key.created_at().to_string(), text(&shown, "created_at"));
        assert_eq!(key.created_by(), text(&file, "created_by"));
        assert_eq!(key.created_at().parts().0, file["created_at_seconds"].as_i64().unwrap());
    }
}

#[test]
fn odd_key_files_are_read_or_refused_as_the_original_does() {
    for variant in vectors("key_file_variants") {
        let content = variant["content"].as_str().unwrap_or_default();
        let key = Key::decode(content.as_bytes());
        if variant["describe_status"] != 200 {
            // where MinIO KES crashes (docs/kes-protocol.md §11, Q7), the value is refused
            assert!(key.is_err(), "{}", variant["label"]);
            continue;
        }
        let key = key.unwrap_or_else(|error| panic!("{}: {error}", variant["label"]));
        let shown: Value = serde_json::from_str(text(&variant, "describe_body")).unwrap();
        assert_eq!(key.algorithm().as_str(), text(&shown, "algorithm"), "{}", variant["label"]);
        assert_eq!(key.created_at().to_string(), text(&shown, "created_at"), "{}", variant["label"]);
        assert_eq!(key.created_by(), shown["created_by"].as_str().unwrap_or_default());
        assert_eq!(key.hmac(b"hello").is_ok(), variant["hmac_of_hello_status"] == 200, "{}", variant["label"]);
    }
}

#[test]
fn ciphertexts_of_the_original_decrypt() {
    for vector in vectors("encrypt").iter().chain(&vectors("generate")) {
        let plain = key(vector).decrypt(&bytes(vector, "ciphertext_b64"), &bytes(vector, "context_b64")).unwrap();
        assert_eq!(plain.as_slice(), bytes(vector, "plaintext_b64"));
    }
    let all = vectors("decrypt");
    assert_eq!(all.len(), 132);
    for vector in all {
        let plain = key(&vector).decrypt(&bytes(&vector, "ciphertext_b64"), &bytes(&vector, "context_b64"));
        let name = format!("{} {}", vector["label"], vector["key_name"]);
        if vector["status"] == 200 {
            assert_eq!(plain.expect(&name).as_slice(), bytes(&vector, "plaintext_b64"), "{name}");
        } else {
            assert_eq!(plain.expect_err(&name).to_string(), text(&vector, "error"), "{name}");
        }
    }
}

#[test]
fn what_is_encrypted_decrypts_only_with_its_key_and_context() {
    for algorithm in [Algorithm::Aes256, Algorithm::ChaCha20] {
        let key = Key::generate(algorithm, "me").unwrap();
        for length in [0, 1, 15, 16, 17, 1000] {
            let plain = vec![7; length];
            let sealed = key.encrypt(&plain, b"context").unwrap();
            assert_eq!(sealed.len(), length + 44);
            assert_eq!(key.decrypt(&sealed, b"context").unwrap().as_slice(), plain);
            assert!(key.decrypt(&sealed, b"other").is_err());
            assert!(Key::generate(algorithm, "").unwrap().decrypt(&sealed, b"context").is_err());
            assert!(key.decrypt(&sealed[..sealed.len() - 1], b"context").is_err());
        }
        let copy = Key::decode(&key.encode()).unwrap();
        let dek = key.generate_dek(b"c").unwrap();
        assert_eq!(copy.decrypt(&dek.ciphertext, b"c").unwrap().as_slice(), dek.plaintext.as_slice());
        assert_eq!(copy.hmac(b"m"), key.hmac(b"m"));
    }
}

#[test]
fn hmacs_are_those_of_the_original() {
    let files = vectors("key_files");
    for vector in vectors("hmac") {
        let file = files.iter().find(|file| file["name"] == vector["key_name"]).unwrap();
        let key = Key::decode(text(file, "content").as_bytes()).unwrap();
        assert_eq!(key.hmac(&bytes(&vector, "message_b64")).unwrap().as_slice(), bytes(&vector, "sum_b64"));
    }
}
