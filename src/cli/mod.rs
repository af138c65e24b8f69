//! Arguments, and one file per verb: load, call, show.

use std::path::PathBuf;

use clap::builder::{OsStr, Resettable};
use clap::{Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand, ValueEnum};

use crate::error::Error;
use crate::interrupt::Interrupt;
use crate::manifest::{EngineKind, KeystoreKind};

mod archive;
mod bucket;
mod bundle;
mod chaos;
mod completion;
mod config;
mod doctor;
mod down;
mod env;
mod export;
mod gc;
mod hint;
mod images;
mod import;
mod inventory;
mod key;
mod list;
mod logs;
mod output;
mod plan;
mod process;
mod reset;
mod sandbox;
mod session;
mod shell;
mod snapshot;
mod status;
mod up;
mod verify;

pub use output::Messages;
use output::Output;
pub use process::Part;

/// One command: a MinIO with real server-side encryption, proven.
#[derive(Debug, Parser)]
#[command(name = "kestack", version, about, after_help = EXAMPLES, propagate_version = true)]
pub struct Cli {
    #[command(flatten)]
    globals: Globals,
    #[command(subcommand)]
    verb: Verb,
}

const EXAMPLES: &str = "\
Examples:
  kestack up                      MinIO, KES, certificates, key and encrypted bucket, ready when it returns
  eval \"$(kestack env)\"           AWS_*, MC_HOST_*, KES_* for this shell
  kestack verify                  proves the encryption
  kestack reset                   back to the fresh stack
  kestack down --data             removes everything, keys and data too

Exit codes:
  0 ok  1 failure  2 usage  3 not running  4 unhealthy or timed out  5 verification failed  6 environment
  7 keys that data needs are not there, or would go  129, 130, 143 interrupted by SIGHUP, SIGINT, SIGTERM";

#[derive(Debug, Args)]
struct Globals {
    /// The manifest; without it kestack.yaml is looked for upwards from here
    #[arg(long, global = true, value_name = "FILE", env = "KESTACK_FILE")]
    file: Option<PathBuf>,
    /// Name of the stack, instead of the manifest's
    #[arg(short = 'n', long = "name", global = true, value_name = "NAME", env = "KESTACK_NAME")]
    stack: Option<String>,
    /// Folder in which stacks keep their files; by default `kestack` in the user's data folder
    #[arg(long, global = true, value_name = "DIR", env = "KESTACK_DIR")]
    dir: Option<PathBuf>,
    /// Work on a stack that was brought up from another manifest, or from none; `up` makes it this manifest's
    #[arg(long, global = true)]
    adopt: bool,
    /// What runs the servers, instead of the manifest's
    #[arg(long, global = true, value_enum, value_name = "ENGINE", env = "KESTACK_ENGINE")]
    engine: Option<EngineKind>,
    /// Socket of the container engine, e.g. `unix:///run/podman/podman.sock`
    #[arg(long, global = true, value_name = "ADDRESS", env = "KESTACK_HOST")]
    host: Option<String>,
    /// Where KES keeps its keys, instead of the manifest's; endpoint and credentials come from the variables that the
    /// vendor's own tools read
    #[arg(long, global = true, value_enum, value_name = "KEYSTORE", env = "KESTACK_KEYSTORE")]
    keystore: Option<KeystoreKind>,
    /// Form of what is printed
    #[arg(short, long, global = true, value_enum, default_value_t = Format::Human, env = "KESTACK_OUTPUT")]
    output: Format,
    /// No progress, only results and errors
    #[arg(short, long, global = true)]
    quiet: bool,
    /// What is asked of the engine and the servers, on standard error
    #[arg(short, long, global = true)]
    verbose: bool,
}

/// Form of a verb's result on standard output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people.
    Human,
    /// For programs; carries `schema_version`.
    Json,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Bring the stack up; returns when S3 and KMS answer
    Up(up::Up),
    /// Remove pod and containers; with --data also keys, certificates and objects
    Down(down::Down),
    /// Bring a running stack back to its fresh state
    Reset(reset::Reset),
    /// Show what runs, endpoints, keys, buckets, certificates
    Status(status::Status),
    /// List all stacks of this user on every engine; with --dir those below that folder
    #[command(visible_aliases = ["ls", "ps"])]
    List(list::List),
    /// Show what the servers say
    Logs(logs::Logs),
    /// Print the variables that clients need
    Env(env::Env),
    /// Show what `up` would change
    Plan(plan::Plan),
    /// Prove that the stack encrypts
    Verify(verify::Verify),
    /// Say what is wrong and how to mend it: engine, binaries, ports, certificates, keystore
    Doctor(doctor::Doctor),
    /// Show which KES and MinIO are used or would be, and what is known against them
    Images(images::Images),
    /// Show which keys protect what on the drive: objects, versions, bytes, MinIO's own files
    Inventory(inventory::Inventory),
    /// Encryption keys
    #[command(subcommand)]
    Key(key::Key),
    /// Buckets and their default encryption
    #[command(subcommand)]
    Bucket(bucket::Bucket),
    /// A bucket, a key and a user for one test or branch, inside the running stack
    #[command(subcommand)]
    Sandbox(sandbox::Sandboxed),
    /// Break something for a while, and mend it
    #[command(subcommand)]
    Chaos(chaos::Chaos),
    /// Drop sandboxes and stacks whose lease is over
    Gc(gc::Gc),
    /// KES, MinIO and kestack.yaml in one file, for a machine without network
    #[command(subcommand)]
    Bundle(bundle::Bundle),
    /// Snapshots of keystore, drive and configuration
    #[command(subcommand)]
    Snapshot(snapshot::Snapshot),
    /// Write what another orchestrator needs to run the same stack
    #[command(subcommand)]
    Export(export::Export),
    /// Make a stack of an existing MinIO with KES
    Import(import::Import),
    /// The manifest, kestack.yaml
    #[command(subcommand)]
    Config(config::Config),
    /// Print a completion script for a shell
    Completion(completion::Completion),
}

