//! Asks the name servers for both families at the same time; neither waits long for the other.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::pin::Pin;
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::{Name, RecordType};
use hickory_resolver::system_conf::parse_resolv_conf;

/// How long IPv4 addresses wait for IPv6 ones: there are name servers that drop the question for them.
const LATE_IPV6: Duration = Duration::from_millis(300);
/// How long IPv6 addresses wait for IPv4 ones: longer, since many machines have addresses of both but reach only these.
const LATE_IPV4: Duration = Duration::from_secs(2);

/// Name servers, and the domains in which short names are looked for.
#[derive(Clone)]
pub(super) struct Search {
    resolver: TokioResolver,
    domains: Vec<Name>,
    /// Names with so many dots are first looked up as they are.
    dots: usize,
}

type Answer = Result<Vec<IpAddr>, NetError>;

impl Search {
    /// The name servers of a `resolv.conf`; that of this machine if the file names none.
    ///
    /// # Errors
    /// If the resolver cannot be set up.
    pub(super) fn of(content: &[u8]) -> Result<Self, NetError> {
        let parsed = parse_resolv_conf(content).or_else(|_| parse_resolv_conf(without_domains(content)));
        let (config, mut options) = parsed.unwrap_or_else(|_| (own_server(), ResolverOpts::default()));
        options.use_hosts_file = ResolveHosts::Never;
        let dots = options.ndots;
        let (domain, search, servers) = config.into_parts();
        let domains = if search.is_empty() { domain.into_iter().collect() } else { search };
        let config = ResolverConfig::from_parts(None, Vec::new(), servers);
        let builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        Ok(Self { resolver: builder.with_options(options).build()?, domains, dots })
    }

    /// The addresses of a name, IPv6 first.
    ///
    /// # Errors
    /// What the name servers say instead.
    pub(super) async fn addresses(&self, name: &str) -> Result<Vec<IpAddr>, String> {
        let mut failure = None;
        for candidate in self.candidates(name)? {
            match self.both(candidate).await {
                Ok(found) => return Ok(found),
                Err(error) if error.is_no_records_found() => {}
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        Err(failure.map_or_else(|| "no such host".to_owned(), |error| format!("the name servers fail: {error}")))
    }

    /// The complete names that a name may stand for, in the order in which they are asked for.
    fn candidates(&self, name: &str) -> Result<Vec<Name>, String> {
        let name = Name::from_str_relaxed(name).map_err(|error| format!("not a host name: {error}"))?;
        if name.is_fqdn() {
            return Ok(vec![name]);
        }
        let mut own = name.clone();
        own.set_fqdn(true);
        let dots = name.iter().len().saturating_sub(1);
        // one that is too long together with a domain is not there
        let mut candidates: Vec<_> =
            self.domains.iter().filter_map(|domain| name.clone().append_domain(domain).ok()).collect();
        candidates.insert(if dots >= self.dots { 0 } else { candidates.len() }, own);
        Ok(candidates)
    }

    async fn both(&self, name: Name) -> Answer {
        let (four, six) = (self.records(name.clone(), RecordType::A), self.records(name, RecordType::AAAA));
        tokio::pin!(four, six);
        tokio::select! {
            four = &mut four => {
                let is_settled = four.as_ref().map_or_else(NetError::is_nx_domain, |_| true);
                let six = within(is_settled.then_some(LATE_IPV6), six).await;
                joined(six, four)
            }
            six = &mut six => {
                let four = within(six.is_ok().then_some(LATE_IPV4), four).await;
                joined(six, four)
            }
        }
    }

    async fn records(&self, name: Name, kind: RecordType) -> Answer {
        let lookup = self.resolver.lookup(name, kind).await?;
        let found: Vec<_> = lookup.answers().iter().filter_map(|record| record.data.ip_addr()).collect();
        if found.is_empty() { Err(NetError::Message("no addresses")) } else { Ok(found) }
    }
}

/// The answer, if it comes in time.
async fn within(time: Option<Duration>, answer: Pin<&mut impl Future<Output = Answer>>) -> Answer {
    match time {
        Some(time) => tokio::time::timeout(time, answer).await.unwrap_or(Err(NetError::Timeout)),
        None => answer.await,
    }
}

/// The addresses of both families; a family without any takes nothing from the other.
fn joined(six: Answer, four: Answer) -> Answer {
    match (six, four) {
        (Ok(six), Ok(four)) => Ok([six, four].concat()),
        (Ok(one), Err(_)) | (Err(_), Ok(one)) => Ok(one),
        (Err(_), Err(error)) => Err(error),
    }
}

/// As the C library and Go do without a name server in the file.
fn own_server() -> ResolverConfig {
    let here = [IpAddr::from(Ipv4Addr::LOCALHOST), IpAddr::from(Ipv6Addr::LOCALHOST)];
    ResolverConfig::from_parts(None, Vec::new(), here.map(NameServerConfig::udp_and_tcp).into())
}

/// The file without its domains: one that is not a name must not cost the name servers.
fn without_domains(content: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(content);
    let kept = text.lines().filter(|line| !line.starts_with("search") && !line.starts_with("domain"));
    kept.collect::<Vec<_>>().join("\n").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidates(content: &str, name: &str) -> Vec<String> {
        let search = Search::of(content.as_bytes()).unwrap();
        search.candidates(name).unwrap().iter().map(ToString::to_string).collect()
    }

    #[tokio::test]
    async fn short_names_are_looked_for_in_the_domains() {
        let pod = "nameserver 10.96.0.10\nsearch ns.svc.cluster.local svc.cluster.local\noptions ndots:5\n";
        let expected = ["vault.ns.svc.cluster.local.", "vault.svc.cluster.local.", "vault."];
        assert_eq!(candidates(pod, "vault"), expected);
        assert_eq!(candidates(pod, "vault.example.").len(), 1);
        let host = "nameserver 10.0.0.1\nsearch corp.test\n";
        assert_eq!(candidates(host, "vault.corp.test"), ["vault.corp.test.", "vault.corp.test.corp.test."]);
        assert_eq!(candidates(host, "my_vault"), ["my_vault.corp.test.", "my_vault."]);
        assert_eq!(candidates("search corp.test\nnameserver 10.0.0.1\nsearch -.b..c\n", "v").last().unwrap(), "v.");
    }

    #[test]
    fn neither_family_takes_from_the_other() {
        let (four, six) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from(Ipv6Addr::LOCALHOST));
        let late = || Err(NetError::Timeout);
        assert_eq!(joined(Ok(vec![six]), Ok(vec![four])).unwrap(), [six, four]);
        assert_eq!(joined(late(), Ok(vec![four])).unwrap(), [four]);
        assert_eq!(joined(Ok(vec![six]), late()).unwrap(), [six]);
        assert!(joined(late(), late()).is_err());
    }
}
