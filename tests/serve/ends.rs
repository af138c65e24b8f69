//! Ends: by signals at any moment, by the death of a server, and what is left.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::process::{Signal, kill_process, test_kill_process};

use crate::served::{Place, run};

/// Folders of configuration that nobody holds any more.
fn left_over() -> BTreeSet<PathBuf> {
    let entries = std::fs::read_dir("/dev/shm").unwrap().flatten();
    entries.map(|entry| entry.path()).filter(|path| path.to_string_lossy().contains("kestack-serve-")).collect()
}

#[test]
#[ignore = "needs MINIO_BINARY"]
fn a_signal_at_any_moment_ends_it_within_a_second() {
    let mut seed = fastrand::Rng::with_seed(std::env::var("KESTACK_E2E_SEED").map_or(7, |seed| seed.parse().unwrap()));
    let before = left_over();
    for round in 0..30 {
        let place = Place::new();
        let mut served = place.start(&[], &[]);
        let moment = Duration::from_millis(10 + seed.u64(0..1200));
        std::thread::sleep(moment);
        let signal = if round % 2 == 0 { Signal::TERM } else { Signal::INT };
        served.signal(signal);
        let told = Instant::now();
        let status = served.ended();
        let took = told.elapsed();
        assert_eq!(status.code(), Some(0), "{signal:?} after {moment:?}: {}", served.said());
        assert!(took < Duration::from_secs(1), "{signal:?} after {moment:?}: {took:?}");
        assert_eq!(place.processes(), Vec::<String>::new(), "{signal:?} after {moment:?}");
    }
    assert_eq!(left_over().difference(&before).count(), 0);
}

#[test]
#[ignore = "needs MINIO_BINARY"]
fn a_hang_up_ends_nothing_and_the_signal_behind_it_counts() {
    let place = Place::new();
    let served = place.start(&[], &[]);
    while !place.drive().join(".kestack").exists() {
        assert!(served.begun.elapsed() < Duration::from_secs(20), "{}", served.said());
        std::thread::sleep(Duration::from_millis(1));
    }
    served.signal(Signal::HUP);
    let served = served.open(&place);
    for object in ["one", "two"] {
        served.signal(Signal::HUP);
        run(async { place.s3().put_object("encrypted", object, b"after").await.unwrap() });
    }
    served.stop();
}

#[test]
#[ignore = "needs MINIO_BINARY"]
fn kes_is_started_again_and_minio_is_the_end() {
    let place = Place::new();
    let mut served = place.start(&[], &[]).open(&place);
    let former = served.server("kes").unwrap();
    kill_process(former, Signal::KILL).unwrap();
    let start = Instant::now();
    while served.server("kes").is_none_or(|now| now == former) || !place.check().status.success() {
        assert!(start.elapsed() < Duration::from_secs(20), "{}", served.said());
        std::thread::sleep(Duration::from_millis(10));
    }
    run(async { place.s3().put_object("encrypted", "o", b"after").await.unwrap() });
    assert!(served.said().contains("KES ended"), "{}", served.said());
    kill_process(served.server("minio").unwrap(), Signal::KILL).unwrap();
    assert_eq!(served.ended().code(), Some(137), "{}", served.said());
    assert_eq!(place.processes(), Vec::<String>::new());
}

/// KES would make another key of that name, and nobody would notice until the old objects are read.
#[test]
#[ignore = "needs MINIO_BINARY"]
fn kes_is_not_started_again_without_the_keys_of_the_data() {
    let place = Place::new();
    let mut served = place.start(&[], &[]).open(&place);
    run(async { place.s3().put_object("encrypted", "o", b"before").await.unwrap() });
    let keys = place.drive().join(".kestack/keys");
    let (key, aside) = (keys.join("minio-backend-key"), place.drive().join(".kestack/aside"));
    std::fs::rename(&key, &aside).unwrap();
    kill_process(served.server("kes").unwrap(), Signal::KILL).unwrap();
    assert_eq!(served.ended().code(), Some(7), "{}", served.said());
    assert!(served.said().contains("minio-backend-key"), "{}", served.said());
    assert!(!key.exists(), "a lost key was made again");
    std::fs::rename(&aside, &key).unwrap();
    let served = place.start(&[], &[]).open(&place);
    assert_eq!(run(async { place.s3().get_object("encrypted", "o").await.unwrap() }), b"before");
    served.stop();
}

#[test]
#[ignore = "needs MINIO_BINARY"]
fn the_end_of_minio_before_it_serves_has_its_code_and_words() {
    let place = Place::new();
    let (code, said) = place.refused(&[("MINIO_ROOT_USER", "ab"), ("MINIO_ROOT_PASSWORD", "short")], &[]);
    assert!(code == 1 && said.contains("FATAL") && said.contains("MinIO ended"), "{code}: {said}");
}

#[test]
#[ignore = "needs MINIO_BINARY"]
fn one_that_is_killed_takes_its_servers_along_and_starts_again() {
    let place = Place::new();
    for after in [50, 300, 600, 2000] {
        let mut served = place.start(&[], &[]);
        std::thread::sleep(Duration::from_millis(after));
        let servers: Vec<_> = ["kes", "minio"].iter().filter_map(|name| served.server(name)).collect();
        served.signal(Signal::KILL);
        served.ended();
        let start = Instant::now();
        while servers.iter().any(|pid| test_kill_process(*pid).is_ok()) {
            assert!(start.elapsed() < Duration::from_secs(20), "{:?}", place.processes());
            std::thread::sleep(Duration::from_millis(10));
        }
    }
    let served = place.start(&[], &[]).open(&place);
    run(async { place.s3().put_object("encrypted", "o", b"after").await.unwrap() });
    served.stop();
}

#[test]
#[ignore = "needs MINIO_BINARY"]
fn a_set_up_that_takes_too_long_ends_with_what_it_waited_for() {
    let place = Place::new();
    let (code, said) = place.refused(&[("KESTACK_SETUP_TIMEOUT", "10ms")], &[]);
    assert!(
        code == 4 && said.contains("was not ready after") && said.contains("KESTACK_SETUP_TIMEOUT"),
        "{code}: {said}"
    );
    assert_eq!(place.processes(), Vec::<String>::new());
}

#[test]
#[ignore = "needs MINIO_BINARY"]
fn nothing_to_check_is_no_success() {
    let place = Place::new();
    let checked = place.check();
    assert_eq!(checked.status.code(), Some(3));
    let served = place.start(&[], &[]).open(&place);
    kill_process(served.server("kes").unwrap(), Signal::STOP).unwrap();
    assert_eq!(place.check().status.code(), Some(4));
    kill_process(served.server("kes").unwrap(), Signal::CONT).unwrap();
    served.stop();
}
