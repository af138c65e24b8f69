//! `kes`: the server and its command line.

use std::process::ExitCode;

/// One thread is enough: the server starts its own.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    kes_server::cli::run().await
}
