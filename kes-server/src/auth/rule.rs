//! Rules of policies that can decide nothing, and what they should have been. A deny rule that matches nothing fails
//! open: what it should deny is allowed.

use std::{borrow::Cow, fmt};

use super::name::{ListPattern, is_valid_name};
use super::spelling;

/// The routes of the API; what follows one that ends in a slash is a name, or the pattern of a listing.
pub(crate) const ROUTES: [&str; 22] = [
    "/version",
    "/v1/ready",
    "/v1/status",
    "/v1/metrics",
    "/v1/api",
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
    "/v1/identity/self/describe",
    "/v1/log/error",
    "/v1/log/audit",
];

/// Those for which no policy is asked.
const OPEN: [&str; 2] = ["/version", "/v1/identity/self/describe"];

/// Starts of paths that older releases had. A rule for them is harmless: nobody can call them.
const FORMER: [&str; 11] = [
    "/v1/key/bulk/",
    "/v1/key/derive/",
    "/v1/secret/",
    "/v1/enclave/",
    "/v1/policy/write/",
    "/v1/policy/assign/",
    "/v1/policy/delete/",
    "/v1/identity/assign/",
    "/v1/identity/forget/",
    "/v1/identity/delete/",
    "/v1/sys/",
];

/// A rule that can decide nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadRule {
    /// The policy that has it.
    pub policy: String,
    /// The pattern.
    pub pattern: String,
    /// Whether it should deny something; else it should allow something.
    pub denies: bool,
    why: Flaw,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Flaw {
    Empty,
    Former,
    Open,
    Star { instead: Option<String> },
    Name { route: &'static str },
    NoRoute { instead: Option<String> },
}

impl DeadRule {
    pub(super) fn find(policy: &str, pattern: &str, denies: bool) -> Option<Self> {
        let why = flaw(pattern).or_else(|| (denies && is_open(pattern)).then_some(Flaw::Open))?;
        Some(Self { policy: policy.to_owned(), pattern: pattern.to_owned(), denies, why })
    }

    /// Whether something is allowed that the rule should deny.
    pub fn fails_open(&self) -> bool {
        self.denies && self.why != Flaw::Former
    }
}

impl fmt::Display for DeadRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, pattern) = (if self.denies { "deny" } else { "allow" }, &self.pattern);
        write!(f, "policy '{}': {kind} rule '{pattern}' matches nothing: {}", self.policy, self.why)
    }
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("it is empty"),
            Self::Former => f.write_str("it names a path of older releases"),
            Self::Open => f.write_str("everybody may call this path, and no policy applies"),
            Self::Star { instead: None } => f.write_str("'*' is special only at the end of a pattern"),
            Self::Star { instead: Some(one) } => {
                write!(f, "'*' is special only at the end of a pattern; use a rule for each route, such as '{one}'")
            }
            Self::Name { route } => write!(f, "the part after '{route}' is not a valid name"),
            Self::NoRoute { instead: None } => f.write_str("it is not a path of the API"),
            Self::NoRoute { instead: Some(one) } => write!(f, "it is not a path of the API; is it '{one}'?"),
        }
    }
}

/// Whether a path is that of a route, without a name.
pub(crate) fn is_route(path: &str) -> bool {
    ROUTES.contains(&path)
}

/// The route whose path was probably meant.
pub(crate) fn nearest_route(path: &str) -> Option<&'static str> {
    spelling::nearest(path, ROUTES)
}

/// What policies are asked about when this path is called: servers answer a listing without its last slash, too.
pub(crate) fn asked(path: &str) -> Cow<'_, str> {
    let listing = format!("{path}/");
    if is_listing(&listing) && is_route(&listing) { listing.into() } else { path.into() }
}

/// The route that a call of this path reaches: the longest one.
pub(crate) fn route_of(path: &str) -> Option<&'static str> {
    let reached = ROUTES.into_iter().filter(|route| *route == path || resource_of(route, path).is_some());
    reached.max_by_key(|route| route.len())
}

