//! The host ports of a stack.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener, TcpStream};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::time::Duration;

use crate::engine::PortMapping;
use crate::error::Error;
use crate::manifest::{Manifest, PortChoice};
use crate::resource::probe;

/// Ports inside the pod.
pub(crate) const KES_PORT: u16 = 7373;
pub(crate) const S3_PORT: u16 = 9000;
pub(crate) const CONSOLE_PORT: u16 = 9001;

/// First and last port tried where the manifest says 0. Below the ephemeral range, whose ports outgoing
/// connections take (docs/containers.md §0, fact 17).
const AUTOMATIC: std::ops::Range<u16> = 20_000..32_000;

/// How long a port of another machine may take to answer.
const GLANCE: Duration = Duration::from_millis(500);

/// How long MinIO may take from answering at S3 to listening for its console.
const CONSOLE: Duration = Duration::from_secs(20);

/// Host ports of a stack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ports {
    /// Address they are bound to.
    pub host: IpAddr,
    /// KES, one for each replica; at least one.
    pub kes: Vec<u16>,
    /// S3.
    pub s3: u16,
    /// MinIO's console.
    pub console: u16,
}

/// Ports that this process has chosen and whose servers do not listen yet. Each is an abstract socket, so that kestacks
/// of all users in this network see it, and it goes with its process (unix(7)).
#[derive(Debug, Default)]
pub(crate) struct Claims(Vec<UnixListener>);

impl Claims {
    /// Claims a port; false if another kestack has claimed it.
    fn add(&mut self, port: u16) -> bool {
        let name = SocketAddr::from_abstract_name(format!("io.kestack.port.{port}"));
        let Ok(claim) = name.and_then(|name| UnixListener::bind_addr(&name)) else { return false };
        self.0.push(claim);
        true
    }
}

impl Ports {
    /// The manifest's ports; where it leaves the choice, the one that the stack holds already, else a free one.
    pub fn resolve(manifest: &Manifest, held: &[PortMapping]) -> Result<Self, Error> {
        Self::chosen(manifest, held, vec![], false, if manifest.ports.elsewhere { is_free_elsewhere } else { is_free })
    }

    /// The same, and no other kestack chooses them as long as the claims are kept. `taken` are those of other stacks,
    /// whose servers may be stopped.
    pub(crate) fn claim(manifest: &Manifest, held: &[PortMapping], taken: Vec<u16>) -> Result<(Self, Claims), Error> {
        let is_free = if manifest.ports.elsewhere { is_free_elsewhere } else { is_free };
        let mut claims = Claims::default();
        let ports = Self::chosen(manifest, held, taken, false, |host, port, taken| {
            claims.add(port) && is_free(host, port, taken)
        })?;
        Ok((ports, claims))
    }

    /// The same of a stack that is there: it has the ports that the manifest prefers, unless it is known to hold others.
    pub fn existing(manifest: &Manifest, held: &[PortMapping]) -> Result<Self, Error> {
        Self::chosen(manifest, held, vec![], true, is_free)
    }

    fn chosen(
        manifest: &Manifest,
        held: &[PortMapping],
        mut taken: Vec<u16>,
        is_there: bool,
        mut may_have: impl FnMut(IpAddr, u16, &[u16]) -> bool,
    ) -> Result<Self, Error> {
        let mut pick = |choice: PortChoice, inside: u16| {
            let holds = held.iter().find(|port| port.container_port == inside);
            let port = match (choice, holds) {
                (PortChoice::Exactly(port), _) => port,
                (PortChoice::Rather(_) | PortChoice::Any, Some(mapping)) => mapping.host_port,
                (PortChoice::Rather(port), None) if is_there || may_have(manifest.host, port, &taken) => port,
                (PortChoice::Rather(_) | PortChoice::Any, None) if manifest.ports.elsewhere => fastrand::u16(AUTOMATIC),
                (PortChoice::Rather(_) | PortChoice::Any, None) => {
                    free_port(manifest.host, |port| may_have(manifest.host, *port, &taken))?
                }
            };
            taken.push(port);
            Ok::<_, Error>(port)
        };
        let kes: Result<_, Error> =
            manifest.kes_ports().zip(KES_PORT..).map(|(choice, inside)| pick(choice, inside)).collect();
        Ok(Self {
            kes: kes?,
            s3: pick(manifest.s3_port(), S3_PORT)?,
            console: pick(manifest.console_port(), CONSOLE_PORT)?,
            host: manifest.host,
        })
    }

