//! Connections: bounded in number, in the time until a request has come or a byte of an answer is taken, and in what they may
//! say before its body.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::body::Incoming;
use hyper::server::conn::http1::Builder;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_io_timeout::TimeoutStream;
use tower_service::Service as _;

use super::places::{self, Place, Places};
use crate::error::Error;

/// How long a request's head may take, and how long an idle connection stays.
const HEAD: Duration = Duration::from_secs(30);
/// How long a caller may take nothing of an answer.
const STALL: Duration = Duration::from_secs(60);
/// Most bytes of a request's head.
const LARGEST: usize = 64 << 10;
/// How long nothing is taken after the system refused a connection, as when all files are open.
const PAUSE: Duration = Duration::from_millis(50);
/// How long connections may take to end.
const GRACE: Duration = Duration::from_secs(5);

/// Serves until `ended`, then waits for the calls that run, and then for their answers.
///
/// # Errors
/// Those of `ended`.
pub(super) async fn serve(
    listener: TcpListener,
    router: Router,
    ended: impl Future<Output = Result<(), Error>>,
    calls: impl Future<Output = ()>,
) -> Result<(), Error> {
    let graceful = GracefulShutdown::new();
    let ended = tokio::select! {
        ended = ended => ended,
        () = accept(&listener, &router, &graceful) => Ok(()),
    };
    drop(listener);
    calls.await;
    let _ = tokio::time::timeout(GRACE, graceful.shutdown()).await;
    ended
}

async fn accept(listener: &TcpListener, router: &Router, graceful: &GracefulShutdown) {
    let (room, places) = (Arc::new(Semaphore::new(places::ALL)), Arc::default());
    while let Ok(permit) = Arc::clone(&room).acquire_owned().await {
        match listener.accept().await {
            Ok((stream, _)) => take(stream, router.clone(), graceful, (permit, Places::take(&places))),
            Err(error) => {
                tracing::debug!(%error, "a connection is refused");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// Serves one connection, until it ends or loses its place.
fn take(
    stream: TcpStream,
    router: Router,
    graceful: &GracefulShutdown,
    (permit, place): (OwnedSemaphorePermit, Place),
) {
    let _ = stream.set_nodelay(true);
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(STALL));
    let asked = place.clone();
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        // whoever lets the request in says so
        request.extensions_mut().insert(asked.clone());
        router.clone().call(request)
    });
    let connection = Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(LARGEST)
        .serve_connection(TokioIo::new(Box::pin(stream)), service);
    let connection = graceful.watch(connection);
    tokio::spawn(async move {
        tokio::select! {
            ended = connection => tracing::trace!(?ended, "a connection ended"),
            () = place.lost() => tracing::debug!("a connection of a stranger makes room for another one"),
        }
        place.no_stranger();
        drop(permit);
    });
}
