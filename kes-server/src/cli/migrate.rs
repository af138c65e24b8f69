//! `kes migrate`: copies keys from one keystore to another, as they are stored.
//!
//! First it looks what the target has, and touches nothing if that is something else. So it can be repeated until it
//! succeeds, whatever ended it: keys that exist already count as done. Entries that are not keys, and names that the
//! target cannot have, are named and left out; then the others are copied, and the exit code says that not everything was.

use std::{
    collections::HashMap,
    fmt,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
};

use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use zeroize::Zeroizing;

use super::{
    CliError,
    output::{self, Output, printable},
    pattern::Pattern,
    session::Session,
};
use crate::{
    auth::is_valid_name,
    config::{Config, KeyStoreConfig},
    crypto::Key,
    keystore::{Access, Backend, KeyStore, KeyStoreError, Memory},
};

/// Keys that are looked at or copied side by side: remote keystores take their time for each.
const AT_ONCE: usize = 16;

#[derive(Debug, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub(super) struct MigrateArguments {
    /// Keys to copy: a name with the wildcards *, ? and [a-z]; all keys if it is empty
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
    /// Keep the keys of the target that differ
    #[arg(long)]
    merge: bool,
    /// Show the keys that would be copied, and copy nothing
    #[arg(long)]
    dry_run: bool,
    /// Print no progress and no count
    #[arg(short, long)]
    quiet: bool,
}

/// What the target has under a name.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Found {
    Nothing,
    /// The same key: done, perhaps by a run that was interrupted.
    Same,
    /// Another key.
    Other,
    /// Something that cannot be read, perhaps only now or by us: it is never replaced.
    Unreadable(String),
    /// It is not copied, and this is why: the source has no key there, or the target cannot have one.
    LeftOut(String),
}

/// The value of a key, or why the source has none under its name.
type Value = Result<Zeroizing<Vec<u8>>, String>;

/// Two keystores.
struct Migration {
    source: Backend,
    target: Backend,
    /// The target's name, which in a dry run may not be there yet.
    target_name: String,
}

pub(super) async fn run(arguments: MigrateArguments, session: &Session<'_>) -> Result<(), CliError> {
    let pattern: Pattern = arguments
        .pattern
        .parse()
        .map_err(|error| CliError::message(format!("'{}' is not a valid pattern: {error}", arguments.pattern)))?;
    let from = load(&arguments.from, session)?;
    let source = connect(&arguments.from, &from, Access::Look, session).await?;
    let (target, target_name) = target(&arguments, session).await?;
    let migration = Migration { source, target, target_name };
    let found = migration.look(&pattern, arguments.dry_run).await?;
    let mut left_out = migration.report(&found, &arguments);
    if arguments.dry_run {
        migration.show(&found, &arguments)?;
    }
    migration.refuse(&found, &arguments)?;
    let replaces = |found: &Found| arguments.force && *found == Found::Other;
    let copies = found.iter().filter(|(_, found)| *found == Found::Nothing || replaces(found));
    let copies: Vec<_> = copies.map(|(name, found)| (name.as_str(), replaces(found))).collect();
    if arguments.dry_run {
        output::line(&format!("{} keys would be migrated.", copies.len()))?;
    } else {
        let shows = (!arguments.quiet).then_some(session.output);
        migration.copy_all(&copies, &mut left_out, shows).await?;
    }
    match left_out {
        0 => Ok(()),
        _ => Err(CliError::message(format!("left out: {left_out} of {} names, for the reasons above", found.len()))),
    }
}

fn leave_out(name: &str, why: &str, count: &mut usize) {
    output::note(&format!("left out: '{}', {}", printable(name), printable(why)));
    *count += 1;
}

fn load(file: &Path, session: &Session<'_>) -> Result<Config, CliError> {
    Config::load(file, &|name| session.environment.get(name)).map_err(|error| unusable(file, &error))
}

async fn connect(file: &Path, config: &Config, access: Access, session: &Session<'_>) -> Result<Backend, CliError> {
    let environment = session.environment.for_keystores().with_access(access);
    Backend::connect(&config.keystore, &environment).await.map_err(|error| unusable(file, &error))
}

fn unusable(file: &Path, error: &dyn fmt::Display) -> CliError {
    CliError::message(format!("{}: {error}", file.display()))
}

