//! Whether a stack can go on with one key and without KES: asked before anything is done.

use kes_server::auth::KeyName;

use crate::data::drive::{self, Inventory};
use crate::error::Error;
use crate::operate::inventory;
use crate::operate::session::run_by_others;
use crate::stack::Stack;

/// Refuses stacks that others run, and those with more than one drive.
pub(super) fn stack(stack: &Stack) -> Result<(), Error> {
    if stack.layout.is_exported() {
        return Err(run_by_others("work on the stack of `kestack up`, or import it"));
    }
    match drive::drives(&stack.layout.drive()) {
        Some(1) => Ok(()),
        _ => Err(Error::Usage {
            what: format!("'{}' is not the only drive of a MinIO", stack.layout.drive().display()),
            hint: "copy the objects to a MinIO without KES: `mc mirror`".into(),
        }),
    }
}

/// The one key that everything on the drive is under.
///
/// # Errors
/// [`Error::Guard`] naming the others; [`Error::Usage`] if there is none.
pub(super) async fn only_key(stack: &Stack) -> Result<KeyName, Error> {
    let found = inventory::of_drive(stack.layout.drive()).await?;
    chosen(&found, stack.manifest.default_key.as_str())
}

fn chosen(inventory: &Inventory, default: &str) -> Result<KeyName, Error> {
    let needed: Vec<_> = inventory.keys.iter().filter(|(_, used)| used.protects()).map(|(name, _)| name).collect();
    // a bucket whose default key is another one takes no more objects without KES
    let named: Vec<_> = inventory.keys.keys().collect();
    let key = match (needed.as_slice(), named.as_slice()) {
        ([], _) => {
            return Err(Error::Usage {
                what: "no key of KES protects anything on the drive".into(),
                hint: "nothing needs KES: start MinIO without it".into(),
            });
        }
        ([one], [_]) => *one,
        _ => return Err(several(inventory, default)),
    };
    key.parse().map_err(|_| Error::Environment {
        what: format!("the drive names a key that KES cannot have: {key:?}"),
        hint: "`kestack inventory` shows what it protects".into(),
    })
}

/// MinIO without KES has one key.
fn several(inventory: &Inventory, default: &str) -> Error {
    use std::fmt::Write as _;
    let mut text = format!("MinIO without KES has one key, and {} are in use", inventory.keys.len());
    for (name, used) in &inventory.keys {
        let of = used.default_of.iter().map(|bucket| format!("'{bucket}'")).collect::<Vec<_>>().join(", ");
        let of = if of.is_empty() { of } else { format!("; default key of {of}") };
        let _ = write!(text, "\n  '{name}': {used}{of}");
    }
    let keep = inventory.keys.keys().find(|name| *name == default).or_else(|| inventory.keys.keys().next());
    let others = inventory.keys.keys().filter(|name| Some(*name) != keep);
    let rotate = others.map(|name| format!("`kestack key rotate {name} {}`", keep.map_or("", String::as_str)));
    let _ = write!(text, "\n  replace all of them by one first: {}", rotate.collect::<Vec<_>>().join(", "));
    Error::Guard(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::drive::KeyUse;

    fn inventory(keys: &[(&str, KeyUse)]) -> Inventory {
        let keys = keys.iter().map(|(name, used)| ((*name).to_owned(), used.clone())).collect();
        Inventory { keys, ..Inventory::default() }
    }

    #[test]
    fn exactly_one_key_is_taken_and_the_others_are_named() {
        let needed = KeyUse { minio_files: 2, ..KeyUse::default() };
        let idle = KeyUse { default_of: ["docs".to_owned()].into(), ..KeyUse::default() };
        let one = inventory(&[("main", needed.clone())]);
        assert_eq!(chosen(&one, "main").unwrap().as_str(), "main");
        let two = inventory(&[("main", needed.clone()), ("other", needed)]);
        let error = chosen(&two, "main").unwrap_err();
        assert_eq!(error.exit_code(), 7);
        assert!(error.to_string().contains("`kestack key rotate other main`"), "{error}");
        let waiting = inventory(&[("main", KeyUse { minio_files: 1, ..KeyUse::default() }), ("other", idle)]);
        let error = chosen(&waiting, "main").unwrap_err().to_string();
        assert!(error.contains("'other': nothing; default key of 'docs'"), "{error}");
        assert_eq!(chosen(&inventory(&[]), "main").unwrap_err().exit_code(), 2);
    }
}
