//! Whether the keystore holds the keys of the data: each opens something that MinIO sealed with it.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;
use std::sync::Mutex;

use kes_server::client::Client;

use crate::data::drive::{self, Inventory, KeyUse, Sealed, Sealings};
use crate::data::guard::{Answer, Opener as _};
use crate::error::Error;
use crate::host::blocking::blocking;
use crate::operate::evidence::Claim;

/// What was found out.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) claims: Vec<Claim>,
    pub(super) notes: Vec<String>,
    /// Keys of the drive that are the right ones.
    pub(super) good: Vec<String>,
}

/// Has KES open a data key of each key on the drive.
///
/// # Errors
/// What keeps the drive from being read.
pub(super) async fn open(kes: &Client, drive: &Path, inventory: &Inventory) -> Result<Found, Error> {
    let (place, names) = (drive.to_owned(), needed(inventory));
    let mut sealed =
        blocking("read", drive, move || sealed(&place, &names).map_err(Error::file("read", place))).await?;
    let mut found = Found::default();
    for (name, used) in &inventory.keys {
        let of_key = sealed.remove(name).unwrap_or_default();
        let seen = if of_key.is_empty() { known(kes, name).await } else { all(kes, &of_key).await };
        if of_key.is_empty() && used.protects() {
            found.notes.push(format!("no data key under '{name}' was opened: none is in a form that kestack knows"));
        }
        let claim = if of_key.is_empty() { "KES has it" } else { "KES opens the data keys under it" };
        found.claims.push(Claim {
            about: format!("key '{name}'"),
            claim: claim.into(),
            proven: seen.is_ok(),
            seen: format!("{}; it protects {}", seen.as_ref().unwrap_or_else(|why| why), protected(used)),
        });
        found.good.extend(seen.is_ok().then(|| name.clone()));
    }
    Ok(found)
}

/// True if KES has a key of that name.
///
/// # Errors
/// [`Error::Kes`] if that cannot be found out.
pub(super) async fn exists(kes: &Client, name: &str) -> Result<bool, Error> {
    match kes.describe_key(name).await {
        Ok(_) => Ok(true),
        Err(error) if error.is_key_not_found() => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn needed(inventory: &Inventory) -> Vec<String> {
    let needed = inventory.keys.iter().filter(|(_, used)| used.protects());
    needed.map(|(name, _)| name.clone()).collect()
}

/// Data keys of each of these keys: of MinIO's configuration, and of one object or file.
fn sealed(drive: &Path, names: &[String]) -> io::Result<BTreeMap<String, Vec<Sealed>>> {
    let mut all: BTreeMap<String, Vec<Sealed>> = BTreeMap::new();
    for sealed in drive::configuration(drive)?.into_iter().chain(drive::samples(drive)?) {
        all.entry(sealed.key.clone()).or_default().push(sealed);
    }
    let missing: BTreeSet<_> = names.iter().filter(|name| !all.contains_key(*name)).map(String::as_str).collect();
    if !missing.is_empty() {
        all.extend(first(drive, &missing)?);
    }
    Ok(all)
}

/// A data key under each of these keys, wherever on the drive: with a client's context, of a user, of a target of
/// replication. The drive is walked once for all of them.
fn first(drive: &Path, keys: &BTreeSet<&str>) -> io::Result<BTreeMap<String, Vec<Sealed>>> {
    let found: Mutex<BTreeMap<String, Vec<Sealed>>> = Mutex::default();
    let is_wanted = |key: &str| keys.contains(key) && found.lock().is_ok_and(|found| !found.contains_key(key));
    drive::needing_any(drive, &is_wanted, |path| {
        let (Ok(sealings), Ok(mut found)) = (Sealings::read(drive, path)?, found.lock()) else { return Ok(()) };
        for one in sealings.found().iter().filter(|one| keys.contains(one.sealed.key.as_str())) {
            found.entry(one.sealed.key.clone()).or_insert_with(|| vec![one.sealed.clone()]);
        }
        Ok(())
    })?;
    Ok(found.into_inner().unwrap_or_default())
}

/// What was opened; else the first that was not, and why.
async fn all(kes: &Client, sealed: &[Sealed]) -> Result<String, String> {
    for one in sealed {
        match kes.open(&one.key, &one.ciphertext, &one.context).await {
            Answer::Opened(_) => {}
            Answer::Missing => return Err("the keystore does not hold it".into()),
            Answer::NotAuthentic => {
                return Err(format!(
                    "the key of that name in the keystore is another one: it does not open '{}'",
                    one.of
                ));
            }
            Answer::Unknown(why) => return Err(why),
        }
    }
    let of: Vec<_> = sealed.iter().map(|one| format!("'{}'", one.of)).collect();
    Ok(format!("opened the data keys of {}", of.join(", ")))
}

async fn known(kes: &Client, name: &str) -> Result<String, String> {
    match exists(kes, name).await {
        Ok(true) => Ok("the keystore holds a key of that name".into()),
        Ok(false) => Err("the keystore does not hold it".into()),
        Err(error) => Err(error.to_string()),
    }
}

fn protected(used: &KeyUse) -> String {
    let waiting: Vec<_> = used.default_of.iter().map(|bucket| format!("'{bucket}'")).collect();
    let waiting =
        if waiting.is_empty() { String::new() } else { format!(", and new objects of {}", waiting.join(", ")) };
    format!("{used}{waiting}")
}
