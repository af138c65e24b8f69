//! The ports of S3 and of the console. They are taken at the start, so that nobody else gets them, and open when everything
//! is in force; from then on each connection is passed on to MinIO as it is (docs/architecture.md §4.3).

use std::cell::RefCell;
use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr, ToSocketAddrs as _};
use std::time::Duration;

use kes_server::listen;
use rustix::net::{Shutdown, shutdown, sockopt};
use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;

use super::arguments::port;
use crate::error::Error;

/// Connections that wait to be taken.
const BACKLOG: u32 = 4096;
/// Most bytes that are passed on at a time.
const CHUNK: usize = 256 << 10;
/// How long nothing is taken after the system refused a connection, as when all files are open.
const PAUSE: Duration = Duration::from_millis(50);
/// How soon it is looked again whether the server listens; none starts as fast.
const LOOK: Duration = Duration::from_millis(5);

thread_local! {
    /// Every connection of a thread passes through the same memory: an idle one costs nothing.
    static MEMORY: RefCell<Box<[u8]>> = RefCell::new(vec![0; CHUNK].into_boxed_slice());
}

/// The port, taken and still closed: nobody can connect.
#[derive(Debug)]
pub(super) struct Gate {
    sockets: Vec<TcpSocket>,
    flag: &'static str,
    address: String,
}

/// The port while the program serves.
#[derive(Debug)]
pub(super) struct Door {
    is_open: watch::Sender<bool>,
    inner: SocketAddr,
}

impl Gate {
    /// Takes the port of `address`, which the option `flag` chooses.
    ///
    /// # Errors
    /// [`Error::Environment`] if it is taken, or the address is not one of this machine.
    pub(super) fn reserve(flag: &'static str, address: &str) -> Result<Self, Error> {
        let refused = |error: io::Error| refused(flag, address, &error);
        let mut sockets = Vec::new();
        let mut last = None;
        for wanted in addresses(address).map_err(refused)? {
            match listen::bind(wanted) {
                Ok(socket) => sockets.push(socket),
                Err(error) if error.kind() == ErrorKind::AddrInUse => return Err(refused(error)),
                Err(error) => last = Some(error),
            }
        }
        match last {
            Some(error) if sockets.is_empty() => Err(refused(error)),
            _ => Ok(Self { sockets, flag, address: address.to_owned() }),
        }
    }

    /// Where this machine finds it.
    pub(super) fn reachable(&self) -> SocketAddr {
        let bound = self.sockets.first().and_then(|socket| socket.local_addr().ok());
        bound.map_or_else(
            || SocketAddr::from(([127, 0, 0, 1], port(&self.address).unwrap_or_default())),
            on_this_machine,
        )
    }

    /// Opens it: connections are passed on to `inner` as long as the program runs and the door is open.
    ///
    /// # Errors
    /// [`Error::Environment`] if somebody else listens meanwhile.
    pub(super) fn open(self, inner: SocketAddr) -> Result<Door, Error> {
        let door = Door { is_open: watch::channel(true).0, inner };
        self.listen(inner, &door.is_open.subscribe())?;
        Ok(door)
    }

    fn listen(self, inner: SocketAddr, is_open: &watch::Receiver<bool>) -> Result<(), Error> {
        for socket in self.sockets {
            let listener = socket.listen(BACKLOG).map_err(|error| refused(self.flag, &self.address, &error))?;
            tokio::spawn(serve(listener, inner, is_open.clone()));
        }
        Ok(())
    }
}

impl Door {
    /// Opens a second gate as soon as the server listens on `inner` too. Both let clients in at the same times.
    pub(super) fn opens_too(&self, gate: Gate, inner: SocketAddr) {
        let is_open = self.is_open.subscribe();
        tokio::spawn(async move {
            while TcpStream::connect(inner).await.is_err() {
                tokio::time::sleep(LOOK).await;
            }
            if let Err(error) = gate.listen(inner, &is_open) {
                tracing::warn!("the console is not available: {error}");
            }
        });
    }

