//! The program: parse, start tracing, run, exit.

use std::process::ExitCode;

use tokio::runtime::Builder;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use super::{Cli, Messages, Part, report};
use crate::error::Error;
use crate::host::ending;
use crate::host::interrupt::Interrupt;

/// All of the program but its allocator: reads the command line, runs its verb, and reports a failure.
pub fn main() -> ExitCode {
    if let Some(part) = Part::asked_for(std::env::args_os()) {
        return finish(Builder::new_current_thread(), part.run());
    }
    let cli = match Cli::read() {
        Ok(cli) => cli,
        Err(code) => return ExitCode::from(code),
    };
    let level = format!("kestack={}", cli.level());
    let wanted = std::env::var_os("KESTACK_LOG").filter(|wanted| !wanted.is_empty());
    let wanted = wanted.and_then(|wanted| EnvFilter::try_new(wanted.to_str()?).ok());
    let filter = wanted.unwrap_or_else(|| EnvFilter::new(level));
    tracing_subscriber::registry().with(filter).with(Messages).init();
    let mut threads = Builder::new_multi_thread();
    threads.worker_threads(2);
    finish(threads, run(&cli))
}

/// Runs the verb, or ends it early on a signal: what it changed for a while is given back, what it began the next `up`
/// finishes. An engine's service of our own ends before this program does.
async fn run(cli: &Cli) -> Result<(), Error> {
    let interrupt = Interrupt::watch()?;
    let done = cli.run(&interrupt).await;
    ending::ended().await;
    done
}

fn finish(mut runtime: Builder, work: impl Future<Output = Result<(), Error>>) -> ExitCode {
    let runtime = match runtime.enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!("cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(work) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report(&error);
            ExitCode::from(error.exit_code())
        }
    }
}
