//! The readers of requests for the fuzz targets.

use std::collections::BTreeMap;

use http::{Method, Uri};

use super::{key, path::Target, route::Routes};

/// What becomes of the target of a GET.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RequestTarget {
    /// The path that is compared with routes, and the decoded path.
    Path(String, String),
    /// The client is sent here.
    Redirect(String),
    /// 400.
    Refused,
}

/// Reads the target of a request.
pub fn request_target(uri: &Uri) -> RequestTarget {
    match Target::read(uri, &Method::GET) {
        Ok(target) if target.is_clean() => RequestTarget::Path(target.route().to_owned(), target.path().to_owned()),
        Ok(target) => RequestTarget::Redirect(target.clean_location()),
        Err(_) => RequestTarget::Refused,
    }
}

/// The route of a path, the path that policies are asked about, and the resource.
pub fn route(path: &str) -> Option<(&'static str, String, String)> {
    let routes = Routes::new(&BTreeMap::new());
    let found = routes.find(path, path).or_else(|| routes.listing(path))?;
    Some((found.route.path, found.path.to_owned(), found.resource.to_owned()))
}

/// The fields of a body, in the order in which the route's handler lists them; `None` if it refuses the body.
pub fn request_body(route: &str, document: &[u8]) -> Option<Vec<Vec<u8>>> {
    key::body_fields(route, document)
}
