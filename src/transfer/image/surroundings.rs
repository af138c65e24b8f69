//! What is around the programs: folders, users, licences, and a shell for recipes and health checks.

use super::{Content, Shell, folders};
use crate::engine::image::{Architecture, Entry, ImageError};

/// Names of busybox that scripts, health checks and `docker exec` call.
const APPLETS: [&str; 75] = [
    "[",
    "awk",
    "base64",
    "basename",
    "cat",
    "chgrp",
    "chmod",
    "chown",
    "clear",
    "cmp",
    "cp",
    "cut",
    "date",
    "dd",
    "df",
    "diff",
    "dirname",
    "du",
    "echo",
    "egrep",
    "env",
    "expr",
    "false",
    "find",
    "free",
    "grep",
    "gunzip",
    "gzip",
    "head",
    "hostname",
    "id",
    "ip",
    "kill",
    "less",
    "ln",
    "ls",
    "md5sum",
    "mkdir",
    "mktemp",
    "more",
    "mv",
    "nc",
    "netstat",
    "nproc",
    "nslookup",
    "od",
    "pidof",
    "ping",
    "printf",
    "ps",
    "pwd",
    "readlink",
    "realpath",
    "rm",
    "rmdir",
    "sed",
    "seq",
    "sha256sum",
    "sleep",
    "sort",
    "stat",
    "tail",
    "tar",
    "tee",
    "test",
    "time",
    "timeout",
    "touch",
    "tr",
    "true",
    "uname",
    "wc",
    "wget",
    "which",
    "xargs",
];
/// Accounts that programs may ask for; any other user works as well.
const PASSWD: &str =
    "root:x:0:0:root:/root:/bin/sh\nminio:x:1000:1000:minio:/:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n";
const GROUP: &str = "root:x:0:\nminio:x:1000:\nnobody:x:65534:\n";
/// Where the sources of the shell are; those of MinIO are known with its releases.
const SHELL_SOURCES: &str = "\
bash (GPL-3.0-or-later), as usr/bin/bash: https://packages.debian.org/source/stable/bash
busybox (GPL-2.0-only), as usr/bin/busybox: https://packages.debian.org/source/stable/busybox
";
const CLIENT_SOURCES: &str = "mc (AGPL-3.0), as usr/bin/mc: https://github.com/minio/mc\n";

/// Everything but MinIO and kestack.
pub(super) fn entries(content: &Content) -> Result<Vec<Entry>, ImageError> {
    let mut entries = folders(&["etc", "usr", "usr/bin", "licenses"]);
    entries.extend([
        // whoever runs it may write there, also to an anonymous volume, which takes over the mode
        Entry::folder("data", 0o777),
        Entry::folder("root", 0o700),
        Entry::folder("tmp", 0o1777),
        Entry::link("bin", "usr/bin"),
        Entry::link("sbin", "usr/bin"),
        Entry::text("etc/passwd", PASSWD),
        Entry::text("etc/group", GROUP),
    ]);
    if let Some(shell) = &content.shell {
        entries.extend(shell_entries(shell, content.architecture)?);
    }
    entries.extend(licences(content));
    Ok(entries)
}

fn shell_entries(shell: &Shell, architecture: Architecture) -> Result<Vec<Entry>, ImageError> {
    let mut entries = vec![
        Entry::program("usr/bin/bash", &shell.bash, architecture)?,
        Entry::link("usr/bin/sh", "bash"),
        Entry::program("usr/bin/busybox", &shell.busybox, architecture)?,
    ];
    entries.extend(APPLETS.map(|name| Entry::link(&format!("usr/bin/{name}"), "busybox")));
    Ok(entries)
}

/// Whose programs are in the image, and under which licences: those that it passes on ask for both.
fn licences(content: &Content) -> Vec<Entry> {
    let mut sources = content.sources.clone();
    let mut texts =
        vec![("AGPL-3.0", include_str!("licences/AGPL-3.0.txt")), ("Apache-2.0", include_str!("../../../LICENSE"))];
    if content.mc.is_some() {
        sources.push_str(CLIENT_SOURCES);
    }
    if content.shell.is_some() {
        sources.push_str(SHELL_SOURCES);
        texts.extend([
            ("GPL-2.0", include_str!("licences/GPL-2.0.txt")),
            ("GPL-3.0", include_str!("licences/GPL-3.0.txt")),
        ]);
    }
    let texts = texts.into_iter().map(|(name, text)| Entry::text(&format!("licenses/{name}.txt"), text));
    texts.chain([Entry::text("licenses/SOURCES", sources)]).collect()
}
