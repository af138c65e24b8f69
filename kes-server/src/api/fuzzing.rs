//! The readers of requests for the fuzz targets.

use std::collections::BTreeMap;

use http::{Uri, header};

use super::{key, path, route::Routes};

/// What becomes of the target of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RequestTarget {
    /// The decoded path, for the table of routes.
    Path(String),
    /// The client is sent here.
    Redirect(String),
    /// 400.
    Refused,
}

/// Reads the target of a request.
pub fn request_target(uri: &Uri) -> RequestTarget {
    match path::decoded(uri, true) {
        Ok(path) => RequestTarget::Path(path.into_owned()),
        Err(reply) => match reply.headers().get(header::LOCATION) {
            Some(location) => RequestTarget::Redirect(String::from_utf8_lossy(location.as_bytes()).into_owned()),
            None => RequestTarget::Refused,
        },
    }
}

/// The route of a decoded path, the path that policies are asked about, and the resource.
pub fn route(path: &str) -> Option<(&'static str, String, String)> {
    let routes = Routes::new(&BTreeMap::new());
    let found = routes.find(path)?;
    Some((found.route.path, found.path.to_owned(), found.resource.to_owned()))
}

/// The fields of a body, in the order in which the route's handler lists them; `None` if it refuses the body.
pub fn request_body(route: &str, document: &[u8]) -> Option<Vec<Vec<u8>>> {
    key::body_fields(route, document)
}
