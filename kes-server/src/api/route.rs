//! The table of routes (docs/kes-protocol.md §1.3), and what the configuration changes of it.

use std::{collections::BTreeMap, time::Duration};

use http::Method;

use crate::config::ApiConfig;

/// One row of the API.
#[derive(Debug)]
pub(super) struct Route {
    /// The one method; where it is PUT, POST will do.
    pub(super) method: Verb,
    /// One that ends in `/` is a prefix; the rest of a request's path is the resource.
    pub(super) path: &'static str,
    /// Bytes that a request's body may have.
    pub(super) max_body: usize,
    /// `None`: as long as it takes.
    pub(super) timeout: Option<Duration>,
    pub(super) auth: Auth,
    pub(super) endpoint: Endpoint,
}

/// What a caller needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Auth {
    /// Nothing, not even an identity.
    None,
    /// The admin's identity or one whose policy allows the path.
    Policy,
}

/// What a route does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Endpoint {
    Version,
    Ready,
    Status,
    Metrics,
    Routes,
    CreateKey,
    ImportKey,
    DescribeKey,
    ListKeys,
    DeleteKey,
    Encrypt,
    Generate,
    Decrypt,
    Hmac,
    DescribePolicy,
    ReadPolicy,
    ListPolicies,
    DescribeIdentity,
    ListIdentities,
    DescribeSelf,
    ErrorLog,
    AuditLog,
}

fn is_directory(route: &Route, path: &str) -> bool {
    route.path.strip_suffix('/') == Some(path)
}

impl Endpoint {
    fn is_listing(self) -> bool {
        matches!(self, Self::ListKeys | Self::ListPolicies | Self::ListIdentities)
    }

    /// What a call did to a key, for the audit log; `None` if it changed nothing.
    pub(super) fn change(self) -> Option<&'static str> {
        match self {
            Self::CreateKey | Self::ImportKey => Some("created"),
            Self::DeleteKey => Some("deleted"),
            _ => None,
        }
    }

    /// What a call asks for, for the audit log.
    pub(super) fn operation(self) -> &'static str {
        match self {
            Self::CreateKey => "create key",
            Self::ImportKey => "import key",
            Self::DescribeKey => "describe key",
            Self::ListKeys => "list keys",
            Self::DeleteKey => "delete key",
            Self::Encrypt => "encrypt with key",
            Self::Generate => "generate data key with key",
            Self::Decrypt => "decrypt with key",
            Self::Hmac => "HMAC with key",
            Self::DescribePolicy => "describe policy",
            Self::ReadPolicy => "read policy",
            Self::ListPolicies => "list policies",
            Self::DescribeIdentity => "describe identity",
            Self::ListIdentities => "list identities",
            Self::DescribeSelf => "describe self",
            Self::Version | Self::Ready | Self::Status | Self::Metrics | Self::Routes => "server",
            Self::ErrorLog | Self::AuditLog => "follow log",
        }
    }

    /// Whether calls are counted, timed and audited: those about keys, policies and identities.
    pub(super) fn is_measured(self) -> bool {
        use Endpoint::{AuditLog, ErrorLog, Metrics, Ready, Routes, Status, Version};
        !matches!(self, Version | Ready | Status | Metrics | Routes | ErrorLog | AuditLog)
    }
}

/// The methods that routes have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verb {
    Delete,
    Get,
    Put,
}

impl Verb {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Delete => "DELETE",
            Self::Get => "GET",
            Self::Put => "PUT",
        }
    }

    /// HEAD is not GET here, but POST is PUT.
    pub(super) fn accepts(self, method: &Method) -> bool {
        match self {
            Self::Delete => method == Method::DELETE,
            Self::Get => method == Method::GET,
            Self::Put => method == Method::PUT || method == Method::POST,
        }
    }
}

