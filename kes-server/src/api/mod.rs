//! The HTTP API (docs/kes-protocol.md §1): from a request and who sent it to a response.
//!
//! One way through: [`handle`] finds the row of the route table, checks method and caller, hands the request to the
//! handler of the row within the row's limits, and counts, audits and logs around it.

mod authorize;
mod error;
mod framing;
pub(crate) mod fuzzing;
mod host;
mod identity;
mod key;
mod log;
mod path;
mod payload;
mod policy;
mod reply;
mod route;
mod seen;
mod share;
mod state;
mod system;

use std::{
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{Method, Request, header, request};
use hyper::body::Body;

pub(crate) use self::error::CertificateError;
use self::{
    authorize::Authorized,
    error::ApiError,
    path::Target,
    payload::{Payload, Source},
    reply::Reply,
    route::{Endpoint, Match},
    share::Share,
};
pub(crate) use self::{
    reply::ReplyBody,
    state::{Service, State},
    system::go_arch,
};
use crate::{
    auth::Identity,
    config::Level,
    log::{Outcome, Subject},
    metrics::Metrics,
};

/// Who is at the other end of a connection.
#[derive(Debug)]
pub(crate) struct Peer {
    /// Address without the port.
    ip: String,
    /// Identity by the client certificate.
    identity: Result<Identity, CertificateError>,
    /// Memory for large bodies.
    share: Share,
}

impl Peer {
    /// Who has this address and showed this certificate.
    pub(crate) fn new(service: &Service, ip: IpAddr, identity: Result<Identity, CertificateError>) -> Self {
        let known = identity.as_ref().ok().filter(|identity| service.state().knows(identity));
        let share = service.shares.share(known);
        Self { ip: ip.to_string(), identity, share }
    }
}

/// Serves one request.
pub(crate) async fn handle<B>(service: &Arc<Service>, peer: &Peer, request: Request<B>) -> Reply
where
    B: Body<Data = Bytes, Error = hyper::Error> + Send + Unpin,
{
    let (head, mut body) = request.into_parts();
    if let Some(refusal) = framing::refusal(&head).or_else(|| host::refusal(&head)) {
        return refusal;
    }
    let mut source = Source::new(&mut body, &peer.share);
    let reply = dispatch(service, peer, &head, &mut source).await;
    source.discard().await;
    let permits = source.into_permits();
    let reply = if head.method == Method::HEAD { error::without_body(reply) } else { reply };
    if permits.is_empty() { reply } else { reply::with_permits(reply, permits) }
}

async fn dispatch(service: &Arc<Service>, peer: &Peer, head: &request::Parts, source: &mut Source<'_>) -> Reply {
    let started = Instant::now();
    let state = service.state();
    let target = match Target::read(&head.uri, &head.method) {
        Ok(target) => target,
        Err(reply) => return reply,
    };
    let found = match find(&state, &target, &head.method) {
        Ok(found) => found,
        Err(reply) => return reply,
    };
    if !found.route.method.accepts(&head.method) {
        let expected = found.route.method.as_str();
        return ApiError::Method { received: head.method.to_string(), expected }.into_reply();
    }
    let subject = Subject {
        method: head.method.as_str(),
        path: found.path,
        ip: &peer.ip,
        identity: peer.identity.as_ref().map_or("", Identity::as_str),
    };
    let result = match authorize::authorize(service, &state, peer, found, subject) {
        Ok(call) => {
            // Prometheus says what it accepts, clients of MinIO KES do not
            let call = call.with_labels(head.headers.contains_key(header::ACCEPT));
            serve(call, found, source, started).await
        }
        Err(refusal) => Err(refusal),
    };
    conclude(service, found, subject, started, result)
}

/// The route of a target. Other paths are sent to a clean one, and those that lack the last slash of their route to
/// that; only GET of a listing is answered without it, because clients that ask for everything leave it out.
#[expect(clippy::result_large_err, reason = "moved once, and only on the rare path")]
fn find<'a>(state: &'a State, target: &'a Target<'_>, method: &Method) -> Result<Match<'a>, Reply> {
    let found = state.routes.find(target.route(), target.path());
    match (found, target.is_clean()) {
        (Some(found), true) => return Ok(found),
        (None, _) if state.routes.has_directory(target.route()) => {}
        (_, false) => return Err(error::redirect(&target.clean_location(), method)),
        (None, true) => return Err(error::no_route()),
    }
    let listing = (target.is_clean() && *method == Method::GET).then(|| state.routes.listing(target.route())).flatten();
    listing.ok_or_else(|| error::redirect(&target.directory_location(), method))
}

