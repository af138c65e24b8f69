//! By which names an interface may be called, and with which secret its callers come in.

use http::uri::Authority;
use zeroize::Zeroizing;

use crate::resource::interface::Record;

/// The names of this host that lead to no other one, whatever somebody's DNS says.
const LOOPBACK: [&str; 3] = ["127.0.0.1", "localhost", "[::1]"];

/// The URL, the names and the token of an interface.
pub(crate) struct Entrance {
    /// URL for people.
    pub(super) url: String,
    names: Names,
    pub(super) token: Zeroizing<String>,
}

/// What requests may take for the host.
enum Names {
    /// These, with the port.
    Exactly(Vec<String>),
    /// These, with whatever port it is published on.
    AnyPort(Vec<String>),
}

impl Entrance {
    /// That of an interface on this host alone.
    pub(crate) fn of(record: &Record) -> Self {
        let port = record.port().unwrap_or_default();
        // clients leave the port of HTTP away
        let bare = LOOPBACK.into_iter().filter(|_| port == 80).map(str::to_owned);
        let names = LOOPBACK.into_iter().map(|host| format!("{host}:{port}")).chain(bare).collect();
        let token = Zeroizing::new(record.token.clone());
        Self { url: record.url.clone(), names: Names::Exactly(names), token }
    }

    /// That of an interface which others publish, on this host or by these names.
    pub(crate) fn published(url: String, names: Vec<String>, token: Zeroizing<String>) -> Self {
        let others = names.into_iter().filter(|name| !LOOPBACK.contains(&name.as_str()));
        let names = LOOPBACK.into_iter().map(str::to_owned).chain(others).collect();
        Self { url, names: Names::AnyPort(names), token }
    }

    /// Its URL for somebody who came by that host, over TLS of what stands in front or without.
    pub(super) fn url_of(&self, host: &str, is_forwarded_tls: bool) -> String {
        match &self.names {
            Names::Exactly(_) => self.url.clone(),
            Names::AnyPort(_) => format!("http{}://{host}", if is_forwarded_tls { "s" } else { "" }),
        }
    }

    /// The names by which it may be asked for, in words.
    pub(super) fn known(&self) -> String {
        match &self.names {
            Names::Exactly(_) => self.url.clone(),
            Names::AnyPort(names) => names.join(", "),
        }
    }

    /// True if requests may take that for the host.
    pub(super) fn is_known(&self, host: &str) -> bool {
        match &self.names {
            Names::Exactly(names) => names.iter().any(|name| name.eq_ignore_ascii_case(host)),
            Names::AnyPort(names) => {
                let parsed = host.parse::<Authority>().ok().filter(|_| !host.contains('@'));
                parsed.is_some_and(|parsed| names.iter().any(|name| name.eq_ignore_ascii_case(parsed.host())))
            }
        }
    }

    /// True if that is the origin of this interface's own pages, for a browser that calls it `host`.
    pub(super) fn is_own_origin(&self, origin: &str, host: &str) -> bool {
        match &self.names {
            Names::Exactly(_) => origin.strip_prefix("http://").is_some_and(|origin| self.is_known(origin)),
            // another port of this host may be anybody's; https is spoken by what is in front
            Names::AnyPort(_) => {
                let origin = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
                origin.is_some_and(|origin| origin.eq_ignore_ascii_case(host))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_leave_the_port_of_http_away() {
        let known = |port| {
            let entrance = Entrance::of(&Record::new(port).unwrap());
            let names = ["127.0.0.1", "localhost", "[::1]:80", "evil.example"];
            names.map(|name| entrance.is_known(name) && entrance.is_own_origin(&format!("http://{name}"), name))
        };
        assert_eq!((known(80), known(8080)), ([true, true, true, false], [false; 4]));
    }

    #[test]
    fn a_published_one_has_its_names_on_every_port_and_its_own_origin() {
        let entrance =
            Entrance::published("http://127.0.0.1:9002".into(), vec!["s3.example.org".into()], Zeroizing::default());
        for known in ["localhost:80", "127.0.0.1:9002", "127.0.0.1", "[::1]:1", "s3.example.org", "S3.example.org:8443"]
        {
            assert!(entrance.is_known(known), "{known}");
        }
        for foreign in
            ["evil.example:9002", "s3.example.org.evil.example", "localhost@evil.example", "", ":9002", "a b", "[::1"]
        {
            assert!(!entrance.is_known(foreign), "{foreign}");
        }
        let own = |origin: &str, host: &str| entrance.is_own_origin(origin, host);
        assert!(own("http://localhost:8080", "localhost:8080") && own("https://s3.example.org", "s3.example.org"));
        for foreign in ["http://localhost:8081", "http://evil.example", "null", "http://127.0.0.1:8080", ""] {
            assert!(!own(foreign, "localhost:8080"), "{foreign}");
        }
        assert_eq!(entrance.url_of("127.0.0.1:8081", false), "http://127.0.0.1:8081", "where it is published");
        assert_eq!(entrance.url_of("s3.example.org", true), "https://s3.example.org");
        assert_eq!(entrance.known(), "127.0.0.1, localhost, [::1], s3.example.org");
    }
}
