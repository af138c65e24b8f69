//! Whom a request is for. Another server on its way may have read an unclear answer differently.

use http::{Version, header, request};

use super::{error, reply::Reply};

/// The answer to a request that does not say, or says twice, whom it is for, or says it in a way that no host is written.
pub(super) fn refusal(head: &request::Parts) -> Option<Reply> {
    let mut hosts = head.headers.get_all(header::HOST).iter();
    match (head.version, hosts.next(), hosts.next()) {
        (_, Some(_), Some(_)) => return Some(error::bad_request("")),
        (Version::HTTP_11, None, _) => return Some(error::bad_request("missing required Host header")),
        (_, Some(host), None) if !host.as_bytes().iter().all(|byte| is_of_a_host(*byte)) => {
            return Some(error::bad_request("malformed Host header"));
        }
        _ => {}
    }
    // RFC 9113 §8.3.1; over HTTP/1 nobody looks at the host of an absolute URL
    let names_a_user = head.uri.authority().is_some_and(|authority| authority.as_str().contains('@'));
    if head.version == Version::HTTP_2 && names_a_user {
        return Some(error::bad_request("malformed :authority"));
    }
    None
}

/// What may be in `Host` (RFC 3986 §3.2.2): no user information, and no path.
fn is_of_a_host(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!$%&'()*+,-.:;=[]_~".contains(&byte)
}
