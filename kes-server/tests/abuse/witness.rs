//! A client that does nothing wrong, and must be served while others are at it.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use kes_server::client::{Client, Timeouts};

use crate::support::{Folder, Server};

const TIMEOUTS: Timeouts = Timeouts { connect: Duration::from_secs(60), request: Duration::from_secs(60) };

/// More than any request may take, on a machine that runs other tests too.
const LONGEST: Duration = Duration::from_secs(20);

/// Asks over a connection that it keeps, and over a new one every time, until a command stops it.
pub(crate) struct Witness {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<(u64, Duration)>,
}

impl Witness {
    pub(crate) fn start(folder: &Folder) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let kept = folder.client(TIMEOUTS);
        runtime.block_on(kept.create_key("witness")).unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let fresh = folder.clients(TIMEOUTS);
        let told = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let (mut count, mut longest) = (0, Duration::ZERO);
            while !told.load(Ordering::Relaxed) {
                longest = longest.max(runtime.block_on(ask(&kept))).max(runtime.block_on(ask(&fresh())));
                count += 2;
                thread::sleep(Duration::from_millis(5));
            }
            (count, longest)
        });
        Self { stop, thread }
    }

    /// Panics if a request failed or took too long.
    pub(crate) fn finish(self, what: &str) {
        self.stop.store(true, Ordering::Relaxed);
        let (count, longest) = self.thread.join().expect("the witness was not served");
        println!("{what}: {count} requests of others meanwhile, the slowest in {longest:?}");
        assert!(count > 0 && longest < LONGEST, "{what}: {count} requests, the slowest in {longest:?}");
    }
}

async fn ask(client: &Client) -> Duration {
    let began = Instant::now();
    client.generate_key("witness", b"context").await.expect("an answer");
    began.elapsed()
}

/// Bytes of memory in use by a server, and the most that ever were.
pub(crate) fn memory(server: &Server) -> (u64, u64) {
    let status = fs::read_to_string(format!("/proc/{}/status", server.id())).unwrap();
    let field = |name: &str| -> u64 {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.split_whitespace().next().unwrap().parse::<u64>().unwrap() * 1024
    };
    (field("VmRSS:"), field("VmHWM:"))
}

/// Panics if a server ever used more than this many MiB.
pub(crate) fn assert_memory(server: &Server, what: &str, limit: u64) {
    let (now, most) = memory(server);
    println!("{what}: {} MiB in use, {} MiB at most", now >> 20, most >> 20);
    assert!(most >> 20 <= limit, "{what}: {} MiB, allowed are {limit}", most >> 20);
}
