//! API keys, identities, names and policies, made by rule (docs/kes-protocol.md §1.6, §3).

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kes_server::auth::{Access, ApiKey, ApiKeyError, Decision, Identity, KeyName, Policy};
use proptest::array::uniform32;
use proptest::collection::vec;
use proptest::prelude::*;
use x509_parser::prelude::{FromDer as _, X509Certificate};
use zeroize::Zeroizing;

use super::checks;

/// Paths and rules over few characters, so that they meet often.
const PATH: &str = "/v1/(key|policy|status)(/[ab*]{0,2}){0,2}|[/ab*]{0,4}";

fn rules() -> impl Strategy<Value = Vec<String>> {
    vec(PATH, 0..4)
}

fn naive(rule: &str, path: &str) -> bool {
    match rule.len() {
        0 => false,
        length if rule.ends_with('*') => {
            path.len() >= length - 1 && path.as_bytes()[..length - 1] == rule.as_bytes()[..length - 1]
        }
        _ => rule.bytes().eq(path.bytes()),
    }
}

proptest! {
    #[test]
    fn an_api_key_is_its_text(seed in uniform32(any::<u8>())) {
        let key = ApiKey::from_seed(Zeroizing::new(seed)).unwrap();
        let body = STANDARD.encode([&[0], seed.as_slice()].concat());
        prop_assert_eq!(&*key.reveal(), &format!("kes:v1:{body}"));
        checks::api_key::check(key.reveal().as_bytes());
        checks::api_key::check(body.as_bytes());
        checks::api_key::check(format!("{body}\r\n").as_bytes());
        prop_assert!(key.private_key().secret_der().ends_with(&seed));
        prop_assert_eq!(key.identity().as_str().len(), 64);
    }

    #[test]
    fn what_is_no_api_key_says_why(bytes in vec(any::<u8>(), 0..40), at in 0..44_usize, bad in "[ !_\\-\u{e9}]") {
        let refused = |text: &str| text.parse::<ApiKey>().map(drop).unwrap_err();
        if bytes.len() != 33 {
            prop_assert_eq!(refused(&STANDARD.encode(&bytes)), ApiKeyError::Length);
        }
        let mut key = STANDARD.encode([1; 33]);
        prop_assert_eq!(refused(&format!("kes:v1:{key}")), ApiKeyError::Type);
        key.replace_range(at..=at, &bad);
        prop_assert_eq!(refused(&key), ApiKeyError::Base64(at));
        checks::api_key::check(key.as_bytes());
    }

    #[test]
    fn policies_decide_as_the_plainest_rule(allow in rules(), deny in rules(), path in PATH, holder in "[ab]", caller in "[abc]?") {
        let policy = Policy { allow: allow.clone(), deny: deny.clone() };
        let other = Policy { allow: vec!["*".into()], deny: vec![] };
        let policies = [("p".to_owned(), policy, vec![Identity::new(&holder)]), ("q".to_owned(), other, vec![])];
        let access = Access::new(Identity::new("c"), policies).unwrap();
        let denied = deny.iter().find(|rule| naive(rule, &path)).map(String::as_str);
        let allowed = allow.iter().find(|rule| naive(rule, &path)).map(String::as_str);
        let expected = match (caller.as_str(), denied, allowed) {
            ("", ..) => Decision::UnknownIdentity,
            ("c", ..) => Decision::Admin,
            (caller, ..) if caller != holder => Decision::UnknownIdentity,
            (_, Some(rule), _) => Decision::Denied { policy: "p", rule },
            (_, None, Some(rule)) => Decision::Allowed { policy: "p", rule },
            (_, None, None) => Decision::NotAllowed { policy: "p" },
        };
        prop_assert_eq!(access.decide(&Identity::new(&caller), &path), expected);
        let is_allowed = matches!(expected, Decision::Admin | Decision::Allowed { .. });
        prop_assert_eq!(expected.is_allowed(), is_allowed);
    }

    #[test]
    fn names_patterns_and_assignments_follow_their_rules(
        lines in vec("[+@-]?[ab_*-]{0,3}|@[ab]|[+-]/[a*]{0,2}|[aB0_*é-]{78,82}", 0..8),
    ) {
        checks::policy::check(lines.join("\n").as_bytes());
    }

    #[test]
    fn everybody_has_the_policy_that_names_them(assigned in proptest::collection::btree_map("[a-z]{1,3}", "[a-z]{1,2}", 0..6)) {
        let mut policies: BTreeMap<&str, Vec<Identity>> = BTreeMap::new();
        for (holder, policy) in &assigned {
            policies.entry(policy).or_default().push(Identity::new(holder));
        }
        let policies = policies.into_iter().map(|(name, holders)| (name.to_owned(), Policy::default(), holders));
        let access = Access::new(Identity::new("ADMIN"), policies).unwrap();
        let known: BTreeMap<_, _> = access.assigned().iter().map(|(who, policy)| (who.to_string(), policy.clone())).collect();
        prop_assert!(access.policies().keys().eq(assigned.values().collect::<std::collections::BTreeSet<_>>()));
        prop_assert_eq!(known, assigned);
        prop_assert_eq!(access.admin().as_str(), "ADMIN");
    }
}

