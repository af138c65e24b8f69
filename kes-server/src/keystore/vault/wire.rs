//! Calls to a Vault as its own SDK makes them (docs/keystores-protocol.md §4.1), and what its refusals mean.

use std::path::PathBuf;
use std::time::Duration;

use reqwest::header::{HeaderValue, LOCATION};
use reqwest::{Method, RequestBuilder, StatusCode, Url};
use serde::Deserialize;

use super::super::http::{Answer, Failure, Http, Retry, Settings, Trust, between, endpoint, join, origin};
use super::super::{Environment, KeyStoreError};
use crate::config::{Secret, VaultConfig, named};

/// A server and how to speak to it.
#[derive(Debug)]
pub(super) struct Wire {
    http: Http,
    endpoint: Url,
    /// The endpoint, for the banner.
    pub(super) name: String,
    /// Namespace of all calls but login and health; empty for the root.
    pub(super) namespace: String,
    /// Other servers that get our credentials if the endpoint redirects to them.
    nodes: Vec<Url>,
}

impl Wire {
    pub(super) fn new(config: &VaultConfig, environment: &Environment) -> Result<Self, KeyStoreError> {
        let settings = Settings {
            trust: Trust::only(config.tls.ca.as_ref()),
            client: config.tls.client.clone(),
            socket: config.endpoint.strip_prefix("unix://").map(PathBuf::from),
            no_keep_alive: true,
            retry: Retry { attempts: 3, worthwhile, pause },
            proxies: environment.proxies(),
        };
        // the host of a request over a socket is that of the SDK
        let address = if settings.socket.is_some() { "http://localhost" } else { &config.endpoint };
        Ok(Self {
            http: Http::new(&settings)?,
            endpoint: endpoint(address)?,
            name: named(&config.endpoint),
            namespace: config.namespace.clone(),
            nodes: config.nodes.iter().map(|node| endpoint(node)).collect::<Result<_, _>>()?,
        })
    }

    /// A request to `/v1/<path>`. Empty segments of the path are left out.
    pub(super) fn request(&self, method: Method, path: &str, query: &[(&str, &str)]) -> RequestBuilder {
        let segments: Vec<_> = std::iter::once("v1").chain(path.split('/')).collect();
        let mut url = join(&self.endpoint, &segments);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        self.http.client().request(method, url).header("x-vault-request", "true")
    }

    /// Sends a request, again where the SDK does so, and after one redirect: a standby names the active server. Token
    /// and login go with it, so it must lead to a server that the configuration names.
    pub(super) async fn send(&self, request: RequestBuilder) -> Result<Answer, Failure> {
        let request = request.build().map_err(|error| Failure::other("request", error.without_url()))?;
        let once_more = request.try_clone();
        let url = request.url().clone();
        let builder = |request| RequestBuilder::from_parts(self.http.client().clone(), request);
        let answer = self.http.send(builder(request)).await?;
        let (Some(target), Some(mut request)) = (redirect(&answer, &url), once_more) else { return Ok(answer) };
        self.check(&answer, &url, &target)?;
        *request.url_mut() = target;
        self.http.send(builder(request)).await
    }

    /// Fails unless a redirect may be followed: never to a stranger, and never from HTTPS to HTTP.
    fn check(&self, answer: &Answer, from: &Url, target: &Url) -> Result<(), KeyStoreError> {
        let is_plain = from.scheme() == "https" && target.scheme() != "https";
        let is_known = target.host_str() == from.host_str() || self.nodes.iter().any(|node| is_at(node, target));
        let why = match (is_plain, is_known) {
            (false, true) => return Ok(()),
            (true, _) => "which is not HTTPS",
            (_, false) => "which keystore.vault.nodes does not name; add that server if it belongs to the cluster",
        };
        Err(answer.unexpected(&format!("a redirect to {}, {why}: no credentials are sent there", origin(target))))
    }
}

/// Whether a URL is that of a node, whose port counts if it is given.
fn is_at(node: &Url, url: &Url) -> bool {
    let port = node.port().is_none_or(|port| url.port_or_known_default() == Some(port));
    node.host_str() == url.host_str() && port
}

