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

/// The commands for a server, and one that came while it had no time for it.
pub(super) struct Inbox {
    commands: mpsc::Receiver<Command>,
    kept: Option<Command>,
}

impl Inbox {
    pub(super) fn new(commands: mpsc::Receiver<Command>) -> Self {
        Self { commands, kept: None }
    }

    /// The next one; if nobody is left to give any, it is to stop.
    async fn next(&mut self) -> Command {
        match self.kept.take() {
            Some(kept) => kept,
            None => self.commands.recv().await.unwrap_or(Command::Stop),
        }
    }

    /// Does work that may wait for a keystore, and takes commands meanwhile. It obeys a stop at once, with `None`: the
    /// work is dropped, and what it was to replace is still in force.
    pub(super) async fn meanwhile<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
        let mut work = Box::pin(work);
        loop {
            tokio::select! {
                done = &mut work => return Some(done),
                command = self.commands.recv() => match command {
                    Some(Command::Reload) => self.kept = Some(Command::Reload),
                    Some(Command::Stop) | None => return None,
                },
            }
        }
    }
}

/// Obeys until told to stop, or until nobody is left to tell it. Looks after the files in between.
pub(super) async fn obey(mut inbox: Inbox, reload: Option<Reload>, shared: &Shared, supervisor: &Supervisor) {
    let Some(mut reload) = reload else { return obey_without_configuration(inbox, shared).await };
    let mut refresh = interval_at(Instant::now() + TLS_REFRESH, TLS_REFRESH);
    refresh.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let cause = match event(&mut inbox, &mut refresh, &mut reload).await {
            Event::Told(Command::Stop) => return,
            Event::Told(Command::Reload) => Cause::Signal,
            Event::Changed(Change::Configuration) => Cause::Change,
            Event::Again => Cause::Again,
            Event::Changed(Change::Tls) | Event::Due if !reload.is_in_force() => Cause::Refused,
            Event::Changed(Change::Tls) | Event::Due => {
                reload.refresh_tls(shared);
                continue;
            }
        };
        if cause == Cause::Signal {
            supervisor.reloading();
        }
        if inbox.meanwhile(reload.reload(shared, cause)).await.is_none() {
            return;
        }
        if cause == Cause::Signal {
            supervisor.ready();
        }
    }
}

async fn event(inbox: &mut Inbox, refresh: &mut Interval, reload: &mut Reload) -> Event {
    let again = reload.again;
    let again = async || match again {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    };
    tokio::select! {
        command = inbox.next() => Event::Told(command),
        _ = refresh.tick() => Event::Due,
        () = again() => Event::Again,
        change = reload.files.changed() => Event::Changed(change),
    }
}

async fn obey_without_configuration(mut inbox: Inbox, shared: &Shared) {
    while inbox.next().await == Command::Reload {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn work_that_waits_does_not_keep_a_server_from_stopping() {
        let (sender, commands) = mpsc::channel(2);
        let mut inbox = Inbox::new(commands);
        assert_eq!(inbox.meanwhile(async { "done" }).await, Some("done"));
        let work = async {
            sender.send(Command::Reload).await.unwrap();
            while sender.capacity() < 2 {
                tokio::task::yield_now().await;
            }
        };
        assert_eq!(inbox.meanwhile(work).await, Some(()));
        assert_eq!(inbox.next().await, Command::Reload, "what comes meanwhile is not lost");
        sender.send(Command::Reload).await.unwrap();
        sender.send(Command::Stop).await.unwrap();
        assert_eq!(inbox.meanwhile(std::future::pending::<()>()).await, None);
    }
}