/// The keystore to write, and its name. In a dry run a folder that is not there yet is not made: nothing is in it.
async fn target(arguments: &MigrateArguments, session: &Session<'_>) -> Result<(Backend, String), CliError> {
    let (file, config) = (&arguments.to, load(&arguments.to, session)?);
    if arguments.dry_run && matches!(&config.keystore, KeyStoreConfig::Fs(fs) if !fs.path.exists()) {
        return Ok((Backend::Memory(Memory::default()), config.keystore.display()));
    }
    let access = if arguments.dry_run { Access::Look } else { Access::Make };
    let backend = connect(file, &config, access, session).await?;
    let name = backend.to_string();
    Ok((backend, name))
}

impl Migration {
    /// What the pattern means in the source, and what the target has of each. For a `dry_run` each key is read as well:
    /// the other reads it when it copies it.
    async fn look(&self, pattern: &Pattern, dry_run: bool) -> Result<Vec<(String, Found)>, CliError> {
        let names = self.source.list(&pattern.prefix()).await;
        let names =
            names.map_err(|error| CliError::message(format!("failed to list the keys of {}: {error}", self.source)))?;
        let names: Vec<_> = names.into_iter().filter(|name| pattern.matches(name)).collect();
        let twins = &if self.target.ignores_case() { twins(&names) } else { HashMap::new() };
        let found = stream::iter(&names).map(|name| async move {
            if let Some(twin) = twins.get(name.as_str()) {
                let why =
                    format!("since the target takes '{twin}' for the same name: migrate one of the two by its name");
                return Ok((name.clone(), Found::LeftOut(why)));
            }
            let found = match self.found(name).await? {
                Found::Nothing if dry_run => self.value(name).await?.map_or_else(Found::LeftOut, |_| Found::Nothing),
                found => found,
            };
            Ok((name.clone(), found))
        });
        found.buffered(AT_ONCE).try_collect().await
    }

    /// Asks for the name and does not list: not every role that may write may list.
    async fn found(&self, name: &str) -> Result<Found, CliError> {
        if !is_valid_name(name) {
            return Ok(Found::LeftOut("since no key can have such a name".into()));
        }
        match self.target.get(name).await {
            Ok(theirs) => Ok(match self.value(name).await? {
                Ok(ours) if ours == theirs => Found::Same,
                Ok(_) => Found::Other,
                Err(why) => Found::LeftOut(why),
            }),
            Err(KeyStoreError::NotFound) => Ok(Found::Nothing),
            Err(KeyStoreError::Name(why)) => Ok(Found::LeftOut(format!("since {why}"))),
            Err(KeyStoreError::Other(why)) => Ok(Found::Unreadable(why)),
            Err(error) => Err(failure("look for", name, &error)),
        }
    }

    /// Reads a key of the source. One that cannot be read, such as a link to nowhere, or is none, such as a file that a crash
    /// left empty, does not keep the others back.
    async fn value(&self, name: &str) -> Result<Value, CliError> {
        match self.source.get(name).await {
            Ok(value) => Ok(Key::decode(&value).map(|_| value).map_err(|why| format!("which is not a key: {why}"))),
            Err(error @ KeyStoreError::Unreachable(_)) => Err(failure("read", name, &error)),
            Err(error) => Ok(Err(format!("which cannot be read: {error}"))),
        }
    }

    /// Notes what is not copied, and counts the names that are left out.
    fn report(&self, found: &[(String, Found)], arguments: &MigrateArguments) -> usize {
        if found.is_empty() && !arguments.pattern.trim_matches('*').is_empty() {
            output::note(&format!("no key of {} matches '{}'", self.source, arguments.pattern));
        }
        let (mut left_out, mut same) = (0, 0);
        for (name, found) in found {
            match found {
                Found::LeftOut(why) => leave_out(name, why, &mut left_out),
                Found::Same => same += 1,
                _ => {}
            }
        }
        if same > 0 {
            output::note(&format!("{same} keys exist already"));
        }
        left_out
    }

    /// One line for each key, for `--dry-run`.
    fn show(&self, found: &[(String, Found)], arguments: &MigrateArguments) -> Result<(), CliError> {
        for (name, found) in found {
            let text = match found {
                Found::LeftOut(_) => continue,
                Found::Nothing => format!("{name}: from {} to {}", self.source, self.target_name),
                Found::Same => format!("{name}: there already"),
                Found::Other if arguments.force => format!("{name}: replaced"),
                Found::Other if arguments.merge => format!("{name}: differs, left alone"),
                Found::Other => format!("{name}: differs"),
                Found::Unreadable(why) => format!("{name}: {why}"),
            };
            output::line(&printable(&text))?;
        }
        Ok(())
    }

