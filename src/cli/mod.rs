//! Arguments, and one file per verb: load, call, show.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::builder::{OsStr, Resettable};
use clap::{ArgAction, ArgMatches, Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand, ValueEnum};
use tracing_subscriber::filter::LevelFilter;

use crate::error::Error;
use crate::host::interrupt::Interrupt;
use crate::host::lock;
use crate::manifest::{EngineKind, KeystoreKind};

mod archive;
mod bench;
mod bucket;
mod bundle;
mod chaos;
mod clients;
mod completion;
mod config;
mod doctor;
mod down;
mod drill;
mod env;
mod escape;
mod evidence;
mod export;
mod gc;
mod hint;
mod image;
mod images;
mod import;
mod init;
mod inventory;
mod key;
mod list;
mod logs;
mod man;
mod output;
mod plan;
mod process;
mod program;
#[cfg(test)]
mod reference;
mod rehearse;
mod rescue;
mod reset;
mod rotate;
mod sandbox;
mod schema;
mod serve;
mod session;
mod shell;
mod snapshot;
mod stand_in;
mod start;
mod status;
mod stop;
mod ui;
mod up;
mod verb;
mod verify;
mod version;

use output::Output;
use output::{Messages, report};
use process::Part;
pub use program::main;
use serve::{Called, pass_through};
use stand_in::StandIn;

/// One command: a MinIO with real server-side encryption, proven.
#[derive(Debug, Parser)]
#[command(name = "kestack", version = version::TEXT.as_str(), about, after_help = after_help(), propagate_version = true, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(flatten)]
    globals: Globals,
    #[command(subcommand)]
    verb: Verb,
}

const EXAMPLES: &str = "\
Examples:
  kestack up                everything, ready when it returns
  eval \"$(kestack env)\"     AWS_*, MC_HOST_*, KES_* for this shell
  kestack verify            proves the encryption
  kestack reset             returns to the fresh stack
  kestack down --data       removes everything, keys and data too";

/// Examples and exit codes, after the help of the program.
fn after_help() -> String {
    let codes = Error::EXIT_CODES.iter().map(|(code, meaning)| format!("  {code:<4} {meaning}"));
    format!("{EXAMPLES}\n\nExit codes:\n{}", codes.collect::<Vec<_>>().join("\n"))
}

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Global options")]
struct Globals {
    /// The manifest [default: the nearest kestack.yaml in this folder and those above it]
    #[arg(long, global = true, value_name = "FILE", env = "KESTACK_FILE", hide_env_values = true)]
    file: Option<PathBuf>,
    /// Name of the stack, instead of the manifest's
    #[arg(
        short = 'n',
        long = "name",
        global = true,
        value_name = "NAME",
        env = "KESTACK_NAME",
        hide_env_values = true
    )]
    stack: Option<String>,
    /// Folder in which stacks keep their files [default: `kestack` in the user's data folder]
    #[arg(long, global = true, value_name = "DIR", env = "KESTACK_DIR", hide_env_values = true)]
    dir: Option<PathBuf>,
    /// Work on a stack that another manifest, or none, brought up; `up` makes it this manifest's
    #[arg(long, global = true)]
    adopt: bool,
    /// Engine that runs the servers, instead of the manifest's
    #[arg(long, global = true, value_enum, value_name = "ENGINE", env = "KESTACK_ENGINE", hide_env_values = true)]
    engine: Option<EngineKind>,
    /// Socket of the container engine, such as `unix:///run/podman/podman.sock`
    #[arg(long, global = true, value_name = "ADDRESS", env = "KESTACK_HOST", hide_env_values = true)]
    host: Option<String>,
    /// Keystore of KES, instead of the manifest's; endpoint and credentials come from the variables that the vendor's
    /// own tools read
    #[arg(long, global = true, value_enum, value_name = "KEYSTORE", env = "KESTACK_KEYSTORE", hide_env_values = true)]
    keystore: Option<KeystoreKind>,
    /// Form of results and messages
    #[arg(short, long, global = true, value_enum, value_name = "FORM", default_value_t = Format::Human,
          env = "KESTACK_OUTPUT", hide_env_values = true)]
    output: Format,
    /// The same as `--output json`
    #[arg(long, global = true)]
    json: bool,
    /// Print only requested results, warnings and errors
    #[arg(short, long, global = true)]
    quiet: bool,
    /// Show every step; twice: also the requests to the engine and the servers
    #[arg(short, long, global = true, action = ArgAction::Count)]
    verbose: u8,
}

