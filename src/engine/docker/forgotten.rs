//! Containers that run, and Docker does not know: its daemon was killed between their start and its note of it. They keep
//! the network address that Docker then gives to others, even when it is restarted; and once such a container is
//! removed, Docker has no name for it any more. What watches a container for containerd, its shim, names it.

use std::fs;
use std::time::Duration;

use rustix::process::Signal;
use tokio::time::{interval, timeout};

use super::super::process::identity::Identity;
use super::super::{EngineError, Obstacle};

/// How long the processes may take to go, and their shim after them.
const GONE: Duration = Duration::from_secs(10);

/// Ends the processes of a container that Docker takes for one that does not run, if there are any.
///
/// # Errors
/// [`EngineError::Refused`] with the command that ends one, if this user may not.
pub(super) async fn end(id: &str, name: &str) -> Result<(), EngineError> {
    let shims = shims(id);
    for shim in &shims {
        for process in children(shim.pid) {
            tracing::warn!("container '{name}' runs (pid {}) without Docker's knowledge: kestack ends it", process.pid);
            process.signal(Signal::KILL).map_err(|error| EngineError::Refused {
                call: format!("kill -KILL {}", process.pid),
                obstacle: Obstacle::Other,
                message: format!("container '{name}' runs without Docker's knowledge and cannot be ended: {error}"),
                hint: Some(format!("end it with `sudo kill -KILL {}`, then run the command again", process.pid)),
            })?;
        }
    }
    // Docker learns of the end, and has containerd clear up; removed before, the container would leave its shim behind
    let mut looks = interval(Duration::from_millis(20));
    let gone = timeout(GONE, async {
        while shims.iter().any(Identity::alive) {
            looks.tick().await;
        }
    });
    if gone.await.is_err() {
        tracing::debug!("containerd keeps the shim of '{name}'");
    }
    Ok(())
}

/// The shims of a container on this machine. A Docker elsewhere, as in a virtual machine, has none here.
fn shims(id: &str) -> Vec<Identity> {
    let found = processes().filter(|pid| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        watches(&String::from_utf8_lossy(&line), id)
    });
    found.filter_map(Identity::of).collect()
}

/// True if this command line is that of the shim of a container.
fn watches(line: &str, id: &str) -> bool {
    let mut words = line.split('\0');
    words.next().is_some_and(|program| program.contains("containerd-shim"))
        && words.skip_while(|word| *word != "-id").nth(1) == Some(id)
}

fn children(parent: i32) -> Vec<Identity> {
    let of_parent = |pid: &i32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        parent_in(&stat) == Some(parent)
    };
    processes().filter(of_parent).filter_map(Identity::of).collect()
}

/// The parent in a `/proc/PID/stat` (proc(5)); the program's name may hold anything.
fn parent_in(stat: &str) -> Option<i32> {
    stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()
}

fn processes() -> impl Iterator<Item = i32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_shim_is_known_by_the_container_it_names() {
        let line = "/usr/bin/containerd-shim-runc-v2\0-namespace\0moby\0-id\0ab12\0-address\0/run/containerd.sock\0";
        assert!(watches(line, "ab12"));
        assert!(!watches(line, "ab1") && !watches(line, "moby") && !watches("vi\0-id\0ab12\0", "ab12"));
        assert_eq!(parent_in("17 (a) b) S 12 17 17 0"), Some(12));
    }

    #[tokio::test]
    async fn what_a_shim_started_is_ended() {
        // a shim by its command line alone
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("containerd-shim-test");
        fs::copy("/bin/sh", &program).unwrap();
        let id = format!("kestack-test-{}", std::process::id());
        let mut shim = Command::new(&program).args(["-c", "sleep 600; :", "sh", "-id", &id]).spawn().unwrap();
        let mut looks = interval(Duration::from_millis(10));
        let started = async {
            while children(i32::try_from(shim.id()).unwrap()).is_empty() {
                looks.tick().await;
            }
        };
        timeout(Duration::from_secs(30), started).await.unwrap();
        end("another", "other").await.unwrap();
        assert!(shim.try_wait().unwrap().is_none());
        end(&id, "a").await.unwrap();
        shim.wait().unwrap();
        end(&id, "a").await.unwrap();
    }
}