/// Runs the handler within the route's timeout. When that is over the work is dropped, whatever it waits for. A body
/// that the route does not take comes first: while it is waited for, there is no answer that must be held.
async fn serve(
    call: Authorized<'_>,
    found: Match<'_>,
    source: &mut Source<'_>,
    started: Instant,
) -> Result<Reply, ApiError> {
    if found.route.max_body == 0 {
        source.discard().await;
    }
    let payload = Payload::new(source, found.route.max_body);
    let measure = found.route.endpoint.is_measured().then(|| Measure::start(call.metrics(), started));
    let work = call_endpoint(found.route.endpoint, call, payload);
    let result = match found.effective.timeout {
        Some(limit) => tokio::time::timeout(limit, work).await.unwrap_or(Err(ApiError::TimedOut)),
        None => work.await,
    };
    if let Some(measure) = measure {
        measure.finish(status(&result));
    }
    result
}

async fn call_endpoint(endpoint: Endpoint, call: Authorized<'_>, payload: Payload<'_, '_>) -> Result<Reply, ApiError> {
    match endpoint {
        Endpoint::Version => system::version(&call),
        Endpoint::Ready => system::ready(&call).await,
        Endpoint::Status => system::status(&call).await,
        Endpoint::Metrics => system::metrics(&call),
        Endpoint::Routes => system::routes(&call),
        Endpoint::CreateKey => key::create(&call).await,
        Endpoint::ImportKey => key::import(&call, payload).await,
        Endpoint::DescribeKey => key::describe(&call).await,
        Endpoint::ListKeys => key::list(&call, payload).await,
        Endpoint::DeleteKey => key::delete(&call).await,
        Endpoint::Encrypt => key::encrypt(&call, payload).await,
        Endpoint::Generate => key::generate(&call, payload).await,
        Endpoint::Decrypt => key::decrypt(&call, payload).await,
        Endpoint::Hmac => key::hmac(&call, payload).await,
        Endpoint::DescribePolicy => policy::describe(&call),
        Endpoint::ReadPolicy => policy::read(&call),
        Endpoint::ListPolicies => policy::list(&call),
        Endpoint::DescribeIdentity => identity::describe(&call),
        Endpoint::ListIdentities => identity::list(&call),
        Endpoint::DescribeSelf => identity::describe_self(&call),
        Endpoint::ErrorLog => Ok(log::errors(&call)),
        Endpoint::AuditLog => Ok(log::audit(&call)),
    }
}

/// Audits and logs what came out, and turns it into a response.
fn conclude(
    service: &Service,
    found: Match<'_>,
    subject: Subject<'_>,
    started: Instant,
    result: Result<Reply, ApiError>,
) -> Reply {
    let endpoint = found.route.endpoint;
    if endpoint.is_measured() {
        let outcome = Outcome { status: status(&result), time: started.elapsed() };
        let (level, message) = match (&result, endpoint.change()) {
            (Ok(_), Some(verb)) => (Level::INFO, verb),
            _ => (Level::DEBUG, endpoint.operation()),
        };
        let message = || match level {
            Level::INFO => format!("secret key '{}' {message}", found.resource),
            _ => format!("{message} '{}'", found.resource),
        };
        service.log.audit(level, message, subject, outcome);
    }
    result.unwrap_or_else(|error| {
        if let Some((level, message)) = error.log_entry() {
            service.log.request_error(level, &message, subject);
        }
        error.into_reply()
    })
}

fn status(result: &Result<Reply, ApiError>) -> u16 {
    match result {
        Ok(reply) => reply.status().as_u16(),
        Err(error) => error.status().as_u16(),
    }
}

/// A request that is being counted; one that its client gives up counts as no longer active.
struct Measure<'a> {
    metrics: &'a Metrics,
    started: Instant,
}

impl<'a> Measure<'a> {
    fn start(metrics: &'a Metrics, started: Instant) -> Self {
        metrics.started();
        Self { metrics, started }
    }

    fn finish(self, status: u16) {
        let time: Duration = self.started.elapsed();
        self.metrics.answered(status, time);
    }
}

impl Drop for Measure<'_> {
    fn drop(&mut self) {
        self.metrics.finished();
    }
}
