//! The folder of all stacks.

use std::path::{Path, PathBuf};

use rustix::process::geteuid;

use super::Layout;
use crate::error::Error;
use crate::host::home;

impl Layout {
    /// The folder of all stacks: what the user says, or `$XDG_DATA_HOME/kestack`.
    ///
    /// # Errors
    /// [`Error::Environment`] if there is no home folder, or an engine could not take the path.
    pub fn all(dir: Option<&Path>, env: impl Fn(&str) -> Option<String>) -> Result<PathBuf, Error> {
        let wanted = match dir {
            Some(dir) => std::path::absolute(dir).map_err(Error::file("find", dir))?,
            None => home::data(env).ok_or_else(homeless)?.join("kestack"),
        };
        let all = real(&wanted);
        check_text(&all)?;
        Ok(all)
    }

    /// The folder in which stack `name` has its own: that of [all](Self::all) stacks, or where a link in it leads. Links
    /// are followed here and nowhere else, so that lock, labels and records name one stack by one path.
    ///
    /// # Errors
    /// As [`Layout::all`].
    pub fn base(dir: Option<&Path>, name: &str, env: impl Fn(&str) -> Option<String>) -> Result<PathBuf, Error> {
        let all = Self::all(dir, env)?;
        let root = all.join(name);
        let base = if root.is_symlink() { behind(&root, name)? } else { all };
        check_text(&base)?;
        Ok(base)
    }
}

/// The path without links, as far as it is there.
fn real(path: &Path) -> PathBuf {
    let known = path.ancestors().find_map(|above| {
        let rest = path.strip_prefix(above).ok()?;
        Some(std::fs::canonicalize(above).ok()?.join(rest))
    });
    let known = known.unwrap_or_else(|| path.to_owned());
    // a trailing slash would make another name of it
    known.components().collect()
}

/// The folder above the one that a stack's link leads to.
fn behind(root: &Path, name: &str) -> Result<PathBuf, Error> {
    let real = std::fs::canonicalize(root).map_err(Error::file("follow", root))?;
    match real.parent() {
        Some(base) if real.ends_with(name) => Ok(base.to_owned()),
        _ => Err(Error::Environment {
            what: format!("'{}' is a link to '{}', whose name is not '{name}'", root.display(), real.display()),
            hint: "a stack's folder has the stack's name: rename it, or choose another folder with --dir".into(),
        }),
    }
}

/// Engines, configuration files and labels carry paths as lines of UTF-8.
fn check_text(path: &Path) -> Result<(), Error> {
    let why = match path.to_str() {
        None => "is not UTF-8",
        Some(text) if text.contains(char::is_control) => "has a line break or another control character",
        Some(_) => return Ok(()),
    };
    Err(Error::Environment {
        what: format!(
            "the folder '{}' cannot hold a stack: its path {why}, which no engine accepts",
            path.to_string_lossy().escape_debug()
        ),
        hint: "choose another folder with --dir, KESTACK_DIR or `dir:` in kestack.yaml".into(),
    })
}

fn homeless() -> Error {
    Error::Environment {
        what: format!("there is no home folder: HOME is not set, and no account has uid {}", geteuid().as_raw()),
        hint: "name a folder for stacks with --dir or KESTACK_DIR, or set HOME".into(),
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt as _;
    use std::os::unix::fs::symlink;

    use super::*;

    fn base(dir: &Path) -> Result<PathBuf, Error> {
        Layout::base(Some(dir), "stack", |_| None)
    }

    #[test]
    fn one_stack_has_one_path_whatever_links_lead_to_it() {
        let folder = tempfile::tempdir().unwrap();
        let top = folder.path().canonicalize().unwrap();
        let (there, link) = (top.join("real"), top.join("link"));
        symlink(&there, &link).unwrap();
        std::fs::create_dir(&there).unwrap();
        assert_eq!(base(&link).unwrap(), there);
        assert_eq!(base(&link.join("new/deep/")).unwrap(), there.join("new/deep"));
        std::fs::create_dir_all(top.join("disk/stack")).unwrap();
        symlink(top.join("disk/stack"), there.join("stack")).unwrap();
        assert_eq!(base(&link).unwrap(), top.join("disk"), "the stack's folder itself is a link");
        std::fs::remove_file(there.join("stack")).unwrap();
        symlink(top.join("disk"), there.join("stack")).unwrap();
        let error = base(&link).unwrap_err();
        assert!(error.exit_code() == 6 && error.to_string().contains("whose name is not 'stack'"), "{error}");
    }

    #[test]
    fn a_path_that_no_engine_takes_is_refused() {
        for (bytes, why) in [(&b"/tmp/\xff"[..], "not UTF-8"), (b"/tmp/a\nb", "a line break")] {
            let error = base(Path::new(OsStr::from_bytes(bytes))).unwrap_err();
            assert!(error.exit_code() == 6 && error.to_string().contains(why), "{error}");
        }
        base(Path::new("/tmp/a b:c")).unwrap();
    }

    #[test]
    fn without_a_folder_it_is_in_the_users_data() {
        let env = |name: &str| (name == "XDG_DATA_HOME").then(|| "/nonexistent/data".to_owned());
        assert_eq!(Layout::base(None, "stack", env).unwrap(), Path::new("/nonexistent/data/kestack"));
    }
}
