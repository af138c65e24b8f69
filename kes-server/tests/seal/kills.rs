//! SIGKILL at random moments of sealing, of a change of the master key, and of unsealing: nothing is lost, and the same
//! command finishes.
//!
//! `KES_SEAL_KILLS` says how often (24 unless told), `KES_CRASH_SEED` repeats the random choices of a run.

use std::{
    env,
    process::Stdio,
    time::{Duration, Instant},
};

use kes_server::crypto::{MasterKey, SealedValue};

use super::{Folder, assert_no_key_in_clear, refusal, stdout, stored, write_keys};
use crate::random::Random;

const KEYS: usize = 150;

#[test]
fn kills_lose_nothing_and_the_same_command_finishes() {
    let kills = setting("KES_SEAL_KILLS", 24);
    let seed = setting("KES_CRASH_SEED", u64::from(std::process::id()));
    println!("KES_SEAL_KILLS={kills} KES_CRASH_SEED={seed}");
    let mut random = Random::new(seed);
    let folder = Folder::new();
    write_keys(&folder, (0..KEYS).map(|number| format!("key-{number}")));
    let clear = stored(&folder);
    let masters = ["one.key", "two.key"].map(|file| {
        assert!(folder.kes(&["seal", "--new-master-key", file]).status.success());
        MasterKey::parse(&std::fs::read(folder.path(file)).unwrap()).unwrap()
    });
    let changes: [&[&str]; 3] = [
        &["seal", "keys", "--master-key", "one.key"],
        &["seal", "keys", "--master-key", "two.key", "--previous-master-key", "one.key"],
        &["unseal", "keys", "--master-key", "two.key"],
    ];
    let (mut killed, mut half_done) = (0, 0);
    while killed < kills {
        for change in changes {
            let life = life(&folder);
            for _ in 0..4 {
                half_done += u64::from(kill(&folder, change, random.duration(life)));
                killed += 1;
                all_are_there(&clear, &stored(&folder), &masters);
            }
            let done = folder.kes(change);
            assert!(done.status.success(), "{done:?}");
            all_are_there(&clear, &stored(&folder), &masters);
            if change[0] == "seal" {
                assert_no_key_in_clear(folder.path("keys").as_ref(), &clear[..3]);
                assert!(std::fs::read_dir(folder.path("keys")).unwrap().count() == KEYS + 1, "nothing is left over");
            }
        }
        assert!(stored(&folder) == clear, "to the byte");
    }
    println!("{killed} kills, {half_done} of them half way");
    assert!(half_done > 0, "no kill came in time");
}

/// About the time that a change takes here.
fn life(folder: &Folder) -> Duration {
    let began = Instant::now();
    assert!(folder.kes(&["--version"]).status.success());
    began.elapsed() + Duration::from_micros(600) * u32::try_from(KEYS).unwrap()
}

/// Starts a change and kills it; true if a server would not start then, because the change is half done.
fn kill(folder: &Folder, change: &[&str], after: Duration) -> bool {
    let mut child = folder.command(change).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    std::thread::sleep(after);
    child.kill().unwrap();
    child.wait().unwrap();
    let marker = std::fs::read_to_string(folder.path("keys/.kes-sealed")).unwrap_or_default();
    let is_half_done = marker.contains("unfinished");
    if is_half_done {
        let told = refusal(folder);
        assert!(told.contains("was interrupted: run `kes "), "{told}");
    }
    is_half_done || marker.matches('"').count() > 6
}

/// Every key is there, in clear or sealed by one of the master keys.
fn all_are_there(clear: &[(String, Vec<u8>)], now: &[(String, Vec<u8>)], masters: &[MasterKey]) {
    assert_eq!(now.len(), clear.len());
    for ((name, value), (found, stored)) in clear.iter().zip(now) {
        assert_eq!(name, found);
        if stored == value {
            continue;
        }
        let sealed = SealedValue::parse(stored).unwrap_or_else(|error| panic!("{name} is torn: {error}"));
        let master = masters.iter().find(|master| *master.fingerprint() == sealed.fingerprint).unwrap();
        assert!(master.open(name, &sealed).unwrap().as_slice() == value, "{name} is another key");
    }
}

fn setting(name: &str, default: u64) -> u64 {
    env::var(name).map_or(default, |value| value.parse().expect("a number"))
}

/// `kes seal` of a thousand keys, and the start of a server with them: by hand, for docs/performance.md.
#[test]
#[ignore = "measures"]
fn a_thousand_keys() {
    let folder = Folder::new();
    write_keys(&folder, (0..1_000).map(|number| format!("key-{number}")));
    let start = |folder: &Folder| {
        let mut times: Vec<_> = (0..15)
            .map(|_| {
                let began = Instant::now();
                let server = folder.serve();
                let time = began.elapsed();
                drop(server);
                time
            })
            .collect();
        times.sort();
        times[7]
    };
    println!("start, in clear: {:?}", start(&folder));
    let began = Instant::now();
    println!("{}", stdout(&folder.kes(&["seal", "keys", "--new-master-key", "master.key"])).lines().last().unwrap());
    println!("sealing: {:?}", began.elapsed());
    folder.write("config.yaml", &super::config(&folder, "{ masterKeyPath: master.key }"));
    println!("start, sealed: {:?}", start(&folder));
    std::fs::remove_file(folder.path("keys/.kes-sealed")).unwrap();
    let began = Instant::now();
    drop(folder.serve());
    println!("start, sealed, the marker was lost: {:?}", began.elapsed());
}