impl Cli {
    /// What the command line and the variables of the environment say; a variable that is empty counts as one that is
    /// not set.
    ///
    /// # Errors
    /// The exit code, if they are mistaken or ask only for help; that was printed then.
    pub fn read() -> Result<Self, u8> {
        let matches = without_empty_variables(Self::command()).try_get_matches();
        let cli =
            matches.and_then(|matches| Self::from_arg_matches(&matches)).map_err(|error| output::usage(&error))?;
        hint::remember(&cli.globals);
        Ok(cli)
    }

    /// True if `--verbose` was given.
    pub fn verbose(&self) -> bool {
        self.globals.verbose
    }

    /// Does what was asked.
    ///
    /// # Errors
    /// The verb's; [`Error::exit_code`] says what the process shall exit with.
    pub async fn run(&self, interrupt: &Interrupt) -> Result<(), Error> {
        let output = Output::new(self.globals.output, self.globals.quiet);
        let work = Box::pin(self.verb.run(&self.globals, &output, interrupt));
        let done = match &self.verb {
            // they end by themselves, after they gave back what they changed for a while
            Verb::Verify(_) | Verb::Chaos(_) | Verb::Snapshot(_) => work.await,
            _ => interrupt.ends(work).await,
        };
        match (done, &self.verb) {
            (Err(Error::Interrupted(_)), Verb::Logs(logs)) if logs.follows() => Ok(()),
            (Err(Error::Interrupted(cause)), Verb::Up(_) | Verb::Down(_) | Verb::Reset(_)) => {
                Err(Error::Unfinished(cause))
            }
            (done, _) => done,
        }
    }
}

impl Verb {
    async fn run(&self, globals: &Globals, output: &Output, interrupt: &Interrupt) -> Result<(), Error> {
        match self {
            Self::Up(verb) => verb.run(globals, output).await,
            Self::Down(verb) => verb.run(globals, output).await,
            Self::Reset(verb) => verb.run(globals, output).await,
            Self::Status(verb) => verb.run(globals, output).await,
            Self::List(verb) => verb.run(globals, output).await,
            Self::Logs(verb) => verb.run(globals, output).await,
            Self::Env(verb) => verb.run(globals, output).await,
            Self::Plan(verb) => verb.run(globals, output).await,
            Self::Verify(verb) => verb.run(globals, output, interrupt).await,
            Self::Doctor(verb) => verb.run(globals, output).await,
            Self::Images(verb) => verb.run(globals, output).await,
            Self::Inventory(verb) => verb.run(globals, output).await,
            Self::Key(verb) => verb.run(globals, output).await,
            Self::Bucket(verb) => verb.run(globals, output).await,
            Self::Sandbox(verb) => verb.run(globals, output).await,
            Self::Chaos(verb) => verb.run(globals, output, interrupt).await,
            Self::Gc(verb) => verb.run(globals, output).await,
            Self::Bundle(verb) => verb.run(globals, output).await,
            Self::Snapshot(verb) => verb.run(globals, output, interrupt).await,
            Self::Export(verb) => verb.run(globals, output).await,
            Self::Import(verb) => verb.run(globals, output),
            Self::Config(verb) => verb.run(globals, output),
            Self::Completion(verb) => verb.run(output),
        }
    }
}

/// The same arguments, but for variables of the environment that are empty.
fn without_empty_variables(command: clap::Command) -> clap::Command {
    let is_empty = |name: &std::ffi::OsStr| std::env::var_os(name).is_some_and(|value| value.is_empty());
    command.mut_args(|argument| {
        if argument.get_env().is_some_and(is_empty) { argument.env(Resettable::<OsStr>::Reset) } else { argument }
    })
}

/// Prints an error the way all verbs do: what happened, then what to do.
pub fn report(error: &Error) {
    output::error(&error.to_string());
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_arguments_do_not_contradict_each_other() {
        super::Cli::command().debug_assert();
    }
}
