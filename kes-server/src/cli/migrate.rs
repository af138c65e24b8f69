//! `kes migrate`: copies keys from one keystore to another, as they are stored.

use std::path::{Path, PathBuf};

use super::{CliError, output, session::Session};
use crate::{
    config::Config,
    keystore::{Backend, KeyStore, KeyStoreError},
};

#[derive(Debug, clap::Args)]
pub(super) struct MigrateArguments {
    /// Which keys: a name, or the beginning of names followed by *
    #[arg(value_name = "pattern", default_value = "*")]
    pattern: String,
    /// Server configuration file with the keystore to read
    #[arg(long, value_name = "file")]
    from: PathBuf,
    /// Server configuration file with the keystore to write
    #[arg(long, value_name = "file")]
    to: PathBuf,
    /// Overwrite keys that the target has
    #[arg(short, long, conflicts_with = "merge")]
    force: bool,
    /// Leave alone the keys that the target has
    #[arg(long)]
    merge: bool,
    /// Show what would be copied, and copy nothing
    #[arg(long)]
    dry_run: bool,
}

/// What to do with a key that the target has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Conflict {
    Refuse,
    Skip,
    Replace,
}

pub(super) async fn run(arguments: MigrateArguments, session: &Session<'_>) -> Result<(), CliError> {
    let source = connect(&arguments.from, session).await?;
    let target = connect(&arguments.to, session).await?;
    let conflict = match (arguments.merge, arguments.force) {
        (true, _) => Conflict::Skip,
        (_, true) => Conflict::Replace,
        _ => Conflict::Refuse,
    };
    let names = names(&source, &arguments.pattern).await?;
    let mut migrated = 0_usize;
    for name in &names {
        if arguments.dry_run {
            output::line(&format!("{name}: from {source} to {target}"))?;
            continue;
        }
        if copy(&source, &target, name, conflict).await? {
            migrated += 1;
        }
        if session.output.is_terminal {
            output::note(&format!("Migrated keys: {migrated} of {}", names.len()));
        }
    }
    output::line(&match (arguments.dry_run, migrated) {
        (true, _) => format!("{} keys would be migrated.", names.len()),
        (false, 0) => "Migration succeeded! No keys migrated.".to_owned(),
        (false, count) => format!("Migrated {count} keys successfully!"),
    })
}

async fn connect(file: &Path, session: &Session<'_>) -> Result<Backend, CliError> {
    let failure = |error: &dyn std::fmt::Display| CliError::message(format!("{}: {error}", file.display()));
    let config = Config::load(file, &|name| session.environment.get(name)).map_err(|error| failure(&error))?;
    Backend::connect(&config.keystore, &session.environment.for_keystores()).await.map_err(|error| failure(&error))
}

async fn names(source: &impl KeyStore, pattern: &str) -> Result<Vec<String>, CliError> {
    let prefix = pattern.strip_suffix('*');
    let mut names = source
        .list(prefix.unwrap_or(pattern))
        .await
        .map_err(|error| CliError::message(format!("failed to list the keys of {source}: {error}")))?;
    if prefix.is_none() {
        names.retain(|name| name == pattern);
    }
    Ok(names)
}

/// Copies one key and reads it back; false if the target's was left alone.
async fn copy(
    source: &impl KeyStore,
    target: &impl KeyStore,
    name: &str,
    conflict: Conflict,
) -> Result<bool, CliError> {
    let failure =
        |verb: &str, error: &KeyStoreError| CliError::message(format!("failed to {verb} key '{name}': {error}"));
    let value = source.get(name).await.map_err(|error| failure("read", &error))?;
    let created = match target.create(name, &value).await {
        Err(KeyStoreError::Exists) if conflict == Conflict::Skip => return Ok(false),
        Err(KeyStoreError::Exists) if conflict == Conflict::Replace => {
            target.delete(name).await.map_err(|error| failure("replace", &error))?;
            target.create(name, &value).await
        }
        other => other,
    };
    created.map_err(|error| failure("migrate", &error))?;
    let stored = target.get(name).await.map_err(|error| failure("read back", &error))?;
    if *stored != *value {
        return Err(CliError::message(format!("key '{name}' reads back differently from {target}: do not use it")));
    }
    Ok(true)
}