    /// Refuses what would need a decision of the user, with all names, before anything is copied.
    fn refuse(&self, found: &[(String, Found)], arguments: &MigrateArguments) -> Result<(), CliError> {
        let mut unreadable = found.iter().filter_map(|(name, found)| match found {
            Found::Unreadable(why) => Some((name.as_str(), why)),
            _ => None,
        });
        if let Some((first, why)) = unreadable.next() {
            let names: Vec<_> = [first].into_iter().chain(unreadable.map(|(name, _)| name)).collect();
            let (names, target) = (names.join(", "), &self.target);
            let hint = "nothing was copied; repair or delete them there";
            return Err(CliError::message(format!("{target} cannot read {names}; {hint}. The first reason: {why}")));
        }
        let other: Vec<_> = found.iter().filter(|(_, found)| *found == Found::Other).map(|(name, _)| &**name).collect();
        if other.is_empty() || arguments.merge || arguments.force {
            return Ok(());
        }
        let (names, target) = (other.join(", "), &self.target);
        let hint = "nothing was copied; --merge keeps them, --force replaces them";
        Err(CliError::message(format!("{target} has other keys with the names {names}; {hint}")))
    }

    /// Copies keys side by side, each with whether the target's is replaced. Says how many it copied where it `shows`
    /// anything. After a failure it begins no other, and ends those under way: half of a replacement is a deletion.
    async fn copy_all(
        &self,
        copies: &[(&str, bool)],
        left_out: &mut usize,
        shows: Option<Output>,
    ) -> Result<(), CliError> {
        let has_failed = AtomicBool::new(false);
        let begun = copies.iter().take_while(|_| !has_failed.load(Ordering::Relaxed));
        let results = stream::iter(begun).map(async |(name, replaces)| (*name, self.copy(name, *replaces).await));
        let mut results = results.buffer_unordered(AT_ONCE);
        let (mut migrated, mut done, mut failures) = (0_usize, 0_usize, Vec::new());
        while let Some((name, result)) = results.next().await {
            match result {
                Ok(Ok(())) => migrated += 1,
                Ok(Err(why)) => leave_out(name, &why, left_out),
                Err(failure) => {
                    has_failed.store(true, Ordering::Relaxed);
                    failures.push(failure.to_string());
                }
            }
            done += 1;
            if shows.is_some_and(|output| output.is_terminal) {
                output::progress(&format!("Migrated keys: {migrated} of {}", copies.len()), done == copies.len());
            }
        }
        match failures.as_slice() {
            [] if shows.is_some() => output::line(&summary(migrated, *left_out)),
            [] => Ok(()),
            failures => Err(CliError::message(failures.join("\n"))),
        }
    }

    /// Copies one key and reads it back; or says why the source has none, or the target has no place for it.
    async fn copy(&self, name: &str, replaces: bool) -> Result<Result<(), String>, CliError> {
        let value = match self.value(name).await? {
            Ok(value) => value,
            Err(why) => return Ok(Err(why)),
        };
        if replaces {
            match self.target.delete(name).await {
                Ok(()) | Err(KeyStoreError::NotFound) => {}
                Err(error) => return Err(failure("replace", name, &error)),
            }
        }
        match self.target.create(name, &value).await {
            // what another run would find again: a link to nowhere, a secret without a value
            Err(KeyStoreError::Exists) if self.target.get(name).await == Err(KeyStoreError::NotFound) => {
                let target = &self.target;
                return Ok(Err(format!(
                    "whose name {target} has without a key: delete that entry there, and run this again"
                )));
            }
            created => created.map_err(|error| failure("migrate", name, &error))?,
        }
        let stored = self.target.get(name).await.map_err(|error| failure("read back", name, &error))?;
        if stored != value {
            let target = &self.target;
            return Err(CliError::message(format!("key '{name}' reads back differently from {target}: do not use it")));
        }
        Ok(Ok(()))
    }
}

/// For each name that differs from another one only in upper and lower case: that one.
fn twins(names: &[String]) -> HashMap<&str, &str> {
    let (mut first, mut twins) = (HashMap::new(), HashMap::new());
    for name in names {
        if let Some(other) = first.insert(name.to_ascii_lowercase(), name.as_str()) {
            twins.extend([(name.as_str(), other), (other, name.as_str())]);
        }
    }
    twins
}

fn summary(migrated: usize, left_out: usize) -> String {
    match migrated {
        0 if left_out > 0 => "No keys migrated.".to_owned(),
        0 => "Migration succeeded! No keys migrated.".to_owned(),
        count => format!("Migrated {count} keys successfully!"),
    }
}

fn failure(verb: &str, name: &str, error: &KeyStoreError) -> CliError {
    CliError::message(format!("failed to {verb} key '{name}': {error}; run the same command again to continue"))
}
