//! Places that must not lie in what is read: a copy there would be copied itself, and stay in the user's data after a kill.

use std::path::{Path, PathBuf};

use crate::error::Error;

/// Refuses a folder, which need not be there yet, if it is in one of these.
///
/// # Errors
/// [`Error::Usage`] with `hint`, which says how to name another one.
pub(crate) fn check_apart<'a>(
    folder: &Path,
    from: impl IntoIterator<Item = &'a Path>,
    hint: &str,
) -> Result<(), Error> {
    let place = resolved(folder);
    match from.into_iter().find(|part| place.starts_with(resolved(part))) {
        None => Ok(()),
        Some(part) => Err(Error::Usage {
            what: format!("'{}' is in '{}', which must not change", folder.display(), part.display()),
            hint: hint.into(),
        }),
    }
}

/// The canonical path, as far as there is one.
fn resolved(folder: &Path) -> PathBuf {
    let path = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    let known = |known: &Path| Some(std::fs::canonicalize(known).ok()?.join(path.strip_prefix(known).ok()?));
    path.ancestors().find_map(known).unwrap_or_else(|| path.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_in_the_data_is_refused_by_whatever_path_it_is_named() {
        let base = tempfile::tempdir().unwrap();
        let (drive, link) = (base.path().join("drive"), base.path().join("link"));
        std::fs::create_dir_all(drive.join("bucket")).unwrap();
        std::os::unix::fs::symlink(&drive, &link).unwrap();
        let refused = |folder: &Path| check_apart(folder, [drive.as_path()], "name another one with --work-dir");
        for inside in [drive.clone(), drive.join("bucket"), drive.join("new/deeper"), link.join("bucket")] {
            let error = refused(&inside).unwrap_err();
            assert!(error.exit_code() == 2 && error.to_string().contains("which must not change"), "{error}");
            assert!(error.to_string().contains("--work-dir"), "{error}");
        }
        for outside in [base.path().to_owned(), base.path().join("drive-2"), base.path().join("new")] {
            refused(&outside).unwrap();
        }
        let by_link = check_apart(&drive.join("bucket"), [link.as_path()], "name another one");
        assert_eq!(by_link.unwrap_err().exit_code(), 2);
    }
}
