//! A server under a steady load for as long as wanted, with reloads, new keys and readers of both logs: how long the
//! slowest request takes, and whether memory stays as it is. Run by hand, on a machine with nothing else to do:
//!
//! `KES_SOAK_SECONDS=3600 cargo test --release -p kes-server --test soak -- --ignored --nocapture`
//!
//! `KES_SOAK_PROGRAM` names another `kes` to compare with.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a test for the terminal"
)]

mod support;

use std::{
    env, fs,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use kes_server::client::{Client, Timeouts};
use tokio::{task::JoinSet, time::sleep};

use support::{Folder, Server};

const TIMEOUTS: Timeouts = Timeouts { connect: Duration::from_secs(30), request: Duration::from_secs(30) };

/// Clients, pauses between the requests of each, between reloads and between new keys.
const CLIENTS: usize = 50;
const PAUSE: Duration = Duration::from_millis(100);
const RELOAD: Duration = Duration::from_secs(2);
const CREATE: Duration = Duration::from_secs(1);

/// Keys that the clients use.
const KEYS: usize = 20;

/// Bytes that memory may grow by after the first quarter of the time.
const GROWTH: u64 = 1 << 20;

/// What came out.
#[derive(Default)]
struct Record {
    stop: AtomicBool,
    answered: AtomicU64,
    wrong: AtomicU64,
    events: AtomicU64,
    /// When a request began, since the start, and how long it took.
    times: Mutex<Vec<(Duration, Duration)>>,
    /// When this machine did not run a thread that wanted to, since the start, and for how long.
    pauses: Mutex<Vec<(Duration, Duration)>>,
}

/// A thread that this machine runs later than that was kept waiting by something else.
const LATE: Duration = Duration::from_millis(5);

impl Record {
    fn goes_on(&self) -> bool {
        !self.stop.load(Ordering::Relaxed)
    }
}

/// Wants to run every millisecond, as a server whose request has arrived does: so pauses of the machine are not taken for
/// those of the server.
fn watch_machine(start: Instant, record: &Record) {
    while record.goes_on() {
        let began = Instant::now();
        std::thread::sleep(Duration::from_millis(1));
        if began.elapsed() > LATE {
            record.pauses.lock().unwrap().push((began - start, began.elapsed()));
        }
    }
}

/// Data keys that are made and opened again.
async fn ask(client: Client, number: usize, start: Instant, record: Arc<Record>) {
    let name = format!("soak-{}", number % KEYS);
    sleep(PAUSE / 50 * u32::try_from(number).unwrap()).await;
    while record.goes_on() {
        let began = Instant::now();
        let made = client.generate_key(&name, b"context").await;
        record.times.lock().unwrap().push((began - start, began.elapsed()));
        let again = Instant::now();
        let is_right = match made {
            Ok(key) => client.decrypt(&name, &key.ciphertext, b"context").await.is_ok_and(|text| text == key.plaintext),
            Err(_) => false,
        };
        record.times.lock().unwrap().push((again - start, again.elapsed()));
        record.answered.fetch_add(2, Ordering::Relaxed);
        record.wrong.fetch_add(u64::from(!is_right), Ordering::Relaxed);
        sleep(PAUSE * 2).await;
    }
}

async fn create(client: Client, record: Arc<Record>) {
    let mut number = 0;
    while record.goes_on() {
        let name = format!("new-{number}");
        let is_right = client.create_key(&name).await.is_ok() && client.delete_key(&name).await.is_ok();
        record.wrong.fetch_add(u64::from(!is_right), Ordering::Relaxed);
        number += 1;
        sleep(CREATE).await;
    }
}

/// Follows the audit log, and begins again now and then.
async fn follow(client: Client, record: Arc<Record>) {
    while record.goes_on() {
        let mut log = client.audit_log().await.unwrap();
        for _ in 0..500 {
            match log.next().await {
                Ok(Some(_)) => record.events.fetch_add(1, Ordering::Relaxed),
                _ => break,
            };
        }
    }
}

fn resident(server: &Server) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", server.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.split_whitespace().next().unwrap().parse::<u64>().unwrap() * 1024
}