impl Globals {
    fn format(&self) -> Format {
        if self.json { Format::Json } else { self.output }
    }
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
    /// Remove the servers and keep the data; with --data also keys, certificates and objects
    Down(down::Down),
    /// Start a stack that was stopped
    Start(start::Start),
    /// Stop the servers without removing them
    Stop(stop::Stop),
    /// Return a running stack to its fresh state
    Reset(reset::Reset),
    /// Run MinIO in the foreground, encrypting from its first byte: for containers, systemd, test suites
    Serve(serve::Serve),
    /// Let test suites in any language use a running stack over HTTP, until Ctrl-C
    Ui(ui::Ui),
    /// Show servers, endpoints, keys, buckets and certificates
    Status(status::Status),
    /// List all stacks of this user on every engine; with --dir those below that folder
    #[command(visible_aliases = ["ls", "ps"])]
    List(list::List),
    /// Show the logs of the servers
    Logs(logs::Logs),
    /// Print the variables that clients need
    Env(env::Env),
    /// Show the changes that `up` would make
    Plan(plan::Plan),
    /// Prove that the stack encrypts
    Verify(verify::Verify),
    /// Measure the cost of encryption, in buckets of its own
    Bench(bench::Bench),
    /// Lose and recover a copy of the stack, and prove that every object comes back: a disaster drill
    Drill(drill::Drill),
    /// Find problems and say how to repair them: engine, binaries, ports, certificates, keystore
    Doctor(doctor::Doctor),
    /// Show KES and MinIO as the stack uses or would use them, and their known defects
    Images(images::Images),
    /// One image with MinIO, KES and kestack, for every tool that takes an image of MinIO: test suites, CI services, Compose
    #[command(subcommand)]
    Image(image::Image),
    /// Show which key protects which objects, versions and bytes on the drive
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
    /// Break something for a while, then repair it
    #[command(subcommand)]
    Chaos(chaos::Chaos),
    /// Remove stacks and sandboxes past their lease, and leftovers
    Gc(gc::Gc),
    /// KES, MinIO and kestack.yaml in one file, for a machine without network
    #[command(subcommand)]
    Bundle(bundle::Bundle),
    /// Snapshots of keystore, drive and configuration
    #[command(subcommand)]
    Snapshot(snapshot::Snapshot),
    /// Write the files with which another orchestrator runs the same stack
    #[command(subcommand)]
    Export(export::Export),
    /// Make a stack from an existing MinIO with KES, or with a static key
    Import(import::Import),
    /// Prove that the data can be read without KES, by a MinIO with the key in its environment
    Escape(escape::Escape),
    /// Write all readable objects in clear to a folder, also from a snapshot and from a stack that does not start
    Rescue(rescue::Rescue),
    /// Write a kestack.yaml to start from, with every setting explained
    Init(init::Init),
    /// The manifest, kestack.yaml
    #[command(subcommand)]
    Config(config::Config),
    /// Print the JSON schema of a verb's answer
    Schema(schema::Schema),
    /// Print a completion script for a shell
    Completion(completion::Completion),
    /// Print the manual page, or write the pages of all verbs into a folder
    Man(man::Man),
    /// Print the version
    Version(version::Version),
}

impl Cli {
    /// Reads the command line and the variables of the environment; an empty variable counts as one that is not set.
    ///
    /// # Errors
    /// The exit code, if they are mistaken or ask only for help; that was printed then.
    pub(crate) fn read(arguments: &[OsString]) -> Result<Self, u8> {
        let command = without_empty_variables(Self::command());
        let lenient = command.clone().ignore_errors(true).try_get_matches_from(arguments).ok();
        let matches = command.try_get_matches_from(arguments);
        let cli = matches.and_then(|matches| Ok((Self::from_arg_matches(&matches)?, verb::named(&matches))));
        match cli {
            Ok((cli, verb)) => {
                output::remember(cli.globals.format());
                hint::remember(&cli.globals);
                lock::introduce(&verb);
                Ok(cli)
            }
            Err(error) => {
                output::remember(lenient.as_ref().map_or(Format::Human, format));
                Err(verb::advice(&error).map_or_else(|| output::usage(&error), |advice| output::refusal(&advice)))
            }
        }
    }

