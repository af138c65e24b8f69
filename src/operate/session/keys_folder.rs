//! A folder of keys that the user named: before kestack makes it private and gives it to the servers, it must be one.

use std::fs::DirEntry;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use kes_server::auth::is_valid_name;

use super::environment;
use crate::error::Error;
use crate::host::disk::PRIVATE;
use crate::host::{home, ownership};
use crate::stack::{Stack, seal};

/// What a file system puts into its own folder.
const OF_FILE_SYSTEM: &str = "lost+found";

/// Makes sure that the folder can be one of keys for servers that run as that user.
///
/// # Errors
/// [`Error::Environment`] if it is another user's; [`Error::Usage`] if it is none of keys, or sealed otherwise than the
/// manifest says.
pub(super) fn check_keys(stack: &Stack, folder: &Path, owner: Option<u32>) -> Result<(), Error> {
    ownership::check_keys(folder, owner)?;
    seal::check_folder(&stack.manifest, folder)?;
    match std::fs::metadata(folder) {
        // one that stays as it is
        Ok(found) if found.mode() & 0o7777 == PRIVATE && owner.is_none_or(|owner| owner == found.uid()) => Ok(()),
        Ok(found) if found.is_dir() => check_content(folder, stack.layout.root()),
        _ => Ok(()),
    }
}

/// Refuses a folder that is there for something else: closed to all others, and given to the servers with what is in it,
/// `/etc` or a home would be lost.
fn check_content(folder: &Path, stack: &Path) -> Result<(), Error> {
    let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let is_home = home::folder(environment).is_some_and(|home| real(&home) == real(folder));
    if is_home || real(stack).starts_with(real(folder)) {
        let what = if is_home { "it is your home" } else { "the stack is in it" };
        return Err(no_keys(folder, what));
    }
    for entry in std::fs::read_dir(folder).map_err(Error::file("read", folder))? {
        if let Some(what) = stranger(&entry.map_err(Error::file("read", folder))?) {
            return Err(no_keys(folder, &format!("it holds {what}")));
        }
    }
    Ok(())
}

/// What is neither a key nor hidden.
fn stranger(entry: &DirEntry) -> Option<String> {
    let name = entry.file_name();
    let name = name.to_string_lossy();
    if name.starts_with('.') || name == OF_FILE_SYSTEM {
        return None;
    }
    let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
    let kind = if is_folder { "the folder" } else { "the file" };
    (is_folder || !is_valid_name(&name)).then(|| format!("{kind} '{}'", name.escape_debug()))
}

fn no_keys(folder: &Path, what: &str) -> Error {
    Error::Usage {
        what: format!("'{}' is not a folder of keys: {what}", folder.display()),
        hint: "kestack would close it to all others and give it to KES: let keystore.fs.path in kestack.yaml name an empty \
               folder, or one that holds nothing but keys"
            .into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_of_other_things_is_not_one_of_keys() {
        let base = tempfile::tempdir().unwrap();
        let (folder, stack) = (base.path().join("keys"), base.path().join("stacks/a"));
        std::fs::create_dir(&folder).unwrap();
        check_content(&folder, &stack).unwrap();
        for name in ["minio-object-key", ".gitkeep", ".kes-sealed"] {
            std::fs::write(folder.join(name), "").unwrap();
        }
        for name in ["lost+found", ".snapshot"] {
            std::fs::create_dir(folder.join(name)).unwrap();
        }
        check_content(&folder, &stack).unwrap();
        std::fs::write(folder.join("index.html"), "").unwrap();
        let error = check_content(&folder, &stack).unwrap_err();
        assert!(error.exit_code() == 2 && error.to_string().contains("holds the file 'index.html'"), "{error}");
        std::fs::remove_file(folder.join("index.html")).unwrap();
        std::fs::create_dir(folder.join("apt")).unwrap();
        let error = check_content(&folder, &stack).unwrap_err().to_string();
        assert!(error.contains("holds the folder 'apt'") && error.contains("keystore.fs.path"), "{error}");
        std::fs::create_dir_all(&stack).unwrap();
        for above in [base.path(), Path::new("/")] {
            let error = check_content(above, &stack).unwrap_err().to_string();
            assert!(error.contains("is not a folder of keys: the stack is in it"), "{error}");
        }
        let home = home::folder(environment).unwrap();
        assert!(check_content(&home, &stack).unwrap_err().to_string().contains("it is your home"));
    }
}
