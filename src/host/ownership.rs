//! Checks who owns files and folders. Another user may change a file that they own or may write to, so such a file does
//! not count as the caller's own.

use std::fmt;
use std::fs::Metadata;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rustix::process::geteuid;

use super::error::HostError;

/// Mode bits: everybody may write.
const OTHERS_WRITE: u32 = 0o002;
/// Mode bits: the group may write.
const GROUP_WRITES: u32 = 0o020;
/// Mode bits: in a folder that many may write to, only the owner of a file removes or renames it.
const STICKY: u32 = 0o1000;

/// The user that both servers are in containers of root.
const SERVER: u32 = 1000;

/// Why a file or folder is not the caller's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Foreign {
    /// It belongs to that user.
    Owner(u32),
    /// Other users may write to it: its permission bits.
    Writable(u32),
}

impl fmt::Display for Foreign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Owner(0) => f.write_str("belongs to root"),
            Self::Owner(uid) => write!(f, "belongs to another user (uid {uid})"),
            Self::Writable(mode) => write!(f, "can be written by other users (mode {mode:04o})"),
        }
    }
}

/// True if files of that user are the caller's: root who came by `sudo` also counts those of the user before.
fn is_caller(uid: u32) -> bool {
    let caller = geteuid().as_raw();
    let before = || std::env::var_os("SUDO_UID")?.to_str()?.parse::<u32>().ok();
    uid == caller || caller == 0 && before() == Some(uid)
}

/// Why it is not the caller's alone; `None` if it is.
pub(crate) fn not_own(meta: &Metadata) -> Option<Foreign> {
    if is_caller(meta.uid()) { writable(meta) } else { Some(Foreign::Owner(meta.uid())) }
}

/// Why it is neither the caller's alone nor root's; `None` if it is.
pub(crate) fn not_trusted(meta: &Metadata) -> Option<Foreign> {
    if meta.uid() == 0 { writable(meta) } else { not_own(meta) }
}

/// The same of what lies next to a file that is trusted: its owner is trusted, too, and who can write to it gains nothing.
pub(crate) fn not_of(meta: &Metadata, trusted: Option<&Metadata>) -> Option<Foreign> {
    let is_owners = trusted.is_some_and(|trusted| trusted.uid() == meta.uid());
    let owner = (!is_owners && meta.uid() != 0 && !is_caller(meta.uid())).then(|| Foreign::Owner(meta.uid()));
    let is_writable = trusted.is_some_and(|trusted| writable(trusted).is_some());
    owner.or_else(|| writable(meta).filter(|_| !is_writable && !meta.is_symlink()))
}

/// The same of a folder that others may share: in one like `/tmp` nobody replaces what somebody else has put there.
pub(crate) fn not_trusted_place(meta: &Metadata) -> Option<Foreign> {
    not_trusted(meta).filter(|why| matches!(why, Foreign::Owner(_)) || meta.mode() & STICKY == 0)
}

/// A group counts as others, but for root's and for one that has the number of the owner: on most systems such a group
/// holds nobody else, and the usual mode of new files lets it write.
fn writable(meta: &Metadata) -> Option<Foreign> {
    let mode = meta.mode();
    let is_private = meta.gid() == 0 || meta.gid() == meta.uid();
    let writable = mode & OTHERS_WRITE != 0 || mode & GROUP_WRITES != 0 && !is_private;
    writable.then_some(Foreign::Writable(mode & 0o7777))
}

/// Refuses a folder that is there and not the caller's alone.
///
/// # Errors
/// [`HostError::Environment`] naming it.
pub(crate) fn check_folder(folder: &Path) -> Result<(), HostError> {
    match look(folder)? {
        Some(meta) => refuse(folder, not_own(&meta)),
        None => Ok(()),
    }
}

/// Refuses a stack's folder that is not the caller's alone, and one in a folder where another user could replace it. What
/// is not there yet is not refused.
///
/// # Errors
/// [`HostError::Environment`] naming the folder.
pub(crate) fn check_stack(root: &Path) -> Result<(), HostError> {
    check_folder(root)?;
    let Some(base) = root.parent() else { return Ok(()) };
    match look(base)? {
        Some(meta) => refuse(base, not_trusted_place(&meta)),
        None => Ok(()),
    }
}

/// Refuses a folder of keys that the user named, unless it is the caller's, or of a user that the servers run as on some
/// engine: root gives it to them.
///
/// # Errors
/// [`HostError::Environment`] naming it.
pub(crate) fn check_keys(folder: &Path, server: Option<u32>) -> Result<(), HostError> {
    let Some(meta) = look(folder)? else { return Ok(()) };
    let servers = server == Some(meta.uid()) || geteuid().is_root() && meta.uid() == SERVER;
    refuse(folder, if servers { writable(&meta) } else { not_own(&meta) })
}

