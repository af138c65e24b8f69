//! Durations, levels, requests and complete configurations, made by rule (docs/kes-protocol.md §1.1, §1.4, §4.3, §4.4).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kes_server::config::{Config, Level};
use kes_server::fuzzing::{duration, duration_text, request_body};
use proptest::collection::vec;
use proptest::prelude::*;

use super::checks;

proptest! {
    #[test]
    fn every_duration_is_written_and_read(nanos in any::<i64>(), short in -5_000_000_000_000_i64..5_000_000_000_000) {
        for nanos in [nanos, short, short / 1_000_000, 0, i64::MIN, i64::MAX] {
            prop_assert_eq!(duration(&duration_text(nanos)), Some(nanos), "{}", duration_text(nanos));
        }
    }

    #[test]
    fn durations_are_what_their_parts_are(text in "[+-]?([0-9]{0,3}(\\.[0-9]{0,17})?(ns|us|µs|ms|s|m|h|d)){0,4}|[0-9.smhu-]{0,6}") {
        checks::duration::check(text.as_bytes());
    }

    #[test]
    fn levels_are_read_as_shown(above in -4..1000_i32, text in "(?i:debug|info|warn|error|on|off|[+-])?[+-]?[0-9]{0,10} ?") {
        let level = Level(above);
        prop_assert_eq!(level.to_string().parse::<Level>(), Ok(level));
        checks::duration::check(text.as_bytes());
    }

    #[test]
    fn paths_are_cleaned_and_decoded(path in "(/(v1|key|list|status|\\.|\\.\\.|a|%2[fF]|%c3%a9|%ff|%|)){0,7}/?(\\?[a-z=%/.]{0,5})?") {
        checks::request_path::check(path.as_bytes());
    }

    #[test]
    fn bodies_hold_their_bytes(route in 0..5_u8, message in vec(any::<u8>(), 0..60), numbers in any::<bool>(),
                               name in "(?i:message|plaintext|context|ciphertext|key)", garbage in "[ x{]{0,3}") {
        let value = if numbers { serde_json::json!(message) } else { STANDARD.encode(&message).into() };
        let document = format!(" {{{}:{value}}}{garbage}", serde_json::json!(name));
        checks::request_body::check(&[&[route], document.as_bytes()].concat());
        if name.eq_ignore_ascii_case("message") {
            prop_assert_eq!(request_body("/v1/key/hmac/", document.as_bytes()), Some(vec![message]));
        }
    }

    #[test]
    fn a_configuration_means_what_it_says(port in 1..=u16::MAX, any in 1..1_000_000_000_000_i64, keys in vec("[a-z]{1,4}", 0..4),
                                          holder in "[a-z]{1,5}", rule in "[/a-z*'\" :#]{0,8}", verify in any::<bool>()) {
        let any = duration_text(any);
        let text = serde_json::json!({
            "address": format!(":{port}"), "admin": {"identity": "ADMIN"},
            "tls": {"key": "k", "cert": "c", "auth": if verify { "ON" } else { "" }},
            "cache": {"expiry": {"any": any}}, "keys": keys.iter().map(|name| serde_json::json!({"name": name})).collect::<Vec<_>>(),
            "policy": {"p": {"allow": [rule], "identities": [holder]}}, "keystore": {"fs": {"path": "/k"}},
        });
        // JSON is YAML
        let text = text.to_string();
        checks::config::check(text.as_bytes());
        let mut unique = keys.clone();
        unique.sort();
        unique.dedup();
        let config = Config::parse(&text, &|_| None);
        prop_assert_eq!(config.is_ok(), unique.len() == keys.len());
        let Ok(config) = config else { return Ok(()) };
        prop_assert_eq!((config.address.port(), config.tls.verify_clients, &config.keys), (port, verify, &keys));
        prop_assert_eq!(duration_text(i64::try_from(config.cache.any.as_nanos()).unwrap()), any);
        prop_assert_eq!(&config.access.policies()["p"].allow[0], &rule);
    }
}
