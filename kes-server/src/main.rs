//! `kes`: the server and its command line.

use std::process::ExitCode;

fn main() -> ExitCode {
    kes_server::cli::run()
}
