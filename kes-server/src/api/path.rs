//! The target of a request: the path that it names, and where to send a client whose path is not clean.
//!
//! Routes are found by the path as it was escaped, segment by segment: a slash that is escaped belongs to its segment.
//! Policies and handlers get the decoded path.

use std::borrow::Cow;

use http::{Method, Uri};

use super::{error, reply::Reply};
use crate::json;

/// Stands for an escaped slash where routes are compared; no route has it.
const ESCAPED_SLASH: char = '\u{0}';

/// What a request is about.
#[derive(Debug)]
pub(super) struct Target<'a> {
    query: Option<&'a str>,
    path: Cow<'a, str>,
    route: Cow<'a, str>,
    /// The clean form of the escaped path, if that is not clean itself.
    clean: Option<String>,
}

impl<'a> Target<'a> {
    /// Reads a target, or answers the request: where there is no path, and where a percent escape is wrong.
    #[expect(clippy::result_large_err, reason = "moved once, and only on the rare path")]
    pub(super) fn read(uri: &'a Uri, method: &Method) -> Result<Self, Reply> {
        let (raw, query) = (uri.path(), uri.query().filter(|query| !query.is_empty()));
        if !raw.starts_with('/') {
            return Err(if *method == Method::CONNECT { error::no_route() } else { error::no_path() });
        }
        // the path of a tunnel is nobody's to clean
        let is_clean = |path: &str| *method == Method::CONNECT || is_clean(path);
        if raw.bytes().all(is_plain) && is_clean(raw) {
            return Ok(Self { query, path: Cow::Borrowed(raw), route: Cow::Borrowed(raw), clean: None });
        }
        let decoded = decoded(raw).ok_or_else(|| error::bad_request(""))?;
        // what was not escaped as it should be is escaped again completely
        let is_escaped = raw.bytes().all(|byte| byte == b'%' || is_plain(byte));
        let escaped = if is_escaped { Cow::Borrowed(raw) } else { Cow::Owned(escaped(&decoded)) };
        let clean = (!is_clean(&escaped)).then(|| cleaned(&escaped));
        let route = Cow::Owned(segments(clean.as_deref().unwrap_or(&escaped)));
        Ok(Self { query, path: Cow::Owned(json::unicode(&decoded)), route, clean })
    }

    /// The decoded path: what policies are asked about. Each byte that is not UTF-8 is U+FFFD, which no name contains.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// The clean path to compare with routes.
    pub(super) fn route(&self) -> &str {
        &self.route
    }

    pub(super) fn is_clean(&self) -> bool {
        self.clean.is_none()
    }

    /// Where the client finds the clean path. It is escaped once more, as the clients of MinIO KES expect it.
    pub(super) fn clean_location(&self) -> String {
        self.location(self.clean.as_deref().unwrap_or(&self.path))
    }

    /// Where the client finds the path with a slash at its end.
    pub(super) fn directory_location(&self) -> String {
        self.location(&format!("{}/", cleaned(&self.path).trim_end_matches('/')))
    }

    fn location(&self, path: &str) -> String {
        let path = escaped(path.as_bytes());
        self.query.map_or_else(|| path.clone(), |query| format!("{path}?{query}"))
    }
}

/// Whether a byte may be in a path without being escaped (RFC 3986 §3.3; brackets too, which browsers leave alone).
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-_.~!$&'()*+,;=:@[]/".contains(&byte)
}

/// Whether a byte is left alone where a path is escaped completely.
fn stays(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-_.~$&+,/:;=@".contains(&byte)
}

fn escaped(path: &[u8]) -> String {
    const DIGITS: [char; 16] = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'A', 'B', 'C', 'D', 'E', 'F'];
    let digit = |value: u8| DIGITS.get(usize::from(value)).copied().unwrap_or_default();
    let mut escaped = String::with_capacity(path.len());
    for &byte in path {
        if stays(byte) {
            escaped.push(char::from(byte));
        } else {
            escaped.extend(['%', digit(byte >> 4), digit(byte & 15)]);
        }
    }
    escaped
}

