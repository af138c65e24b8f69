//! Identities, API keys, names, patterns and policy decisions of MinIO KES (docs/kes-protocol.md §12).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "test")]

use kes_server::auth::{Access, ApiKey, Identity, ListPattern, Policy, is_valid_name};
use kes_server::config::Level;
use rustls_pki_types::{CertificateDer, pem::PemObject as _};
use serde_json::Value;

fn vectors() -> Value {
    serde_json::from_str(include_str!("data/kes-vectors.json")).unwrap()
}

fn list(name: &str) -> Vec<Value> {
    vectors()[name].as_array().unwrap().clone()
}

#[test]
fn identities_follow_from_keys_and_certificates() {
    let mut keys = 0;
    let mut certificates = 0;
    for vector in list("identities") {
        let identity = vector["identity"].as_str().unwrap();
        if let Some(text) = vector["api_key"].as_str() {
            let key: ApiKey = text.parse().unwrap();
            assert_eq!(key.identity().as_str(), identity);
            assert_eq!(key.reveal().as_str(), text);
            let (own, ca) = Identity::of_certificate(&key.certificate().unwrap()).unwrap();
            assert_eq!((own.as_str(), ca), (identity, false));
            keys += 1;
        }
        if let Some(pem) = vector["certificate_pem"].as_str() {
            let der = CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
            let (own, _) = Identity::of_certificate(&der).unwrap();
            assert_eq!(own.as_str(), identity, "{}", vector["label"]);
            certificates += 1;
        }
    }
    assert!(keys >= 4 && certificates >= 3, "{keys} {certificates}");
}

#[test]
fn api_keys_are_refused_with_the_originals_words() {
    for vector in list("api_key_errors") {
        let error = vector["api_key"].as_str().unwrap().parse::<ApiKey>().unwrap_err();
        assert_eq!(format!("Error: {error}"), vector["error"].as_str().unwrap());
    }
}

#[test]
fn names_and_patterns() {
    for vector in list("names") {
        let name = vector["name"].as_str().unwrap();
        assert_eq!(is_valid_name(name), vector["valid"].as_bool().unwrap(), "{name}");
    }
    for vector in list("patterns") {
        let pattern = vector["pattern"].as_str().unwrap();
        assert_eq!(pattern.parse::<ListPattern>().is_ok(), vector["valid"].as_bool().unwrap(), "{pattern}");
    }
}

#[test]
fn policies_decide_as_the_original() {
    let all = vectors();
    let labels = all["identities"].as_array().unwrap();
    let identity = |label: &str| {
        let found = labels.iter().find(|vector| vector["label"] == label);
        Identity::new(found.map_or(label, |vector| vector["identity"].as_str().unwrap()))
    };
    let strings = |value: &Value| -> Vec<String> {
        value.as_array().unwrap_or(&vec![]).iter().map(|v| v.as_str().unwrap().to_owned()).collect()
    };
    let policies = all["policy_config"].as_object().unwrap().iter().map(|(name, policy)| {
        let rules = Policy { allow: strings(&policy["allow"]), deny: strings(&policy["deny"]) };
        let holders = strings(&policy["identities"]).iter().map(|label| identity(label)).collect();
        (name.clone(), rules, holders)
    });
    let access = Access::new(identity("admin"), policies).unwrap();
    let decisions = all["policy_decisions"].as_array().unwrap();
    assert_eq!(decisions.len(), 20);
    for vector in decisions {
        let who = identity(vector["identity"].as_str().unwrap());
        // policies see the decoded path
        let path = vector["path"].as_str().unwrap().replace("%2D", "-");
        let allowed = access.decide(&who, &path).is_allowed();
        assert_eq!(allowed, vector["allowed"].as_bool().unwrap(), "{vector}");
    }
}

#[test]
fn log_levels() {
    for vector in list("log_levels") {
        let level: Level = vector["input"].as_str().unwrap().parse().unwrap();
        assert_eq!(i64::from(level.0), vector["level"].as_i64().unwrap(), "{vector}");
        assert_eq!(level.to_string(), vector["display"].as_str().unwrap());
    }
}
