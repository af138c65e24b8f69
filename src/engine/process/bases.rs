//! Finds the folders of stacks that run as processes: no daemon knows them, but each supervisor names its folder.

use std::collections::BTreeSet;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::SUPERVISE;

/// The folders of stacks (each with a folder per stack) below which a supervisor of this user runs; none on a system
/// without `/proc`.
pub fn bases() -> BTreeSet<PathBuf> {
    let user = rustix::process::geteuid().as_raw();
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let own = processes.filter(|process| process.metadata().is_ok_and(|found| found.uid() == user));
    own.filter_map(|process| base(&std::fs::read(process.path().join("cmdline")).ok()?)).collect()
}

/// `<base>/<stack>/run/<server>` is what a supervisor is started with.
fn base(command_line: &[u8]) -> Option<PathBuf> {
    let mut arguments = command_line.split(|byte| *byte == 0).skip(1);
    if arguments.next()? != SUPERVISE.as_bytes() {
        return None;
    }
    let folder = Path::new(std::ffi::OsStr::from_bytes(arguments.next()?));
    let run = folder.parent().filter(|run| run.ends_with("run"))?;
    run.parent()?.parent().map(Path::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_supervisor_is_known_by_its_arguments() {
        let found = |line: &str| base(line.replace(' ', "\0").as_bytes());
        assert_eq!(found("/bin/kestack process-supervise /a/b/stack/run/kes"), Some("/a/b".into()));
        for other in ["/bin/kestack up", "kestack process-supervise", "kestack process-supervise /a/b", ""] {
            assert_eq!(found(other), None, "{other}");
        }
    }
}
