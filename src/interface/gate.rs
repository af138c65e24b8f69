//! Who may come in: requests to this very host and port, from no page of another origin, with the token or the cookie of a
//! browser that came by the one-time link. Nothing that goes out may be kept.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use axum::extract::{Request, State};
use axum::http::header::{self, HeaderName};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{Html, IntoResponse as _, Response};
use schemars::JsonSchema;
use serde::Serialize;
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

use super::answer::{Answered, made};
use super::places::Place;
use super::problem::Problem;
use super::{Entrance, Interface, page};
use crate::error::Error;
use crate::resource::interface::secret;

/// Where the one-time link leads.
pub(super) const ENTRANCE: &str = "/enter";

/// How long a wrong token waits for its answer; one after the other.
const PENALTY: Duration = Duration::from_millis(250);
/// Browsers that are in at a time; a further one takes the place of the one that came first.
const BROWSERS: usize = 32;
/// Wrong tokens that may wait at a time.
const QUEUE: usize = 32;

/// What every answer carries.
const HEADERS: [(HeaderName, &str); 6] = [
    (header::CACHE_CONTROL, "no-store"),
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; \
         frame-ancestors 'none'; base-uri 'none'",
    ),
    // with `no-referrer` browsers would hide the origin of forms, too
    (header::REFERRER_POLICY, "same-origin"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

/// The names and secrets of an interface.
pub(super) struct Gate {
    entrance: Entrance,
    /// The code of the link, until somebody used it.
    code: Mutex<Option<Zeroizing<String>>>,
    /// What the cookies of those who came in hold, the newest last.
    sessions: Mutex<VecDeque<Zeroizing<String>>>,
    queue: Semaphore,
    turn: tokio::sync::Mutex<()>,
}

impl Gate {
    pub(super) fn new(entrance: Entrance) -> Self {
        Self {
            entrance,
            code: Mutex::default(),
            sessions: Mutex::default(),
            queue: Semaphore::new(QUEUE),
            turn: tokio::sync::Mutex::default(),
        }
    }

    /// A new one-time code for the link; the one before is void.
    fn new_code(&self) -> Result<Zeroizing<String>, Error> {
        let code = secret()?;
        *self.code.lock().unwrap_or_else(PoisonError::into_inner) = Some(code.clone());
        Ok(code)
    }

    /// Trades the code for the cookie of a browser that calls this host so; once.
    fn redeem(&self, given: &str, host: &str) -> Result<Option<String>, Error> {
        let mut code = self.code.lock().unwrap_or_else(PoisonError::into_inner);
        if !code.as_ref().is_some_and(|code| is_same(code, given)) {
            return Ok(None);
        }
        *code = None;
        let session = secret()?;
        let cookie = format!("{}={}; HttpOnly; SameSite=Strict; Path=/", cookie_of(host), session.as_str());
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        if sessions.len() == BROWSERS {
            sessions.pop_front();
        }
        sessions.push_back(session);
        Ok(Some(cookie))
    }

    /// Refuses names of this host that somebody else's DNS made (DNS rebinding).
    fn check_host(&self, request: &Request) -> Result<(), Problem> {
        let mut named = request.headers().get_all(header::HOST).iter().map(|host| host.to_str().unwrap_or_default());
        let (host, more) = (named.next().unwrap_or_default(), named.next());
        let asked = request.uri().authority().is_none_or(|authority| self.entrance.is_known(authority.as_str()));
        if self.entrance.is_known(host) && more.is_none() && asked {
            return Ok(());
        }
        let hint = format!("ask for {}; KESTACK_UI_NAMES allows `kestack serve` other names", self.entrance.known());
        Err(Problem::refused(StatusCode::MISDIRECTED_REQUEST, "this host has another name", hint))
    }

    /// Refuses requests that a page of another origin makes; those with a cookie must name their own if they change
    /// anything.
    fn check_origin(&self, request: &Request, by_cookie: bool) -> Result<(), Problem> {
        if [Method::GET, Method::HEAD].contains(request.method()) {
            return Ok(());
        }
        let mut origins =
            request.headers().get_all(header::ORIGIN).iter().map(|origin| origin.to_str().unwrap_or_default());
        let host = host_of(request.headers());
        let is_own = |origin: &str| self.entrance.is_own_origin(origin, host);
        let allowed = match origins.next() {
            None => !by_cookie,
            Some(origin) => is_own(origin) && origins.next().is_none(),
        };
        if allowed {
            return Ok(());
        }
        let hint = "only programs and pages of this very address may change anything";
        Err(Problem::refused(StatusCode::FORBIDDEN, "the request comes from another origin", hint))
    }

    /// Whether the token is right; `None` if there is none, or a password for somebody who stands in front.
    fn has_token(&self, headers: &HeaderMap) -> Option<bool> {
        let given = headers.get(header::AUTHORIZATION)?.to_str().unwrap_or_default();
        let (scheme, token) = given.split_once(' ').unwrap_or_default();
        scheme.eq_ignore_ascii_case("bearer").then(|| is_same(&self.entrance.token, token.trim()))
    }

    fn has_cookie(&self, headers: &HeaderMap) -> Option<bool> {
        let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
        let pairs = cookies.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
        // whoever has another port of this host can set one of the same name
        let own = cookie_of(host_of(headers));
        let mut given = pairs.filter(|(name, _)| *name == own).map(|(_, given)| given).peekable();
        given.peek()?;
        let sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        Some(given.any(|given| sessions.iter().any(|session| is_same(session, given))))
    }

    /// Answers a wrong secret late, and one after the other.
    async fn delay(&self) -> Result<(), Problem> {
        let Ok(_place) = self.queue.try_acquire() else {
            let hint = "wait for the answers to the others";
            return Err(Problem::refused(StatusCode::TOO_MANY_REQUESTS, "too many wrong tokens", hint));
        };
        let _turn = self.turn.lock().await;
        tokio::time::sleep(PENALTY).await;
        Ok(())
    }

    /// What is to be done with a request.
    fn judge(&self, request: &Request) -> Result<Verdict, Problem> {
        self.check_host(request)?;
        let (token, cookie) = (self.has_token(request.headers()), self.has_cookie(request.headers()));
        self.check_origin(request, token != Some(true) && cookie == Some(true))?;
        if request.uri().path() == ENTRANCE || page::is_asset(request.uri().path()) {
            return Ok(Verdict::Open);
        }
        Ok(match (token, cookie) {
            (Some(true), _) | (_, Some(true)) => Verdict::Pass,
            (None, None) => Verdict::Missing,
            _ => Verdict::Wrong,
        })
    }

    /// Lets a request in that was judged so; true if its sender has shown the secret.
    async fn check(&self, judged: Result<Verdict, Problem>) -> Result<bool, Problem> {
        match judged? {
            Verdict::Open => return Ok(false),
            Verdict::Pass => return Ok(true),
            Verdict::Wrong => self.delay().await?,
            Verdict::Missing => {}
        }
        let hint = "send `Authorization: Bearer TOKEN`, with the token of the file that `kestack ui` names, or of KESTACK_UI_TOKEN";
        Err(Problem::refused(StatusCode::UNAUTHORIZED, "the token is missing or wrong", hint))
    }
}

/// The mark of answers to whoever has shown the secret: only they may learn anything of the stack.
#[derive(Debug, Clone, Copy)]
pub(super) struct CameIn;

/// What a request shows of itself.
enum Verdict {
    /// Nothing that it has to.
    Open,
    /// The secret.
    Pass,
    /// Another one.
    Wrong,
    /// None.
    Missing,
}

impl Interface {
    /// The link by which one browser comes in.
    ///
    /// # Errors
    /// [`Error::Environment`] if the system gives no random bytes.
    pub(crate) fn link(&self) -> Result<String, Error> {
        self.link_at(&self.0.gate.entrance.url)
    }

    fn link_at(&self, url: &str) -> Result<String, Error> {
        Ok(format!("{url}{ENTRANCE}?code={}", self.0.gate.new_code()?.as_str()))
    }

    /// Gives the cookie to whoever has the code, and leads on to the page. Whoever came in before needs none. A redirect would
    /// not do: after a click on another site the browser would leave the cookie out of it.
    pub(super) async fn enter(&self, code: &str, headers: &HeaderMap) -> Result<Response, Problem> {
        let mut response = Html(page::ENTERED).into_response();
        let Some(cookie) = self.0.gate.redeem(code, host_of(headers))? else {
            if self.0.gate.has_cookie(headers) == Some(true) {
                return Ok(response);
            }
            self.0.gate.delay().await?;
            let hint = "`kestack ui` prints a new link each time, and `POST /v1/link` gives one";
            return Err(Problem::refused(StatusCode::UNAUTHORIZED, "the link was used before, or is wrong", hint));
        };
        if let Ok(cookie) = HeaderValue::from_str(&cookie) {
            response.headers_mut().insert(header::SET_COOKIE, cookie);
        }
        Ok(response)
    }
}

/// A link for people.
#[derive(Serialize, JsonSchema)]
pub(super) struct Link {
    /// It lets one browser in, once. The one before it is void.
    link: String,
}

pub(super) async fn new_link(State(interface): State<Interface>, headers: HeaderMap) -> Answered<Link> {
    let forwarded = headers.get("x-forwarded-proto").is_some_and(|scheme| scheme == "https");
    let url = interface.0.gate.entrance.url_of(host_of(&headers), forwarded);
    made(interface.link_at(&url).map(|link| Link { link }))
}

/// Lets a request in, or answers it.
pub(super) async fn pass(State(interface): State<Interface>, request: Request, next: Next) -> Response {
    let gate = &interface.0.gate;
    let judged = gate.judge(&request);
    let place = request.extensions().get::<Place>().cloned();
    let mut response = match gate.check(judged).await {
        Ok(came_in) => {
            if let Some(place) = place.filter(|_| came_in) {
                place.no_stranger();
            }
            let mut response = next.run(request).await;
            if came_in {
                response.extensions_mut().insert(CameIn);
            }
            response
        }
        Err(problem) => problem.into_response(),
    };
    for (name, value) in HEADERS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

/// The name of this host for whoever asks.
fn host_of(headers: &HeaderMap) -> &str {
    headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default()
}

/// The name of the cookie for a browser that calls this host so: browsers send their cookies to all ports of a host, and the
/// port by which they come in may be another one than that which is listened on.
fn cookie_of(host: &str) -> String {
    let port = host.parse::<Authority>().ok().and_then(|host| host.port_u16());
    port.map_or_else(|| "kestack".to_owned(), |port| format!("kestack-{port}"))
}

/// Compares two secrets in a time that says nothing of where they differ.
fn is_same(secret: &str, given: &str) -> bool {
    verify_slices_are_equal(secret.as_bytes(), given.as_bytes()).is_ok()
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;
    use crate::resource::interface::Record;

    fn gate() -> Gate {
        let mut record = Record::new(7000).unwrap();
        record.token = "t0ken".into();
        Gate::new(Entrance::of(&record))
    }

    fn request(method: &str, headers: &[(&str, &str)]) -> Request {
        let mut request = http::Request::builder().method(method).uri("/v1/status");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(Body::empty()).unwrap()
    }

    async fn refusal(gate: &Gate, method: &str, headers: &[(&str, &str)]) -> Option<u16> {
        let problem = gate.check(gate.judge(&request(method, headers))).await.err()?;
        Some(problem.into_response().status().as_u16())
    }

    #[tokio::test(start_paused = true)]
    async fn only_the_token_on_the_own_host_comes_in() {
        let (gate, host, token) = (gate(), ("host", "127.0.0.1:7000"), ("authorization", "Bearer t0ken"));
        assert_eq!(refusal(&gate, "GET", &[host, token]).await, None);
        assert_eq!(refusal(&gate, "GET", &[("host", "localhost:7000"), token]).await, None);
        for foreign in ["evil.example:7000", "127.0.0.1", "127.0.0.1:7001", "127.0.0.1:7000.evil.example", ""] {
            assert_eq!(refusal(&gate, "GET", &[("host", foreign), token]).await, Some(421), "{foreign}");
        }
        assert_eq!(refusal(&gate, "GET", &[token]).await, Some(421));
        assert_eq!(refusal(&gate, "GET", &[host, ("host", "evil.example:7000"), token]).await, Some(421));
        assert_eq!(refusal(&gate, "GET", &[host]).await, Some(401));
        for wrong in ["Bearer t0keN", "Bearer t0ke", "Bearer ", "Basic t0ken", "t0ken"] {
            assert_eq!(refusal(&gate, "GET", &[host, ("authorization", wrong)]).await, Some(401), "{wrong}");
        }
    }

    #[tokio::test]
    async fn pages_of_other_origins_change_nothing() {
        let (gate, host, token) = (gate(), ("host", "127.0.0.1:7000"), ("authorization", "Bearer t0ken"));
        for method in ["POST", "DELETE", "PUT", "OPTIONS"] {
            assert_eq!(refusal(&gate, method, &[host, token]).await, None);
            assert_eq!(refusal(&gate, method, &[host, token, ("origin", "http://localhost:7000")]).await, None);
            for origin in ["http://evil.example", "null", "https://127.0.0.1:7000", "http://127.0.0.1:7001"] {
                assert_eq!(refusal(&gate, method, &[host, token, ("origin", origin)]).await, Some(403), "{origin}");
            }
        }
        let code = gate.new_code().unwrap();
        let cookie = gate.redeem(&code, "127.0.0.1:7000").unwrap().unwrap();
        assert!(cookie.starts_with("kestack-7000=") && cookie.contains("; HttpOnly; SameSite=Strict"), "{cookie}");
        let cookie = ("cookie", cookie.split(';').next().unwrap());
        assert_eq!(refusal(&gate, "GET", &[host, cookie]).await, None);
        let other = ("cookie", "kestack-7000=of-another-port");
        assert_eq!(refusal(&gate, "GET", &[host, other, cookie]).await, None, "any of them");
        let both = format!("{}; {}", other.1, cookie.1);
        assert_eq!(refusal(&gate, "GET", &[host, ("cookie", &both)]).await, None, "any of them");
        assert_eq!(refusal(&gate, "GET", &[host, other]).await, Some(401));
        assert_eq!(refusal(&gate, "POST", &[host, cookie]).await, Some(403), "browsers name their origin");
        assert_eq!(refusal(&gate, "POST", &[host, cookie, ("origin", "http://127.0.0.1:7000")]).await, None);
        assert!(gate.redeem(&code, "127.0.0.1:7000").unwrap().is_none(), "once");
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_stands_in_front_may_have_a_password_of_its_own() {
        let (gate, host) = (gate(), ("host", "127.0.0.1:7000"));
        let code = gate.new_code().unwrap();
        let cookie = gate.redeem(&code, "127.0.0.1:7000").unwrap().unwrap();
        let cookie = ("cookie", cookie.split(';').next().unwrap());
        for passed_on in ["Basic dXNlcjpwYXNzd29yZA==", "Bearer of-a-single-sign-on"] {
            let passed_on = ("authorization", passed_on);
            assert_eq!(refusal(&gate, "GET", &[host, passed_on, cookie]).await, None);
            assert_eq!(refusal(&gate, "GET", &[host, passed_on]).await, Some(401));
            assert_eq!(refusal(&gate, "POST", &[host, passed_on]).await, Some(401));
            assert_eq!(refusal(&gate, "POST", &[host, passed_on, cookie]).await, Some(403), "the cookie lets it in");
            let own = ("origin", "http://127.0.0.1:7000");
            assert_eq!(refusal(&gate, "POST", &[host, passed_on, cookie, own]).await, None);
        }
    }

    #[test]
    fn interfaces_that_are_published_side_by_side_have_cookies_of_their_own() {
        assert_eq!(cookie_of("127.0.0.1:8081"), "kestack-8081");
        assert_eq!((cookie_of("[::1]:8082"), cookie_of("s3.example.org")), ("kestack-8082".into(), "kestack".into()));
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_came_in_stays_in() {
        let (gate, host) = (gate(), ("host", "127.0.0.1:7000"));
        let comes_in = || {
            let code = gate.new_code().unwrap();
            gate.redeem(&code, "127.0.0.1:7000").unwrap().unwrap().split(';').next().unwrap().to_owned()
        };
        let browsers: Vec<_> = (0..=BROWSERS).map(|_| comes_in()).collect();
        assert_eq!(refusal(&gate, "GET", &[host, ("cookie", &browsers[0])]).await, Some(401), "the oldest one");
        for browser in &browsers[1..] {
            assert_eq!(refusal(&gate, "GET", &[host, ("cookie", browser)]).await, None);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn guesses_wait_for_each_other() {
        let gate = gate();
        let start = tokio::time::Instant::now();
        let guess = || refusal(&gate, "GET", &[("host", "127.0.0.1:7000"), ("authorization", "Bearer guess")]);
        let answers = futures_util::future::join_all((0..40).map(|_| guess())).await;
        let refused = |status| answers.iter().filter(|answer| **answer == Some(status)).count();
        assert_eq!((refused(401), refused(429)), (QUEUE, 40 - QUEUE));
        assert!(start.elapsed() >= PENALTY * 32);
    }
}