/// Whether a call of this path reaches its handler.
pub(crate) fn is_call(path: &str) -> bool {
    route_of(path).is_some_and(|route| match resource_of(route, path) {
        Some(resource) => is_named(route, resource),
        None => true,
    })
}

/// Whether the policies of callers do not matter for a path.
pub(crate) fn is_open(pattern: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(start) => {
            let mut reached = ROUTES.iter().filter(|route| route.starts_with(start)).peekable();
            reached.peek().is_some() && reached.all(|route| OPEN.contains(route))
        }
        None => OPEN.contains(&pattern),
    }
}

/// Whether a path leads to a handler, or a pattern to at least one.
pub(crate) fn can_match(pattern: &str) -> bool {
    let start = pattern.strip_suffix('*');
    let reaches = |route: &str| {
        let is_reached = start.map_or(route == pattern && !route.ends_with('/'), |start| route.starts_with(start));
        is_reached || resource_of(route, pattern).is_some_and(|resource| is_resource(route, resource))
    };
    ROUTES.iter().any(|route| reaches(route))
}

fn resource_of<'a>(route: &str, pattern: &'a str) -> Option<&'a str> {
    pattern.strip_prefix(route).filter(|_| route.ends_with('/'))
}

/// Whether there is a name, or a pattern for a listing, that a pattern for it could match.
fn is_resource(route: &str, pattern: &str) -> bool {
    match pattern.strip_suffix('*') {
        // one letter more is enough
        Some(start) => is_valid_name(&format!("{start}x")) || is_valid_name(start),
        None => is_named(route, pattern),
    }
}

/// Whether a route takes this for the name, or the pattern of a listing, that it is about.
fn is_named(route: &str, resource: &str) -> bool {
    if is_listing(route) { resource.parse::<ListPattern>().is_ok() } else { is_valid_name(resource) }
}

fn is_listing(route: &str) -> bool {
    route.ends_with("/list/")
}

fn flaw(pattern: &str) -> Option<Flaw> {
    if can_match(pattern) {
        return None;
    }
    let inner = pattern.strip_suffix('*').unwrap_or(pattern);
    Some(if pattern.is_empty() {
        Flaw::Empty
    } else if FORMER.iter().any(|former| pattern.starts_with(former)) || inner.ends_with("/trace") {
        Flaw::Former
    } else if inner.contains('*') {
        Flaw::Star { instead: example(pattern) }
    } else if let Some(route) = ROUTES.into_iter().find(|route| resource_of(route, pattern).is_some()) {
        Flaw::Name { route }
    } else {
        Flaw::NoRoute { instead: meant(pattern) }
    })
}

/// The pattern for one route, of one that has a star in place of the operation.
fn example(pattern: &str) -> Option<String> {
    let mut parts = pattern.splitn(5, '/');
    let (Some(""), Some("v1"), Some(kind), Some("*"), Some(rest)) =
        (parts.next(), parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return None;
    };
    let operation = if kind == "key" { "generate" } else { "describe" };
    Some(format!("/v1/{kind}/{operation}/{rest}")).filter(|one| can_match(one))
}

