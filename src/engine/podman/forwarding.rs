//! Forwarding of ports that outlived its pod. Rootful Podman's network tool (netavark) forwards a port by one rule of
//! iptables after the other; if Podman is killed in between, nobody takes back those that were made. They lead to an
//! address that is gone, before the rules of any later pod, and before any program that listens on that port.

use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::geteuid;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use crate::engine::PortMapping;
use crate::engine::host::find_program;

/// Longest time that iptables may take, waiting for its lock included.
const DEADLINE: Duration = Duration::from_secs(10);
/// Where it is on systems that do not show it to everybody.
const FOLDERS: &str = "/usr/sbin:/sbin:/usr/bin:/bin:/usr/local/sbin";

/// Rules of this host that forward some of a pod's ports.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Leftover {
    /// Which iptables: that of IPv4 or IPv6.
    program: &'static str,
    /// What takes them back, line by line.
    deletions: Vec<String>,
    /// Ports of the host that they are about.
    pub(super) ports: Vec<u16>,
}

/// What forwards these ports, all of one address of the host; `None` where nothing does, or where that is not to be seen:
/// only root sees it, and not where Podman uses nftables.
pub(super) async fn look(ports: &[PortMapping]) -> Option<Leftover> {
    let host = ports.first()?.host_ip;
    // engines that tests make up know nothing of what this host's containers publish
    if cfg!(test) || !geteuid().is_root() {
        return None;
    }
    let program = if host.is_ipv4() { "iptables" } else { "ip6tables" };
    let save = find_program(&format!("{program}-save"), Some(FOLDERS))?;
    let (deletions, ports) = forwarding(&run(&save, &["-t", "nat"], "").await?, host, ports);
    (!deletions.is_empty()).then_some(Leftover { program, deletions, ports })
}

impl Leftover {
    /// Takes the rules back, all or none. For ports that no container publishes.
    pub(super) async fn remove(&self) {
        let Some(restore) = find_program(&format!("{}-restore", self.program), Some(FOLDERS)) else { return };
        let lines = format!("*nat\n{}\nCOMMIT\n", self.deletions.join("\n"));
        let removed = run(&restore, &["--noflush", "--wait", "5"], &lines).await.is_some();
        tracing::debug!(ports = ?self.ports, removed, "forwarding that a killed Podman left");
    }
}

/// The deletions, and which ports they are about. `saved` is what `iptables-save` prints.
fn forwarding(saved: &str, host: IpAddr, ports: &[PortMapping]) -> (Vec<String>, Vec<u16>) {
    let rules = saved.lines().filter_map(|line| line.strip_prefix("-A ")).filter_map(Rule::parse);
    let is_about = |rule: &Rule<'_>| ports.iter().any(|mapping| rule.ports.contains(&mapping.host_port));
    let all: Vec<_> = rules.filter(is_about).collect();
    // what forwards from all addresses has none
    let address = Some(host).filter(|host| !host.is_unspecified());
    let is_ours = |rule: &Rule<'_>| !rule.is_jump() && rule.address == address;
    // the way to the rules of one port names no address: others may take it to theirs
    let is_way = |rule: &Rule<'_>| {
        let mut led = all.iter().filter(|found| found.chain == rule.target && found.overlaps(rule));
        rule.is_jump() && led.all(is_ours)
    };
    let taken: Vec<_> = all.iter().filter(|rule| is_ours(rule) || is_way(rule)).collect();
    let mut found: Vec<_> = taken.iter().flat_map(|rule| rule.ports.clone()).collect();
    found.sort_unstable();
    found.dedup();
    (taken.iter().map(|rule| format!("-D {}", rule.text)).collect(), found)
}

/// A rule of Podman's that is about ports of the host.
struct Rule<'a> {
    text: &'a str,
    chain: &'a str,
    /// A chain, or what is done.
    target: &'a str,
    ports: RangeInclusive<u16>,
    /// Where the packets are sent to.
    address: Option<IpAddr>,
}

impl<'a> Rule<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let words: Vec<_> = text.split(' ').collect();
        let after = |option: &str| words.iter().skip_while(|word| **word != option).nth(1).copied();
        let chain = words.first().copied().filter(|chain| chain.starts_with("NETAVARK-"))?;
        let address = after("-d").and_then(|network| network.split('/').next()?.parse().ok());
        Some(Self { text, chain, target: after("-j")?, ports: parse_range(after("--dport")?)?, address })
    }

    /// True if it leads to the rules of a network.
    fn is_jump(&self) -> bool {
        self.target.starts_with("NETAVARK-DN-")
    }

    fn overlaps(&self, other: &Self) -> bool {
        self.ports.start() <= other.ports.end() && other.ports.start() <= self.ports.end()
    }
}

