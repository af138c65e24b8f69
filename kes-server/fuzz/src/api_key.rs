//! API keys as text (docs/kes-protocol.md §3.2).

use kes_server::auth::{ApiKey, Identity};

const PREFIX: &str = "kes:v1:";

/// Exactly the canonical texts are accepted, with and without prefix and line breaks, and what is accepted is written again as read.
pub fn check(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let body = text.strip_prefix(PREFIX).unwrap_or(text).replace(['\r', '\n'], "");
    let body = body.as_str();
    let parsed = text.parse::<ApiKey>();
    assert_eq!(parsed.is_ok(), is_key(body), "{text:?}");
    let Ok(key) = parsed else { return };
    assert_eq!(*key.reveal(), format!("{PREFIX}{body}"));
    for text in [body, key.reveal().as_str()] {
        assert_eq!(text.parse::<ApiKey>().unwrap().identity(), key.identity());
    }
    assert!(!format!("{key:?}").contains(body), "the key is shown");
    let certificate = key.certificate().unwrap();
    assert_eq!(Identity::of_certificate(&certificate), Ok((key.identity().clone(), false)));
}

/// 33 bytes are 44 characters without padding; the first byte is zero: six bits of the first character, two of the next.
fn is_key(body: &str) -> bool {
    let is_base64 = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'+' || byte == b'/';
    let bytes = body.as_bytes();
    bytes.len() == 44
        && bytes.iter().all(|byte| is_base64(*byte))
        && bytes[0] == b'A'
        && (b'A'..=b'P').contains(&bytes[1])
}
