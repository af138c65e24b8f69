//! SIGKILL at random moments, while clients create, import and delete keys of an fs keystore as fast as they can: what
//! was acknowledged is so after every restart, and nothing is torn.
//!
//! `KES_CRASH_KILLS` says how often (60 unless told), `KES_CRASH_SEED` repeats the random choices of a run.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "test"
)]

#[path = "../support/mod.rs"]
mod support;

mod random;
mod writer;

use std::{
    env, fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use kes_server::crypto::Key;
use support::Folder;

use self::{
    random::Random,
    writer::{Done, Writer},
};

const WRITERS: u64 = 8;

/// Start of the names of files that are being written.
const UNFINISHED: &str = ".kes-new-";

/// Most that a server may acknowledge before it is killed.
const ACKNOWLEDGEMENTS: u64 = 24;

/// Longest time between the last of them and the kill.
const AFTER: Duration = Duration::from_millis(10);

/// Longest life of a server that is killed whatever it does.
const LIFE: Duration = Duration::from_millis(100);

/// Longest wait for acknowledgements of a machine that is busy with other things.
const PATIENCE: Duration = Duration::from_millis(500);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_lose_nothing_that_was_acknowledged() {
    let kills: u64 = setting("KES_CRASH_KILLS", 60);
    let seed = setting("KES_CRASH_SEED", u64::from(std::process::id()));
    println!("KES_CRASH_KILLS={kills} KES_CRASH_SEED={seed}");
    let began = Instant::now();
    let folder = Folder::new();
    let reference = writer::reference(&folder).await;
    let (stop, count) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let writers: Vec<_> = (0..WRITERS)
        .map(|number| Writer::new(&folder, number, Random::new(seed ^ (number + 1)), &reference, &count))
        .map(|writer| tokio::spawn(writer.run(Arc::clone(&stop))))
        .collect();

    let killing = tokio::task::spawn_blocking(move || kill(kills, folder, &count, Random::new(seed)));
    let (folder, unfinished) = killing.await.unwrap();

    let server = folder.serve();
    stop.store(true, Ordering::Relaxed);
    let mut done = Done::default();
    for writer in writers {
        let mut writer = writer.await.unwrap();
        writer.verify().await;
        done.add(&writer.done);
    }
    println!("{kills} kills in {:?}: {done:?}; files left unfinished: {unfinished}", began.elapsed());
    assert!(done.acknowledged() > kills && done.interrupted > 0, "the clients were hardly at work: {done:?}");
    assert_eq!(server.terminate(), Some(0));
    unfinished_files_are_cleared_away(&folder);
}

/// Starts and kills servers; the folder, and how many files the last of them left unfinished.
fn kill(kills: u64, folder: Folder, acknowledged: &AtomicU64, mut random: Random) -> (Folder, usize) {
    let mut unfinished = 0;
    for _ in 0..kills {
        let goal = acknowledged.load(Ordering::Relaxed) + random.below(ACKNOWLEDGEMENTS);
        let server = folder.start();
        if random.below(4) == 0 {
            thread::sleep(random.duration(LIFE));
        } else {
            let deadline = Instant::now() + PATIENCE;
            while acknowledged.load(Ordering::Relaxed) < goal && Instant::now() < deadline {
                thread::sleep(Duration::from_millis(1));
            }
            thread::sleep(random.duration(AFTER));
        }
        drop(server);
        unfinished = check(&folder.dir.path().join("keys"));
    }
    (folder, unfinished)
}

/// With no server running: every file that a listing would show is a complete key.
fn check(keys: &Path) -> usize {
    let mut unfinished = 0;
    for entry in fs::read_dir(keys).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        if name.starts_with(UNFINISHED) {
            unfinished += 1;
        } else {
            let key = Key::decode(&fs::read(entry.path()).unwrap());
            assert!(key.is_ok(), "'{name}' is torn: {key:?}");
        }
    }
    unfinished
}

fn unfinished_files_are_cleared_away(folder: &Folder) {
    let keys = folder.dir.path().join("keys");
    fs::write(keys.join(format!("{UNFINISHED}killed")), "half").unwrap();
    drop(folder.serve());
    assert_eq!(check(&keys), 0, "the next start clears away what killed servers left");
}

fn setting(name: &str, default: u64) -> u64 {
    env::var(name).map_or(default, |value| value.parse().expect("a number"))
}
