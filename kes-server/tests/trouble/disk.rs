//! Key folders that take nothing or show nothing: on a full disk, a read-only one, without the permission to write or to
//! read. Whatever is there is served, and a name that is taken is taken.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use super::support::{Folder, Server, eventually, read, stderr, stdout};

/// Runs what follows with a disk of its own at `disk`, which nobody else sees and which goes with it.
const MOUNT: &str = "mount -t tmpfs -o size=256k,mode=700 tmpfs disk && cp keys/k1 disk/k1";

/// Writes until there is not a byte left.
const FILL: &str = "for size in 4096 1; do dd if=/dev/zero bs=$size 2>&1 >>disk/ballast || true; done";

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// A folder whose configuration wants `k1`, which is in `keys`, and keeps its keys in `disk`.
fn folder() -> Folder {
    let folder = Folder::new();
    let server = folder.serve();
    assert!(folder.kes(&["key", "create", "-k", "k1"]).status.success());
    assert_eq!(server.terminate(), Some(0));
    fs::create_dir(folder.path("disk")).unwrap();
    folder.write("config.yaml", &format!("{}keys:\n- name: k1\n", folder.config("disk")));
    folder
}

/// A server in a mount namespace of its own, after these commands.
fn serve_mounted(folder: &Folder, script: &str) -> Server {
    let namespace: &[&str] = if is_root() { &["--mount"] } else { &["--mount", "--map-root-user"] };
    let script = format!("set -e; {script}; exec \"$0\" server --config config.yaml");
    folder.serve_by("unshare", &[namespace, &["sh", "-c", &script, env!("CARGO_BIN_EXE_kes")]].concat())
}

/// A server to which the modes of folders apply, also if root runs it.
fn serve_with_mode(folder: &Folder, mode: u32) -> Server {
    let without = ["--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-dac_override,-dac_read_search"];
    fs::copy(folder.path("keys/k1"), folder.path("disk/k1")).unwrap();
    fs::set_permissions(folder.path("disk"), fs::Permissions::from_mode(mode)).unwrap();
    let (program, arguments) = if is_root() { ("setpriv", &without[..]) } else { ("env", &[][..]) };
    let server = [arguments, &[env!("CARGO_BIN_EXE_kes"), "server", "--config", "config.yaml"]].concat();
    folder.serve_by(program, &server)
}

fn log(folder: &Folder) -> String {
    read(Path::new(&folder.path("stderr")))
}

/// The key that is there is served, also after a reload; making it again is 400, making another one says what is wrong.
fn assert_serves(folder: &Folder, server: &Server) {
    assert!(stdout(&folder.kes(&["key", "info", "-k", "k1"])).starts_with("Name        k1\n"));
    assert!(folder.kes(&["key", "dek", "-k", "k1"]).status.success());
    let taken = stderr(&folder.kes(&["key", "create", "-k", "k1"]));
    assert_eq!(taken, "Error: failed to create key \"k1\": key already exists\n");
    server.hang_up();
    let reloads = || read(Path::new(&folder.path("stdout"))).matches("SIGHUP signal completed").count();
    eventually("it reloads", || reloads() == 1);
    assert!(folder.kes(&["key", "info", "-k", "k1"]).status.success(), "{}", log(folder));
}

fn assert_takes_nothing(folder: &Folder, why: &str) {
    let refused = folder.kes(&["key", "create", "-k", "k2"]);
    assert_eq!(stderr(&refused), "Error: failed to create key \"k2\": failed to create key\n");
    assert!(log(folder).contains(why), "{why} in {}", log(folder));
    assert_eq!(
        stderr(&folder.kes(&["key", "info", "-k", "k2"])),
        "Error: failed to describe keys: key does not exist\n"
    );
}

#[test]
#[ignore = "needs mount namespaces"]
fn a_full_disk_keeps_no_server_from_its_keys() {
    let folder = folder();
    let server = serve_mounted(&folder, &format!("{MOUNT}; {FILL}"));
    assert_serves(&folder, &server);
    assert_takes_nothing(&folder, "No space left on device");
    assert!(folder.kes(&["key", "rm", "-k", "k1"]).status.success(), "deleting needs no space");
}

#[test]
#[ignore = "needs mount namespaces"]
fn a_read_only_disk_keeps_no_server_from_its_keys() {
    let folder = folder();
    let unfinished = "touch -d yesterday disk/.kes-new-x";
    let script = format!("{MOUNT}; {unfinished}; mount -o remount,ro disk");
    let server = serve_mounted(&folder, &script);
    assert_serves(&folder, &server);
    assert_takes_nothing(&folder, "Read-only file system");
    let kept = stderr(&folder.kes(&["key", "rm", "-k", "k1"]));
    assert_eq!(kept, "Error: failed to remove key \"k1\": failed to delete key\n");
    assert!(folder.kes(&["key", "info", "-k", "k1"]).status.success());
}

#[test]
#[ignore = "needs setpriv"]
fn a_folder_that_may_not_be_written_keeps_no_server_from_its_keys() {
    let folder = folder();
    let server = serve_with_mode(&folder, 0o500);
    assert_serves(&folder, &server);
    assert_takes_nothing(&folder, "Permission denied");
}

/// It cannot be opened to be synced either: what an answer says must be so all the same.
#[test]
#[ignore = "needs setpriv"]
fn a_folder_that_may_not_be_read_serves_makes_and_deletes() {
    let folder = folder();
    let server = serve_with_mode(&folder, 0o300);
    assert_serves(&folder, &server);
    let made = folder.kes(&["key", "create", "-k", "k2"]);
    assert!(made.status.success(), "{made:?}\n{}", log(&folder));
    assert!(folder.kes(&["key", "info", "-k", "k2"]).status.success());
    let gone = folder.kes(&["key", "rm", "-k", "k2"]);
    assert!(gone.status.success(), "{gone:?}\n{}", log(&folder));
    assert_eq!(
        stderr(&folder.kes(&["key", "info", "-k", "k2"])),
        "Error: failed to describe keys: key does not exist\n"
    );
    assert_eq!(stderr(&folder.kes(&["key", "ls", "-k"])), "Error: failed to list keys: failed to list keys\n");
    drop(server);
    fs::set_permissions(folder.path("disk"), fs::Permissions::from_mode(0o700)).unwrap();
}
