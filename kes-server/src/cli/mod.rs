//! The command line of `kes` (docs/kes-protocol.md §9): one file per group of verbs. `output` is the only code that
//! prints, `session` the only one that reads the environment.

mod api;
mod check;
mod completion;
mod flags;
mod identity;
mod key;
mod list;
mod log;
mod man;
mod metric;
mod migrate;
mod output;
mod password;
mod pattern;
mod policy;
mod probe;
mod seal;
mod server;
mod session;
mod status;
mod successor;
mod supervise;
mod time;
mod usage;
mod version;

use std::{ffi::OsString, fmt, io, path::Path, process::ExitCode};

use base64::{DecodeError, Engine as _, engine::general_purpose::STANDARD};
use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use serde::Serialize;
use tokio::runtime;

use self::{
    output::Output,
    session::{Environment, Session},
    usage::Usage,
};
use crate::client::ClientError;

#[derive(Debug, Parser)]
#[command(
    name = "kes",
    about = "A drop-in KES: key server and client",
    arg_required_else_help = true,
    disable_help_subcommand = true,
    after_help = "Examples:\n  kes server --dev                        a server for a try, nothing is stored\n  \
                  kes server --config server-config.yaml  a real one\n  \
                  kes identity new                        an API key\n  \
                  kes key create my-key                   a key on the server that KES_SERVER names"
)]
struct Cli {
    /// Print version, runtime and licence
    #[arg(short, long)]
    version: bool,
    /// Install the completion for bash or zsh
    #[arg(long, hide = true)]
    auto_completion: bool,
    #[command(subcommand)]
    command: Option<Verb>,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Run a key server
    Server(server::ServerArguments),
    /// Run a key server and start it again when it ends or hangs
    Supervise(supervise::SuperviseArguments),
    /// Manage keys
    #[command(subcommand, arg_required_else_help = true)]
    Key(key::KeyCommand),
    /// Show policies
    #[command(subcommand, arg_required_else_help = true)]
    Policy(policy::PolicyCommand),
    /// Make and show identities
    Identity(identity::IdentityArguments),
    /// List keys, identities or policies
    Ls(list::ListArguments),
    /// Follow the logs of a server
    Log(log::LogArguments),
    /// Show the state of a server
    Status(status::StatusArguments),
    /// Follow the metrics of a server
    Metric(metric::MetricArguments),
    /// Copy keys from one keystore to another
    Migrate(migrate::MigrateArguments),
    /// Seal the keys of a folder under a master key, or change the master key
    #[command(arg_required_else_help = true)]
    Seal(seal::SealArguments),
    /// Write the sealed keys of a folder in clear again
    #[command(arg_required_else_help = true)]
    Unseal(seal::UnsealArguments),
    /// Exit with 0 if a server answers
    Probe(probe::ProbeArguments),
    /// Check configuration files
    #[command(subcommand, arg_required_else_help = true)]
    Config(check::ConfigCommand),
    /// Print the completion for a shell
    Completion(completion::CompletionArguments),
    /// Describe the HTTP API
    #[command(subcommand, arg_required_else_help = true)]
    Api(api::ApiCommand),
    /// Print or write the manual pages
    Man(man::ManArguments),
    /// Commands under their older names
    #[command(subcommand, arg_required_else_help = true, hide = true)]
    Tool(ToolCommand),
}

#[derive(Debug, Subcommand)]
enum ToolCommand {
    /// Make and show identities
    #[command(subcommand, arg_required_else_help = true)]
    Identity(ToolIdentityCommand),
}

#[derive(Debug, Subcommand)]
enum ToolIdentityCommand {
    /// Generate a private key with its certificate
    New(identity::NewArguments),
    /// Compute the identity of an API key or certificate
    Of(identity::OfArguments),
}

/// Runs the command that the process's arguments name. From here on the process leaves no core dump: servers hold keys,
/// and the other commands credentials.
pub fn run() -> ExitCode {
    crate::process::keep_memory_private();
    let environment = Environment::of_process();
    let output = Output::new(&environment);
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    let session = Session { environment: &environment, output };
    match parse(&arguments) {
        Ok(cli) => exit_code(output, wait_for(execute(cli, &session))),
        Err(Usage::Help(text)) => {
            output::note(text.trim_end());
            ExitCode::from(2)
        }
        Err(Usage::Mistake(text)) => exit_code(output, Err(CliError::Message(text))),
    }
}

/// One thread is enough: the server starts its own. Awaited here and not in the program, which would compile every
/// future below a second time.
fn wait_for(command: impl Future<Output = Result<(), CliError>>) -> Result<(), CliError> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| CliError::Message(format!("cannot start: {error}")))?.block_on(command)
}

fn parse(arguments: &[OsString]) -> Result<Cli, Usage> {
    let name = OsString::from("kes");
    flags::as_in_go(Cli::command())
        .try_get_matches_from(std::iter::once(&name).chain(arguments))
        .and_then(|matches| Cli::from_arg_matches(&matches))
        .map_err(|error| usage::explain(Cli::command(), arguments, &error))
}

