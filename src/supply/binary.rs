//! Looking for a program's static binary on this host.

use std::fs::Metadata;
use std::path::{Path, PathBuf};

use super::program::is_self;
use crate::engine::Env;
use crate::engine::host::is_executable;
use crate::host::home;
use crate::host::ownership::{Foreign, not_of};

/// What to look for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Search {
    /// What it is to the stack: `kes` or `minio`.
    pub(super) name: &'static str,
    /// Names of the program, the preferred one first.
    pub(super) programs: &'static [&'static str],
    /// The setting in kestack.yaml that names it.
    pub(super) setting: &'static str,
    /// The variable that names it.
    pub(super) variable: &'static str,
    /// True if it may have been installed with `go install`.
    pub(super) go: bool,
}

impl Search {
    /// The programs' names for people.
    pub(super) fn quoted(&self) -> String {
        self.programs.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(" and ")
    }

    /// That nobody named one.
    pub(super) fn unset(&self) -> String {
        format!("{}: not set", self.variable)
    }

    /// That none is in the usual places, or none that can be used.
    pub(super) fn nowhere(&self) -> String {
        format!("{} next to kestack and in PATH: none is executable", self.quoted())
    }

    /// The binary that the user named, and by what.
    pub(super) fn named(&self, setting: Option<&Path>, env: &Env<'_>) -> Option<(String, PathBuf)> {
        let variable = || env(self.variable).filter(|path| !path.is_empty());
        match setting {
            Some(path) => Some((self.setting.to_owned(), path.to_owned())),
            None => Some((self.variable.to_owned(), variable()?.into())),
        }
    }

    /// Executables of those names: next to this program, in `PATH`, where `go install` puts them, from a bundle. Not this
    /// program itself, which `minio` may be a name of.
    pub(super) fn places(&self, env: &Env<'_>) -> Vec<PathBuf> {
        let path = env("PATH").unwrap_or_default();
        let go = if self.go { go_folder(env) } else { None };
        let bundle = super::programs_folder(env);
        let folders = std::env::split_paths(&path).chain(go).chain(bundle);
        let paths = folders.flat_map(|folder| self.programs.iter().map(move |program| folder.join(program)));
        let paths = self.next_to_this().into_iter().chain(paths);
        paths.filter(|path| is_executable(path) && !is_self(path)).collect()
    }

    /// Programs in the folder of this one, which may be `/tmp`: nobody chose what others put there.
    fn next_to_this(&self) -> Vec<PathBuf> {
        let Ok(this) = std::env::current_exe() else { return vec![] };
        let (own, folder) = (std::fs::metadata(&this).ok(), this.parent().unwrap_or(&this));
        let found = self.programs.iter().map(|program| folder.join(program)).filter(|path| is_executable(path));
        let is_trusted = |path: &PathBuf| match foreign(path, own.as_ref()) {
            Some(why) => {
                tracing::warn!("'{}' {why}, so kestack does not run it", path.display());
                false
            }
            None => true,
        };
        found.filter(is_trusted).collect()
    }
}

/// Why a program is not to be run: neither the caller, nor root, nor the owner of this program has put it there, or others
/// can change it.
fn foreign(path: &Path, own: Option<&Metadata>) -> Option<Foreign> {
    let link = std::fs::symlink_metadata(path).ok();
    let (link, file) = (link.filter(Metadata::is_symlink), std::fs::metadata(path).ok());
    [link, file].iter().flatten().find_map(|found| not_of(found, own))
}

/// Where `go install` puts programs (`go help install`).
fn go_folder(env: &Env<'_>) -> Option<PathBuf> {
    let set = |name: &str| env(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set("GOBIN")
        .or_else(|| set("GOPATH").map(|path| path.join("bin")))
        .or_else(|| home::folder(env).map(|home| home.join("go/bin")))
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::{PermissionsExt as _, lchown, symlink};

    use super::*;

    #[test]
    fn what_another_user_put_next_to_kestack_is_not_run() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let [this, kes, link] = ["kestack", "kes", "minio"].map(|name| folder.path().join(name));
        for path in [&this, &kes] {
            std::fs::write(path, "").unwrap();
            std::fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
        }
        symlink(&this, &link).unwrap();
        let why = |path: &Path| foreign(path, std::fs::metadata(&this).ok().as_ref()).map(|why| why.to_string());
        assert_eq!((why(&kes), why(&link)), (None, None));
        for path in [&kes, &link] {
            lchown(path, Some(4242), Some(4242)).unwrap();
            assert_eq!(why(path).unwrap(), "belongs to another user (uid 4242)");
        }
        // an archive that root unpacked
        lchown(&this, Some(4242), Some(4242)).unwrap();
        assert_eq!((why(&kes), why(&link)), (None, None));
        std::fs::set_permissions(&kes, Permissions::from_mode(0o757)).unwrap();
        assert!(why(&kes).unwrap().contains("can be written by other users"));
        // who can replace kestack itself needs no other program
        std::fs::set_permissions(&this, Permissions::from_mode(0o757)).unwrap();
        assert_eq!(why(&kes), None);
    }
}
