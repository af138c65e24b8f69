//! Whether a rotation can be made at all: asked before anything is changed.

use std::path::Path;

use kes_server::auth::KeyName;

use super::Request;
use super::record::Record;
use super::staging::Staging;
use crate::data::drive;
use crate::engine::PodState;
use crate::error::Error;
use crate::host::freeze::Freezer;
use crate::operate::chaos::FaultRecord;
use crate::operate::session::run_by_others;
use crate::resource::Context;
use crate::stack::{Layout, Stack};

/// Longest name that is made from another.
const TRIES: u32 = 1000;

/// Refuses stacks that others run, and those with a fault in force or with more than one drive.
pub(super) fn stack(stack: &Stack) -> Result<(), Error> {
    if let Some(fault) = FaultRecord::read(&stack.layout)? {
        let fault = format!("{fault}; `kestack chaos heal` ends it");
        return Err(Error::Faulty { stack: stack.manifest.name.to_string(), fault });
    }
    match drive::drives(&stack.layout.drive()) {
        Some(1) => Ok(()),
        count => Err(Error::Usage {
            what: match count {
                Some(count) => format!("MinIO has {count} drives, and kestack replaces keys on one drive only"),
                None => {
                    format!("'{}' is not a drive of MinIO that kestack understands", stack.layout.drive().display())
                }
            },
            hint: "copy the objects into a bucket with the new key".into(),
        }),
    }
}

/// What others start is not ours to pause.
pub(super) fn layout(layout: &Layout) -> Result<(), Error> {
    if !layout.is_exported() {
        return Ok(());
    }
    Err(run_by_others("replace the key in the stack of `kestack up`, then export it again"))
}

/// Who freezes the stack's MinIO.
///
/// # Errors
/// [`Error::Environment`] if its process cannot be seen or signalled from here.
pub(in crate::operate) fn freezer(stack: &Stack, pod: Option<&PodState>, program: &Path) -> Result<Freezer, Error> {
    freezer_of(&stack.minio_container(), pod, program)
}

/// The same by the name of MinIO's container.
pub(in crate::operate) fn freezer_of(name: &str, pod: Option<&PodState>, program: &Path) -> Result<Freezer, Error> {
    let found = pod.into_iter().flat_map(|pod| &pod.containers).find(|container| container.name == name);
    let unseen = || std::io::Error::other("its process cannot be seen from here");
    let pid = found.and_then(|container| container.pid).ok_or_else(unseen);
    pid.and_then(|pid| Freezer::of(pid, program)).map_err(|error| Error::Environment {
        what: format!("MinIO cannot be paused: {error}"),
        hint: "run kestack where MinIO runs, as root or as the user who runs the engine".into(),
    })
}

/// Makes sure that files of MinIO's owner can be written on the drive.
pub(super) fn writable(stack: &Stack) -> Result<(), Error> {
    Staging::make(&stack.layout.drive())?.remove()
}

/// The former key and the one that replaces it.
pub(super) async fn keys(
    request: &Request,
    record: Option<&Record>,
    context: &Context,
) -> Result<(KeyName, KeyName), Error> {
    if request.undo {
        return back(request, record);
    }
    let old = &request.old;
    let is_same = |begun: &Record| begun.old == *old && request.new.as_ref().is_none_or(|new| begun.new == *new);
    let new = match (record, &request.new) {
        // the same call again goes on, or finds nothing to do
        (Some(begun), _) if is_same(begun) => begun.new.clone(),
        (Some(begun), _) if !begun.complete => {
            return Err(Error::Usage {
                what: format!("a rotation of key '{}' to '{}' is not complete", begun.old, begun.new),
                hint: format!(
                    "`kestack key rotate {} {}` completes it, `kestack key rotate {} --undo` undoes it",
                    begun.old, begun.new, begun.old
                ),
            });
        }
        (_, Some(new)) => new.clone(),
        (_, None) => next_name(old, context).await?,
    };
    if new == *old {
        return Err(Error::Usage {
            what: format!("key '{old}' cannot replace itself"),
            hint: "name another key, or none: kestack makes one".into(),
        });
    }
    describe(old, context).await?;
    Ok((old.clone(), new))
}