async fn execute(cli: Cli, session: &Session<'_>) -> Result<(), CliError> {
    if cli.version {
        return output::print(&version::text());
    }
    match cli.command {
        // without a command there is nothing but `--auto-completion`
        None => completion::install(session.environment),
        Some(Verb::Server(arguments)) => server::run(arguments, session).await,
        Some(Verb::Supervise(arguments)) => supervise::run(arguments, session).await,
        Some(Verb::Key(command)) => key::run(command, session).await,
        Some(Verb::Policy(command)) => policy::run(command, session).await,
        Some(Verb::Identity(arguments)) => identity::run(arguments, session).await,
        Some(Verb::Ls(arguments)) => list::run(arguments, session).await,
        Some(Verb::Log(arguments)) => log::run(arguments, session).await,
        Some(Verb::Status(arguments)) => status::run(arguments, session).await,
        Some(Verb::Metric(arguments)) => metric::run(arguments, session).await,
        Some(Verb::Migrate(arguments)) => migrate::run(arguments, session).await,
        Some(Verb::Seal(arguments)) => seal::run(arguments, session).await,
        Some(Verb::Unseal(arguments)) => seal::undo(arguments, session).await,
        Some(Verb::Probe(arguments)) => probe::run(arguments, session).await,
        Some(Verb::Config(command)) => check::run(command, session),
        Some(Verb::Completion(arguments)) => completion::run(&arguments),
        Some(Verb::Api(command)) => api::run(&command),
        Some(Verb::Man(arguments)) => man::run(&arguments),
        Some(Verb::Tool(ToolCommand::Identity(ToolIdentityCommand::New(arguments)))) => {
            identity::new_with_files(arguments, session.output)
        }
        Some(Verb::Tool(ToolCommand::Identity(ToolIdentityCommand::Of(arguments)))) => {
            identity::identity_of(&arguments, session.output)
        }
    }
}

fn exit_code(output: Output, result: Result<(), CliError>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(CliError::Message(text)) => {
            output.error(&text);
            ExitCode::FAILURE
        }
        Err(CliError::Ended(code)) => ExitCode::from(code),
        // The reader of a pipe has seen enough: `kes ls | head`.
        Err(CliError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::FAILURE,
        Err(CliError::Output(error)) => {
            output.error(&format!("cannot write the result: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// Why a command failed: the text after `Error: `.
#[derive(Debug)]
enum CliError {
    Message(String),
    Output(io::Error),
    /// A program that we ran ended so, and has said why.
    Ended(u8),
}

impl CliError {
    fn message(text: impl Into<String>) -> Self {
        Self::Message(text.into())
    }

    /// An error whose text says everything.
    fn plain(error: impl fmt::Display) -> Self {
        Self::Message(error.to_string())
    }

    /// What was tried, and what the server said.
    fn call(what: &str, error: &ClientError) -> Self {
        Self::Message(format!("{what}: {}", error.message()))
    }

    /// `open nofile: no such file or directory`, as Go writes it.
    fn file(verb: &str, file: &Path, error: &io::Error) -> Self {
        let cause = match error.kind() {
            io::ErrorKind::NotFound => "no such file or directory".to_owned(),
            io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
            io::ErrorKind::IsADirectory => "is a directory".to_owned(),
            _ => error.to_string(),
        };
        Self::Message(format!("{verb} {}: {cause}", file.display()))
    }
}

impl fmt::Display for CliError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Message(text) => f.write_str(text),
            Self::Output(error) => error.fmt(f),
            Self::Ended(code) => write!(f, "ended with code {code}"),
        }
    }
}

impl From<ClientError> for CliError {
    fn from(error: ClientError) -> Self {
        Self::Message(error.message())
    }
}

/// One line, with Go's escapes of `<`, `>` and `&`.
fn json_line(value: &impl Serialize) -> Result<String, CliError> {
    let text = serde_json::to_string(value).map_err(CliError::plain)?;
    Ok(escaped(&text) + "\n")
}

fn json_indented(value: &impl Serialize) -> Result<String, CliError> {
    let text = serde_json::to_string_pretty(value).map_err(CliError::plain)?;
    Ok(escaped(&text) + "\n")
}

fn escaped(json: &str) -> String {
    json.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026")
}

/// Standard base64 with padding; the error names the byte as Go does.
fn base64_bytes(text: &str) -> Result<Vec<u8>, String> {
    let text: String = text.chars().filter(|character| !matches!(character, '\r' | '\n')).collect();
    STANDARD.decode(&text).map_err(|error| {
        let offset = match error {
            DecodeError::InvalidByte(offset, _) | DecodeError::InvalidLastSymbol(offset, _) => offset,
            DecodeError::InvalidPadding if text.ends_with('=') => text.len(),
            DecodeError::InvalidLength(_) | DecodeError::InvalidPadding => text.len() / 4 * 4,
        };
        format!("illegal base64 data at input byte {offset}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_errors_name_the_byte_that_go_names() {
        assert_eq!(base64_bytes("AAE="), Ok(vec![0, 1]));
        for (text, offset) in [("!!", 0), ("AA", 0), ("AAAAA", 4), ("AA=", 3), ("AAAA=", 4)] {
            assert_eq!(base64_bytes(text), Err(format!("illegal base64 data at input byte {offset}")), "{text}");
        }
    }
}
