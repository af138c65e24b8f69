//! Load on a `kes` over mTLS on the loopback, next to a bare server that does the same with TLS, AES and JSON and
//! nothing else: what each request costs, and how near that is to what the libraries and the kernel cost anyway.
//!
//! `cargo build --release -p kes-server && cargo run --release -p kes-server --example load -- [SECONDS] [ROUNDS] [KES]`
//!
//! Costs are CPU time of the server's process, read from `/proc`, medians of ROUNDS in which the servers take turns.
//! On a busy or slow machine they grow for both: the ratio stays.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    reason = "a measurement for the terminal"
)]

use std::path::PathBuf;
use std::time::Duration;

mod bare;
mod body;
mod client;
mod server;

use body::How;
use client::{Client, Cost};
use server::{Files, Server};

/// Requests at a time.
const WORKERS: usize = 16;
/// What `MinIO` sends as context for an object.
const CONTEXT: &str = "eyJidWNrZXQiOiJidWNrZXQvb2JqZWN0In0=";

/// What is measured.
#[derive(Clone, Copy)]
struct Case {
    name: &'static str,
    http1: bool,
    /// Requests at a time: over one connection with HTTP/2, over one each with HTTP/1.1.
    workers: usize,
    /// A connection of its own for each request.
    fresh: bool,
    decrypt: bool,
    sent: How,
}

const fn case(name: &'static str, http1: bool, workers: usize, fresh: bool, decrypt: bool) -> Case {
    Case { name, http1, workers, fresh, decrypt, sent: How::AtOnce }
}

const fn in_pieces(case: Case) -> Case {
    Case { sent: How::InPieces, ..case }
}

const CASES: [Case; 9] = [
    case("generate, HTTP/2", false, WORKERS, false, false),
    case("decrypt, HTTP/2", false, WORKERS, false, true),
    case("generate, HTTP/1.1", true, WORKERS, false, false),
    case("decrypt, HTTP/1.1", true, WORKERS, false, true),
    case("one client, HTTP/2", false, 1, false, false),
    case("one client, HTTP/1.1", true, 1, false, false),
    in_pieces(case("generate, in pieces", false, 1, false, false)),
    in_pieces(case("decrypt, in pieces", false, 1, false, true)),
    case("a connection each", false, 2, true, false),
];

/// Measures one case with one server.
async fn measure(case: &Case, server: &Server, client: &Client, time: Duration) -> Cost {
    let context = format!("\"context\":\"{CONTEXT}\"");
    let mut call = (server::GENERATE, format!("{{{context}}}"));
    if case.decrypt {
        let reply = client.once(server.address, server::GENERATE, &call.1).await;
        let reply: serde_json::Value = serde_json::from_slice(&reply).unwrap();
        call = (server::DECRYPT, format!("{{{context},\"ciphertext\":{}}}", reply["ciphertext"]));
    }
    client.load(server, case, &call, time).await
}

fn print(name: &str, case: &Case, costs: &[Cost]) -> f64 {
    let median = |of: fn(&Cost) -> f64| {
        let mut values: Vec<_> = costs.iter().map(of).collect();
        values.sort_unstable_by(f64::total_cmp);
        values[values.len() / 2]
    };
    let (cpu, p50, p99) = (median(|cost| cost.cpu), median(|cost| cost.p50), median(|cost| cost.p99));
    println!(
        "{:22} {name:5} {:>8.0}/s  p50 {p50:>6.0} µs  p99 {p99:>7.0} µs  server {cpu:>6.1} µs each",
        case.name,
        median(|cost| cost.rate)
    );
    cpu
}

async fn run(time: Duration, rounds: usize, kes: PathBuf) {
    let files = Files::make(&kes);
    let (kes, started) = Server::kes(&kes, &files).await;
    println!("kes: first answer after {started:.1?}, {} KiB resident", kes.memory());
    let bare = Server::bare(&files).await;
    let client = Client::new(&files);
    for case in &CASES {
        let (mut ours, mut least) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            ours.push(measure(case, &kes, &client, time).await);
            least.push(measure(case, &bare, &client, time).await);
        }
        let ratio = print("kes", case, &ours) / print("bare", case, &least);
        println!("{:22} kes costs {ratio:.2} of a bare server", "");
    }
    println!("kes: {} KiB resident, bare {} KiB", kes.memory(), bare.memory());
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let first = arguments.next();
    if first.as_deref() == Some("bare") {
        return bare::serve(&PathBuf::from(arguments.next().unwrap()));
    }
    let time = Duration::from_secs(first.map_or(2, |text| text.parse().unwrap()));
    let rounds = arguments.next().map_or(3, |text| text.parse().unwrap());
    let neighbour = || std::env::current_exe().unwrap().parent().unwrap().parent().unwrap().join("kes");
    let kes = std::fs::canonicalize(arguments.next().map_or_else(neighbour, PathBuf::from)).unwrap();
    // one thread: a second one to wake would count as the server's latency
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(run(time, rounds, kes));
}