/// With the token and the namespace, where there are any.
pub(super) fn identified(request: RequestBuilder, token: Option<&Secret>, namespace: &str) -> RequestBuilder {
    let request = match token.map(|token| HeaderValue::from_str(token.expose())) {
        None => request,
        Some(Ok(mut value)) => {
            value.set_sensitive(true);
            request.header("x-vault-token", value)
        }
        // makes the building of the request fail
        Some(Err(_)) => request.header("x-vault-token", "\n"),
    };
    if namespace.is_empty() { request } else { request.header("x-vault-namespace", namespace) }
}

/// A JSON body without a content type, as the SDK sends it.
pub(super) fn body(request: RequestBuilder, value: &serde_json::Value) -> RequestBuilder {
    request.body(value.to_string())
}

fn worthwhile(outcome: &Result<Answer, Failure>) -> bool {
    match outcome {
        Ok(answer) => is_passing(answer),
        Err(failure) => failure.is_network(),
    }
}

fn pause(made: u32, _: &Result<Answer, Failure>) -> Duration {
    between(Duration::from_millis(1000), Duration::from_millis(1500)) * made
}

/// Where to go instead.
fn redirect(answer: &Answer, from: &Url) -> Option<Url> {
    match answer.status {
        StatusCode::MOVED_PERMANENTLY | StatusCode::FOUND | StatusCode::TEMPORARY_REDIRECT => {
            let target = from.join(answer.headers.get(LOCATION)?.to_str().ok()?).ok()?;
            matches!(target.scheme(), "http" | "https").then_some(target)
        }
        _ => None,
    }
}

/// True for the success of a call that has nothing to return: 204, or a 200 of Vault with warnings.
pub(super) fn is_done(answer: &Answer) -> bool {
    #[derive(Deserialize)]
    struct Reply {
        request_id: String,
    }

    match answer.status {
        StatusCode::NO_CONTENT => answer.body.is_empty(),
        StatusCode::OK => answer.json::<Reply>().is_ok_and(|reply| !reply.request_id.is_empty()),
        _ => false,
    }
}

/// True for a 404 by which Vault says that there is no such entry, and nothing about the engine or the path.
pub(super) fn is_missing(answer: &Answer) -> bool {
    #[derive(Deserialize)]
    struct Said {
        errors: Vec<String>,
        #[serde(default)]
        warnings: Option<Vec<String>>,
    }

    answer.status == StatusCode::NOT_FOUND
        && answer
            .json::<Said>()
            .is_ok_and(|said| said.errors.is_empty() && said.warnings.unwrap_or_default().is_empty())
}

/// What Vault says next to the data, or instead of it.
#[derive(Debug, Default, Deserialize)]
struct Remarks {
    #[serde(default)]
    errors: Vec<String>,
    #[serde(default)]
    warnings: Option<Vec<String>>,
}

impl Remarks {
    /// Those of an answer; `None` if it is not from a Vault.
    fn of(answer: &Answer) -> Option<Self> {
        if answer.body.is_empty() { Some(Self::default()) } else { answer.json().ok() }
    }
}

/// The error for an answer that is not the one hoped for: the words of Vault, and what helps, where the call needs
/// `capability` on `path`.
pub(super) fn refused(answer: &Answer, capability: &str, path: &str) -> KeyStoreError {
    if answer.status.is_success() || answer.status.is_redirection() {
        return answer.refused();
    }
    let Some(remarks) = Remarks::of(answer) else { return graded(answer, answer.refused()) };
    let said = remarks.errors.iter().chain(remarks.warnings.iter().flatten());
    let mut said: Vec<_> = said.map(|text| text.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    said.push(match answer.status {
        StatusCode::FORBIDDEN => format!("the policy of the token must allow '{capability}' on '{path}'"),
        StatusCode::NOT_FOUND => {
            format!("nothing serves '{path}': check engine, version and namespace of keystore.vault")
        }
        StatusCode::SERVICE_UNAVAILABLE => "unseal it, or wait until one of its servers is active".into(),
        _ => "look into the log of Vault".into(),
    });
    graded(answer, answer.unexpected(&said.join("; ")))
}

/// What a sealed, overloaded or leaderless Vault says is over some time: it is worth waiting for.
fn graded(answer: &Answer, error: KeyStoreError) -> KeyStoreError {
    match error {
        KeyStoreError::Other(text) if is_passing(answer) => KeyStoreError::Unreachable(text),
        error => error,
    }
}

/// Whether the next attempt may have another outcome; also at a server that is behind the one that wrote last.
fn is_passing(answer: &Answer) -> bool {
    answer.is_passing() || answer.status == StatusCode::PRECONDITION_FAILED
}
