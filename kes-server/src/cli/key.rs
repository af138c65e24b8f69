//! `kes key …`

use base64::{Engine as _, engine::general_purpose::STANDARD};
use clap::Subcommand;
use serde::Serialize;

use super::{
    CliError, base64_bytes,
    list::names_json,
    output::{self, Color, Output},
    session::{ServerFlags, Session},
    time,
};
use crate::client::KeyInfo;

#[derive(Debug, Subcommand)]
pub(super) enum KeyCommand {
    /// Create keys of random material
    Create {
        #[arg(required = true, value_name = "key name")]
        names: Vec<String>,
        #[command(flatten)]
        server: ServerFlags,
    },
    /// Create a key of given material: 32 bytes in base64
    Import {
        #[arg(value_name = "key name")]
        name: String,
        #[arg(value_name = "key")]
        key: String,
        #[command(flatten)]
        server: ServerFlags,
    },
    /// Show the properties of a key
    Info {
        #[arg(value_name = "key name")]
        name: String,
        /// Print the information as JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        color: Color,
        #[command(flatten)]
        server: ServerFlags,
    },
    /// List the keys whose names begin with a prefix
    Ls {
        #[arg(value_name = "prefix", default_value = "*", hide_default_value = true)]
        prefix: String,
        /// Print the names as JSON, too
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        color: Color,
        #[command(flatten)]
        server: ServerFlags,
    },
    /// Delete keys; nobody can decrypt their ciphertexts afterwards
    Rm {
        #[arg(required = true, value_name = "key name")]
        names: Vec<String>,
        #[command(flatten)]
        server: ServerFlags,
    },
    /// Encrypt a message
    Encrypt {
        #[arg(value_name = "key name")]
        name: String,
        #[arg(value_name = "message")]
        message: String,
        #[command(flatten)]
        server: ServerFlags,
    },
    /// Decrypt a ciphertext, given in base64
    Decrypt {
        #[arg(value_name = "key name")]
        name: String,
        #[arg(value_name = "ciphertext")]
        ciphertext: String,
        /// Context that the ciphertext is bound to, in base64
        #[arg(value_name = "context")]
        context: Option<String>,
        #[command(flatten)]
        server: ServerFlags,
    },
    /// Generate a data encryption key
    Dek {
        #[arg(value_name = "key name")]
        name: String,
        /// Context that the data key is bound to, in base64
        #[arg(value_name = "context")]
        context: Option<String>,
        #[command(flatten)]
        server: ServerFlags,
    },
}

pub(super) async fn run(command: KeyCommand, session: &Session<'_>) -> Result<(), CliError> {
    match command {
        KeyCommand::Create { names, server, .. } => create(session, &server, &names).await,
        KeyCommand::Import { name, key, server, .. } => import(session, &server, &name, &key).await,
        KeyCommand::Info { name, json, color, server, .. } => {
            let info = session.client(&server)?.describe_key(&name).await;
            let info = info.map_err(|error| CliError::call("failed to describe keys", &error))?;
            output::print(&describe(session.output.with_color(color), info, json)?)
        }
        KeyCommand::Ls { prefix, json, color, server, .. } => {
            let names = session.client(&server)?.list_keys(&prefix).await;
            let names = names.map_err(|error| CliError::call("failed to list keys", &error))?;
            let json = if json { names_json(&names)? } else { String::new() };
            output::print(&(json + &session.output.with_color(color).table("Key", &names)))
        }
        KeyCommand::Rm { names, server, .. } => remove(session, &server, &names).await,
        KeyCommand::Encrypt { name, message, server, .. } => encrypt(session, &server, &name, &message).await,
        KeyCommand::Decrypt { name, ciphertext, context, server, .. } => {
            decrypt(session, &server, &name, &ciphertext, context.as_deref()).await
        }
        KeyCommand::Dek { name, context, server, .. } => dek(session, &server, &name, context.as_deref()).await,
    }
}

async fn create(session: &Session<'_>, server: &ServerFlags, names: &[String]) -> Result<(), CliError> {
    let client = session.client(server)?;
    for name in names {
        let created = client.create_key(name).await;
        created.map_err(|error| CliError::call(&format!("failed to create key \"{name}\""), &error))?;
    }
    Ok(())
}

