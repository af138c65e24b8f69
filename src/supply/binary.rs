//! Looking for a program's static binary on this host.

use std::path::{Path, PathBuf};

use super::program::is_self;
use crate::engine::Env;
use crate::engine::host::is_executable;
use crate::host::home;

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
        let beside = std::env::current_exe().ok().and_then(|program| program.parent().map(Path::to_owned));
        let path = env("PATH").unwrap_or_default();
        let go = if self.go { go_folder(env) } else { None };
        let bundle = super::programs_folder(env);
        let folders = beside.into_iter().chain(std::env::split_paths(&path)).chain(go).chain(bundle);
        let paths = folders.flat_map(|folder| self.programs.iter().map(move |program| folder.join(program)));
        paths.filter(|path| is_executable(path) && !is_self(path)).collect()
    }
}

/// Where `go install` puts programs (`go help install`).
fn go_folder(env: &Env<'_>) -> Option<PathBuf> {
    let set = |name: &str| env(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set("GOBIN")
        .or_else(|| set("GOPATH").map(|path| path.join("bin")))
        .or_else(|| home::folder(env).map(|home| home.join("go/bin")))
}