    /// Waits until the server behind the gate listens no more, and lets nobody in from then on. A server that starts
    /// itself again, as MinIO does when its admin API asks for it, has not read all of its settings at first.
    pub(super) async fn lost(&self) {
        while let Ok(mut connection) = TcpStream::connect(self.inner).await {
            // it ends when the server does, or has waited for a request long enough
            let mut rest = [0; 64];
            while matches!(connection.read(&mut rest).await, Ok(1..)) {}
            tokio::time::sleep(LOOK).await;
        }
        self.is_open.send_replace(false);
    }

    /// Lets clients in again.
    pub(super) fn found(&self) {
        self.is_open.send_replace(true);
    }
}

/// Where this machine finds a server that listens on `address`; `None` if that is none.
pub(super) fn reachable(address: &str) -> Option<SocketAddr> {
    addresses(address).ok()?.first().copied().map(on_this_machine)
}

fn on_this_machine(address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() { ([127, 0, 0, 1], address.port()).into() } else { address }
}

fn refused(flag: &str, address: &str, error: &io::Error) -> Error {
    let hint = match error.kind() {
        ErrorKind::AddrInUse => {
            format!("end the program that uses it (`ss -ltnp` shows it), or choose another port with `{flag}`")
        }
        ErrorKind::PermissionDenied => {
            format!("without root only ports from 1024 on are available: choose one with `{flag}`")
        }
        _ => format!("choose an address of this machine with `{flag}`, such as `:9000`"),
    };
    Error::Environment { what: format!("cannot listen on '{address}': {error}"), hint }
}

/// The addresses that a host and a port stand for; without a host all of this machine.
fn addresses(address: &str) -> io::Result<Vec<SocketAddr>> {
    let port = port(address).ok_or(ErrorKind::InvalidInput)?;
    if address.starts_with(':') {
        return Ok(vec![(Ipv4Addr::UNSPECIFIED, port).into()]);
    }
    Ok(address.to_socket_addrs()?.collect())
}

