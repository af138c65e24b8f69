//! Namespaces that last for one test.

use std::path::PathBuf;
use std::process::Command;

/// Set for the test that runs inside; the folder with its files.
const INSIDE: &str = "KES_TEST_NAMESPACE";
/// A host that is not this machine as far as anybody can tell by its address.
pub const FAR: [u8; 4] = [10, 1, 2, 3];
/// Another one.
pub const OTHER: [u8; 4] = [10, 9, 9, 9];

/// Makes the files be those of the system, and both hosts reachable; then runs the rest.
const SETUP: &str = "mount --bind \"$0/hosts\" /etc/hosts && mount --bind \"$0/resolv.conf\" /etc/resolv.conf && \
                     ip link set lo up && ip address add 10.1.2.3/32 dev lo && ip address add 10.9.9.9/32 dev lo && \
                     exec \"$@\"";

/// The files of the system, inside.
pub struct Namespace {
    folder: PathBuf,
}

impl Namespace {
    /// Runs the test `name`, which calls this, in namespaces where the files have these contents, and returns them
    /// there. `None` outside, where the test is over then.
    pub fn enter(name: &str, hosts: &str, resolv: &str) -> Option<Self> {
        if let Some(folder) = std::env::vars_os().find(|(key, _)| key == INSIDE) {
            return Some(Self { folder: folder.1.into() });
        }
        let folder = tempfile::tempdir().unwrap();
        let outside = Self { folder: folder.path().into() };
        outside.set_hosts(hosts);
        outside.set_resolv(resolv);
        let mut command = Command::new("unshare");
        command.args(["--net", "--mount", "sh", "-c", SETUP]).arg(folder.path()).arg(std::env::current_exe().unwrap());
        command.args(["--ignored", "--exact", name, "--nocapture"]).env(INSIDE, folder.path());
        let ended = command.output().unwrap();
        let (out, err) = (String::from_utf8_lossy(&ended.stdout), String::from_utf8_lossy(&ended.stderr));
        assert!(ended.status.success() && out.contains("1 passed"), "{out}{err}");
        None
    }

    pub fn set_hosts(&self, content: &str) {
        std::fs::write(self.folder.join("hosts"), content).unwrap();
    }

    pub fn set_resolv(&self, content: &str) {
        std::fs::write(self.folder.join("resolv.conf"), content).unwrap();
    }
}

/// Runs what a test does inside.
pub fn run(work: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(work);
}
