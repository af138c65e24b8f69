//! Servers killed, and containers changed by hand, behind kestack's back.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use super::{assert_gone, assert_mended, precious};
use crate::bounded::ended;
use crate::engine::{Kind, cli, kind};

#[test]
#[ignore = "needs an engine"]
fn killed_servers_come_back_with_their_data() {
    let stack = precious();
    for server in ["kes-server", "minio-server"] {
        kind().kill(&format!("{}-{server}", stack.name));
        assert_mended(&stack);
    }
}

/// About containers and images, which the process engine does not have.
mod containers {
    use super::*;

    #[test]
    #[ignore = "needs Podman or Docker"]
    fn what_is_removed_stopped_or_paused_by_hand_is_mended_by_up() {
        let stack = precious();
        let (kes, minio) = (format!("{}-kes-server", stack.name), format!("{}-minio-server", stack.name));
        let mut faults = vec![
            vec!["rm", "--force", &kes],
            vec!["rm", "--force", &minio],
            vec!["stop", &kes, &minio],
            vec!["restart", &minio],
            vec!["rm", "--force", &kes, &minio],
        ];
        // the freezer is a cgroup's, and a user without systemd has none of their own
        if !crate::engine::rootless() {
            faults.extend([vec!["pause", &kes], vec!["pause", &minio]]);
        }
        let infra = format!("{}-infra", stack.name);
        match kind() {
            Kind::Podman => faults.extend([
                vec!["pod", "stop", &stack.name],
                vec!["pod", "restart", &stack.name],
                vec!["pod", "rm", "--force", &stack.name],
            ]),
            _ => faults.extend([vec!["stop", &infra], vec!["rm", "--force", &infra, &kes, &minio]]),
        }
        for fault in &faults {
            eprintln!("{fault:?}");
            cli(fault);
            assert_mended(&stack);
        }
        assert_gone(&stack);
    }

    /// Nobody waits out the patience for a server that cannot answer any more.
    #[test]
    #[ignore = "needs Podman or Docker"]
    fn a_server_that_ends_while_it_is_waited_for_is_started_at_once() {
        let stack = precious();
        let minio = format!("{}-minio-server", stack.name);
        cli(&["kill", "--signal", "STOP", &minio]);
        let mut up = stack.command(&["up", "-vv"]).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(up.stderr.take().unwrap()).lines();
        // the first question is a glance, the second begins the wait
        let asked = lines.by_ref().filter(|line| line.as_ref().unwrap().contains("/minio/health/")).take(2).count();
        assert_eq!(asked, 2);
        kind().kill(&minio);
        let said: Vec<_> = lines.map(Result::unwrap).collect();
        assert!(ended(&mut up).success(), "{said:#?}");
        assert!(said.iter().any(|line| line.contains("MinIO ended while it was waited for")), "{said:#?}");
        assert_mended(&stack);
        assert_gone(&stack);
    }

    /// Somebody's own container under the name of ours is not taken for ours.
    #[test]
    #[ignore = "needs Podman or Docker"]
    fn a_container_made_by_hand_in_place_of_ours_is_replaced_or_refused() {
        let stack = precious();
        let kes = format!("{}-kes-server", stack.name);
        let image = cli(&["inspect", "--format", "{{.Image}}", &kes]);
        cli(&["rm", "--force", &kes]);
        let pod: &[&str] = if kind() == Kind::Podman { &["--pod", &stack.name] } else { &[] };
        cli(&[&["create"], pod, &["--name", &kes, image.trim(), "server"]].concat());
        let up = stack.run(&["up"]);
        if !up.status.success() {
            let error = crate::sandbox::text(&up.stderr);
            assert!(error.contains(&kes) && error.contains("\n  "), "{error}");
            cli(&["rm", "--force", &kes]);
        }
        assert_mended(&stack);
        assert_gone(&stack);
    }
}