/// One port, or neighbours that Podman forwards together: `9000:9001`.
fn parse_range(text: &str) -> Option<RangeInclusive<u16>> {
    let (first, last) = text.split_once(':').unwrap_or((text, text));
    Some(first.parse().ok()?..=last.parse().ok()?)
}

/// What a program prints; `None` if it fails, or does not end in time.
async fn run(program: &Path, arguments: &[&str], input: &str) -> Option<String> {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
    let work = async {
        let mut child = command.spawn().ok()?;
        child.stdin.take()?.write_all(input.as_bytes()).await.ok()?;
        let output = child.wait_with_output().await.ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    };
    tokio::time::timeout(DEADLINE, work).await.ok().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `iptables-save -t nat` printed it on a host where Podman was killed, a rule of another pod and a user's added.
    const SAVED: &str = "*nat
:NETAVARK-HOSTPORT-DNAT - [0:0]
-A PREROUTING -m addrtype --dst-type LOCAL -j NETAVARK-HOSTPORT-DNAT
-A POSTROUTING -s 10.88.0.0/16 -j NETAVARK-1D8721804F16F
-A NETAVARK-1D8721804F16F ! -d 224.0.0.0/4 -j MASQUERADE
-A NETAVARK-DN-1D8721804F16F -s 127.0.0.1/32 -d 127.0.0.1/32 -p tcp -m tcp --dport 23876 -j NETAVARK-HOSTPORT-SETMARK
-A NETAVARK-DN-1D8721804F16F -d 127.0.0.1/32 -p tcp -m tcp --dport 23876 -j DNAT --to-destination 10.88.6.82:7373
-A NETAVARK-DN-1D8721804F16F -d 192.0.2.7/32 -p tcp -m tcp --dport 23876 -j DNAT --to-destination 10.88.6.9:80
-A NETAVARK-DN-1D8721804F16F -d 127.0.0.1/32 -p tcp -m tcp --dport 9000:9001 -j DNAT --to-destination 10.88.6.83:9000-9001/9000
-A NETAVARK-HOSTPORT-DNAT -p tcp -m tcp --dport 23876 -m comment --comment \"dnat name: podman id: 5ae8\" -j NETAVARK-DN-1D8721804F16F
-A MINE -d 127.0.0.1/32 -p tcp -m tcp --dport 23876 -j DNAT --to-destination 10.0.0.1:7373
COMMIT
";

    fn mapping(host_ip: &str, host_port: u16) -> PortMapping {
        PortMapping { host_ip: host_ip.parse().unwrap(), host_port, container_port: 7373 }
    }

    #[test]
    fn finds_what_forwards_the_ports_of_one_address() {
        let ports = [mapping("127.0.0.1", 23876), mapping("127.0.0.1", 23877)];
        let (deletions, found) = forwarding(SAVED, ports[0].host_ip, &ports);
        assert_eq!(found, [23876]);
        assert_eq!(deletions.len(), 2, "another pod's rule is reached by the same way");
        assert!(deletions[0].starts_with("-D NETAVARK-DN-1D8721804F16F -s 127.0.0.1/32 -d 127.0.0.1/32 "));
        assert!(deletions[1].ends_with("-j DNAT --to-destination 10.88.6.82:7373"));
        let alone: Vec<_> = SAVED.lines().filter(|line| !line.contains("192.0.2.7")).collect();
        let (deletions, _) = forwarding(&alone.join("\n"), ports[0].host_ip, &ports);
        assert_eq!(deletions.len(), 3);
        assert!(deletions[2].contains("--comment \"dnat name: podman id: 5ae8\""));
    }

    #[test]
    fn all_addresses_are_not_one_of_them() {
        let everywhere = SAVED.replace("-d 192.0.2.7/32 ", "");
        let of = |host: &str| forwarding(&everywhere, host.parse().unwrap(), &[mapping(host, 23876)]).0;
        assert_eq!(of("127.0.0.1").len(), 2);
        let [deletion] = &of("0.0.0.0")[..] else { panic!("{:?}", of("0.0.0.0")) };
        assert!(deletion.ends_with("--to-destination 10.88.6.9:80"), "{deletion}");
    }

    #[test]
    fn neighbours_are_forwarded_together() {
        let (deletions, found) = forwarding(SAVED, "127.0.0.1".parse().unwrap(), &[mapping("127.0.0.1", 9001)]);
        assert_eq!((deletions.len(), &found[..]), (1, &[9000, 9001][..]));
    }

    #[test]
    fn leaves_what_forwards_other_ports() {
        assert_eq!(forwarding(SAVED, "127.0.0.1".parse().unwrap(), &[mapping("127.0.0.1", 9002)]), (vec![], vec![]));
    }
}
