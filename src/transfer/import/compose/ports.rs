//! Published ports: short and long, with addresses, ranges and protocols.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::service::text;

/// Ports that are published.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Ports {
    /// Port of this host by port of the server.
    pub(super) published: BTreeMap<u16, u16>,
    /// Addresses that they are published on; an empty one means all.
    pub(super) hosts: BTreeSet<String>,
}

impl Ports {
    /// Adds what an entry publishes; one without a port of this host gets any free one, and counts for nothing.
    ///
    /// # Errors
    /// What is not a port.
    pub(super) fn add(&mut self, entry: &Value) -> Result<(), String> {
        let (host, published, target, protocol) = match entry {
            Value::Object(_) => (
                text(&entry["host_ip"]),
                text(&entry["published"]),
                text(&entry["target"]),
                entry["protocol"].as_str().unwrap_or("tcp").to_owned(),
            ),
            short => {
                let short = text(short);
                let (ports, protocol) = short.split_once('/').unwrap_or((&short, "tcp"));
                let (rest, target) = ports.rsplit_once(':').unwrap_or(("", ports));
                let (host, published) = match rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
                    Some((host, published)) => (host, published.trim_start_matches(':')),
                    None => rest.rsplit_once(':').unwrap_or(("", rest)),
                };
                (host.to_owned(), published.to_owned(), target.to_owned(), protocol.to_owned())
            }
        };
        if protocol != "tcp" {
            return Ok(());
        }
        let inside = range(&target)?;
        if published.is_empty() || published == "0" {
            return Ok(());
        }
        let outside = range(&published)?;
        if inside.len() == outside.len() {
            self.published.extend(inside.zip(outside));
            self.hosts.insert(host);
        } else if inside.len() != 1 {
            return Err(format!("'{published}' has not as many ports as '{target}'"));
        }
        Ok(())
    }
}

/// `9000` or `9000-9001`.
fn range(text: &str) -> Result<std::ops::RangeInclusive<u16>, String> {
    let port = |text: &str| text.trim().parse::<u16>().ok().filter(|port| *port > 0);
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    match (port(first), port(last)) {
        (Some(first), Some(last)) if first <= last => Ok(first..=last),
        _ => Err(format!("'{text}' is not a port")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_form_is_read() {
        for (entry, published, host) in [
            (json!("19000:9000"), vec![(9000, 19000)], Some("")),
            (json!("127.0.0.1:19000:9000/tcp"), vec![(9000, 19000)], Some("127.0.0.1")),
            (json!("[::1]:19000:9000"), vec![(9000, 19000)], Some("::1")),
            (json!("19000-19001:9000-9001"), vec![(9000, 19000), (9001, 19001)], Some("")),
            (json!("9000-9100:9000"), vec![], None),
            (json!("9000"), vec![], None),
            (json!(9000), vec![], None),
            (json!("127.0.0.1::9000"), vec![], None),
            (json!("9000:9000/udp"), vec![], None),
            (
                json!({ "target": 9000, "published": "19000", "host_ip": "10.0.0.1" }),
                vec![(9000, 19000)],
                Some("10.0.0.1"),
            ),
            (
                json!({ "target": 9000, "published": 19000, "protocol": "tcp", "mode": "host" }),
                vec![(9000, 19000)],
                Some(""),
            ),
            (json!({ "target": 9000 }), vec![], None),
        ] {
            let mut ports = Ports::default();
            ports.add(&entry).unwrap();
            assert_eq!(ports.published.into_iter().collect::<Vec<_>>(), published, "{entry}");
            assert_eq!(ports.hosts.first().map(String::as_str), host, "{entry}");
        }
        for wrong in ["x:9000", "9000:x", "9001-9000:9000-9001", "70000:9000", "9000-9002:9000-9001", ":"] {
            assert!(Ports::default().add(&json!(wrong)).is_err(), "{wrong}");
        }
    }
}
