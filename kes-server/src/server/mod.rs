//! The server: listen, speak TLS, hand requests to the API, reload, drain (docs/kes-protocol.md §2, §4.6).
//!
//! [`run`] is the complete server. One thread takes connections in and spreads them over [`workers`], one thread each,
//! so that a request never crosses threads. What a configuration says is one value that a reload swaps; connections that are open keep their
//! certificate, requests that run keep their state.

mod accept;
mod activity;
mod answer;
mod banner;
mod command;
mod connection;
mod connections;
mod dev;
mod explained;
mod holding;
pub(crate) mod key_pair;
mod material;
pub(crate) mod peer;
mod reload;
mod shared;
mod supervisor;
mod tls;
mod trust;
mod upload;
mod verify;
mod watch_files;
mod watchdog;
mod watched;
mod workers;

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use tokio::sync::{mpsc, oneshot, watch};

pub(crate) use self::supervisor::Supervisor;
use self::{
    accept::Acceptor,
    command::Inbox,
    material::Material,
    shared::{Frame, Shared},
    watchdog::{Beat, Watchdog},
    workers::Workers,
};
pub use self::{
    command::{Command, signals},
    key_pair::KeyPairError,
    material::MaterialError,
    reload::Reload,
    tls::TlsError,
};
pub use crate::log::Sink;
use crate::{
    auth::{ApiKey, Identity},
    config::{Config, TlsConfig},
    keystore::{Environment, Patience},
};

/// How long requests that run may take to end when the server stops.
const DRAIN: Duration = Duration::from_secs(1);

/// The last words of a server that stops.
const GOODBYE: &str = "\n=> Stopping server... Goodbye.\n";

/// The needs of a server in addition to its configuration.
pub struct ServeOptions {
    /// Standard output: banner and audit log.
    pub stdout: Sink,
    /// Standard error: error log.
    pub stderr: Sink,
    /// Release, as `/version` tells it.
    pub version: &'static str,
    /// Commit, as `/version` tells it.
    pub commit: &'static str,
    /// The environment in which keystores of clouds look for credentials.
    pub environment: Environment,
    /// The reaction if the keystore cannot be reached at start.
    pub patience: Patience,
    /// Reads the configuration again; without it the server does not reload.
    pub reload: Option<Reload>,
    /// Gets the address once the server listens.
    pub listening: Option<oneshot::Sender<SocketAddr>>,
}

/// Why a server does not start.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Certificate, keystore or keys of the configuration.
    #[error(transparent)]
    Material(#[from] MaterialError),
    /// The address cannot be listened on.
    #[error("listen tcp {address}: bind: {}", crate::server::reason(source))]
    Listen {
        /// Which address.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// A thread or a runtime cannot be started.
    #[error("cannot start a worker: {0}")]
    Worker(io::Error),
    /// The metrics contradict each other.
    #[error("cannot set up metrics: {0}")]
    Metrics(#[from] prometheus::Error),
}

/// Serves a configuration until a command stops it, also while it waits for its keystore to start. Returns when all
/// requests have ended, after a second at most.
pub async fn run(config: Config, options: ServeOptions, commands: mpsc::Receiver<Command>) -> Result<(), ServeError> {
    let (mut frame, mut inbox) = (Frame::new(options)?, Inbox::new(commands));
    if let Some(reload) = &mut frame.reload {
        reload.follow(&config);
    }
    let Some(material) = inbox.meanwhile(Material::load(config, &frame.around, None)).await else {
        frame.around.log.print(GOODBYE);
        return Ok(());
    };
    serve(material?, frame, inbox, None).await
}

/// Serves nothing but memory, with a certificate and an admin of its own, until a command stops it.
pub async fn run_dev(
    address: Option<SocketAddr>,
    options: ServeOptions,
    commands: mpsc::Receiver<Command>,
) -> Result<(), ServeError> {
    let (material, api_key) = dev::material(address)?;
    serve(material, Frame::new(options)?, Inbox::new(commands), Some(&api_key)).await
}

/// Serves nothing but memory, with the certificate of these files and this admin, until a command stops it.
pub async fn run_volatile(
    address: Option<SocketAddr>,
    admin: Identity,
    files: TlsConfig,
    options: ServeOptions,
    commands: mpsc::Receiver<Command>,
) -> Result<(), ServeError> {
    let material = dev::volatile(address, admin, files)?;
    serve(material, Frame::new(options)?, Inbox::new(commands), None).await
}

async fn serve(
    material: Material,
    mut frame: Frame,
    mut inbox: Inbox,
    api_key: Option<&ApiKey>,
) -> Result<(), ServeError> {
    let (reload, listening) = (frame.reload.take(), frame.listening.take());
    let supervisor = Supervisor::new(&frame.around.environment);
    let (drain, draining) = watch::channel(false);
    let (address, log) = (material.config.address, Arc::clone(&frame.around.log));
    let Some(shared) = inbox.meanwhile(Shared::start(material, frame, draining, api_key)).await else {
        log.print(GOODBYE);
        return Ok(());
    };
    let shared = shared?;
    let listener = accept::listen(address).map_err(|source| ServeError::Listen { address, source })?;
    let address = listener.local_addr();
    let workers = Arc::new(Workers::start(&shared).map_err(ServeError::Worker)?);
    let beat = Beat::new();
    let beats = [workers.beats(), vec![beat.clone()]].concat();
    let watchdog = Watchdog::start(beats, supervisor.clone(), &shared.service.log).map_err(ServeError::Worker)?;
    let acceptor = Acceptor::start(listener, &shared, &workers, beat).map_err(ServeError::Worker)?;
    if let (Some(listening), Ok(address)) = (listening, address) {
        // Nobody waits for it any more: that is the caller's choice.
        let _: Result<(), SocketAddr> = listening.send(address);
    }
    supervisor.ready();
    tokio::select! {
        () = shared.connections.end_stalled() => {}
        () = shared.connections.keep_room() => {}
        () = command::obey(inbox, reload, &shared, &supervisor) => {}
        () = shared.service.log.keep_count() => {}
    }
    supervisor.stopping();
    acceptor.stop();
    drop(watchdog);
    drain.send_replace(true);
    // Whoever has not ended by then is cut off.
    let _: Result<(), tokio::time::error::Elapsed> = tokio::time::timeout(DRAIN, shared.connections.idle()).await;
    workers.stop();
    log.finish_count();
    log.print(GOODBYE);
    Ok(())
}

/// The system's word for an error, without Rust's addition of its number.
fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => "address already in use".into(),
        io::ErrorKind::AddrNotAvailable => "cannot assign requested address".into(),
        io::ErrorKind::PermissionDenied => "permission denied".into(),
        _ => error.to_string(),
    }
}