fn is_clean(path: &str) -> bool {
    !path.contains("//") && !path.split('/').any(|segment| segment == "." || segment == "..")
}

/// Without empty segments and `.`, with `..` taken at its word. A slash at the end stays, others are not added.
fn cleaned(path: &str) -> String {
    let mut segments = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => drop(segments.pop()),
            segment => segments.push(segment),
        }
    }
    let slash = if path.ends_with('/') && !segments.is_empty() { "/" } else { "" };
    format!("/{}{slash}", segments.join("/"))
}

/// `None` for a bad percent escape.
fn decoded(path: &str) -> Option<Vec<u8>> {
    let mut decoded = Vec::with_capacity(path.len());
    let mut bytes = path.bytes();
    while let Some(byte) = bytes.next() {
        decoded.push(if byte == b'%' { digit(bytes.next()?)? << 4 | digit(bytes.next()?)? } else { byte });
    }
    Some(decoded)
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

/// Each segment of an escaped path decoded for itself.
fn segments(escaped: &str) -> String {
    let segment = |segment: &str| {
        let decoded = decoded(segment).unwrap_or_default();
        json::unicode(&decoded).replace('/', ESCAPED_SLASH.encode_utf8(&mut [0; 4]))
    };
    escaped.split('/').map(segment).collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The path, what is compared with routes, and where the client is sent to if the path is not clean.
    fn read(uri: &str) -> Option<(String, String, Option<String>)> {
        let uri: Uri = uri.parse().unwrap();
        let target = Target::read(&uri, &Method::GET).ok()?;
        let location = (!target.is_clean()).then(|| target.clean_location());
        Some((target.path().to_owned(), target.route().to_owned(), location))
    }

    #[test]
    fn clean_paths_are_decoded() {
        for (uri, path, route) in [
            ("/v1/status", "/v1/status", "/v1/status"),
            ("/v1/%73tatus", "/v1/status", "/v1/status"),
            ("/v1/key/describe/a%2Fb", "/v1/key/describe/a/b", "/v1/key/describe/a\0b"),
            ("/v1/key/encrypt%2fsecret", "/v1/key/encrypt/secret", "/v1/key/encrypt\0secret"),
            ("/v1/key/list/%2e%2e", "/v1/key/list/..", "/v1/key/list/.."),
            // the quotation mark should have been escaped: all of the path is escaped again
            ("/v1/key/encrypt%2fsecret\"", "/v1/key/encrypt/secret\"", "/v1/key/encrypt/secret\""),
            ("/v1/key/list/%e2%82", "/v1/key/list/\u{fffd}\u{fffd}", "/v1/key/list/\u{fffd}\u{fffd}"),
            ("/v1/policy/list?x", "/v1/policy/list", "/v1/policy/list"),
        ] {
            assert_eq!(read(uri), Some((path.into(), route.into(), None)), "{uri}");
        }
    }

    #[test]
    fn other_paths_are_redirected_or_refused() {
        for (uri, location) in [
            ("//v1/status?", Some("/v1/status")),
            ("/v1/./key/list/../list/?a=b", Some("/v1/key/list/?a=b")),
            ("/v1/key/list/..", Some("/v1/key")),
            ("/v1/key/list/../", Some("/v1/key/")),
            ("/..", Some("/")),
            ("//v1/key/describe/a%2Fb", Some("/v1/key/describe/a%252Fb")),
            ("//v1/a!b", Some("/v1/a%21b")),
            ("/v1/key/describe/%zz", None),
            ("/v1/key/describe/%4", None),
            ("*", None),
        ] {
            assert_eq!(read(uri).and_then(|target| target.2).as_deref(), location, "{uri}");
        }
        let uri: Uri = "//v1/key/create?a=b".parse().unwrap();
        assert_eq!(Target::read(&uri, &Method::PUT).unwrap().directory_location(), "/v1/key/create/?a=b");
    }
}
