//! Looking for kestack.yaml in the folders above. kestack runs and reads its contents with the caller's rights, so the
//! file must be the caller's or root's, and lie where nobody else can put one.

use std::path::{Path, PathBuf};

use super::ManifestError;
use crate::host::ownership::{Foreign, not_trusted, not_trusted_place};

/// Names under which the file is looked for.
const FILE_NAMES: [&str; 2] = ["kestack.yaml", "kestack.yml"];

/// The nearest manifest in `here` and the folders above it. The search ends where a folder belongs to somebody else or
/// can be written by others; a manifest from there on is skipped with a warning.
///
/// # Errors
/// [`ManifestError::Untrusted`] for a file of the caller's that others can change or replace: nobody knows who wrote
/// it, and the caller does not want the defaults.
pub(super) fn find(here: &Path) -> Result<Option<PathBuf>, ManifestError> {
    for folder in here.ancestors() {
        let found = in_folder(folder);
        let place = std::fs::metadata(folder).ok().and_then(|meta| not_trusted_place(&meta));
        let file = found.as_deref().and_then(file);
        match (found, place.or(file)) {
            (None, None) => {}
            (Some(path), None) => return Ok(Some(path)),
            (Some(path), Some(why @ Foreign::Writable(_))) if !is_strangers(&path) => {
                return Err(ManifestError::Untrusted { path, why: why.to_string() });
            }
            (found, Some(why)) => {
                pass_over(found.or_else(|| folder.ancestors().skip(1).find_map(in_folder)), folder, why);
                return Ok(None);
            }
        }
    }
    Ok(None)
}

fn in_folder(folder: &Path) -> Option<PathBuf> {
    FILE_NAMES.iter().map(|name| folder.join(name)).find(|path| path.is_file())
}

/// Why the file, or the link that leads to it, is not the caller's or root's.
fn file(path: &Path) -> Option<Foreign> {
    let link = std::fs::symlink_metadata(path).ok()?;
    let of_link = not_trusted(&link).filter(|why| matches!(why, Foreign::Owner(_)));
    of_link.or_else(|| not_trusted(&std::fs::metadata(path).ok()?))
}

fn is_strangers(path: &Path) -> bool {
    matches!(file(path), Some(Foreign::Owner(_)))
}

fn pass_over(path: Option<PathBuf>, folder: &Path, why: Foreign) {
    let Some(path) = path else { return };
    let whose = file(&path).filter(|why| matches!(why, Foreign::Owner(_)));
    let (what, why) = whose.map_or((folder, why), |why| (path.as_path(), why));
    tracing::warn!(
        "skipped '{}': '{}' {why}; if you trust it, name it with `--file '{}'` or KESTACK_FILE",
        path.display(),
        what.display(),
        path.display()
    );
}

#[cfg(test)]
mod tests {
    use std::fs::{Permissions, create_dir_all, set_permissions, write};
    use std::os::unix::fs::{PermissionsExt as _, chown};

    use rustix::process::geteuid;

    use super::*;

    fn with_mode(path: &Path, mode: u32) {
        set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_manifest_of_ours_is_found_from_below() {
        let top = tempfile::tempdir().unwrap();
        let (file, below) = (top.path().join("kestack.yml"), top.path().join("a/b"));
        create_dir_all(&below).unwrap();
        write(&file, "").unwrap();
        assert_eq!(find(&below).unwrap(), Some(file.clone()));
        with_mode(top.path(), 0o1777);
        assert_eq!(find(&below).unwrap(), Some(file), "a folder like /tmp keeps each owner's files");
    }

    #[test]
    fn one_of_ours_that_others_can_change_is_refused_by_name() {
        let top = tempfile::tempdir().unwrap();
        let file = top.path().join("kestack.yaml");
        write(&file, "").unwrap();
        for (of_file, of_folder) in [(0o666, 0o755), (0o644, 0o777)] {
            with_mode(&file, of_file);
            with_mode(top.path(), of_folder);
            let error = find(top.path()).unwrap_err().to_string();
            assert!(error.contains(file.to_str().unwrap()) && error.contains("--file"), "{error}");
        }
    }

    #[test]
    fn one_of_a_stranger_is_passed_over_and_so_is_all_above() {
        if !geteuid().is_root() {
            return;
        }
        let top = tempfile::tempdir().unwrap();
        let (above, file) = (top.path().join("kestack.yaml"), top.path().join("shared/kestack.yaml"));
        let here = top.path().join("shared/own");
        create_dir_all(&here).unwrap();
        write(&above, "").unwrap();
        write(&file, "").unwrap();
        let shared = file.parent().unwrap();
        assert_eq!(find(&here).unwrap(), Some(file.clone()));
        chown(&file, Some(4242), None).unwrap();
        for mode in [0o755, 0o1777, 0o777] {
            with_mode(shared, mode);
            assert_eq!(find(&here).unwrap(), None, "a stranger's file in a folder with {mode:o}");
            assert_eq!(find(shared).unwrap(), None);
        }
        std::fs::remove_file(&file).unwrap();
        with_mode(shared, 0o755);
        assert_eq!(find(&here).unwrap(), Some(above.clone()));
        chown(shared, Some(4242), None).unwrap();
        assert_eq!(find(&here).unwrap(), None, "the search ends at a folder of a stranger");
        std::os::unix::fs::symlink(&above, &file).unwrap();
        std::os::unix::fs::lchown(&file, Some(4242), None).unwrap();
        chown(shared, Some(0), None).unwrap();
        assert_eq!(find(&here).unwrap(), None, "a stranger's link to a file of ours");
    }
}