#[test]
fn every_api_key_is_another() {
    let [one, other] = [0, 1].map(|_| ApiKey::generate().unwrap());
    assert_ne!(one.identity(), other.identity());
    assert_ne!(one.reveal(), other.reveal());
    assert_ne!(one.certificate().unwrap(), one.certificate().unwrap(), "serial numbers differ");
}

#[test]
fn api_keys_that_end_early_say_where() {
    for (text, at) in [("A", 0), ("AAA", 0), ("AAAAA", 4), ("kes:v1:AAAAAA", 4), ("A\n", 0), ("AA=A", 2)] {
        assert_eq!(text.parse::<ApiKey>().map(drop), Err(ApiKeyError::Base64(at)), "{text}");
    }
}

#[test]
fn the_certificate_of_an_api_key_is_that_of_the_originals_sdk() {
    let key = ApiKey::generate().unwrap();
    let der = key.certificate().unwrap();
    let (rest, certificate) = X509Certificate::from_der(&der).unwrap();
    assert!(rest.is_empty());
    for name in [certificate.subject(), certificate.issuer()] {
        assert_eq!(name.to_string(), format!("CN={}", key.identity()));
    }
    let validity = certificate.validity();
    assert_eq!(validity.not_after.timestamp() - validity.not_before.timestamp(), 90 * 24 * 60 * 60);
    assert!(validity.is_valid());
    let usage = certificate.key_usage().unwrap().unwrap();
    assert!(usage.critical && usage.value.flags == 1, "digitalSignature alone");
    let extended = certificate.extended_key_usage().unwrap().unwrap().value;
    assert!(extended.client_auth && !extended.server_auth && !extended.any);
    assert!(certificate.subject_alternative_name().unwrap().is_none());
    assert!(certificate.raw_serial().len() <= 17);
    certificate.verify_signature(None).unwrap();
    let shown = format!("{key:?}");
    assert!(shown.contains(key.identity().as_str()) && !shown.contains(&key.reveal()[7..20]), "{shown}");
}

/// What is hashed to an identity must be what the handshake is verified with, and nothing more.
#[test]
fn a_public_key_with_something_behind_it_has_no_identity() {
    const ED25519: [u8; 9] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70];
    let mut der = ApiKey::generate().unwrap().certificate().unwrap().to_vec();
    assert!(Identity::of_certificate(&der).is_ok());
    let key = der.windows(ED25519.len()).position(|window| window == ED25519).unwrap();
    der[key + 1] += 2;
    let end = key + 2 + usize::from(ED25519[1]);
    der.splice(end..end, [0x05, 0x00]);
    // the certificate, and what of it is signed: each says in two bytes how long it is
    for start in [0, 4] {
        assert_eq!(der[start + 1], 0x82);
        let length = u16::from_be_bytes([der[start + 2], der[start + 3]]) + 2;
        der[start + 2..start + 4].copy_from_slice(&length.to_be_bytes());
    }
    let refused = Identity::of_certificate(&der).unwrap_err().to_string();
    assert!(refused.contains("does not fill its field"), "{refused}");
}

#[test]
fn names_are_shown_as_they_are() {
    assert_eq!(KeyName::minio_backend().as_str(), "minio-backend-key");
    let name: KeyName = "a-key".parse().unwrap();
    assert_eq!((name.as_ref(), name.to_string().as_str()), ("a-key", "a-key"));
    assert!(Identity::new("").is_unknown() && !Identity::new("a").is_unknown());
    assert_eq!(Identity::of_certificate(b"no certificate").unwrap_err().to_string().split(": ").next(), Some("x509"));
}
