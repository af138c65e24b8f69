//! Takes connections in.

use std::{
    io,
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use rustix::net::sockopt::{set_socket_keepalive, set_tcp_keepidle, set_tcp_keepintvl, set_tcp_nodelay};
use tokio::net::TcpListener;

use super::{
    shared::Shared,
    workers::{Accepted, Workers},
};
use crate::config::Level;

/// How long a connection may be silent before the system asks whether the other end is still there.
const KEEPALIVE: Duration = Duration::from_secs(15);

/// How long to wait when the system refuses connections, mostly for want of file descriptors.
const BACKOFF: Duration = Duration::from_millis(50);

/// Listens. What is set here, connections inherit (tcp(7)), which saves four calls for each of them.
pub(super) async fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let listener = TcpListener::bind(address).await?;
    set_tcp_nodelay(&listener, true)?;
    set_socket_keepalive(&listener, true)?;
    set_tcp_keepidle(&listener, KEEPALIVE)?;
    set_tcp_keepintvl(&listener, KEEPALIVE)?;
    Ok(listener)
}

/// Hands connections to the workers, never more than there may be, until it is dropped.
pub(super) async fn accept(listener: &TcpListener, shared: &Shared, workers: &Workers) {
    loop {
        match take(listener).await {
            Ok(stream) => workers.serve(Accepted { stream, admitted: shared.connections.admit().await }),
            Err(error) => {
                shared.service.log.error(Level::ERROR, &format!("http: Accept error: {error}"));
                tokio::time::sleep(BACKOFF).await;
            }
        }
    }
}

async fn take(listener: &TcpListener) -> io::Result<TcpStream> {
    listener.accept().await?.0.into_std()
}
