//! Keys that may go: those that nothing needs any more.

use std::path::PathBuf;

use kes_server::auth::KeyName;

use crate::data::drive::{self, Inventory};
use crate::data::guard::KeyRecord;
use crate::error::Error;
use crate::operate::snapshot::Snapshot;
use crate::stack::Stack;

/// Makes sure that none of these keys is needed: declared, the default of a bucket, or protecting anything on the drive
/// or in a snapshot whose keys are not inside.
///
/// # Errors
/// [`Error::Usage`] for a declared key; [`Error::Guard`] for one that protects something.
pub(crate) fn require_unused(stack: &Stack, names: &[KeyName]) -> Result<(), Error> {
    if let Some(name) = names.iter().find(|name| stack.manifest.keys.contains(name)) {
        return Err(Error::Usage {
            what: format!(
                "key '{name}' is declared in kestack.yaml, or the default key: `kestack up` would create it again"
            ),
            hint: "remove it from `keys:` first".into(),
        });
    }
    for (place, drive) in drives(stack)? {
        let inventory = drive::take(&drive).map_err(Error::file("read", &drive))?;
        for name in names {
            check(&inventory, name.as_str(), &place)?;
        }
    }
    Ok(())
}

/// Takes a deleted key out of the record; true if the record knew it.
///
/// # Errors
/// If the record cannot be read or written.
pub(crate) fn forget(stack: &Stack, name: &KeyName) -> Result<bool, Error> {
    let path = stack.layout.guard();
    let Some(mut record) = KeyRecord::load(&path)?.filter(|record| record.knows(name.as_str())) else {
        return Ok(false);
    };
    record.drop_key(name.as_str());
    record.save(&path)?;
    Ok(true)
}

/// The stack's drive, and those of snapshots that are of no use without the keystore.
fn drives(stack: &Stack) -> Result<Vec<(String, PathBuf)>, Error> {
    let mut drives = vec![(String::new(), stack.layout.drive())];
    for snapshot in Snapshot::list(&stack.layout)?.into_iter().filter(|snapshot| snapshot.keys.is_none()) {
        drives.push((format!(" of snapshot '{}'", snapshot.name), snapshot.drive(&stack.layout)));
    }
    Ok(drives)
}

fn check(inventory: &Inventory, name: &str, place: &str) -> Result<(), Error> {
    if inventory.not_understood > 0 {
        let what = format!("kestack does not understand the form of {} versions{place}", inventory.not_understood);
        return Err(Error::Guard(format!("key '{name}' is not deleted: {what}, and it may protect them")));
    }
    let Some(used) = inventory.keys.get(name) else { return Ok(()) };
    if used.protects() {
        let advice = "copy or remove what it protects first; `kestack inventory` lists it";
        return Err(Error::Guard(format!("key '{name}' is not deleted: it protects {used}{place}\n  {advice}")));
    }
    let Some(bucket) = used.default_of.first().filter(|_| place.is_empty()) else { return Ok(()) };
    let advice = format!("`kestack bucket encrypt {bucket} --key NAME` gives the bucket another key");
    Err(Error::Guard(format!("key '{name}' is not deleted: bucket '{bucket}' encrypts with it\n  {advice}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::drive::{Count, KeyUse};

    #[test]
    fn only_a_key_that_nothing_needs_may_go() {
        let count = Count { objects: 1, versions: 1, bytes: 5 };
        let used = KeyUse { buckets: [("docs".into(), count)].into(), ..KeyUse::default() };
        let default = KeyUse { default_of: ["docs".into()].into(), ..KeyUse::default() };
        let keys = [("used".to_owned(), used), ("default".to_owned(), default)].into();
        let mut inventory = Inventory { keys, ..Inventory::default() };
        assert!(check(&inventory, "free", "").is_ok());
        let error = check(&inventory, "used", " of snapshot 's'").unwrap_err();
        assert_eq!(error.exit_code(), 7);
        assert!(error.to_string().contains("it protects 1 object in bucket 'docs' of snapshot 's'"), "{error}");
        assert!(check(&inventory, "default", "").unwrap_err().to_string().contains("encrypts with it"));
        assert!(check(&inventory, "default", " of snapshot 's'").is_ok());
        inventory.not_understood = 1;
        assert!(check(&inventory, "free", "").is_err());
    }
}
