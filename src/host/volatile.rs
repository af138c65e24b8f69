//! The caller's own folder for files that the next boot may clear: locks and sockets. It is never a shared folder,
//! where another user could wait for a known name.

use std::path::PathBuf;

use rustix::process::geteuid;

use super::error::HostError;
use crate::host::disk::create_private;
use crate::host::ownership::{self, check_folder};

/// The folder, made if it is not there; the same one for every kestack of this user, whatever its environment. Its path is
/// short enough for a socket in it.
///
/// # Errors
/// [`HostError::Environment`] if another user owns it or may write to it; [`HostError::File`] if it can be made nowhere.
pub(crate) fn folder() -> Result<PathBuf, HostError> {
    let mut refused = None;
    for place in places() {
        match create_private(&place) {
            Ok(()) => return check_folder(&place).map(|()| place),
            Err(error) => refused = Some(error),
        }
    }
    Err(refused.unwrap_or_else(|| HostError::file("find", "/run")(std::io::ErrorKind::NotFound.into())))
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
    fn it_is_the_callers_alone_and_short() {
        let place = folder().unwrap();
        let found = std::fs::symlink_metadata(&place).unwrap();
        assert_eq!((found.mode() & 0o7777, found.uid()), (0o700, geteuid().as_raw()));
        assert!(found.is_dir() && place.as_os_str().len() < 40, "{}", place.display());
        assert_eq!(folder().unwrap(), place);
    }
}