/// Refuses a file that was found rather than named, or that such a file names, unless it is the caller's or root's; what
/// is not there is reported by whoever reads it.
///
/// # Errors
/// [`HostError::Untrusted`] naming it; `named` says by what it was named.
pub(crate) fn check_file(file: &Path, named: &str) -> Result<(), HostError> {
    let place = file.parent().unwrap_or(file);
    let (Ok(found), Ok(around)) = (std::fs::metadata(file), std::fs::metadata(place)) else { return Ok(()) };
    let place = not_trusted_place(&around).map(|why| (place, why));
    let Some((path, why)) = not_trusted(&found).map(|why| (file, why)).or(place) else { return Ok(()) };
    Err(HostError::Untrusted {
        what: format!("{named} names '{}', but '{}' {why}", file.display(), path.display()),
        hint: "if you trust it, name the manifest yourself with --file; otherwise use a file that only you and root can change"
            .into(),
    })
}

/// What is at a path; `None` if nothing is, or something that is not a folder is above it.
fn look(path: &Path) -> Result<Option<Metadata>, HostError> {
    match std::fs::metadata(path) {
        Ok(meta) => Ok(Some(meta)),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Err(hidden(path)),
        Err(error) if crate::host::disk::is_absent(&error) => Ok(None),
        Err(error) => Err(HostError::file("look at", path)(error)),
    }
}

/// A path that the caller may not even look at.
fn hidden(path: &Path) -> HostError {
    let visible = path.ancestors().skip(1).find_map(|above| Some((above, std::fs::metadata(above).ok()?)));
    let owner = visible.map(|(above, meta)| (above, Foreign::Owner(meta.uid())));
    let (above, why) = owner.map_or((path, String::new()), |(above, why)| (above, why.to_string()));
    HostError::Environment {
        what: format!("'{}' cannot be read: '{}' {why} and is closed to others", path.display(), above.display()),
        hint: "work on it as that user, or choose another folder with --dir or KESTACK_DIR".into(),
    }
}

fn refuse(folder: &Path, why: Option<Foreign>) -> Result<(), HostError> {
    let Some(why) = why else { return Ok(()) };
    let (other, shown) = ("choose another folder with --dir or KESTACK_DIR", folder.display());
    let hint = match why {
        Foreign::Owner(0) => format!("if the stack is root's, work on it as root: `sudo kestack …`; or {other}"),
        Foreign::Owner(uid) => format!("work on it as that user: `sudo -u '#{uid}' kestack …`; or {other}"),
        Foreign::Writable(_) => {
            format!("check its content, then remove the rights of others: `chmod go-w '{shown}'`; or {other}")
        }
    };
    Err(HostError::Environment { what: format!("'{shown}' {why}, so kestack keeps no keys there"), hint })
}

#[cfg(test)]
mod tests {
    use std::fs::{Permissions, set_permissions};
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn with_mode(path: &Path, mode: u32) {
        set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_folder_that_others_may_write_to_is_refused_with_its_name() {
        let base = tempfile::tempdir().unwrap();
        let root = base.path().join("stack");
        check_stack(&root).unwrap();
        std::fs::create_dir(&root).unwrap();
        for (mode, refused) in [(0o700, false), (0o755, false), (0o757, true), (0o1777, true)] {
            with_mode(&root, mode);
            let error = check_stack(&root).err().map(|error| error.to_string());
            assert_eq!(error.is_some(), refused, "{mode:o}: {error:?}");
            assert!(error.is_none_or(|error| error.contains(root.to_str().unwrap()) && error.contains("chmod go-w")));
        }
        with_mode(&root, 0o700);
        for (mode, refused) in [(0o755, false), (0o777, true), (0o1777, false)] {
            with_mode(base.path(), mode);
            assert_eq!(check_stack(&root).is_err(), refused, "the folder of all stacks with {mode:o}");
        }
    }

    #[test]
    fn a_folder_of_another_owner_is_refused_with_its_owner() {
        if !geteuid().is_root() {
            return;
        }
        let base = tempfile::tempdir().unwrap();
        let root = base.path().join("stack");
        std::fs::create_dir(&root).unwrap();
        for path in [&root, base.path()] {
            std::os::unix::fs::chown(path, Some(4242), None).unwrap();
            let error = check_stack(&root).unwrap_err();
            assert!(matches!(error, HostError::Environment { .. }), "{error}");
            assert!(error.to_string().contains("belongs to another user (uid 4242)"), "{error}");
            std::os::unix::fs::chown(path, Some(0), None).unwrap();
        }
    }

    #[test]
    fn a_named_file_must_be_ours_and_lie_where_only_we_write() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("kes");
        check_file(&file, "kes.binary").unwrap();
        std::fs::write(&file, "").unwrap();
        with_mode(&file, 0o755);
        check_file(&file, "kes.binary").unwrap();
        with_mode(&file, 0o666);
        let error = check_file(&file, "kes.binary").unwrap_err().to_string();
        assert!(error.starts_with("kes.binary names ") && error.contains("--file"), "{error}");
        with_mode(&file, 0o755);
        with_mode(folder.path(), 0o777);
        assert!(check_file(&file, "kes.binary").is_err());
        with_mode(folder.path(), 0o1777);
        check_file(&file, "kes.binary").unwrap();
    }
}