    /// True if nothing listens at one of the ports of S3 and KES, although a server was started for each.
    pub(crate) fn refuses(&self) -> bool {
        let refuses = |port: &u16| {
            let answer = TcpStream::connect_timeout(&self.reachable(*port), GLANCE);
            answer.is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
        };
        self.kes.iter().chain([&self.s3]).any(refuses)
    }

    /// Waits until MinIO's console listens: it does so some moments after S3, and MinIO ends if it cannot.
    ///
    /// # Errors
    /// [`Error::NotReady`] if it does not listen in time.
    pub(crate) async fn console_listens(&self) -> Result<(), Error> {
        let console = self.reachable(self.console);
        probe::until_ready("MinIO's console", CONSOLE, || async move {
            tokio::net::TcpStream::connect(console).await.map(drop)
        })
        .await
    }

    /// Where this machine finds the server that listens on `port`.
    pub(super) fn reachable(&self, port: u16) -> std::net::SocketAddr {
        std::net::SocketAddr::new(reachable(self.host), port)
    }

    /// As the engine wants them.
    pub(crate) fn mappings(&self) -> Vec<PortMapping> {
        let map = |host_port, container_port| PortMapping { host_ip: self.host, host_port, container_port };
        let kes = self.kes.iter().zip(KES_PORT..).map(|(port, inside)| map(*port, inside));
        kes.chain([map(self.s3, S3_PORT), map(self.console, CONSOLE_PORT)]).collect()
    }

    /// Makes sure that nobody else holds the ports, before anything is created: the engine would notice only at
    /// the start of the pod, with half of it made (docs/containers.md §0, facts 15 and 16).
    ///
    /// # Errors
    /// [`Error::Environment`] naming every taken port.
    pub fn check_free(&self, held: &[PortMapping]) -> Result<(), Error> {
        let kes = self.kes.iter().map(|port| ("KES", *port));
        let wanted = kes.chain([("S3", self.s3), ("the console", self.console)]);
        let refused: Vec<_> = wanted
            .filter(|(_, port)| !held.iter().any(|mapping| mapping.host_port == *port))
            .filter_map(|(what, port)| Some((what, port, TcpListener::bind((self.host, port)).err()?)))
            .collect();
        let Some((_, _, first)) = refused.first() else { return Ok(()) };
        let first_step = match first.kind() {
            ErrorKind::AddrNotAvailable => "name an address of this machine with `host:` in kestack.yaml, or ",
            ErrorKind::PermissionDenied => "without root only ports from 1024 on are available: ",
            _ => "stop the program that uses it (`ss -ltnp` shows it), or ",
        };
        let says = |(what, port, error): &(&str, u16, io::Error)| {
            format!("port {}:{port} for {what} is not available: {error}", self.host)
        };
        Err(Error::Environment {
            what: refused.iter().map(says).collect::<Vec<_>>().join("\n"),
            hint: format!(
                "{first_step}let `kestack up --port auto` choose free ports, or write others into kestack.yaml: kes.port, \
                 minio.port, minio.console_port (0 means any free one)"
            ),
        })
    }
}

/// Where a server that listens on `host` is reached from this machine.
pub(crate) fn reachable(host: IpAddr) -> IpAddr {
    match host {
        IpAddr::V4(host) if host.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(host) if host.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        host => host,
    }
}

fn is_free(host: IpAddr, port: u16, taken: &[u16]) -> bool {
    !taken.contains(&port) && TcpListener::bind((host, port)).is_ok()
}

/// True if nobody answers there. Whether the engine can have the port it says itself.
fn is_free_elsewhere(host: IpAddr, port: u16, taken: &[u16]) -> bool {
    let answers = || TcpStream::connect_timeout(&std::net::SocketAddr::new(host, port), GLANCE).is_ok();
    !taken.contains(&port) && !answers()
}

