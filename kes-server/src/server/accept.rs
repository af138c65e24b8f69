//! Takes connections in, on a thread of its own: a reload reads files and computes, and nobody must wait for that.

use std::{
    io,
    net::{SocketAddr, TcpStream},
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};

use rustix::net::sockopt::{set_socket_keepalive, set_tcp_keepidle, set_tcp_keepintvl, set_tcp_nodelay};
use tokio::{net::TcpListener, runtime, sync::watch};

use super::{
    shared::Shared,
    watchdog::Beat,
    workers::{Accepted, Workers},
};
use crate::{config::Level, listen};

/// Connections that wait to be taken.
const BACKLOG: u32 = 1024;

/// How long a connection may be silent before the system asks whether the other end is still there.
const KEEPALIVE: Duration = Duration::from_secs(15);

/// How long to wait when the system refuses connections, mostly for want of file descriptors.
const BACKOFF: Duration = Duration::from_millis(50);

/// Listens. What is set here, connections inherit (tcp(7)), which saves four calls for each of them.
pub(super) fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let listener = listen::bind(address)?.listen(BACKLOG)?;
    set_tcp_nodelay(&listener, true)?;
    set_socket_keepalive(&listener, true)?;
    set_tcp_keepidle(&listener, KEEPALIVE)?;
    set_tcp_keepintvl(&listener, KEEPALIVE)?;
    Ok(listener)
}

/// The thread.
#[derive(Debug)]
pub(super) struct Acceptor {
    stop: watch::Sender<bool>,
    thread: JoinHandle<()>,
}

impl Acceptor {
    /// Starts to hand the connections of a listener to the workers. `beat` tells that it runs.
    pub(super) fn start(
        listener: TcpListener,
        shared: &Shared,
        workers: &Arc<Workers>,
        beat: Beat,
    ) -> io::Result<Self> {
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let listener = {
            let _within = runtime.enter();
            TcpListener::from_std(listener.into_std()?)?
        };
        let (stop, mut stopped) = watch::channel(false);
        let (shared, workers) = (shared.clone(), Arc::clone(workers));
        let thread = thread::Builder::new().name("kes-accept".into()).spawn(move || {
            runtime.block_on(async {
                tokio::spawn(beat.keep());
                tokio::select! {
                    () = accept(&listener, &shared, &workers) => {}
                    _ = stopped.wait_for(|stopped| *stopped) => {}
                }
            });
        })?;
        Ok(Self { stop, thread })
    }

    /// Ends it. When this returns, nobody listens any more.
    pub(super) fn stop(self) {
        self.stop.send_replace(true);
        // It waits for nothing else and does not panic.
        let _: thread::Result<()> = self.thread.join();
    }
}

/// Hands connections to the workers, never more than there may be, until it is dropped.
async fn accept(listener: &TcpListener, shared: &Shared, workers: &Workers) {
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
