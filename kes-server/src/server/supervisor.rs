//! Messages to the supervisor of the process, by systemd's protocol, `sd_notify(3)`: datagrams of `NAME=value` to
//! the socket that `NOTIFY_SOCKET` names, which may be abstract. Without it nothing is sent.

use std::{
    convert::Infallible,
    io,
    os::{linux::net::SocketAddrExt as _, unix::net},
    process,
    sync::Arc,
    time::Duration,
};

use rustix::time::{ClockId, clock_gettime};

use crate::keystore::Environment;

/// Whoever supervises the process.
#[derive(Debug, Clone)]
pub(crate) struct Supervisor {
    socket: Option<Arc<net::UnixDatagram>>,
    watchdog: Option<Duration>,
}

impl Supervisor {
    /// The one that the environment names. The server serves even if the socket cannot be reached.
    pub(crate) fn new(environment: &Environment) -> Self {
        let socket = environment.get("NOTIFY_SOCKET").and_then(|name| connect(&name).ok()).map(Arc::new);
        let is_ours = environment.get("WATCHDOG_PID").is_none_or(|id| id == process::id().to_string());
        let time = environment.get("WATCHDOG_USEC").and_then(|time| time.parse().ok()).map(Duration::from_micros);
        Self { socket, watchdog: time.filter(|time| is_ours && !time.is_zero()) }
    }

    /// How often at least it must hear that the server is alive, if at all.
    pub(crate) fn watchdog(&self) -> Option<Duration> {
        self.watchdog
    }

    /// The server answers.
    pub(crate) fn ready(&self) {
        self.tell("READY=1");
    }

    /// The configuration is being read again; [`Self::ready`] ends it.
    pub(crate) fn reloading(&self) {
        let now = clock_gettime(ClockId::Monotonic);
        self.tell(&format!("RELOADING=1\nMONOTONIC_USEC={}", now.tv_sec * 1_000_000 + now.tv_nsec / 1_000));
    }

    /// The server is about to end.
    pub(crate) fn stopping(&self) {
        self.tell("STOPPING=1");
    }

    /// The server is alive.
    pub(crate) fn alive(&self) {
        self.tell("WATCHDOG=1");
    }

    /// Tells it forever that the runtime of the caller runs, twice within its time.
    pub(crate) async fn reassure(&self) -> Infallible {
        let Some(expected) = self.watchdog else { return std::future::pending().await };
        let mut ticks = tokio::time::interval(expected / 2);
        loop {
            ticks.tick().await;
            self.alive();
        }
    }

    fn tell(&self, what: &str) {
        if let Some(socket) = &self.socket {
            // The server serves even if nobody listens.
            let _: io::Result<usize> = socket.send(what.as_bytes());
        }
    }
}

fn connect(name: &str) -> io::Result<net::UnixDatagram> {
    let address = match name.strip_prefix('@') {
        Some(name) => net::SocketAddr::from_abstract_name(name)?,
        None => net::SocketAddr::from_pathname(name)?,
    };
    let socket = net::UnixDatagram::unbound()?;
    socket.connect_addr(&address)?;
    // a supervisor that does not read must not hold up a server
    socket.set_nonblocking(true)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_told_at_a_path_and_under_an_abstract_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify").to_str().unwrap().to_owned();
        let name = format!("kes-test-{}", process::id());
        let sockets = [
            (path.clone(), net::UnixDatagram::bind(&path).unwrap()),
            (
                format!("@{name}"),
                net::UnixDatagram::bind_addr(&net::SocketAddr::from_abstract_name(&name).unwrap()).unwrap(),
            ),
        ];
        for (address, socket) in sockets {
            let environment = Environment::new(move |name| match name {
                "NOTIFY_SOCKET" => Some(address.clone()),
                "WATCHDOG_USEC" => Some("3000000".into()),
                _ => None,
            });
            let supervisor = Supervisor::new(&environment);
            supervisor.ready();
            let mut message = [0; 64];
            let length = socket.recv(&mut message).unwrap();
            assert_eq!(message.get(..length), Some(b"READY=1".as_slice()));
            assert_eq!(supervisor.watchdog(), Some(Duration::from_secs(3)));
        }
        assert_eq!(Supervisor::new(&Environment::empty()).watchdog(), None);
    }
}