    /// The least important messages that are shown, as `tracing` calls them.
    pub(crate) fn level(&self) -> LevelFilter {
        match self.globals.verbose {
            0 if self.globals.quiet => LevelFilter::WARN,
            0 | 1 => LevelFilter::INFO,
            2.. => LevelFilter::DEBUG,
        }
    }

    /// Runs the verb.
    ///
    /// # Errors
    /// The verb's; [`Error::exit_code`] gives the exit code of the process.
    pub(crate) async fn run(&self, interrupt: &Interrupt) -> Result<(), Error> {
        let output = Output::new(self.globals.format(), self.globals.quiet, self.globals.verbose > 0);
        let work = Box::pin(self.verb.run(&self.globals, &output, interrupt));
        let done = match &self.verb {
            // they end by themselves, after they gave back what they changed for a while
            Verb::Verify(_)
            | Verb::Bench(_)
            | Verb::Bundle(_)
            | Verb::Chaos(_)
            | Verb::Snapshot(_)
            | Verb::Drill(_)
            | Verb::Serve(_)
            | Verb::Ui(_)
            | Verb::Key(key::Key::Rotate(_) | key::Key::Delete { .. })
            | Verb::Bucket(bucket::Bucket::Create(_)) => work.await,
            _ => interrupt.ends(work).await,
        };
        match (done, &self.verb) {
            (Err(Error::Interrupted(_)), Verb::Logs(logs)) if logs.follows() => Ok(()),
            (Err(Error::Interrupted(cause)), Verb::Up(_) | Verb::Start(_) | Verb::Down(_) | Verb::Reset(_)) => {
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
            Self::Start(verb) => Box::pin(verb.run(globals, output)).await,
            Self::Stop(verb) => verb.run(globals, output).await,
            Self::Reset(verb) => verb.run(globals, output).await,
            Self::Serve(verb) => Box::pin(verb.run(globals, output, interrupt)).await,
            Self::Ui(verb) => Box::pin(verb.run(globals, output, interrupt)).await,
            Self::Status(verb) => verb.run(globals, output).await,
            Self::List(verb) => verb.run(globals, output).await,
            Self::Logs(verb) => verb.run(globals, output).await,
            Self::Env(verb) => verb.run(globals, output).await,
            Self::Plan(verb) => verb.run(globals, output).await,
            Self::Verify(verb) => Box::pin(verb.run(globals, output, interrupt)).await,
            Self::Bench(verb) => Box::pin(verb.run(globals, output, interrupt)).await,
            Self::Drill(verb) => Box::pin(verb.run(globals, output, interrupt)).await,
            Self::Doctor(verb) => verb.run(globals, output).await,
            Self::Images(verb) => verb.run(globals, output).await,
            Self::Image(verb) => verb.run(globals, output).await,
            Self::Inventory(verb) => verb.run(globals, output).await,
            Self::Key(verb) => Box::pin(verb.run(globals, output, interrupt)).await,
            Self::Bucket(verb) => Box::pin(verb.run(globals, output, interrupt)).await,
            Self::Sandbox(verb) => verb.run(globals, output).await,
            Self::Chaos(verb) => Box::pin(verb.run(globals, output, interrupt)).await,
            Self::Gc(verb) => verb.run(globals, output).await,
            Self::Bundle(verb) => verb.run(globals, output, interrupt).await,
            Self::Snapshot(verb) => verb.run(globals, output, interrupt).await,
            Self::Export(verb) => verb.run(globals, output).await,
            Self::Import(verb) => Box::pin(verb.run(globals, output, interrupt)).await,
            Self::Escape(verb) => Box::pin(verb.run(globals, output, interrupt)).await,
            Self::Rescue(verb) => Box::pin(verb.run(globals, output, interrupt)).await,
            Self::Init(_) => init::Init::run(globals, output),
            Self::Config(verb) => verb.run(globals, output),
            Self::Schema(verb) => verb.run(),
            Self::Completion(verb) => verb.run(output),
            Self::Man(verb) => verb.run(),
            Self::Version(_) => version::Version::run(output),
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

/// The form of messages that arguments ask for, although others of them are mistaken.
fn format(matches: &ArgMatches) -> Format {
    let is_json = || matches.try_get_one("json").ok().flatten().copied().unwrap_or(false);
    let given = matches.try_get_one("output").ok().flatten().copied();
    if is_json() { Format::Json } else { given.unwrap_or(Format::Human) }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_arguments_do_not_contradict_each_other() {
        super::Cli::command().debug_assert();
    }
}
