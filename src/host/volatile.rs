//! The caller's own folder for files that the next boot may clear: locks and sockets. It is never a shared folder,
//! where another user could wait for a known name.

use std::path::{Path, PathBuf};

use rustix::process::geteuid;

use super::error::HostError;
use crate::host::disk::create_private;
use crate::host::ownership::{self, Foreign, check_folder};

/// The folder, made if it is not there; the same one for every kestack of this user, whatever its environment, as long as the
/// user stays logged in or out. Its path is short enough for a socket in it.
///
/// # Errors
/// [`HostError::Environment`] if other users own it in all places, or may write to it; [`HostError::File`] if it can be made
/// nowhere.
pub(crate) fn folder() -> Result<PathBuf, HostError> {
    first_of(places())
}

/// The first that can be used. Where everybody may write, another user may have taken the name.
fn first_of(places: Vec<PathBuf>) -> Result<PathBuf, HostError> {
    let (mut taken, mut refused) = (None, None);
    for place in places {
        let found = create_private(&place)
            .and_then(|()| std::fs::symlink_metadata(&place).map_err(HostError::file("look at", &place)));
        match found.map(|found| ownership::not_own(&found)) {
            Ok(Some(why @ Foreign::Owner(_))) => {
                taken.get_or_insert_with(|| squatted(&place, why));
            }
            Ok(_) => return check_folder(&place).map(|()| place),
            Err(error) => refused = Some(error),
        }
    }
    let nowhere = || HostError::file("find", "/run")(std::io::ErrorKind::NotFound.into());
    Err(taken.or(refused).unwrap_or_else(nowhere))
}

fn squatted(place: &Path, why: Foreign) -> HostError {
    HostError::Environment {
        what: format!("'{}' {why}, and kestack keeps its locks and sockets there", place.display()),
        hint: format!("remove it as root: `sudo rm -r {}`", place.display()),
    }
}

/// Where it may be, the best place first.
fn places() -> Vec<PathBuf> {
    let uid = geteuid().as_raw();
    let session = PathBuf::from(format!("/run/user/{uid}"));
    let is_session = || std::fs::metadata(&session).is_ok_and(|found| ownership::not_own(&found).is_none());
    let best = if uid == 0 {
        PathBuf::from("/run/kestack")
    } else if is_session() {
        session.join("kestack")
    } else {
        PathBuf::from(format!("/run/lock/kestack-{uid}"))
    };
    // containers with a read-only root have the last one, too
    let others = ["/tmp", "/dev/shm"].map(|place| PathBuf::from(format!("{place}/kestack-{uid}")));
    [best].into_iter().chain(others).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    #[test]
    fn a_name_that_another_user_took_is_passed_over() {
        if !geteuid().is_root() {
            return;
        }
        let base = tempfile::tempdir().unwrap();
        let [taken, other] = ["taken", "other"].map(|name| base.path().join(name));
        std::fs::create_dir(&taken).unwrap();
        std::os::unix::fs::chown(&taken, Some(4242), None).unwrap();
        assert_eq!(first_of(vec![taken.clone(), other.clone()]).unwrap(), other);
        let error = first_of(vec![taken.clone()]).unwrap_err().to_string();
        assert!(error.contains("uid 4242") && error.contains(&format!("sudo rm -r {}", taken.display())), "{error}");
    }

    #[test]
    fn it_is_the_callers_alone_and_short() {
        let place = folder().unwrap();
        let found = std::fs::symlink_metadata(&place).unwrap();
        assert_eq!((found.mode() & 0o7777, found.uid()), (0o700, geteuid().as_raw()));
        assert!(found.is_dir() && place.as_os_str().len() < 40, "{}", place.display());
        assert_eq!(folder().unwrap(), place);
    }
}
