//! What a running server is told to do, mostly by signals.

use std::io;

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::mpsc,
    time::{Instant, MissedTickBehavior, interval_at},
};

use super::{
    reload::{Cause, Reload, TLS_REFRESH},
    shared::Shared,
    supervisor::Supervisor,
    watch_files::{Change, WatchedFiles},
};

/// What a running server is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// Read the configuration again and serve what it says.
    Reload,
    /// End.
    Stop,
}

/// Commands from signals: SIGHUP reloads, SIGINT and SIGTERM stop. Call it before anything else: signals that come
/// earlier end the process, later ones wait until the server obeys.
///
/// # Errors
/// If the system does not take the handlers.
pub fn signals() -> io::Result<mpsc::Receiver<Command>> {
    let (sender, commands) = mpsc::channel(1);
    forward(signal(SignalKind::hangup())?, Command::Reload, sender.clone());
    forward(signal(SignalKind::interrupt())?, Command::Stop, sender.clone());
    forward(signal(SignalKind::terminate())?, Command::Stop, sender);
    Ok(commands)
}

fn forward(mut signal: Signal, command: Command, sender: mpsc::Sender<Command>) {
    tokio::spawn(async move {
        while signal.recv().await.is_some() {
            if sender.send(command).await.is_err() {
                return;
            }
        }
    });
}

/// Obeys until told to stop, or until nobody is left to tell it. Looks after the files in between.
pub(super) async fn obey(
    mut commands: mpsc::Receiver<Command>,
    reload: Option<Reload>,
    shared: &Shared,
    supervisor: &Supervisor,
) {
    let mut refresh = interval_at(Instant::now() + TLS_REFRESH, TLS_REFRESH);
    refresh.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut files = reload.as_ref().map(|reload| WatchedFiles::new(reload.files()));
    loop {
        let command = tokio::select! {
            command = commands.recv() => command,
            _ = refresh.tick() => {
                if let Some(reload) = &reload {
                    reload.refresh_tls(shared);
                }
                continue;
            }
            change = changed(files.as_mut()) => {
                if let Some(reload) = &reload {
                    match change {
                        Change::Configuration => reload.reload(shared, Cause::Change).await,
                        Change::Tls => reload.refresh_tls(shared),
                    }
                    files = Some(WatchedFiles::new(reload.files()));
                }
                continue;
            }
        };
        match (command, &reload) {
            (Some(Command::Reload), Some(reload)) => {
                supervisor.reloading();
                reload.reload(shared, Cause::Signal).await;
                supervisor.ready();
                files = Some(WatchedFiles::new(reload.files()));
            }
            (Some(Command::Reload), None) => shared.service.log.print_error("There is no configuration to reload.\n"),
            (Some(Command::Stop) | None, _) => return,
        }
    }
}

async fn changed(files: Option<&mut WatchedFiles>) -> Change {
    match files {
        Some(files) => files.changed().await,
        None => std::future::pending().await,
    }
}
