//! What this host allows a container engine: capabilities, limits, cgroups (docs/containers.md §7).

use std::fs;
use std::path::{Path, PathBuf};

use rustix::process::{Resource, geteuid, getrlimit};

use crate::host::disk::is_absent;

/// Bit of `CAP_SYS_RESOURCE` (capabilities(7)): without it hard limits cannot be raised.
const CAP_SYS_RESOURCE: u64 = 1 << 24;
/// The limit that Podman asks for where nothing else is configured.
const PODMAN_DEFAULT: u64 = 1_048_576;
/// The most processes that one container user may have here; Podman's own figure on small hosts.
const PROCESSES: u64 = 32_768;

/// Limits that a service started by this process can really give to containers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Limits {
    pub(super) open_files: u64,
    pub(super) processes: u64,
}

impl Limits {
    pub(super) fn of_this_process() -> Self {
        let hard = |resource| getrlimit(resource).maximum.unwrap_or(u64::MAX);
        Self { open_files: hard(Resource::Nofile).min(PODMAN_DEFAULT), processes: hard(Resource::Nproc).min(PROCESSES) }
    }
}

/// What decides how a Podman service must be configured here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Host {
    /// True if a service of ours would run as root.
    pub(super) root: bool,
    /// Limits to name in `default_ulimits`; `None` if Podman's own can be set.
    pub(super) limits: Option<Limits>,
    /// True if crun would be taken, cannot work, and runc is there.
    pub(super) needs_runc: bool,
}

impl Host {
    /// Looks at this host. `path` is the value of `PATH`.
    pub(super) fn observe(path: Option<&str>) -> Self {
        let root = geteuid().is_root();
        let limits = Limits::of_this_process();
        let too_low = limits.open_files < PODMAN_DEFAULT;
        Self {
            root,
            // Rootless Podman clamps to what it has by itself.
            limits: (root && too_low && !may_raise_limits()).then_some(limits),
            needs_runc: hybrid_cgroups()
                && find_program("crun", path).is_some()
                && find_program("runc", path).is_some(),
        }
    }
}

/// The first executable file of that name in `PATH`.
pub(crate) fn find_program(name: &str, path: Option<&str>) -> Option<PathBuf> {
    std::env::split_paths(path?).map(|folder| folder.join(name)).find(|candidate| is_executable(candidate))
}

/// True if it is a file that somebody may execute.
pub(crate) fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    fs::metadata(path).is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
}

/// False of a process that is surely none of a container's: nobody here has that number, or somebody who sees the same mounts
/// as kestack. An engine counts processes as it sees them, which may be in a virtual machine or outside of our own container.
pub(super) fn is_of_container(pid: i32) -> bool {
    let mounts = |process: &str| fs::read_link(format!("/proc/{process}/ns/mnt"));
    pid > 0
        && match (mounts(&pid.to_string()), mounts("self")) {
            (Ok(theirs), Ok(own)) => theirs != own,
            (Err(error), _) => !is_absent(&error),
            (Ok(_), Err(_)) => true,
        }
}

fn may_raise_limits() -> bool {
    fs::read_to_string("/proc/self/status").is_ok_and(|status| effective_capabilities(&status) & CAP_SYS_RESOURCE != 0)
}

/// The `CapEff` line of `/proc/self/status`; no capability if it is missing.
fn effective_capabilities(status: &str) -> u64 {
    status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .unwrap_or(0)
}

/// True if cgroup v1 controllers and the unified hierarchy are mounted side by side (systemd's "hybrid").
fn hybrid_cgroups() -> bool {
    Path::new("/sys/fs/cgroup/unified/cgroup.procs").exists()
        && !Path::new("/sys/fs/cgroup/cgroup.controllers").exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_effective_capabilities() {
        let status = "Name:\tx\nCapPrm:\t000001ffffffffff\nCapEff:\t000001fffeffffff\n";
        assert_eq!(effective_capabilities(status) & CAP_SYS_RESOURCE, 0);
        assert_ne!(effective_capabilities("CapEff:\t000001ffffffffff\n") & CAP_SYS_RESOURCE, 0);
        assert_eq!(effective_capabilities(""), 0);
    }

    #[test]
    fn a_process_next_to_kestack_is_none_of_a_container() {
        let mut ended = std::process::Command::new("true").spawn().unwrap();
        ended.wait().unwrap();
        let own = std::process::id();
        assert!([own, ended.id()].iter().all(|pid| !is_of_container(pid.cast_signed())));
        assert!(!is_of_container(0) && !is_of_container(-1));
    }

    #[test]
    fn finds_a_program_only_if_it_can_be_executed() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("plain"), "").unwrap();
        let path = format!("/nonexistent:{}:/bin:/usr/bin", folder.path().display());
        assert_eq!(find_program("plain", Some(&path)), None);
        assert!(find_program("sh", Some(&path)).is_some());
        assert_eq!(find_program("sh", None), None);
    }
}
