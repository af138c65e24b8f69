//! `kes ls`: names of keys, identities or policies.

use super::{
    CliError, output,
    session::{ServerFlags, Session},
};

#[derive(Debug, clap::Args)]
pub(super) struct ListArguments {
    #[arg(value_name = "prefix", default_value = "", hide_default_value = true)]
    prefix: String,
    /// API key, instead of the environment's
    #[arg(short, long, value_name = "key")]
    api_key: Option<String>,
    /// Servers as host:port, comma separated, instead of the environment's
    #[arg(short, long, value_name = "servers")]
    server: Option<String>,
    /// Print the names as JSON
    #[arg(long)]
    json: bool,
    /// List identities
    #[arg(short, long)]
    identity: bool,
    /// List policies
    #[arg(short, long)]
    policy: bool,
    #[command(flatten)]
    flags: ServerFlags,
}

pub(super) async fn run(arguments: ListArguments, session: &Session<'_>) -> Result<(), CliError> {
    if arguments.policy && arguments.identity {
        return Err(CliError::message("'-p / --policy' and '-i / --identity' must not be used at the same time"));
    }
    let client = session.client_for(&arguments.flags, arguments.server.as_deref(), arguments.api_key.as_deref())?;
    let (header, names) = if arguments.identity {
        ("Identity", client.list_identities(&pattern(&arguments.prefix)).await)
    } else if arguments.policy {
        ("Policy", client.list_policies(&pattern(&arguments.prefix)).await)
    } else {
        ("Key", client.list_keys(&arguments.prefix).await)
    };
    let names = names.map_err(|error| CliError::message(error.message()))?;
    output::print(&if arguments.json { names_json(&names)? } else { session.output.table(header, &names) })
}

/// One line of JSON; no names are `null`, as Go's encoder writes them.
pub(super) fn names_json(names: &[String]) -> Result<String, CliError> {
    super::json_line(&(!names.is_empty()).then_some(names))
}

fn pattern(prefix: &str) -> String {
    if prefix.ends_with('*') { prefix.to_owned() } else { format!("{prefix}*") }
}
