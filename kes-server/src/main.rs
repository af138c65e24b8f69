//! `kes`: the server and its command line.

use std::{alloc::System, process::ExitCode};

use zeroizing_alloc::ZeroAlloc;

/// Wipes whatever is given back: bodies of requests and answers pass through buffers of HTTP and TLS that know nothing of
/// secrets.
#[global_allocator]
static ALLOCATOR: ZeroAlloc<System> = ZeroAlloc(System);

fn main() -> ExitCode {
    kes_server::cli::run()
}
