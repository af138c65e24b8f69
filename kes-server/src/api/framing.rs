//! Requests over HTTP/1 whose head can be read in more than one way, or asks for what no server does. Another server on
//! their way may have read them differently: they are refused before anything else is looked at.

use bytes::Bytes;
use http::{HeaderValue, StatusCode, Version, header, request::Parts};

use super::reply::{self, Reply};

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

/// The answer to such a request; the connection ends with it.
pub(super) fn refusal(head: &Parts) -> Option<Reply> {
    if head.version != Version::HTTP_11 && head.version != Version::HTTP_10 {
        return None;
    }
    let (status, text) = if !has_plain_encoding(head) {
        (StatusCode::NOT_IMPLEMENTED, "Unsupported transfer encoding")
    } else if !expects_nothing_else(head) {
        (StatusCode::EXPECTATION_FAILED, "")
    } else {
        return None;
    };
    let body = Bytes::from_static(text.as_bytes());
    let mut reply = if text.is_empty() { reply::empty() } else { reply::typed(TEXT, body) };
    *reply.status_mut() = status;
    reply.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    Some(reply)
}

/// Whether the body is chunked once or not at all.
fn has_plain_encoding(head: &Parts) -> bool {
    let mut encodings = head.headers.get_all(header::TRANSFER_ENCODING).iter();
    match (encodings.next(), encodings.next()) {
        (None, _) => true,
        (Some(only), None) => only.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked"),
        _ => false,
    }
}

/// Whether the client expects nothing but `100-continue`.
fn expects_nothing_else(head: &Parts) -> bool {
    let is_continue = |token: &[u8]| token.trim_ascii().eq_ignore_ascii_case(b"100-continue");
    let mut expected = head.headers.get_all(header::EXPECT).iter();
    expected.all(|value| value.is_empty() || value.as_bytes().split(|byte| *byte == b',').any(is_continue))
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    #[test]
    fn only_one_meaning_is_taken() {
        for (headers, expected) in [
            (&[("host", "kes")][..], None),
            (&[("host", "kes"), ("transfer-encoding", "Chunked")], None),
            (&[("host", "kes"), ("transfer-encoding", "chunked, chunked")], Some(501)),
            (&[("host", "kes"), ("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")], Some(501)),
            (&[("host", "kes"), ("transfer-encoding", "gzip, chunked")], Some(501)),
            (&[("host", "kes"), ("expect", "100-Continue")], None),
            (&[("host", "kes"), ("expect", "")], None),
            (&[("host", "kes"), ("expect", "foo")], Some(417)),
        ] {
            let request =
                headers.iter().fold(Request::builder(), |request, (name, value)| request.header(*name, *value));
            let (head, ()) = request.version(Version::HTTP_11).body(()).unwrap().into_parts();
            let status = refusal(&head).map(|reply| reply.status().as_u16());
            assert_eq!(status, expected, "{headers:?}");
        }
    }
}
