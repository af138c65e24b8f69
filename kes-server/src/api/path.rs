//! The path of a request: clean, decoded (kes-api §1.1).

use std::borrow::Cow;

use http::Uri;

use super::{error, reply::Reply};

/// Decodes the path of a URL, or answers the request: where there is no path, and where it is not clean.
#[expect(clippy::result_large_err, reason = "moved once, and only on the rare path")]
pub(super) fn decoded(uri: &Uri, is_read: bool) -> Result<Cow<'_, str>, Reply> {
    let path = uri.path();
    if !path.starts_with('/') {
        return Err(error::no_path());
    }
    if !is_clean(path) {
        return Err(error::redirect(&with_query(&cleaned(path), uri), is_read));
    }
    decode(path).ok_or_else(error::no_path)
}

/// Sends the client to the path with a slash at its end.
pub(super) fn to_directory(uri: &Uri, is_read: bool) -> Reply {
    error::redirect(&with_query(&format!("{}/", uri.path()), uri), is_read)
}

fn with_query(path: &str, uri: &Uri) -> String {
    uri.query().map_or_else(|| path.to_owned(), |query| format!("{path}?{query}"))
}

fn is_clean(path: &str) -> bool {
    !path.contains("//") && !path.split('/').any(|segment| segment == "." || segment == "..")
}

/// Without empty segments and `.`, with `..` taken at its word.
fn cleaned(path: &str) -> String {
    let mut segments = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => drop(segments.pop()),
            segment => segments.push(segment),
        }
    }
    let is_directory = matches!(path.rsplit('/').next(), Some("" | "." | ".."));
    let slash = if is_directory && !segments.is_empty() { "/" } else { "" };
    format!("/{}{slash}", segments.join("/"))
}

/// `None` for a bad percent escape. Bytes that are not UTF-8 become U+FFFD, which no name contains.
fn decode(path: &str) -> Option<Cow<'_, str>> {
    if !path.contains('%') {
        return Some(Cow::Borrowed(path));
    }
    let mut decoded = Vec::with_capacity(path.len());
    let mut bytes = path.bytes();
    while let Some(byte) = bytes.next() {
        let byte = if byte == b'%' { digit(bytes.next()?)? << 4 | digit(bytes.next()?)? } else { byte };
        decoded.push(byte);
    }
    Some(Cow::Owned(String::from_utf8_lossy(&decoded).into_owned()))
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests {
    use http::header;

    use super::*;

    fn location(reply: &Reply) -> Option<&str> {
        reply.headers().get(header::LOCATION).map(|location| location.to_str().unwrap())
    }

    #[test]
    fn paths_are_decoded_redirected_or_refused() {
        for (uri, expected) in [
            ("/v1/status", Ok("/v1/status")),
            ("/v1/key/describe/a%2Fb", Ok("/v1/key/describe/a/b")),
            ("/v1/policy/list?x", Ok("/v1/policy/list")),
            ("/v1/key/describe/%zz", Err(None)),
            ("/v1/key/describe/%4", Err(None)),
            ("*", Err(None)),
            ("//v1/status", Err(Some("/v1/status"))),
            ("/v1/./key/list/../list/?a=b", Err(Some("/v1/key/list/?a=b"))),
            ("/..", Err(Some("/"))),
        ] {
            let parsed: Uri = uri.parse().unwrap();
            let result = decoded(&parsed, true);
            let result = result.as_deref().map_err(location);
            assert_eq!(result, expected, "{uri}");
        }
        let uri = "/v1/key/create?a=b".parse().unwrap();
        assert_eq!(location(&to_directory(&uri, false)), Some("/v1/key/create/?a=b"));
    }
}
