//! An fs keystore that KES can read but not write.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;

use super::system::{file_size, set_file_size, set_immutable};
use super::{FaultRecord, process_of_kes};
use crate::error::Error;
use crate::resource::Context;
use crate::stack::Stack;

/// Permission bits without those for writing.
const READ_ONLY: u32 = 0o500;

/// Takes away from KES's user what it needs to make keys. Permission bits bind every user but root; the immutable flag
/// binds root too, on file systems that have it.
pub(super) async fn protect(stack: &Stack, context: &Context, record: &mut FaultRecord) -> Result<(), Error> {
    let folder = stack.keys_folder();
    let failed = |error| Error::file("change the mode of", &folder)(error);
    let mode = std::fs::metadata(&folder).map_err(failed)?.permissions().mode() & 0o7777;
    record.keys = Some((folder.clone(), mode));
    record.write(&stack.layout)?;
    std::fs::set_permissions(&folder, Permissions::from_mode(READ_ONLY)).map_err(failed)?;
    if refuses_new_keys(context).await? {
        return Ok(());
    }
    record.immutable = true;
    record.write(&stack.layout)?;
    if set_immutable(&folder, true).is_ok() && refuses_new_keys(context).await? {
        return Ok(());
    }
    Err(Error::Environment {
        what: format!(
            "KES still creates keys in '{}', because the mode of the folder does not bind it",
            folder.display()
        ),
        hint: "KES runs as root here, and the file system has no immutable flag: run kestack as another user, or take \
               keystore-full"
            .into(),
    })
}

/// Lowers the size that a file written by KES may have to nothing: what it gets is an error of the file system in the
/// middle of writing a key, as when there is no space.
pub(super) async fn fill(stack: &Stack, context: &Context, record: &mut FaultRecord) -> Result<(), Error> {
    let pid = process_of_kes(stack, context.engine.as_ref()).await?;
    let pid = pid.ok_or_else(|| Error::NotRunning(stack.manifest.name.to_string()))?;
    let limited = |error: std::io::Error| Error::Environment {
        what: format!("the limits of KES's process cannot be changed: {error}"),
        hint:
            "run kestack on Linux, as the user whom KES runs as or with the capability SYS_RESOURCE; keystore-readonly \
               needs neither"
                .into(),
    };
    let before = file_size(pid).map_err(limited)?;
    record.file_size = Some(before);
    record.write(&stack.layout)?;
    set_file_size(pid, (Some(0), before.1)).map_err(limited)?;
    if refuses_new_keys(context).await? {
        return Ok(());
    }
    Err(Error::Environment {
        what: "KES still creates keys, although its process may not write".into(),
        hint: "its process is not on this host; keystore-readonly may work".into(),
    })
}

/// Undoes [`fill`], for the process that is KES now.
pub(super) fn empty(pid: i32, record: &FaultRecord) -> Result<(), Error> {
    let Some(before) = record.file_size else { return Ok(()) };
    // it may never have been changed, by one who may not
    if file_size(pid).is_ok_and(|now| now == before) {
        return Ok(());
    }
    set_file_size(pid, before).map_err(|error| Error::Environment {
        what: format!("the limits of KES's process cannot be restored: {error}"),
        hint: "`kestack down` and `kestack up` start it again".into(),
    })
}

/// Undoes [`protect`].
pub(super) fn release(record: &FaultRecord) -> Result<(), Error> {
    let Some((folder, mode)) = &record.keys else { return Ok(()) };
    if !folder.exists() {
        return Ok(());
    }
    let undo = || {
        if record.immutable {
            set_immutable(folder, false)?;
        }
        std::fs::set_permissions(folder, Permissions::from_mode(*mode))
    };
    undo().map_err(Error::file("change the mode of", folder))
}

/// Asks KES for a key that nobody needs; it is removed at once if it is made.
async fn refuses_new_keys(context: &Context) -> Result<bool, Error> {
    let mut bytes = [0; 6];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| Error::Verification("the system gives no random bytes".into()))?;
    let name = format!("kestack-chaos-{}", hex::encode(bytes));
    match context.kes.create_key(&name).await {
        Ok(()) => {
            context.replicas.delete_key(&name).await?;
            Ok(false)
        }
        Err(error) if error.status().is_some_and(|status| status >= 500) => Ok(true),
        Err(error) => Err(error.into()),
    }
}