/// Reloads until time is over; resident memory by the second.
async fn reload(server: &Server, start: Instant, time: Duration) -> (Vec<Duration>, Vec<u64>) {
    let (mut reloads, mut memory) = (Vec::new(), Vec::new());
    while start.elapsed() < time {
        sleep(RELOAD).await;
        reloads.push(start.elapsed());
        server.hang_up();
        memory.push(resident(server));
        if memory.len() % 15 == 0 {
            println!("{:>5} s: {} KiB", start.elapsed().as_secs(), resident(server) >> 10);
        }
    }
    (reloads, memory)
}

fn print(record: &Record, reloads: &[Duration]) {
    let mut times = record.times.lock().unwrap();
    times.sort_unstable_by_key(|(_, took)| *took);
    let at = |share: usize| times[(times.len() - 1) * share / 1000].1;
    println!("p50 {:?}, p99 {:?}, p99.9 {:?}", at(500), at(990), at(999));
    let pauses = record.pauses.lock().unwrap();
    let meets = |began: Duration, took: Duration| {
        pauses.iter().any(|(from, late)| *from <= began + took && began <= *from + *late)
    };
    println!(
        "the machine kept a thread waiting {} times, at most {:?}",
        pauses.len(),
        pauses.iter().map(|one| one.1).max()
    );
    let (all, quiet) = (times.iter().rev(), times.iter().rev().filter(|(began, took)| !meets(*began, *took)));
    println!("the slowest:");
    all.take(4).for_each(|one| print_slow(*one, reloads));
    println!("the slowest while the machine kept nothing waiting:");
    quiet.take(8).for_each(|one| print_slow(*one, reloads));
}

fn print_slow((began, took): (Duration, Duration), reloads: &[Duration]) {
    let next = reloads.iter().position(|reload| *reload > began).unwrap_or(reloads.len());
    let since = next.checked_sub(1).map(|last| began.saturating_sub(reloads[last]));
    println!("  {took:?}, begun at {began:?}, {since:?} after a reload");
}

#[test]
#[ignore = "takes as long as wanted; run by hand"]
fn memory_stays_and_reloads_pause_nobody() {
    let time = Duration::from_secs(env::var("KES_SOAK_SECONDS").map_or(600, |text| text.parse().unwrap()));
    let folder = Folder::new();
    let server = match env::var("KES_SOAK_PROGRAM") {
        Ok(program) => folder.serve_by(&program, &["server", "--config", "config.yaml"]),
        Err(_) => folder.serve(),
    };
    let (clients, record) = (folder.clients(TIMEOUTS), Arc::new(Record::default()));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let (reloads, memory) = runtime.block_on(async {
        for number in 0..KEYS {
            clients().create_key(&format!("soak-{number}")).await.unwrap();
        }
        let (start, mut tasks) = (Instant::now(), JoinSet::new());
        for number in 0..CLIENTS {
            tasks.spawn(ask(clients(), number, start, Arc::clone(&record)));
        }
        tasks.spawn(create(clients(), Arc::clone(&record)));
        (0..4).for_each(|_| drop(tasks.spawn(follow(clients(), Arc::clone(&record)))));
        let machine = Arc::clone(&record);
        std::thread::spawn(move || watch_machine(start, &machine));
        let measured = reload(&server, start, time).await;
        record.stop.store(true, Ordering::Relaxed);
        sleep(Duration::from_secs(2)).await;
        measured
    });
    runtime.shutdown_background();
    print(&record, &reloads);
    let (answered, wrong) = (record.answered.load(Ordering::Relaxed), record.wrong.load(Ordering::Relaxed));
    let (quarter, last) = (memory[memory.len() / 4], memory[memory.len() - 1]);
    let events = record.events.load(Ordering::Relaxed);
    println!("{answered} answered, {wrong} wrong, {} reloads, {events} events read", reloads.len());
    println!("memory: {} KiB after a quarter of the time, {} KiB at its end", quarter >> 10, last >> 10);
    assert!(answered > 0 && wrong == 0, "{wrong} of {answered} are wrong");
    assert!(last <= quarter + GROWTH, "memory grows: {memory:?}");
    assert_eq!(server.terminate(), Some(0));
}
