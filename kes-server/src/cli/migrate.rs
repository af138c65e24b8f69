//! `kes migrate`: copies keys from one keystore to another, as they are stored.
//!
//! First it looks what the target has, and touches nothing if that is something else. So it can be repeated until it
//! succeeds, whatever ended it: what is there already counts as done.

use std::path::{Path, PathBuf};

use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};

use super::{CliError, output, session::Session};
use crate::{
    auth::is_valid_name,
    config::Config,
    keystore::{Backend, KeyStore, KeyStoreError},
};

/// Keys that are looked at or copied side by side: remote keystores take their time for each.
const AT_ONCE: usize = 8;

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
    /// Replace keys of the target that differ
    #[arg(short, long, conflicts_with = "merge")]
    force: bool,
    /// Leave alone the keys of the target that differ
    #[arg(long)]
    merge: bool,
    /// Show what would be copied, and copy nothing
    #[arg(long)]
    dry_run: bool,
}

/// What the target has under a name.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Found {
    Nothing,
    /// The same key: done, perhaps by a run that was interrupted.
    Same,
    /// Another key.
    Other,
    /// Something that cannot be read, or a name that it cannot have.
    Unreadable(String),
}

/// Two keystores.
struct Migration {
    source: Backend,
    target: Backend,
}

pub(super) async fn run(arguments: MigrateArguments, session: &Session<'_>) -> Result<(), CliError> {
    let migration =
        Migration { source: connect(&arguments.from, session).await?, target: connect(&arguments.to, session).await? };
    let found = migration.look(&arguments.pattern).await?;
    let same = found.iter().filter(|(_, found)| *found == Found::Same).count();
    if arguments.dry_run {
        migration.show(&found, &arguments)?;
    }
    migration.refuse(&found, &arguments)?;
    let replace = |found: &Found| arguments.force && matches!(found, Found::Other | Found::Unreadable(_));
    let copies = found.iter().filter(|(_, found)| *found == Found::Nothing || replace(found));
    let copies: Vec<_> = copies.map(|(name, found)| (name.as_str(), replace(found))).collect();
    if same > 0 {
        output::note(&format!("{same} keys are there already"));
    }
    if arguments.dry_run {
        return output::line(&format!("{} keys would be migrated.", copies.len()));
    }
    let mut migrated = 0_usize;
    let results = stream::iter(&copies).map(|(name, replace)| migration.copy(name, *replace));
    let mut results = results.buffer_unordered(AT_ONCE);
    while let Some(result) = results.next().await {
        result?;
        migrated += 1;
        if session.output.is_terminal {
            output::progress(&format!("Migrated keys: {migrated} of {}", copies.len()), migrated == copies.len());
        }
    }
    output::line(&match migrated {
        0 => "Migration succeeded! No keys migrated.".to_owned(),
        count => format!("Migrated {count} keys successfully!"),
    })
}

async fn connect(file: &Path, session: &Session<'_>) -> Result<Backend, CliError> {
    let failure = |error: &dyn std::fmt::Display| CliError::message(format!("{}: {error}", file.display()));
    let config = Config::load(file, &|name| session.environment.get(name)).map_err(|error| failure(&error))?;
    Backend::connect(&config.keystore, &session.environment.for_keystores()).await.map_err(|error| failure(&error))
}

impl Migration {
    /// The keys of the source that the pattern means, and what the target has of each.
    async fn look(&self, pattern: &str) -> Result<Vec<(String, Found)>, CliError> {
        let names = self.names(pattern).await?;
        let found = stream::iter(names).map(|name| async move {
            let found = self.found(&name).await?;
            Ok((name, found))
        });
        found.buffered(AT_ONCE).try_collect().await
    }

    async fn names(&self, pattern: &str) -> Result<Vec<String>, CliError> {
        let prefix = pattern.strip_suffix('*');
        let names = self.source.list(prefix.unwrap_or(pattern)).await;
        let names =
            names.map_err(|error| CliError::message(format!("failed to list the keys of {}: {error}", self.source)))?;
        let names = names.into_iter().filter(|name| prefix.is_some() || name == pattern);
        let (names, foreign): (Vec<_>, Vec<_>) = names.partition(|name| is_valid_name(name));
        if !foreign.is_empty() {
            output::note(&format!("left out, since no key can have such a name: {}", foreign.join(", ")));
        }
        Ok(names)
    }

    /// Asks for the name and does not list: not every role that may write may list.
    async fn found(&self, name: &str) -> Result<Found, CliError> {
        match self.target.get(name).await {
            Ok(theirs) => {
                let ours = self.source.get(name).await.map_err(|error| failure("read", name, &error))?;
                Ok(if *ours == *theirs { Found::Same } else { Found::Other })
            }
            Err(KeyStoreError::NotFound) => Ok(Found::Nothing),
            Err(KeyStoreError::Other(why)) => Ok(Found::Unreadable(why)),
            Err(error) => Err(failure("look for", name, &error)),
        }
    }

    /// One line for each key, for `--dry-run`.
    fn show(&self, found: &[(String, Found)], arguments: &MigrateArguments) -> Result<(), CliError> {
        for (name, found) in found {
            output::line(&match found {
                Found::Nothing => format!("{name}: from {} to {}", self.source, self.target),
                Found::Same => format!("{name}: there already"),
                Found::Other | Found::Unreadable(_) if arguments.force => format!("{name}: replaced"),
                Found::Other if arguments.merge => format!("{name}: differs, left alone"),
                Found::Other => format!("{name}: differs"),
                Found::Unreadable(why) => format!("{name}: {why}"),
            })?;
        }
        Ok(())
    }

    /// Refuses what would need a decision of the user, with all names, before anything is copied.
    fn refuse(&self, found: &[(String, Found)], arguments: &MigrateArguments) -> Result<(), CliError> {
        if arguments.force {
            return Ok(());
        }
        let mut unreadable = found.iter().filter_map(|(name, found)| match found {
            Found::Unreadable(why) => Some((name.as_str(), why)),
            _ => None,
        });
        if let Some((first, why)) = unreadable.next() {
            let names: Vec<_> = [first].into_iter().chain(unreadable.map(|(name, _)| name)).collect();
            let (names, target) = (names.join(", "), &self.target);
            let text = format!("{target} cannot say what it has as {names}; nothing was copied. The first: {why}");
            return Err(CliError::message(text));
        }
        let other: Vec<_> = found.iter().filter(|(_, found)| *found == Found::Other).map(|(name, _)| &**name).collect();
        if other.is_empty() || arguments.merge {
            return Ok(());
        }
        let (names, target) = (other.join(", "), &self.target);
        let hint = "nothing was copied; --merge keeps them, --force replaces them";
        Err(CliError::message(format!("{target} has other keys with the names {names}; {hint}")))
    }

    /// Copies one key and reads it back.
    async fn copy(&self, name: &str, replace: bool) -> Result<(), CliError> {
        let value = self.source.get(name).await.map_err(|error| failure("read", name, &error))?;
        if replace {
            self.target.delete(name).await.map_err(|error| failure("replace", name, &error))?;
        }
        let created = self.target.create(name, &value).await;
        created.map_err(|error| failure("migrate", name, &error))?;
        let stored = self.target.get(name).await.map_err(|error| failure("read back", name, &error))?;
        if *stored != *value {
            let target = &self.target;
            return Err(CliError::message(format!("key '{name}' reads back differently from {target}: do not use it")));
        }
        Ok(())
    }
}

fn failure(verb: &str, name: &str, error: &KeyStoreError) -> CliError {
    CliError::message(format!("failed to {verb} key '{name}': {error}; the same command goes on where this one ended"))
}