/// The routes of a server with what its configuration says of them, in the order of [`ROUTES`].
#[derive(Debug)]
pub(super) struct Routes(Vec<(&'static Route, Effective)>);

/// What holds for a route.
#[derive(Debug, Clone, Copy)]
pub(super) struct Effective {
    pub(super) auth: Auth,
    pub(super) timeout: Option<Duration>,
}

/// A request's route.
#[derive(Debug, Clone, Copy)]
pub(super) struct Match<'a> {
    pub(super) route: &'static Route,
    pub(super) effective: Effective,
    /// What policies are asked about: the path, with its last slash also where a listing was called without.
    pub(super) path: &'a str,
    /// What follows the prefix.
    pub(super) resource: &'a str,
}

impl Routes {
    /// Entries for paths that no route has are without effect.
    pub(super) fn new(overrides: &BTreeMap<String, ApiConfig>) -> Self {
        let effective = |route: &Route| {
            let change = overrides.get(route.path).copied().unwrap_or_default();
            Effective {
                auth: if change.skip_auth { Auth::None } else { route.auth },
                timeout: change.timeout.or(route.timeout),
            }
        };
        Self(ROUTES.iter().map(|route| (route, effective(route))).collect())
    }

    /// The route that `route` names: the path, in which an escaped slash is not a slash. `path` is the decoded path.
    pub(super) fn find<'a>(&self, route: &str, path: &'a str) -> Option<Match<'a>> {
        self.0.iter().find_map(|&(row, effective)| {
            let rest = route.strip_prefix(row.path)?;
            let resource = path.get(row.path.len()..).unwrap_or_default();
            (rest.is_empty() || row.path.ends_with('/')).then_some(Match { route: row, effective, path, resource })
        })
    }

    /// The listing of everything, by its path without the last slash.
    pub(super) fn listing<'a>(&self, path: &str) -> Option<Match<'a>> {
        let mut listings = self.0.iter().filter(|(route, _)| route.endpoint.is_listing() && is_directory(route, path));
        listings.next().map(|&(route, effective)| Match { route, effective, path: route.path, resource: "" })
    }

    /// Whether a route would be found if the path ended in a slash.
    pub(super) fn has_directory(&self, path: &str) -> bool {
        self.0.iter().any(|(route, _)| is_directory(route, path))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &(&'static Route, Effective)> {
        self.0.iter()
    }
}

const SHORT: Option<Duration> = Some(Duration::from_secs(10));
const USUAL: Option<Duration> = Some(Duration::from_secs(15));
const BODY: usize = 1_000_000;

