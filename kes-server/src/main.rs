//! `kes`: the server and its command line.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    kes_server::cli::run().await
}
