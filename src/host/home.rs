//! The caller's home folder.

use std::path::{Path, PathBuf};

use rustix::process::geteuid;

/// What `HOME` says, else what the account of the calling user says; `None` if neither names a folder.
pub(crate) fn folder(env: impl Fn(&str) -> Option<String>) -> Option<PathBuf> {
    absolute(env("HOME")).or_else(|| {
        // the system's own look-up knows all accounts, but an empty HOME counts for it
        let known = if std::env::var_os("HOME").is_none() { std::env::home_dir() } else { None };
        known.or_else(|| in_passwd(&std::fs::read_to_string("/etc/passwd").ok()?, geteuid().as_raw()))
    })
}

/// Where programs keep their data: `XDG_DATA_HOME`, else `.local/share` at home.
pub(crate) fn data(env: impl Fn(&str) -> Option<String>) -> Option<PathBuf> {
    absolute(env("XDG_DATA_HOME")).or_else(|| Some(folder(env)?.join(".local/share")))
}

/// Where programs keep what they can make again: `XDG_CACHE_HOME`, else `.cache` at home.
pub(crate) fn cache(env: impl Fn(&str) -> Option<String>) -> Option<PathBuf> {
    absolute(env("XDG_CACHE_HOME")).or_else(|| Some(folder(env)?.join(".cache")))
}

/// A path that does not depend on the working folder; the XDG specification has others ignored.
fn absolute(value: Option<String>) -> Option<PathBuf> {
    value.map(PathBuf::from).filter(|path| path.is_absolute())
}

/// The home of an account in the text of passwd(5).
fn in_passwd(text: &str, uid: u32) -> Option<PathBuf> {
    let uid = uid.to_string();
    let account =
        text.lines().map(|line| line.split(':').collect::<Vec<_>>()).find(|fields| fields.get(2) == Some(&&*uid))?;
    account.get(5).map(Path::new).filter(|home| home.is_absolute()).map(Path::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_home_is_that_of_the_account() {
        let of = |value: Option<&str>| folder(|_| value.map(str::to_owned));
        assert_eq!(of(Some("/home/me")), Some("/home/me".into()));
        let account = of(None);
        assert!(account.as_ref().is_none_or(|home| home.is_absolute()));
        for nothing in ["", "here", "./here"] {
            assert_eq!(of(Some(nothing)), account, "'{nothing}'");
        }
        let passwd = "root:x:0:0:root:/root:/bin/bash\nbroken\nme:x:1000:1000::/home/me:/bin/sh\nno:x:7:7:::\n";
        assert_eq!(in_passwd(passwd, 0), Some("/root".into()));
        assert_eq!(in_passwd(passwd, 1000), Some("/home/me".into()));
        assert_eq!(in_passwd(passwd, 7), None);
        assert_eq!(in_passwd(passwd, 8), None);
    }

    #[test]
    fn only_absolute_folders_of_the_xdg_specification_count() {
        let env = |name: &str| match name {
            "HOME" => Some("/home/me".to_owned()),
            "XDG_DATA_HOME" => Some("relative".to_owned()),
            "XDG_CACHE_HOME" => Some("/cache".to_owned()),
            _ => None,
        };
        assert_eq!(data(env), Some("/home/me/.local/share".into()));
        assert_eq!(cache(env), Some("/cache".into()));
    }
}
