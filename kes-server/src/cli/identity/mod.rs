//! `kes identity …`

mod file;
mod new;

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

pub(super) use self::new::NewArguments;
use super::{
    CliError,
    list::names_json,
    output::{self, Color, Output},
    session::{ServerFlags, Session},
    time,
};
use crate::{
    auth::{ApiKey, Identity, is_valid_name},
    client::IdentityInfo,
};

/// Without an argument: makes a new API key. With an API key or a file: shows the identity or the API key that belongs
/// to it.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct IdentityArguments {
    #[command(subcommand)]
    command: Option<IdentityCommand>,
    /// Show the identity of an API key or certificate, or the API key of a private key file
    #[arg(value_name = "API key or file")]
    subject: Option<String>,
}

#[derive(Debug, Subcommand)]
enum IdentityCommand {
    /// Generate an API key, or a private key with its certificate
    New(NewArguments),
    /// Compute the identity of an API key or certificate
    Of(OfArguments),
    /// Show policy and role of an identity
    Info {
        /// Your own by default; servers answer this to the admin only
        #[arg(value_name = "identity")]
        identity: Option<String>,
        #[arg(long, hide = true)]
        json: bool,
        #[command(flatten)]
        color: Color,
        #[command(flatten)]
        server: ServerFlags,
    },
    /// List the identities that match a pattern
    Ls {
        #[arg(value_name = "pattern", default_value = "*", hide_default_value = true)]
        pattern: String,
        /// Print the identities as JSON, too
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        color: Color,
        #[command(flatten)]
        server: ServerFlags,
    },
}

#[derive(Debug, Args)]
pub(super) struct OfArguments {
    #[arg(value_name = "API key or certificate")]
    subject: String,
    /// Hash function of the identity
    #[arg(long, value_name = "hash", hide = true, value_parser = ["SHA-256", "SHA256"])]
    hash: Option<String>,
}

pub(super) async fn run(arguments: IdentityArguments, session: &Session<'_>) -> Result<(), CliError> {
    match (arguments.command, arguments.subject) {
        (None, None) => bare(session.output, &ApiKey::generate().map_err(CliError::plain)?.reveal()),
        (None, Some(subject)) => bare(session.output, &file::counterpart(&subject)?),
        (Some(IdentityCommand::New(new)), _) => new::run(&new, session.output),
        (Some(IdentityCommand::Of(of)), _) => identity_of(&of, session.output),
        (Some(IdentityCommand::Info { identity, color, server, .. }), _) => {
            let client = session.client(&server)?;
            let info = match &identity {
                Some(identity) => client.describe_identity(identity).await,
                None => client.describe_self().await,
            };
            let mut info = info.map_err(|error| CliError::message(error.message()))?;
            info.identity = identity.unwrap_or(info.identity);
            output::print(&describe(session.output.with_color(color), &info))
        }
        (Some(IdentityCommand::Ls { pattern, json, color, server }), _) => {
            let identities = session.client(&server)?.list_identities(&pattern).await;
            let identities = identities.map_err(|error| CliError::call("failed to list identities", &error))?;
            let json = if json { names_json(&identities)? } else { String::new() };
            output::print(&(json + &session.output.with_color(color).table("Identity", &identities)))
        }
    }
}

/// `kes identity of` and the older `kes tool identity of`.
pub(super) fn identity_of(arguments: &OfArguments, output: Output) -> Result<(), CliError> {
    let identity = file::identity(&arguments.subject)?;
    if file::is_authority(&arguments.subject) {
        output.warning(&format!(
            "'{}' is the certificate of a CA (basicConstraints CA:TRUE): servers do not accept it as a client's",
            arguments.subject
        ));
    }
    bare(output, &identity)
}

/// The identity that somebody names: itself, by an API key, or by a certificate file.
pub(super) fn identity_of_subject(subject: &str) -> Result<Identity, CliError> {
    if is_valid_name(subject) && !Path::new(subject).exists() {
        return Ok(Identity::new(subject));
    }
    file::identity(subject).map(Identity::new)
}

/// The older `kes tool identity new`: it wrote files, and had names for them.
pub(super) fn new_with_files(mut arguments: NewArguments, output: Output) -> Result<(), CliError> {
    arguments.key.get_or_insert_with(|| PathBuf::from("private.key"));
    arguments.cert.get_or_insert_with(|| PathBuf::from("public.crt"));
    new::run(&arguments, output)
}

/// A value for programs has no newline.
fn bare(output: Output, value: &str) -> Result<(), CliError> {
    if output.is_terminal { output::line(value) } else { output::print(value) }
}

fn describe(output: Output, info: &IdentityInfo) -> String {
    let mut fields = vec![output.field("Identity", &info.identity)];
    if !info.policy.is_empty() {
        fields.push(output.field("Policy", &info.policy));
    }
    fields.push(output.field("Created At", &time::local(&info.created_at)));
    fields.push(output.field("Role", if info.admin { "Admin" } else { "User" }));
    if !info.created_by.is_empty() {
        fields.push(output.field("Created By", &info.created_by));
    }
    fields.join("\n") + "\n"
}
