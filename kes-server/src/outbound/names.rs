//! The addresses of a host: those of the hosts file, and only if that has none, those of the name servers.
//!
//! Both files are read at every lookup, of which there is one for each new connection: a change counts at once, and
//! a name in the hosts file needs no name server.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::hosts;
use super::search::Search;

/// Longest time for one name: less than a connection may take, so that the reason is reported and not only the delay.
const DEADLINE: Duration = Duration::from_secs(8);

/// Looks up names for the clients of this program.
#[derive(Clone)]
pub(crate) struct Names(Arc<Files>);

struct Files {
    hosts: PathBuf,
    resolv: PathBuf,
    /// The name servers, and the text of the file that named them.
    servers: Mutex<Option<(Vec<u8>, Search)>>,
}

/// A name without addresses.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct NoAddress(String);

impl Names {
    /// By the files of the system. Nothing is read yet.
    pub(crate) fn of_system() -> Self {
        Self::of("/etc/hosts", "/etc/resolv.conf")
    }

    fn of(hosts: impl Into<PathBuf>, resolv: impl Into<PathBuf>) -> Self {
        Self(Arc::new(Files { hosts: hosts.into(), resolv: resolv.into(), servers: Mutex::default() }))
    }

    async fn addresses(&self, name: &str) -> Result<Vec<IpAddr>, NoAddress> {
        let known = hosts::addresses(&fs::read(&self.0.hosts).unwrap_or_default(), name);
        if !known.is_empty() {
            return Ok(known);
        }
        if is_local(name) {
            return Ok(vec![Ipv6Addr::LOCALHOST.into(), Ipv4Addr::LOCALHOST.into()]);
        }
        match tokio::time::timeout(DEADLINE, self.servers()?.addresses(name)).await {
            Ok(result) => result.map_err(NoAddress),
            Err(_) => Err(NoAddress(format!("the name servers of {} do not answer", self.0.resolv.display()))),
        }
    }

    fn servers(&self) -> Result<Search, NoAddress> {
        // without the file it is the name server of this machine
        let content = fs::read(&self.0.resolv).unwrap_or_default();
        let mut servers = self.0.servers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, search)) = servers.as_ref().filter(|(of, _)| *of == content) {
            return Ok(search.clone());
        }
        let search = Search::of(&content)
            .map_err(|error| NoAddress(format!("cannot use {}: {error}", self.0.resolv.display())))?;
        *servers = Some((content, search.clone()));
        Ok(search)
    }
}

impl Resolve for Names {
    fn resolve(&self, name: Name) -> Resolving {
        let names = self.clone();
        Box::pin(async move {
            let found = names.addresses(name.as_str()).await?;
            // port 0 stands for that of the URL
            let addresses: Addrs = Box::new(found.into_iter().map(|address| SocketAddr::new(address, 0)));
            Ok(addresses)
        })
    }
}

/// True for names that are this machine wherever they are asked for (RFC 6761).
fn is_local(name: &str) -> bool {
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    name == "localhost" || name.ends_with(".localhost")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_hosts_file_counts_as_it_is_now_and_asks_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let (hosts, resolv) = (folder.path().join("hosts"), folder.path().join("resolv.conf"));
        fs::write(&hosts, "10.1.2.3 vault.corp.test\n").unwrap();
        // TEST-NET-1: nobody answers there
        fs::write(&resolv, "nameserver 192.0.2.1\n").unwrap();
        let names = Names::of(&hosts, &resolv);
        let start = std::time::Instant::now();
        assert_eq!(names.addresses("vault.corp.test").await.unwrap(), [IpAddr::from([10, 1, 2, 3])]);
        fs::write(&hosts, "10.9.9.9 vault.corp.test\n").unwrap();
        assert_eq!(names.addresses("vault.corp.test").await.unwrap(), [IpAddr::from([10, 9, 9, 9])]);
        assert_eq!(names.addresses("localhost").await.unwrap().len(), 2);
        assert_eq!(names.addresses("a.localhost.").await.unwrap().len(), 2);
        assert!(start.elapsed() < Duration::from_secs(3));
    }
}