async fn serve(listener: TcpListener, inner: SocketAddr, is_open: watch::Receiver<bool>) {
    loop {
        match listener.accept().await {
            Ok(_) if !*is_open.borrow() => {}
            Ok((client, _)) => {
                tokio::spawn(async move {
                    let passed = connect(&client, inner).await;
                    tracing::trace!(?passed, "a connection ended");
                });
            }
            Err(error) => {
                tracing::debug!(%error, "a connection is refused");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

async fn connect(client: &TcpStream, inner: SocketAddr) -> io::Result<()> {
    let server = TcpStream::connect(inner).await?;
    // a client that vanished without a word does not hold its connection
    sockopt::set_socket_keepalive(client, true)?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    tokio::try_join!(pump(client, &server), pump(&server, client)).map(drop)
}

/// Passes bytes on until the end, and then the end.
async fn pump(from: &TcpStream, to: &TcpStream) -> io::Result<()> {
    loop {
        from.readable().await?;
        let left = match MEMORY.with_borrow_mut(|memory| pass(from, to, memory)) {
            Ok(Some(left)) => left,
            Ok(None) => return Ok(shutdown(to, Shutdown::Write)?),
            Err(error) if error.kind() == ErrorKind::WouldBlock => continue,
            Err(error) => return Err(error),
        };
        let mut rest = left.as_slice();
        while !rest.is_empty() {
            to.writable().await?;
            match to.try_write(rest) {
                Ok(count) => rest = rest.get(count..).unwrap_or_default(),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// Passes on what is there, and returns the bytes that the other side does not take yet; `None` at the end.
fn pass(from: &TcpStream, to: &TcpStream, memory: &mut [u8]) -> io::Result<Option<Vec<u8>>> {
    let count = from.try_read(memory)?;
    let mut rest = memory.get(..count).unwrap_or_default();
    if rest.is_empty() {
        return Ok(None);
    }
    while !rest.is_empty() {
        match to.try_write(rest) {
            Ok(count) => rest = rest.get(count..).unwrap_or_default(),
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => return Err(error),
        }
    }
    Ok(Some(rest.to_vec()))
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt as _;

    use super::*;

    async fn echo() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let mut all = Vec::new();
                    client.read_to_end(&mut all).await.unwrap();
                    client.write_all(&all).await.unwrap();
                });
            }
        });
        address
    }

    fn free() -> String {
        std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
    }

    #[tokio::test]
    async fn nobody_connects_before_it_opens_and_nothing_is_lost_after() {
        let address = free();
        let gate = Gate::reserve("--address", &address).unwrap();
        let refused = TcpStream::connect(&address).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        assert_eq!(gate.reachable().to_string(), address);
        gate.open(echo().await).unwrap();
        let sent: Vec<u8> = (0..3_000_000_u32).map(|number| number.to_le_bytes()[1]).collect();
        let clients = (0..4).map(|_| async {
            let mut client = TcpStream::connect(&address).await.unwrap();
            client.write_all(&sent).await.unwrap();
            client.shutdown().await.unwrap();
            let mut received = Vec::new();
            client.read_to_end(&mut received).await.unwrap();
            assert!(received == sent);
        });
        futures_util::future::join_all(clients).await;
    }

    #[tokio::test]
    async fn nobody_gets_in_while_the_server_starts_again() {
        let (address, inner) = (free(), free());
        let server = TcpListener::bind(&inner).await.unwrap();
        let door = Gate::reserve("--address", &address).unwrap().open(inner.parse().unwrap()).unwrap();
        let watched = tokio::time::timeout(Duration::from_millis(50), door.lost()).await;
        assert!(watched.is_err(), "the server listens");
        drop(server);
        door.lost().await;
        let server = TcpListener::bind(&inner).await.unwrap();
        let mut client = TcpStream::connect(&address).await.unwrap();
        assert_eq!(client.read(&mut [0; 1]).await.unwrap_or_default(), 0, "turned away");
        door.found();
        let mut client = TcpStream::connect(&address).await.unwrap();
        let (mut other, _) = server.accept().await.unwrap();
        client.write_all(b"x").await.unwrap();
        assert_eq!(other.read(&mut [0; 1]).await.unwrap(), 1);
    }

    #[tokio::test]
    async fn a_second_gate_opens_with_its_server_and_closes_with_the_first() {
        let (address, console, inner) = (free(), free(), free());
        let server = echo().await;
        let door = Gate::reserve("--address", &address).unwrap().open(server).unwrap();
        let gate = Gate::reserve("--console-address", &console).unwrap();
        door.opens_too(gate, inner.parse().unwrap());
        tokio::time::sleep(Duration::from_millis(30)).await;
        assert_eq!(TcpStream::connect(&console).await.unwrap_err().kind(), ErrorKind::ConnectionRefused);
        let listener = TcpListener::bind(&inner).await.unwrap();
        let connected = async {
            loop {
                match TcpStream::connect(&console).await {
                    Ok(client) => return client,
                    Err(_) => tokio::task::yield_now().await,
                }
            }
        };
        let mut client = tokio::time::timeout(Duration::from_secs(10), connected).await.unwrap();
        client.write_all(b"x").await.unwrap();
        let mut heard = [0; 1];
        while heard != *b"x" {
            // the first connection only looked
            let (mut other, _) = listener.accept().await.unwrap();
            let _ = other.read(&mut heard).await;
        }
        door.is_open.send_replace(false);
        let mut client = TcpStream::connect(&console).await.unwrap();
        assert_eq!(client.read(&mut [0; 1]).await.unwrap_or_default(), 0, "turned away");
    }

    #[tokio::test]
    async fn a_taken_port_is_refused_at_once() {
        let holder = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = holder.local_addr().unwrap().to_string();
        let error = Gate::reserve("--address", &address).unwrap_err();
        assert!(error.exit_code() == 6 && error.to_string().contains("--address"), "{error}");
        assert_eq!(Gate::reserve("--address", "192.0.2.77:9000").unwrap_err().exit_code(), 6);
    }

    #[tokio::test]
    async fn without_a_host_both_families_reach_it() {
        let port = free().rsplit_once(':').unwrap().1.to_owned();
        let gate = Gate::reserve("--address", &format!(":{port}")).unwrap();
        assert_eq!(gate.reachable().to_string(), format!("127.0.0.1:{port}"));
        gate.open(echo().await).unwrap();
        for host in ["127.0.0.1", "[::1]"] {
            TcpStream::connect(format!("{host}:{port}")).await.unwrap();
        }
    }
}
