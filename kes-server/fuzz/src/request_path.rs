//! The target of a request: cleaned, decoded, matched with a route (kes-api §1.1).

use http::Uri;
use kes_server::fuzzing::{RequestTarget, request_target, route};

/// The routes with a resource, and those without (kes-api §1.3).
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
    let clean = path.starts_with('/').then(|| cleaned(path));
    match request_target(&uri) {
        RequestTarget::Path(decoded) => {
            assert_eq!(clean.as_deref(), Some(path));
            assert_eq!(Some(&decoded), unescaped(path).as_ref());
            routed(&decoded);
        }
        RequestTarget::Redirect(location) => {
            let clean = clean.expect("no path is not to be cleaned");
            assert_ne!(clean, path);
            assert!(!location.starts_with("//"), "another host: {location}");
            let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
            assert_eq!(location, clean + &query);
            let again = request_target(&location.parse().unwrap());
            assert!(!matches!(again, RequestTarget::Redirect(_)), "{location} to {again:?}");
        }
        // no path, a bad escape, or one that would be sent to what no header can say
        RequestTarget::Refused => assert!(
            clean.is_none_or(|clean| unescaped(path).is_none() || clean != path && !input.is_ascii()),
            "{uri} is refused"
        ),
    }
}

/// RFC 3986 §5.2.4, and no empty segments.
fn cleaned(path: &str) -> String {
    let mut clean = String::new();
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let is_last = segments.peek().is_none();
        match segment {
            "" | "." => {}
            ".." => clean.truncate(clean.rfind('/').unwrap_or(0)),
            _ => {
                clean = format!("{clean}/{segment}");
                continue;
            }
        }
        if is_last {
            clean.push('/');
        }
    }
    clean
}

fn unescaped(path: &str) -> Option<String> {
    let mut parts = path.split('%');
    let mut bytes = parts.next()?.as_bytes().to_vec();
    for part in parts {
        let digits = part.get(..2).filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        bytes.extend_from_slice(&part.as_bytes()[2..]);
    }
    Some(String::from_utf8_lossy(&bytes).into_owned())
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