/// Both keys of the way back.
fn back(request: &Request, record: Option<&Record>) -> Result<(KeyName, KeyName), Error> {
    let is_meant =
        |record: &&Record| record.old == request.old && request.new.as_ref().is_none_or(|new| *new == record.new);
    let Some(record) = record.filter(is_meant) else {
        return Err(Error::Usage {
            what: format!("there is no rotation of key '{}' to undo", request.old),
            hint: "`--undo` undoes the last rotation, until its former key is deleted".into(),
        });
    };
    if !record.made {
        let restore = record.snapshot.as_ref().map(|name| format!(" `kestack snapshot restore {name}`"));
        return Err(Error::Usage {
            what: format!("key '{}' was there before the rotation, and may protect other data", record.new),
            hint: format!("restore the earlier snapshot:{}", restore.unwrap_or_else(|| " none was taken".into())),
        });
    }
    Ok((record.new.clone(), record.old.clone()))
}

/// Makes sure that KES has a key.
async fn describe(key: &KeyName, context: &Context) -> Result<(), Error> {
    match context.kes.describe_key(key.as_str()).await {
        Err(error) if error.is_key_not_found() => Err(Error::Usage {
            what: format!("there is no key '{key}'"),
            hint: "`kestack key list` shows the keys".into(),
        }),
        described => Ok(described.map(drop)?),
    }
}

/// The first name with a counter that no key has: `name-2` for `name`, `name-3` for `name-2`.
async fn next_name(old: &KeyName, context: &Context) -> Result<KeyName, Error> {
    let (base, first) = counted(old.as_str());
    for number in first..first.saturating_add(TRIES) {
        let Ok(name) = format!("{base}-{number}").parse::<KeyName>() else { break };
        match context.kes.describe_key(name.as_str()).await {
            Err(error) if error.is_key_not_found() => return Ok(name),
            described => drop(described?),
        }
    }
    Err(Error::Usage {
        what: format!("there is no free name for a key that replaces '{old}'"),
        hint: format!("name one: `kestack key rotate {old} NEW`"),
    })
}

/// A name without its counter, and the next number.
fn counted(name: &str) -> (&str, u32) {
    let number = name.rsplit_once('-').and_then(|(base, number)| {
        let is_counter =
            !base.is_empty() && !number.starts_with('0') && number.bytes().all(|byte| byte.is_ascii_digit());
        number
            .parse::<u32>()
            .ok()
            .filter(|number| is_counter && (1..u32::MAX).contains(number))
            .map(|number| (base, number))
    });
    number.map_or((name, 2), |(base, number)| (base, number + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_counted() {
        for (name, counted) in [
            ("name", ("name", 2)),
            ("name-2", ("name", 3)),
            ("name-9", ("name", 10)),
            ("name-1", ("name", 2)),
            ("name-02", ("name-02", 2)),
            ("a-b", ("a-b", 2)),
            ("k8-", ("k8-", 2)),
            ("2024-11", ("2024", 12)),
        ] {
            assert_eq!(super::counted(name), counted, "{name}");
        }
    }

    #[test]
    fn only_the_last_rotation_is_taken_back_and_only_if_its_key_was_made_for_it() {
        let key = |name: &str| name.parse::<KeyName>().unwrap();
        let request = Request {
            old: key("a"),
            new: None,
            slice: 1,
            snapshot: true,
            wait: std::time::Duration::ZERO,
            dry_run: false,
            delete_old: false,
            undo: true,
        };
        assert_eq!(back(&request, None).unwrap_err().exit_code(), 2);
        let record = Record::new(&key("a"), &key("b"), None, true);
        assert_eq!(back(&request, Some(&record)).unwrap(), (key("b"), key("a")));
        let other = Request { old: key("c"), ..request.clone() };
        assert!(back(&other, Some(&record)).is_err());
        let used = Record::new(&key("a"), &key("b"), Some("before".parse().unwrap()), false);
        let error = back(&request, Some(&used)).unwrap_err();
        assert!(error.to_string().contains("kestack snapshot restore before"), "{error}");
    }
}
