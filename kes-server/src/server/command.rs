//! Commands for a running server, mostly by signals.

use std::io;

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::mpsc,
    time::{Instant, Interval, MissedTickBehavior, interval_at, sleep_until},
};

use super::{
    reload::{Cause, Reload, TLS_REFRESH},
    shared::Shared,
    supervisor::Supervisor,
    watch_files::Change,
};

/// A command for a running server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// Read the configuration again and serve what it says.
    Reload,
    /// End.
    Stop,
}

/// Commands from signals: SIGHUP reloads, SIGINT and SIGTERM stop. Call it before anything else: signals that come
/// earlier end the process, later ones wait until the server obeys. A file that may not grow any more is an error of the
/// call that writes it, not the end of the process, which is what SIGXFSZ makes of it where nobody takes it.
///
/// # Errors
/// If the system does not take the handlers.
pub fn signals() -> io::Result<mpsc::Receiver<Command>> {
    let (sender, commands) = mpsc::channel(1);
    drop(signal(SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw()))?);
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
    let Some(mut reload) = reload else { return obey_without_configuration(commands, shared).await };
    let mut refresh = interval_at(Instant::now() + TLS_REFRESH, TLS_REFRESH);
    refresh.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut next = None;
    loop {
        let event = match next.take() {
            Some(command) => Event::Told(command),
            None => event(&mut commands, &mut refresh, &mut reload).await,
        };
        let cause = match event {
            Event::Told(Command::Stop) => return,
            Event::Told(Command::Reload) => Cause::Signal,
            Event::Changed(Change::Configuration) => Cause::Change,
            Event::Again => Cause::Again,
            Event::Changed(Change::Tls) | Event::Due => {
                reload.refresh_tls(shared);
                continue;
            }
        };
        if cause == Cause::Signal {
            supervisor.reloading();
        }
        next = meanwhile(&mut commands, Box::pin(reload.reload(shared, cause))).await;
        if cause == Cause::Signal {
            supervisor.ready();
        }
    }
}

async fn event(commands: &mut mpsc::Receiver<Command>, refresh: &mut Interval, reload: &mut Reload) -> Event {
    let again = reload.again;
    let again = async || match again {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    };
    tokio::select! {
        command = commands.recv() => Event::Told(command.unwrap_or(Command::Stop)),
        _ = refresh.tick() => Event::Due,
        () = again() => Event::Again,
        change = reload.files.changed() => Event::Changed(change),
    }
}

async fn obey_without_configuration(mut commands: mpsc::Receiver<Command>, shared: &Shared) {
    while commands.recv().await == Some(Command::Reload) {
        shared.service.log.print_error("There is no configuration to reload.\n");
    }
}

/// What makes the server do something.
enum Event {
    Told(Command),
    /// It is time to read the certificate again.
    Due,
    /// It is time to try again.
    Again,
    Changed(Change),
}

/// Does work that may wait for a keystore, and takes commands meanwhile. It obeys a stop at once: the work is
/// dropped, and what it was to replace is still in force.
async fn meanwhile(
    commands: &mut mpsc::Receiver<Command>,
    mut work: impl Future<Output = ()> + Unpin,
) -> Option<Command> {
    let mut told = None;
    loop {
        tokio::select! {
            () = &mut work => return told,
            command = commands.recv() => match command {
                Some(Command::Reload) => told = Some(Command::Reload),
                Some(Command::Stop) | None => return Some(Command::Stop),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn work_that_waits_does_not_keep_a_server_from_stopping() {
        let (sender, mut commands) = mpsc::channel(2);
        assert_eq!(meanwhile(&mut commands, Box::pin(async {})).await, None);
        let work = Box::pin(async {
            sender.send(Command::Reload).await.unwrap();
            while sender.capacity() < 2 {
                tokio::task::yield_now().await;
            }
        });
        assert_eq!(meanwhile(&mut commands, work).await, Some(Command::Reload), "what comes meanwhile is not lost");
        sender.send(Command::Reload).await.unwrap();
        sender.send(Command::Stop).await.unwrap();
        assert_eq!(meanwhile(&mut commands, std::future::pending()).await, Some(Command::Stop));
    }
}
