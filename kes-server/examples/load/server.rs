//! The servers that are measured, and what `/proc` says of them.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::client::Client;

/// What both servers answer.
pub(crate) const GENERATE: &str = "/v1/key/generate/load";
/// Its reverse.
pub(crate) const DECRYPT: &str = "/v1/key/decrypt/load";

/// A folder with the certificates of server and client.
pub(crate) struct Files(tempfile::TempDir);

impl Files {
    pub(crate) fn make(kes: &Path) -> Self {
        let files = Self(tempfile::tempdir().unwrap());
        for name in ["server", "client"] {
            let (key, cert) = (format!("{name}.key"), format!("{name}.crt"));
            files.run(kes, &["identity", "new", "--key", &key, "--cert", &cert, "--ip", "127.0.0.1"]);
        }
        files
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn run(&self, kes: &Path, arguments: &[&str]) -> String {
        let output = Command::new(kes).args(arguments).current_dir(self.0.path()).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }
}

/// A process that serves.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    /// Starts a `kes` with an admin and a key, and waits until it answers; says how long that took.
    pub(crate) async fn kes(kes: &Path, files: &Files) -> (Self, Duration) {
        let admin = files.run(kes, &["identity", "of", "client.crt"]);
        let address = free_address();
        let config = format!(
            "address: {address}\nadmin: {{ identity: {admin} }}\ntls: {{ key: server.key, cert: server.crt }}\n\
             log: {{ audit: off }}\nkeys: [{{ name: load }}]\nkeystore: {{ fs: {{ path: keys }} }}\n"
        );
        std::fs::write(files.path("config.yaml"), config).unwrap();
        let mut command = Command::new(kes);
        command.args(["server", "--config", "config.yaml"]);
        Self::start(command, address, files).await
    }

    /// Starts this program as a bare server.
    pub(crate) async fn bare(files: &Files) -> Self {
        let address = free_address();
        std::fs::write(files.path("address"), address.to_string()).unwrap();
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.arg("bare").arg(files.path(""));
        Self::start(command, address, files).await.0
    }

    async fn start(mut command: Command, address: SocketAddr, files: &Files) -> (Self, Duration) {
        let start = Instant::now();
        let child = command.current_dir(files.path("")).stdout(Stdio::null()).spawn().unwrap();
        let server = Self { child, address };
        let client = Client::new(files);
        while client.try_once(address, GENERATE, "{}").await.is_none() {
            assert!(start.elapsed() < Duration::from_secs(20), "the server does not answer");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        (server, start.elapsed())
    }

    /// CPU time of the process so far, in ns: what the scheduler counted for each of its threads.
    pub(crate) fn cpu(&self) -> f64 {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap();
        let each = tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("schedstat")).ok());
        each.map(|text| text.split(' ').next().unwrap().parse::<f64>().unwrap()).sum()
    }

    /// Resident memory in KiB.
    pub(crate) fn memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.split_whitespace().next().unwrap().parse().unwrap()
    }
}

fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}
