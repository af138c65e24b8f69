//! The target of a request: cleaned, decoded, matched with a route (docs/kes-protocol.md §1.1).

use http::Uri;
use kes_server::fuzzing::{RequestTarget, request_target, route};

/// The routes with a resource, and those without (docs/kes-protocol.md §1.3).
const PREFIXES: [&str; 14] = [
    "/v1/key/create/",
    "/v1/key/import/",
    "/v1/key/describe/",
    "/v1/key/list/",
    "/v1/key/delete/",
    "/v1/key/encrypt/",
    "/v1/key/generate/",
    "/v1/key/decrypt/",
    "/v1/key/hmac/",
    "/v1/policy/describe/",
    "/v1/policy/read/",
    "/v1/policy/list/",
    "/v1/identity/describe/",
    "/v1/identity/list/",
];
const EXACT: [&str; 8] = [
    "/version",
    "/v1/ready",
    "/v1/status",
    "/v1/metrics",
    "/v1/api",
    "/v1/identity/self/describe",
    "/v1/log/error",
    "/v1/log/audit",
];

/// Only clean paths are served; others are sent to a clean one in one step; the route is that of the documented table.
pub fn check(input: &[u8]) {
    let Ok(uri) = Uri::try_from(input) else { return };
    let path = uri.path();
    let decoded = path.starts_with('/').then(|| unescaped(path)).flatten();
    let right = |byte: u8| byte == b'%' || byte.is_ascii_alphanumeric() || b"/-_.~!$&'()*+,;=:@[]".contains(&byte);
    // a byte that should have been escaped: the decoded path counts, escaped completely
    let escaped = if path.bytes().all(right) { Some(path.to_owned()) } else { raw(path).map(|bytes| escape(&bytes)) };
    match request_target(&uri) {
        RequestTarget::Path(route, path) => {
            let escaped = escaped.unwrap();
            assert_eq!(cleaned(&escaped), escaped);
            assert_eq!(Some(&path), decoded.as_ref());
            let segments = escaped.split('/').map(|segment| unescaped(segment).unwrap().replace('/', "\0"));
            assert_eq!(route, segments.collect::<Vec<_>>().join("/"));
            routed(&path);
        }
        RequestTarget::Redirect(location) => {
            let (escaped, clean) = (escaped.as_deref().unwrap(), cleaned(escaped.as_deref().unwrap()));
            assert_ne!(clean, escaped);
            assert!(!location.starts_with("//"), "another host: {location}");
            let query = uri.query().filter(|query| !query.is_empty()).map(|query| format!("?{query}"));
            assert_eq!(location, escape(clean.as_bytes()) + &query.unwrap_or_default());
            let again = request_target(&location.parse().unwrap());
            assert!(!matches!(again, RequestTarget::Redirect(_)), "{location} to {again:?}");
        }
        // no path, or a bad escape
        RequestTarget::Refused => assert_eq!(decoded, None, "{uri} is refused"),
    }
}

/// RFC 3986 §5.2.4, without empty segments; only a slash at the end of the path is one at the end of the clean one.
fn cleaned(path: &str) -> String {
    let mut clean = String::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => clean.truncate(clean.rfind('/').unwrap_or(0)),
            _ => clean = format!("{clean}/{segment}"),
        }
    }
    if path.ends_with('/') || clean.is_empty() {
        clean.push('/');
    }
    clean
}

fn escape(path: &[u8]) -> String {
    let stays = |byte: u8| byte.is_ascii_alphanumeric() || b"/-_.~$&+,;=:@".contains(&byte);
    path.iter().map(|&byte| if stays(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

fn raw(path: &str) -> Option<Vec<u8>> {
    let mut parts = path.split('%');
    let mut bytes = parts.next()?.as_bytes().to_vec();
    for part in parts {
        let digits = part.get(..2).filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        bytes.extend_from_slice(&part.as_bytes()[2..]);
    }
    Some(bytes)
}

/// Each byte that is not UTF-8 is U+FFFD.
fn unescaped(path: &str) -> Option<String> {
    let (bytes, mut text) = (raw(path)?, String::new());
    let mut rest = bytes.as_slice();
    while let Err(error) = std::str::from_utf8(rest) {
        let (valid, broken) = rest.split_at(error.valid_up_to());
        text.push_str(std::str::from_utf8(valid).unwrap());
        text.push('\u{fffd}');
        rest = &broken[1..];
    }
    Some(text + std::str::from_utf8(rest).unwrap())
}

/// The longest match; listings also without their last slash, and then policies see it with.
fn routed(path: &str) {
    let prefix = PREFIXES.iter().filter(|prefix| path.starts_with(**prefix)).max_by_key(|prefix| prefix.len());
    let listing = PREFIXES.iter().find(|prefix| prefix.ends_with("/list/") && prefix.trim_end_matches('/') == path);
    let expected = match (EXACT.iter().find(|exact| **exact == path), prefix, listing) {
        (Some(exact), ..) => Some((*exact, path.to_owned(), String::new())),
        (None, Some(prefix), _) => Some((*prefix, path.to_owned(), path[prefix.len()..].to_owned())),
        (None, None, Some(listing)) => Some((*listing, (*listing).to_owned(), String::new())),
        (None, None, None) => None,
    };
    assert_eq!(route(path), expected);
}
