//! Which proxy leads to a URL, by the variables that every program in Go reads, and MinIO KES with them:
//! `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY`, in upper case or else in lower case. `ALL_PROXY` is not among them.
//! A proxy is never used for this machine.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use reqwest::Url;

/// The proxies of the environment. The default is none.
#[derive(Clone, Default)]
pub struct Proxies(Arc<Settings>);

#[derive(Default)]
struct Settings {
    http: Option<Proxy>,
    https: Option<Proxy>,
    exceptions: Vec<Exception>,
}

/// A variable and the proxy that it names; `None` if that cannot be used.
struct Proxy {
    variable: &'static str,
    url: Option<Url>,
}

/// An entry of `NO_PROXY`.
#[derive(Debug, PartialEq, Eq)]
enum Exception {
    /// `*`: every host.
    Everything,
    /// `10.0.0.0/8`: the addresses of a network, for hosts that are written as addresses.
    Network(IpNet),
    /// `10.0.0.1` or `10.0.0.1:8200`.
    Address(IpAddr, Option<u16>),
    /// `corp.example`, or without the domain itself `.corp.example` and `*.corp.example`; each maybe with a port.
    Domain { below: String, itself: bool, port: Option<u16> },
}

impl Proxies {
    /// Those that the variables name, which `read` returns.
    pub fn of(read: impl Fn(&str) -> Option<String>) -> Self {
        let set = |name: &str| read(name).filter(|value| !value.trim().is_empty());
        let either = |name: &str| set(name).or_else(|| set(&name.to_ascii_lowercase()));
        let proxy = |variable| either(variable).map(|text| Proxy { variable, url: parse(text.trim()) });
        Self(Arc::new(Settings {
            http: proxy("HTTP_PROXY"),
            https: proxy("HTTPS_PROXY"),
            exceptions: either("NO_PROXY").map_or_else(Vec::new, |text| exceptions(&text)),
        }))
    }

    /// None at all.
    pub fn none() -> Self {
        Self::default()
    }

    /// The proxy that leads to `url`; `None` if it is called directly.
    ///
    /// # Errors
    /// If the variable for such URLs names no proxy that can be used. The text does not quote it: it may hold a
    /// password.
    pub(crate) fn to(&self, url: &Url) -> Result<Option<&Url>, String> {
        let proxy = match url.scheme() {
            "http" => self.0.http.as_ref(),
            "https" => self.0.https.as_ref(),
            _ => None,
        };
        let Some(proxy) = proxy.filter(|_| !self.is_direct(url)) else { return Ok(None) };
        proxy.url.as_ref().map(Some).ok_or_else(|| {
            let variable = proxy.variable;
            format!(
                "{variable} is not the URL of an HTTP proxy: set it to http://HOST:PORT or https://HOST:PORT, or add \
                 the host to NO_PROXY"
            )
        })
    }

    /// For the builder of a client.
    pub(crate) fn as_proxy(&self) -> reqwest::Proxy {
        let proxies = self.clone();
        reqwest::Proxy::custom(move |url| proxies.to(url).ok().flatten().cloned())
    }

    fn is_direct(&self, url: &Url) -> bool {
        let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']).trim_end_matches('.').to_lowercase();
        let address = host.parse::<IpAddr>().ok().map(|address| address.to_canonical());
        let port = url.port_or_known_default();
        is_here(&host, address) || self.0.exceptions.iter().any(|exception| exception.covers(&host, address, port))
    }
}

/// Credentials may be in the URLs.
impl fmt::Debug for Proxies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxies").finish_non_exhaustive()
    }
}

/// True for this machine: what is sent there must not leave it.
fn is_here(host: &str, address: Option<IpAddr>) -> bool {
    let by_name = host == "localhost" || host.ends_with(".localhost");
    by_name || address.is_some_and(|address| address.is_loopback() || address.is_unspecified())
}

/// A proxy without a scheme is one that speaks HTTP. There is no other protocol for proxies here.
fn parse(text: &str) -> Option<Url> {
    let whole = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
    Url::parse(&whole).ok().filter(|url| url.has_host() && matches!(url.scheme(), "http" | "https"))
}