fn free_port(host: IpAddr, may_have: impl FnMut(&u16) -> bool) -> Result<u16, Error> {
    if let Some(error) = TcpListener::bind((host, 0)).err().filter(|error| error.kind() == ErrorKind::AddrNotAvailable)
    {
        return Err(Error::Environment {
            what: format!("nothing can listen on {host}: {error}"),
            hint: "name an address of this machine with `host:` in kestack.yaml: 127.0.0.1 always works".into(),
        });
    }
    // A start that differs between processes keeps parallel stacks from racing for the same port.
    let span = AUTOMATIC.end - AUTOMATIC.start;
    let offset = u16::try_from(std::process::id() * 7 % u32::from(span)).unwrap_or_default();
    (0..span).map(|step| AUTOMATIC.start + (offset + step) % span).find(may_have).ok_or_else(|| Error::Environment {
        what: format!("no free port on {host} between {} and {}", AUTOMATIC.start, AUTOMATIC.end - 1),
        hint: "choose ports in kestack.yaml".into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ports_that_somebody_gave_must_be_these() {
        let holder = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = holder.local_addr().unwrap().port();
        let mut manifest = Manifest::default();
        manifest.minio.port = port;
        assert_eq!(Ports::existing(&manifest, &[]).unwrap().s3, port, "it may be the stack that holds it");
        let mut unknown = Manifest::default();
        (unknown.minio.port, unknown.minio.console_port) = (0, 0);
        let unknown = Ports::existing(&unknown, &[]).unwrap();
        assert_ne!(unknown.s3, unknown.console, "each server has one of its own");
        let preferred = Ports::resolve(&manifest, &[]).unwrap();
        assert!(preferred.s3 != port && AUTOMATIC.contains(&preferred.s3));
        let has = [PortMapping { host_ip: manifest.host, host_port: 7, container_port: S3_PORT }];
        assert_eq!(Ports::resolve(&manifest, &has).unwrap().s3, 7, "a stack keeps what it has");
        manifest.ports.s3 = true;
        assert_eq!(Ports::resolve(&manifest, &has).unwrap().s3, port);
        manifest.ports.any = true;
        assert_eq!(Ports::resolve(&manifest, &has).unwrap().s3, 7);
        let free = Ports::resolve(&manifest, &[]).unwrap();
        assert!([free.s3, free.console].iter().chain(&free.kes).all(|port| AUTOMATIC.contains(port)), "{free:?}");
    }

    #[test]
    fn a_port_that_another_kestack_has_chosen_is_not_chosen_again() {
        let mut manifest = Manifest::default();
        manifest.minio.port = 0;
        let (first, claims) = Ports::claim(&manifest, &[], vec![]).unwrap();
        let all = |ports: &Ports| ports.mappings().iter().map(|port| port.host_port).collect::<Vec<_>>();
        let (second, _) = Ports::claim(&manifest, &[], vec![]).unwrap();
        assert!(all(&first).iter().all(|port| !all(&second).contains(port)), "{first:?} {second:?}");
        drop(claims);
        assert_eq!(Ports::claim(&manifest, &[], vec![]).unwrap().0.s3, first.s3, "it is given back");
        let (third, _) = Ports::claim(&manifest, &[], all(&first)).unwrap();
        assert!(all(&first).iter().all(|port| !all(&third).contains(port)), "a stopped stack keeps its own");
    }

    #[test]
    fn names_every_taken_port_and_forgives_its_own() {
        let host = IpAddr::from([127, 0, 0, 1]);
        let holder = TcpListener::bind((host, 0)).unwrap();
        let port = holder.local_addr().unwrap().port();
        let free = free_port(host, |port| is_free(host, *port, &[])).unwrap();
        let ports = Ports { host, kes: vec![port], s3: free, console: port };
        let error = ports.check_free(&[]).unwrap_err().to_string();
        assert!(error.contains(&format!("port 127.0.0.1:{port} for KES")), "{error}");
        assert!(error.contains("for the console"), "{error}");
        let own = PortMapping { host_ip: host, host_port: port, container_port: 1 };
        assert!(ports.check_free(&[own]).is_ok());
    }
}
