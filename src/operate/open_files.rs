//! The number of files and connections that the servers may have open. With too few, MinIO does not fail: its requests
//! hang.

use rustix::process::{Resource, getrlimit};

use crate::engine::{EngineInfo, LABEL_ROLE, PodState};
use crate::error::Error;

/// The least that a stack works with under light load; with 256 MinIO lets every upload wait forever.
pub const LEAST: u64 = 1024;

/// What to do about a limit that is too low.
pub const RAISE: &str = "raise the limit of open files of the user or service that starts the servers (`ulimit -n`, `nofile` in \
                         /etc/security/limits.conf, LimitNOFILE= of a unit), then `kestack down` and `kestack up`";

/// A server that may not have enough files open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TooFew {
    /// Name of its container.
    pub container: String,
    /// How many it may have open.
    pub limit: u64,
}

impl std::fmt::Display for TooFew {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { container, limit } = self;
        write!(f, "{container} may open {limit} files and connections, and needs at least {LEAST}")
    }
}

/// The servers of a pod whose limit is too low; those whose process cannot be seen from here are left out.
pub fn too_few(pod: &PodState) -> Vec<TooFew> {
    let servers = pod.containers.iter().filter(|container| container.labels.contains_key(LABEL_ROLE));
    let limits = servers.filter_map(|container| {
        let limits = std::fs::read_to_string(format!("/proc/{}/limits", container.pid?)).ok()?;
        let limit = hard(&limits)?;
        (limit < LEAST).then(|| TooFew { container: container.name.clone(), limit })
    });
    limits.collect()
}

/// Refuses to start servers as processes of this one, whose limit they get, if it is too low. An engine gives its
/// containers limits of its own.
///
/// # Errors
/// [`Error::Environment`] with the limit and what to do.
pub fn require(engine: &EngineInfo) -> Result<(), Error> {
    let limit = getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);
    if engine.has_containers() || limit >= LEAST {
        return Ok(());
    }
    Err(Error::Environment {
        what: format!("your processes may open {limit} files and connections, and MinIO needs at least {LEAST}"),
        hint: "raise the limit (`ulimit -n`, `nofile` in /etc/security/limits.conf), then run the command again".into(),
    })
}

/// The hard limit in a `/proc/PID/limits`: both servers raise their own to it.
fn hard(limits: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_limit_that_the_kernel_states() {
        let limits = "Limit                     Soft Limit           Hard Limit           Units     \n\
                      Max processes             96024                96024                processes \n\
                      Max open files            256                  512                  files     \n";
        assert_eq!(hard(limits), Some(512));
        assert_eq!(hard("Max open files            unlimited            unlimited            files\n"), None);
        let own = std::fs::read_to_string("/proc/self/limits").unwrap();
        assert_eq!(hard(&own), getrlimit(Resource::Nofile).maximum);
    }
}