fn exceptions(text: &str) -> Vec<Exception> {
    text.split(',').map(|entry| entry.trim().to_lowercase()).filter_map(|entry| Exception::parse(&entry)).collect()
}

impl Exception {
    /// `None` for what means nothing.
    fn parse(entry: &str) -> Option<Self> {
        if entry == "*" {
            return Some(Self::Everything);
        }
        if let Ok(network) = entry.parse() {
            return Some(Self::Network(network));
        }
        let (host, port) = split(entry)?;
        if let Ok(address) = host.parse::<IpAddr>() {
            return Some(Self::Address(address.to_canonical(), port));
        }
        let domain = host.strip_prefix('*').filter(|rest| rest.starts_with('.')).unwrap_or(host);
        let itself = !domain.starts_with('.');
        let domain = ascii(domain.trim_matches('.'));
        (!domain.is_empty()).then(|| Self::Domain { below: format!(".{domain}"), itself, port })
    }

    fn covers(&self, host: &str, address: Option<IpAddr>, port: Option<u16>) -> bool {
        let at = |wanted: &Option<u16>| wanted.is_none() || *wanted == port;
        match self {
            Self::Everything => true,
            Self::Network(network) => address.is_some_and(|address| network.contains(&address)),
            Self::Address(own, wanted) => address.as_ref() == Some(own) && at(wanted),
            Self::Domain { below, itself, port: wanted } => {
                let is_itself = *itself && below.strip_prefix('.') == Some(host);
                address.is_none() && (is_itself || host.ends_with(below.as_str())) && at(wanted)
            }
        }
    }
}

/// Host and port of an entry; a lone IPv6 address has colons and no port. `None` if there is no host, or no such port.
fn split(entry: &str) -> Option<(&str, Option<u16>)> {
    let (host, port) = match entry.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, "")) => (host, None),
        Some((host, rest)) => (host, Some(rest.strip_prefix(':')?)),
        None => match entry.split_once(':') {
            Some((host, port)) if !port.contains(':') => (host, Some(port)),
            _ => (entry, None),
        },
    };
    let port = port.filter(|port| !port.is_empty()).map(str::parse).transpose().ok()?;
    (!host.is_empty()).then_some((host, port))
}

