//! `address`: where the server listens.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::{ConfigError, invalid};

const DEFAULT_PORT: u16 = 7373;

/// Where systems keep the names of ports.
const SERVICES: &str = "/etc/services";

/// `ip:port` or `:port`; a port may have a name.
pub(super) fn parse(text: &str) -> Result<SocketAddr, ConfigError> {
    let any = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    if text.is_empty() {
        return Ok(SocketAddr::new(any, DEFAULT_PORT));
    }
    let (host, port) =
        text.rsplit_once(':').ok_or_else(|| invalid(format!("address {text}: missing port in address")))?;
    let host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(host) => host,
        None if host.contains(':') => return Err(invalid(format!("address {text}: too many colons in address"))),
        None => host,
    };
    let ip = if host.is_empty() { Ok(any) } else { host.parse() };
    let ip = ip.map_err(|_| invalid(format!("'{host}' is not a valid IP address")))?;
    let services = || fs::read_to_string(SERVICES).unwrap_or_default();
    let port = port.parse().ok().or_else(|| named(port, &services()));
    Ok(SocketAddr::new(ip, port.ok_or_else(|| invalid(format!("address {text}: invalid port")))?))
}

/// The port of a service over TCP. An image may have no file of services.
fn named(name: &str, services: &str) -> Option<u16> {
    let of_line = |line: &str| {
        let mut words = line.split('#').next()?.split_whitespace();
        let (service, port) = (words.next()?, words.next()?.strip_suffix("/tcp")?);
        std::iter::once(service).chain(words).any(|known| known == name).then(|| port.parse().ok())?
    };
    services.lines().find_map(of_line).or(match name {
        "http" => Some(80),
        "https" => Some(443),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_have_numbers_and_names() {
        let services = "https 443/udp\nkes-alt 7374/tcp alt other # a port\n# no 1/tcp\n";
        for (name, port) in
            [("https", Some(443)), ("alt", Some(7374)), ("kes-alt", Some(7374)), ("no", None), ("", None)]
        {
            assert_eq!(named(name, services), port, "{name}");
        }
        assert_eq!(parse("127.0.0.1:https").unwrap().port(), 443);
        assert_eq!(parse("[::1]:7373").unwrap().port(), 7373);
        assert_eq!(parse(":nothing-like-it").unwrap_err().to_string(), "address :nothing-like-it: invalid port");
    }
}
