//! The program: parse, start tracing, run, exit.

use std::ffi::OsString;
use std::process::ExitCode;

use tokio::runtime::Builder;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use super::{Called, Cli, Messages, Part, StandIn, pass_through, report};
use crate::error::Error;
use crate::host::ending;
use crate::host::interrupt::Interrupt;

/// The first file that is none of standard input, output and error.
const FIRST_OTHER: i32 = 3;

/// All of the program: reads the command line, runs its verb, and reports a failure.
pub fn main() -> ExitCode {
    let mut arguments: Vec<OsString> = std::env::args_os().collect();
    if let Some(called) = Called::by(&arguments) {
        match called.as_kestack() {
            Some(own) => arguments = own,
            None => return finish(Builder::new_current_thread(), async { Ok(pass_through(&called)?) }),
        }
    }
    if let Some(stand_in) = StandIn::by(&arguments) {
        return finish(Builder::new_current_thread(), async { stand_in.run().await.map_err(Failed::Said) });
    }
    if let Some(part) = Part::asked_for(arguments.clone()) {
        return finish(Builder::new_current_thread(), async { Ok(part.run().await?) });
    }
    // of the shell: a lock of `flock` or the output of a test runner would stay open as long as the servers run
    close_fds::set_fds_cloexec(FIRST_OTHER, &[]);
    let mut threads = Builder::new_multi_thread();
    threads.worker_threads(2);
    finish(threads, run(arguments))
}

/// Runs the verb, or ends it early on a signal: what it changed for a while is given back, what it began the next `up`
/// finishes. An engine's service of our own ends before this program does. Signals are watched for before anything else:
/// the first process of a container does not get those that it does not handle.
async fn run(arguments: Vec<OsString>) -> Result<(), Failed> {
    let interrupt = Interrupt::watch().map_err(Error::from)?;
    let cli = Cli::read(&arguments).map_err(Failed::Said)?;
    let wanted = std::env::var_os("KESTACK_LOG").filter(|wanted| !wanted.is_empty());
    let wanted = wanted.and_then(|wanted| wanted.to_str()?.parse::<Targets>().ok());
    let filter = wanted.unwrap_or_else(|| Targets::new().with_target("kestack", cli.level()));
    tracing_subscriber::registry().with(filter).with(Messages).init();
    let done = cli.run(&interrupt).await;
    ending::ended().await;
    Ok(done?)
}

/// Why the program ends with another exit code than 0.
enum Failed {
    /// An error that nobody knows of yet.
    Error(Error),
    /// What was to be said is said; only the exit code is left.
    Said(u8),
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

fn finish(mut runtime: Builder, work: impl Future<Output = Result<(), Failed>>) -> ExitCode {
    let runtime = match runtime.enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!("cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(work) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failed::Said(code)) => ExitCode::from(code),
        Err(Failed::Error(error)) => {
            report(&error);
            ExitCode::from(error.exit_code())
        }
    }
}