/// The form of a domain in a URL: names in other scripts are encoded there.
fn ascii(domain: &str) -> String {
    let url = Url::parse(&format!("http://{domain}/")).ok();
    url.as_ref().and_then(Url::host_str).map_or_else(|| domain.to_owned(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies(variables: &[(&'static str, &'static str)]) -> Proxies {
        let variables = variables.to_vec();
        Proxies::of(move |name| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned()))
    }

    fn used(proxies: &Proxies, url: &str) -> Option<String> {
        proxies.to(&url.parse().unwrap()).unwrap().map(Url::to_string)
    }

    #[test]
    fn each_scheme_has_its_variable() {
        let both = proxies(&[("HTTP_PROXY", "plain:3128"), ("https_proxy", "http://user:pw@secure:8080")]);
        assert_eq!(used(&both, "http://vault.example").unwrap(), "http://plain:3128/");
        assert_eq!(used(&both, "https://vault.example").unwrap(), "http://user:pw@secure:8080/");
        let upper_wins = proxies(&[("https_proxy", "low:1"), ("HTTPS_PROXY", "up:1")]);
        assert_eq!(used(&upper_wins, "https://vault.example").unwrap(), "http://up:1/");
        assert_eq!(used(&upper_wins, "http://vault.example"), None);
        let all = proxies(&[("ALL_PROXY", "http://all:1"), ("all_proxy", "http://all:1"), ("HTTPS_PROXY", " ")]);
        assert_eq!(used(&all, "https://vault.example"), None);
        assert_eq!(used(&Proxies::none(), "https://vault.example"), None);
        assert_eq!(format!("{both:?}"), "Proxies { .. }", "no password");
    }

    #[test]
    fn this_machine_is_never_asked_by_way_of_a_proxy() {
        let every = proxies(&[("HTTP_PROXY", "p:1"), ("HTTPS_PROXY", "p:1")]);
        for host in [
            "127.0.0.1:8200",
            "127.9.9.9",
            "localhost:8200",
            "LOCALHOST",
            "localhost.",
            "a.localhost",
            "[::1]:1",
            "[::ffff:127.0.0.1]",
            "0.0.0.0:1",
            "[::]:1",
            "127.1",
        ] {
            assert_eq!(used(&every, &format!("http://{host}/")), None, "{host}");
            assert_eq!(used(&every, &format!("https://{host}/")), None, "{host}");
        }
        for host in ["10.0.0.1", "localhost.example", "notlocalhost", "128.0.0.1", "[fe80::1]"] {
            assert!(used(&every, &format!("https://{host}/")).is_some(), "{host}");
        }
    }

    /// Every form of an entry: what it covers, and what it does not.
    #[test]
    fn exceptions_are_those_of_go() {
        for (entry, covered, others) in [
            ("*", &["http://a.example", "https://10.0.0.1:8200"][..], &[][..]),
            ("a, * ,b", &["http://c.example"], &[]),
            (
                "corp.test",
                &["http://corp.test", "http://v.corp.test:8200", "http://V.Corp.Test"],
                &["http://xcorp.test"],
            ),
            (".corp.test", &["http://v.corp.test", "http://a.b.corp.test"], &["http://corp.test", "http://xcorp.test"]),
            ("*.corp.test", &["http://v.corp.test"], &["http://corp.test", "http://corp.test.example"]),
            ("V.CORP.test:8200", &["http://v.corp.test:8200"], &["http://v.corp.test:8201", "http://v.corp.test"]),
            ("v.corp.test:443", &["https://v.corp.test"], &["http://v.corp.test"]),
            ("*.corp.test:80", &["http://v.corp.test"], &["https://v.corp.test"]),
            ("10.1.2.3", &["http://10.1.2.3", "https://10.1.2.3:8200"], &["http://10.1.2.4"]),
            ("10.1.2.3:8200", &["http://10.1.2.3:8200"], &["http://10.1.2.3:8201"]),
            ("10.0.0.0/8", &["http://10.9.9.9:8200"], &["http://11.0.0.1", "http://ten.example"]),
            ("10.1.2.3/8", &["http://10.9.9.9"], &[]),
            ("fd00::/8", &["http://[fd12::1]:8200"], &["http://[fe80::1]"]),
            ("fd00::1", &["http://[fd00::1]:8200"], &["http://[fd00::2]"]),
            ("[fd00::1]:8200", &["http://[fd00::1]:8200"], &["http://[fd00::1]:8201"]),
            ("[fd00::1]", &["http://[fd00::1]:8200"], &[]),
            ("::ffff:10.1.2.3", &["http://10.1.2.3"], &[]),
            ("bücher.test", &["http://bücher.test", "http://v.xn--bcher-kva.test"], &[]),
            (",., :80,a:b,10.0.0.0/99", &[], &["http://a.example", "http://10.0.0.1"]),
        ] {
            let variables = [("HTTP_PROXY", "p:1"), ("HTTPS_PROXY", "p:1"), ("NO_PROXY", entry)];
            let proxies = proxies(&variables);
            for url in covered {
                assert_eq!(used(&proxies, url), None, "'{entry}' must cover {url}");
            }
            for url in others {
                assert!(used(&proxies, url).is_some(), "'{entry}' must not cover {url}");
            }
        }
    }

    #[test]
    fn a_proxy_that_cannot_be_used_is_an_error_where_it_is_needed() {
        for bad in ["socks5://user:secret@p:1080", "http://", "ftp://p:1"] {
            let proxies = proxies(&[("HTTPS_PROXY", bad), ("NO_PROXY", "near.test")]);
            let text = proxies.to(&"https://far.test".parse().unwrap()).unwrap_err();
            assert!(
                text.starts_with("HTTPS_PROXY is not the URL of an HTTP proxy") && !text.contains("secret"),
                "{text}"
            );
            assert_eq!(used(&proxies, "https://near.test"), None);
            assert_eq!(used(&proxies, "https://127.0.0.1"), None);
        }
    }
}
