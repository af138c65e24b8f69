//! One connection: handshake, then HTTP/1.1 or HTTP/2, until it ends, is idle for too long, or the server drains.

use std::{
    convert::Infallible,
    io,
    net::SocketAddr,
    pin::{Pin, pin},
    sync::Arc,
    time::Duration,
};

use http::{Request, Response};
use hyper::{
    body::Incoming,
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::ServerConfig;
use tokio::{io::AsyncWriteExt as _, net::TcpStream, sync::watch, time::timeout};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::{
    activity::{Activity, InFlight, Standing},
    answer::Answer,
    connections::Admitted,
    peer,
    shared::Shared,
    trust::Admission,
    upload::Upload,
    watched::Watched,
};
use crate::api::{self, Peer, Service};

/// How long a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(5);

/// How long a connection that is being closed may take to send what is left.
const CLOSE: Duration = Duration::from_secs(1);

/// How often a silent HTTP/2 client is asked whether it is still there.
const PING: Duration = Duration::from_secs(30);

/// What a client gets that does not speak TLS.
const NOT_TLS: &[u8] = b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n";

/// What a connection may ask for.
struct Limits {
    /// Bytes of a request's head.
    head: u32,
    /// Requests at a time over HTTP/2.
    streams: u32,
    /// Bytes that a client may send before the server takes them, over HTTP/2: for one request and for all.
    window: (u32, u32),
}

/// For clients that the configuration knows. Busy ones send hundreds of requests at a time: as many as MinIO KES
/// takes. A body that waits for memory leaves its window closed: all of those that may wait are less than the second.
const KNOWN: Limits = Limits { head: 64 << 10, streams: 250, window: (32 << 10, 256 << 10) };

/// For strangers, which are refused most of what they ask for.
const STRANGER: Limits = Limits { head: 16 << 10, streams: 16, window: (16 << 10, 64 << 10) };

type Stream = TokioIo<Watched<TlsStream<TcpStream>>>;

/// Serves a connection to its end.
pub(super) async fn serve(stream: TcpStream, shared: &Shared, admitted: &Admitted) {
    let Ok(address) = stream.peer_addr() else { return };
    // one who came by IPv4 to a socket of both families
    let address = SocketAddr::new(address.ip().to_canonical(), address.port());
    let mut terms = shared.tls.subscribe();
    let tls = Arc::clone(&terms.borrow_and_update().handshake);
    let stream = match timeout(HANDSHAKE, handshake(stream, tls, &admitted.activity)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return refused(shared, address, &error),
        Err(_) => return refused(shared, address, &io::Error::other("i/o timeout")),
    };
    let (_, tls) = stream.get_ref();
    let identity = peer::identify(tls.peer_certificates().unwrap_or_default());
    let admission = Admission::new(address, terms, tls);
    admitted.identify(identity.as_ref().ok(), |identity| shared.service.state().knows(identity));
    let activity = &admitted.activity;
    let is_known = activity.standing() == Standing::Known;
    if let (true, Ok(identity), Some(end)) = (is_known, &identity, admission.last_second()) {
        shared.service.seen.saw(identity, end);
    }
    let limits = if is_known { &KNOWN } else { &STRANGER };
    let peer = Peer::new(&shared.service, address.ip(), identity);
    let is_http2 = tls.alpn_protocol() == Some(b"h2");
    activity.begin(!is_http2);
    let io = TokioIo::new(Watched::new(stream, Arc::clone(activity)));
    let client =
        Arc::new(Client { service: Arc::clone(&shared.service), peer, admission, activity: Arc::clone(activity) });
    if is_http2 { http2(io, client, limits).await } else { http1(io, client, limits).await }
}

async fn handshake(stream: TcpStream, tls: Arc<ServerConfig>, activity: &Activity) -> io::Result<TlsStream<TcpStream>> {
    let mut first = [0];
    stream.peek(&mut first).await?;
    activity.spoke();
    if first[0].is_ascii_uppercase() {
        return Err(answer_plain(stream)
            .await
            .err()
            .unwrap_or_else(|| io::Error::other("client sent an HTTP request to an HTTPS server")));
    }
    TlsAcceptor::from(tls).accept(stream).await
}

async fn answer_plain(mut stream: TcpStream) -> io::Result<()> {
    stream.write_all(NOT_TLS).await?;
    stream.shutdown().await
}

fn refused(shared: &Shared, address: SocketAddr, error: &io::Error) {
    let reason = error.get_ref().and_then(|error| error.downcast_ref());
    // who has none may be a probe
    if let Some(rustls::Error::InvalidCertificate(_)) = reason {
        shared.service.metrics.refused_handshake();
    }
    shared.service.log.handshake_error(address, &error.to_string());
}

async fn http1(io: Stream, client: Arc<Client>, limits: &Limits) {
    let service = service_fn(|request| respond(&client, request));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(None)
        .max_buf_size(limits.head as usize)
        .serve_connection(io, service);
    watch(pin!(connection), &client).await;
}

async fn http2(io: Stream, client: Arc<Client>, limits: &Limits) {
    // in a place of its own, which is given back before the answer waits for its client
    let service = service_fn(|request| Box::pin(respond(&client, request)));
    let connection = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .keep_alive_interval(PING)
        .max_concurrent_streams(limits.streams)
        .max_header_list_size(limits.head)
        .initial_stream_window_size(limits.window.0)
        .initial_connection_window_size(limits.window.1)
        .serve_connection(io, service);
    watch(pin!(connection), &client).await;
}

/// A connection that can be asked to end after its present requests.
trait Close: Future<Output = hyper::Result<()>> {
    fn close(self: Pin<&mut Self>);
}

impl<S> Close for http1::Connection<Stream, S>
where
    S: hyper::service::HttpService<Incoming, ResBody = Answer, Error = Infallible>,
{
    fn close(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

impl<S> Close for http2::Connection<Stream, S, TokioExecutor>
where
    S: hyper::service::HttpService<Incoming, ResBody = Answer, Error = Infallible>,
    TokioExecutor: hyper::rt::bounds::Http2ServerConnExec<S::Future, Answer>,
{
    fn close(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

/// Drives a connection until it ends. One that is idle, or that the server wants to end, is closed: what is being
/// served is still answered. Errors of a connection are its client's business.
async fn watch(mut connection: Pin<&mut impl Close>, client: &Client) {
    let mut draining = client.service.draining.clone();
    tokio::select! {
        biased;
        _ = connection.as_mut() => return,
        () = expired(&client.activity) => {}
        // the next one has other limits
        () = client.activity.promoted() => {}
        refusal = client.admission.over() => {
            let reason = format!("the certificate of an open connection is not accepted any more: {refusal}");
            client.service.log.handshake_error(client.admission.address, &reason);
        }
        () = drained(&mut draining) => {}
    }
    connection.as_mut().close();
    let _: Result<_, tokio::time::error::Elapsed> = timeout(CLOSE, connection).await;
}

/// Waits until a connection is of no use any more.
async fn expired(activity: &Activity) {
    loop {
        let left = activity.time_left();
        if left.is_zero() {
            return;
        }
        tokio::time::sleep(left).await;
    }
}

async fn drained(draining: &mut watch::Receiver<bool>) {
    // The sender lives as long as the server.
    let _: Result<_, watch::error::RecvError> = draining.wait_for(|draining| *draining).await;
}

/// Who is served, and by what.
struct Client {
    service: Arc<Service>,
    peer: Peer,
    admission: Admission,
    activity: Arc<Activity>,
}

/// Serves a request. It counts from now on, not only when its task first runs: a client may send hundreds of requests
/// before that.
fn respond(
    client: &Arc<Client>,
    request: Request<Incoming>,
) -> impl Future<Output = Result<Response<Answer>, Infallible>> + use<> {
    let in_flight = client.activity.request(head_size(&request));
    answer(Arc::clone(client), request, in_flight)
}

async fn answer(
    client: Arc<Client>,
    request: Request<Incoming>,
    in_flight: InFlight,
) -> Result<Response<Answer>, Infallible> {
    if client.activity.has_had_its_turn() {
        tokio::task::yield_now().await;
    }
    if client.activity.are_full() {
        Box::pin(client.activity.room()).await;
    }
    let request = request.map(|body| Upload::new(body, &client.activity));
    let reply = api::handle(&client.service, &client.peer, request).await;
    Ok(reply.map(|body| Answer::new(body, in_flight)))
}

/// Bytes of what a client chooses in the head of a request.
fn head_size(request: &Request<Incoming>) -> usize {
    let target = request.uri().path_and_query().map_or(0, |target| target.as_str().len());
    request.headers().iter().fold(target, |sum, (name, value)| sum + name.as_str().len() + value.len())
}