/// Those that busy clients call come first: the table is searched from the top.
#[rustfmt::skip]
const ROUTES: [Route; 22] = [
    row(Verb::Put, "/v1/key/decrypt/", BODY, USUAL, Auth::Policy, Endpoint::Decrypt),
    row(Verb::Put, "/v1/key/generate/", BODY, USUAL, Auth::Policy, Endpoint::Generate),
    row(Verb::Get, "/v1/key/describe/", 0, USUAL, Auth::Policy, Endpoint::DescribeKey),
    row(Verb::Put, "/v1/key/encrypt/", BODY, USUAL, Auth::Policy, Endpoint::Encrypt),
    row(Verb::Put, "/v1/key/hmac/", BODY, USUAL, Auth::Policy, Endpoint::Hmac),
    row(Verb::Put, "/v1/key/create/", 0, USUAL, Auth::Policy, Endpoint::CreateKey),
    row(Verb::Put, "/v1/key/import/", BODY, USUAL, Auth::Policy, Endpoint::ImportKey),
    row(Verb::Get, "/v1/key/list/", 0, USUAL, Auth::Policy, Endpoint::ListKeys),
    row(Verb::Delete, "/v1/key/delete/", 0, USUAL, Auth::Policy, Endpoint::DeleteKey),
    row(Verb::Get, "/version", 0, SHORT, Auth::None, Endpoint::Version),
    row(Verb::Get, "/v1/ready", 0, USUAL, Auth::Policy, Endpoint::Ready),
    row(Verb::Get, "/v1/status", 0, USUAL, Auth::Policy, Endpoint::Status),
    row(Verb::Get, "/v1/metrics", 0, USUAL, Auth::Policy, Endpoint::Metrics),
    row(Verb::Get, "/v1/api", 0, SHORT, Auth::Policy, Endpoint::Routes),
    row(Verb::Get, "/v1/policy/describe/", 0, USUAL, Auth::Policy, Endpoint::DescribePolicy),
    row(Verb::Get, "/v1/policy/read/", 0, USUAL, Auth::Policy, Endpoint::ReadPolicy),
    row(Verb::Get, "/v1/policy/list/", 0, USUAL, Auth::Policy, Endpoint::ListPolicies),
    row(Verb::Get, "/v1/identity/describe/", 0, USUAL, Auth::Policy, Endpoint::DescribeIdentity),
    row(Verb::Get, "/v1/identity/list/", 0, USUAL, Auth::Policy, Endpoint::ListIdentities),
    row(Verb::Get, "/v1/identity/self/describe", 0, USUAL, Auth::None, Endpoint::DescribeSelf),
    row(Verb::Get, "/v1/log/error", 0, None, Auth::Policy, Endpoint::ErrorLog),
    row(Verb::Get, "/v1/log/audit", 0, None, Auth::Policy, Endpoint::AuditLog),
];

const fn row(
    method: Verb,
    path: &'static str,
    max_body: usize,
    timeout: Option<Duration>,
    auth: Auth,
    endpoint: Endpoint,
) -> Route {
    Route { method, path, max_body, timeout, auth, endpoint }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_exact_paths_and_prefixes() {
        let routes = Routes::new(&BTreeMap::new());
        for (path, expected) in [
            ("/v1/key/list/", Some((Endpoint::ListKeys, ""))),
            ("/v1/key/list", None),
            ("/v1/key/create", None),
            ("/v1/key/describe/a/b", Some((Endpoint::DescribeKey, "a/b"))),
            ("/v1/identity/self/describe", Some((Endpoint::DescribeSelf, ""))),
            ("/v1/status", Some((Endpoint::Status, ""))),
            ("/v1/status/", None),
            ("/v1/statusx", None),
            ("/v1/key/", None),
            ("/V1/status", None),
            ("/", None),
        ] {
            let found = routes.find(path, path).map(|found| (found.route.endpoint, found.resource));
            assert_eq!(found, expected, "{path}");
        }
    }

    #[test]
    fn listings_without_a_slash_are_authorized_as_with_one() {
        let routes = Routes::new(&BTreeMap::new());
        assert_eq!(routes.listing("/v1/key/list").unwrap().path, "/v1/key/list/");
        assert!(routes.listing("/v1/key/create").is_none());
        assert!(routes.has_directory("/v1/key/create") && !routes.has_directory("/v1/key"));
    }

    #[test]
    fn rules_of_policies_know_every_route() {
        let sorted = |mut paths: Vec<&'static str>| {
            paths.sort_unstable();
            paths
        };
        assert_eq!(sorted(ROUTES.iter().map(|route| route.path).collect()), sorted(crate::auth::ROUTES.to_vec()));
    }

    #[test]
    fn overrides_change_only_their_route() {
        let change = ApiConfig { skip_auth: true, timeout: Some(Duration::from_secs(1)) };
        let routes = Routes::new(&[("/v1/ready".to_owned(), change)].into());
        let ready = routes.find("/v1/ready", "/v1/ready").unwrap().effective;
        assert_eq!((ready.auth, ready.timeout), (Auth::None, Some(Duration::from_secs(1))));
        let status = routes.find("/v1/status", "/v1/status").unwrap().effective;
        assert_eq!((status.auth, status.timeout), (Auth::Policy, USUAL));
    }
}
