//! `kestack`: parse, start tracing, run, exit.

use std::process::ExitCode;

use kestack::cli::{self, Cli, Part};
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// Runs the verb, or ends it early on a signal: what it holds is given back, what it began the next `up` finishes.
async fn run(cli: &Cli) -> Result<(), kestack::Error> {
    if cli.handles_signals() {
        return cli.run().await;
    }
    let mut terminate = signal(SignalKind::terminate()).map_err(kestack::Error::Signals)?;
    tokio::select! {
        result = cli.run() => result,
        _ = tokio::signal::ctrl_c() => Err(kestack::Error::Interrupted),
        _ = terminate.recv() => Err(kestack::Error::Interrupted),
    }
}

fn main() -> ExitCode {
    if let Some(part) = Part::asked_for(std::env::args_os()) {
        return finish(Builder::new_current_thread(), part.run());
    }
    let cli = Cli::read();
    let level = if cli.verbose() { "kestack=debug" } else { "kestack=warn" };
    let wanted = std::env::var_os("KESTACK_LOG").filter(|wanted| !wanted.is_empty());
    let wanted = wanted.and_then(|wanted| EnvFilter::try_new(wanted.to_str()?).ok());
    let filter = wanted.unwrap_or_else(|| EnvFilter::new(level));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).without_time().init();
    let mut threads = Builder::new_multi_thread();
    threads.worker_threads(2);
    finish(threads, run(&cli))
}

fn finish(mut runtime: Builder, work: impl Future<Output = Result<(), kestack::Error>>) -> ExitCode {
    let runtime = match runtime.enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!("no runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(work) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            cli::report(&error);
            ExitCode::from(error.exit_code())
        }
    }
}