/// What was probably meant by a pattern that no route has: a slash more or less, or a route that is spelt like it.
fn meant(pattern: &str) -> Option<String> {
    let close = [format!("{pattern}/*"), pattern.trim_end_matches(['/', '*']).to_owned(), format!("/{pattern}")];
    if let Some(close) = close.into_iter().find(|close| can_match(close)) {
        return Some(close);
    }
    let similar = ROUTES.iter().filter_map(|route| {
        let route_parts = route.trim_end_matches('/').split('/').count();
        let mut parts = pattern.split('/');
        let head = parts.by_ref().take(route_parts).collect::<Vec<_>>().join("/");
        let (head, rest) = (head.trim_end_matches('*'), parts.collect::<Vec<_>>().join("/"));
        spelling::nearest(head, [route.trim_end_matches('/')])?;
        let rest = if rest.is_empty() && route.ends_with('/') { "*".to_owned() } else { rest };
        let distance = strsim::osa_distance(&head.to_lowercase(), route.trim_end_matches('/'));
        Some((distance, format!("{route}{rest}"))).filter(|(_, meant)| can_match(meant))
    });
    similar.min_by_key(|(distance, _)| *distance).map(|(_, meant)| meant)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_that_match_something_are_alive() {
        for pattern in [
            "*",
            "/*",
            "/v1*",
            "/v1/key/*",
            "/v1/key/create/*",
            "/v1/key/create/my-*",
            "/v1/key/create/my",
            "/v1/status",
            "/v1/sta*",
            "/v1/key/list/",
            "/v1/key/list/*",
            "/v1/policy/list/my",
            "/version",
            "/v1/identity/self/*",
        ] {
            assert_eq!(DeadRule::find("p", pattern, false), None, "{pattern}");
        }
    }

    #[test]
    fn rules_that_match_nothing_say_why() {
        for (pattern, why) in [
            ("", "it is empty"),
            (
                "/v1/key/*/my-key",
                "'*' is special only at the end of a pattern; use a rule for each route, such as '/v1/key/generate/my-key'",
            ),
            ("/v1/*/create/a*", "'*' is special only at the end of a pattern"),
            ("/v1/key/genrate/my-*", "it is not a path of the API; is it '/v1/key/generate/my-*'?"),
            ("/V1/key/create/a", "it is not a path of the API; is it '/v1/key/create/a'?"),
            ("/v1/key/list", "it is not a path of the API; is it '/v1/key/list/*'?"),
            ("/v1/status/", "it is not a path of the API; is it '/v1/status'?"),
            ("/v1/metrics/*", "it is not a path of the API; is it '/v1/metrics'?"),
            ("v1/key/create/*", "it is not a path of the API; is it '/v1/key/create/*'?"),
            ("/v1/metircs", "it is not a path of the API; is it '/v1/metrics'?"),
            ("/v2/other/*", "it is not a path of the API"),
            ("/v1/key/bulk/decrypt/*", "it names a path of older releases"),
            ("/v1/log/audit/trace", "it names a path of older releases"),
            ("/v1/key/create/my.key", "the part after '/v1/key/create/' is not a valid name"),
            ("/v1/key/create/", "the part after '/v1/key/create/' is not a valid name"),
            ("/v1/key/create/a/*", "the part after '/v1/key/create/' is not a valid name"),
        ] {
            let dead = DeadRule::find("p", pattern, true).map(|rule| rule.to_string());
            assert_eq!(dead, Some(format!("policy 'p': deny rule '{pattern}' matches nothing: {why}")));
        }
    }

    #[test]
    fn a_call_is_of_one_name_and_reaches_one_route() {
        for (path, route, is_well) in [
            ("/v1/key/create/a", Some("/v1/key/create/"), true),
            ("/v1/key/create/a*", Some("/v1/key/create/"), false),
            ("/v1/key/create/", Some("/v1/key/create/"), false),
            ("/v1/key/create", None, false),
            ("/v1/key/list", Some("/v1/key/list/"), true),
            ("/v1/policy/list/a*", Some("/v1/policy/list/"), true),
            ("/v1/policy/list/*a", Some("/v1/policy/list/"), false),
            ("/v1/identity/self/describe", Some("/v1/identity/self/describe"), true),
            ("/v1/status/", None, false),
            ("/v1/*", None, false),
        ] {
            let asked = asked(path);
            assert_eq!((route_of(&asked), is_call(&asked)), (route, is_well), "{path}");
        }
    }

    #[test]
    fn only_denials_of_what_there_is_fail_open() {
        let fails_open = |pattern, denies| DeadRule::find("p", pattern, denies).is_some_and(|rule| rule.fails_open());
        assert!(fails_open("/v1/key/*/my-key", true) && !fails_open("/v1/key/*/my-key", false));
        assert!(!fails_open("/v1/secret/*", true), "there are no such paths");
        assert!(fails_open("/version", true) && !fails_open("/v1/*", true));
    }
}