async fn import(session: &Session<'_>, server: &ServerFlags, name: &str, key: &str) -> Result<(), CliError> {
    let secret = base64_bytes(key)
        .map_err(|error| CliError::message(format!("invalid key: {error}. See 'kes key import --help'")))?;
    let imported = session.client(server)?.import_key(name, &secret, "AES256").await;
    imported.map_err(|error| CliError::call(&format!("failed to import \"{name}\""), &error))
}

async fn remove(session: &Session<'_>, server: &ServerFlags, names: &[String]) -> Result<(), CliError> {
    let client = session.client(server)?;
    for name in names {
        let deleted = client.delete_key(name).await;
        deleted.map_err(|error| CliError::call(&format!("failed to remove key \"{name}\""), &error))?;
    }
    Ok(())
}

async fn encrypt(session: &Session<'_>, server: &ServerFlags, name: &str, message: &str) -> Result<(), CliError> {
    let ciphertext = session.client(server)?.encrypt(name, message.as_bytes(), &[]).await;
    let ciphertext = ciphertext.map_err(|error| CliError::call("failed to encrypt message", &error))?;
    output::print(&labelled(session.output, &[("ciphertext", &ciphertext)]))
}

async fn decrypt(
    session: &Session<'_>,
    server: &ServerFlags,
    name: &str,
    ciphertext: &str,
    context: Option<&str>,
) -> Result<(), CliError> {
    let ciphertext = base64_bytes(ciphertext)
        .map_err(|error| CliError::message(format!("invalid ciphertext: {error}. See 'kes key decrypt --help'")))?;
    let context = context_bytes(context, "decrypt")?;
    let plaintext = session.client(server)?.decrypt(name, &ciphertext, &context).await;
    let plaintext = plaintext.map_err(|error| CliError::call("failed to decrypt ciphertext", &error))?;
    output::print(&labelled(session.output, &[("plaintext", &plaintext)]))
}

async fn dek(session: &Session<'_>, server: &ServerFlags, name: &str, context: Option<&str>) -> Result<(), CliError> {
    let context = context_bytes(context, "dek")?;
    let key = session.client(server)?.generate_key(name, &context).await;
    let key = key.map_err(|error| CliError::call("failed to generate DEK", &error))?;
    output::print(&labelled(session.output, &[("plaintext", &key.plaintext), ("ciphertext", &key.ciphertext)]))
}

fn context_bytes(text: Option<&str>, command: &str) -> Result<Vec<u8>, CliError> {
    base64_bytes(text.unwrap_or_default())
        .map_err(|error| CliError::message(format!("invalid context: {error}. See 'kes key {command} --help'")))
}

/// A JSON object for programs, labelled lines for people; bytes in base64 in both.
fn labelled(output: Output, fields: &[(&str, &[u8])]) -> String {
    let fields = fields.iter().map(|(label, bytes)| (label, STANDARD.encode(bytes)));
    if output.is_terminal {
        let width = if fields.len() > 1 { 11 } else { 0 };
        let lines: Vec<String> =
            fields.map(|(label, text)| format!("{:<width$} {text}", format!("{label}:"))).collect();
        format!("\n{}\n", lines.join("\n"))
    } else {
        let fields: Vec<String> = fields.map(|(label, text)| format!("\"{label}\":\"{text}\"")).collect();
        format!("{{{}}}", fields.join(","))
    }
}

/// The SDK's form of the answer: the usual algorithm is not mentioned.
#[derive(Serialize)]
struct KeyJson {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    algorithm: Option<String>,
    created_at: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    created_by: String,
}

fn describe(output: Output, info: KeyInfo, json: bool) -> Result<String, CliError> {
    if json {
        let algorithm = Some(info.algorithm).filter(|name| name != "AES256" && !name.is_empty());
        let KeyInfo { name, created_at, created_by, .. } = info;
        return super::json_line(&KeyJson { name, algorithm, created_at, created_by });
    }
    let fields = [
        output.field("Name", &info.name),
        output.field("Algorithm", &info.algorithm),
        output.field("Date", &time::utc(&info.created_at)),
        output.field("Owner", &info.created_by),
    ];
    Ok(fields.join("\n"))
}
