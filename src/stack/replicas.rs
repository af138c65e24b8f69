//! KES's replicas: servers of one machine that share a keystore and a configuration, so that one may be killed, may
//! stall or may be started again while MinIO goes on with the others.
//!
//! Each runs under `kes supervise`: MinIO waits forever for a replica that accepts requests and does not answer them
//! (docs/kubernetes.md §0, finding 3), so one that is stopped must be replaced, not only one that died.

use super::{Stack, ports};

/// One server of KES.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replica {
    /// What people call it: `kes`, or `kes-1` and so on where there are several.
    pub name: String,
    /// Name within the stack: `kes-server`, or `kes-server-1`.
    pub service: String,
    /// Name of its container.
    pub container: String,
    /// URL on this host.
    pub endpoint: String,
    /// Port on the host.
    pub host_port: u16,
    /// Port in the pod, which all replicas share the network of.
    pub port: u16,
    /// True if there are others.
    pub is_one_of_several: bool,
}

impl Stack {
    /// Every server of KES, the first one first.
    pub fn replicas(&self) -> Vec<Replica> {
        let several = self.ports.kes.len() > 1;
        let ports = self.ports.kes.iter().zip(ports::KES_PORT..).zip(1..);
        ports
            .map(|((host_port, port), number)| {
                let suffix = if several { format!("-{number}") } else { String::new() };
                Replica {
                    name: format!("kes{suffix}"),
                    service: format!("kes-server{suffix}"),
                    container: format!("{}-kes-server{suffix}", self.manifest.name),
                    endpoint: format!("https://{}", self.ports.reachable(*host_port)),
                    host_port: *host_port,
                    port,
                    is_one_of_several: several,
                }
            })
            .collect()
    }

    /// URLs of all servers of KES on this host, in one text as KES's and MinIO's variables take them.
    pub fn kes_endpoints(&self) -> String {
        let endpoints: Vec<_> = self.replicas().into_iter().map(|replica| replica.endpoint).collect();
        endpoints.join(",")
    }
}
