//! Measures how much of KES's memory cannot be swapped out. It asks the kernel, not KES: a server may be allowed to
//! lock memory and not have done so, and rootless containers show a capability that has no effect (docs/containers.md
//! §7).

use crate::engine::{LABEL_ROLE, PodState};

/// KiB of locked memory of the pod's KES (proc(5), `VmLck`). `None` if it does not run, or where its process cannot be
/// seen from here: an engine in a virtual machine, or a system without `/proc`.
pub fn of_kes(pod: &PodState) -> Option<u64> {
    let kes =
        pod.containers.iter().find(|container| container.labels.get(LABEL_ROLE).is_some_and(|role| role == "kes"));
    let process = kes?.pid?;
    // a replica's first process is its supervisor, which has no secrets
    let children = std::fs::read_to_string(format!("/proc/{process}/task/{process}/children")).unwrap_or_default();
    let processes = children.split_whitespace().map(str::to_owned).chain([process.to_string()]);
    let locked = processes.filter_map(|process| {
        let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
        locked_kib(&status)
    });
    locked.max()
}

/// The same for people.
pub fn text(kib: u64) -> String {
    match kib {
        0 => "KES has locked no memory: its secrets can be swapped out".to_owned(),
        _ => format!("KES has locked {kib} KiB for its secrets"),
    }
}

/// The locked KiB in a `/proc/PID/status`, if that is a `kes`.
fn locked_kib(status: &str) -> Option<u64> {
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    field("Name:").filter(|name| *name == "kes")?;
    field("VmLck:")?.trim_end_matches("kB").trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_kernel_says_of_a_kes_and_of_nobody_else() {
        assert_eq!(locked_kib("Name:\tkes\nVmPeak:\t 9000 kB\nVmLck:\t       4 kB\n"), Some(4));
        assert_eq!(locked_kib("Name:\tbash\nVmLck:\t       4 kB\n"), None);
        assert_eq!(locked_kib("Name:\tkes\n"), None);
        assert!(text(0).contains("no memory") && text(8).contains("8 KiB"));
    }
}
