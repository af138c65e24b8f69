//! The vendors' own clients, in Python, as judges: they read what we wrote and write what we read.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

/// Longest time that a server of Python may take to start, on a machine with much else to do.
const START: Duration = Duration::from_secs(120);

/// A script of `judges/` and the interpreter that has the vendor's packages.
#[derive(Debug)]
pub struct Judge {
    python: PathBuf,
    script: PathBuf,
}

impl Judge {
    /// Needs the interpreter's path in `KESTACK_PYTHON`, which `tests/run` sets.
    pub fn find(name: &str) -> Self {
        let python = std::env::var_os("KESTACK_PYTHON");
        let python = python.expect("KESTACK_PYTHON names a Python with the packages of judges/requirements.txt");
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/keystores/judges");
        Self { python: python.into(), script: folder.join(format!("{name}.py")) }
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.python);
        command.arg("-B").stdin(Stdio::null()).kill_on_drop(true).env_clear();
        command.envs(["PATH", "HOME", "LANG"].into_iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
        command
    }

    /// Runs the script and returns the value that it prints as JSON.
    pub async fn ask(&self, arguments: &[&str]) -> serde_json::Value {
        let output = self.command().arg(&self.script).args(arguments).output().await.unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Starts `serve` of the script, which serves at a port of its choice until it is dropped; which port, as soon as it
    /// listens. A port that is chosen before may be taken when the server comes to it.
    pub async fn serve(&self, environment: &[(&str, &str)]) -> (Child, u16) {
        let mut command = self.command();
        command.arg(&self.script).args(["serve", "127.0.0.1"]).envs(environment.iter().copied());
        let mut server = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut line = String::new();
        let mut stdout = BufReader::new(server.stdout.take().unwrap());
        tokio::time::timeout(START, stdout.read_line(&mut line)).await.expect("the server does not start").unwrap();
        (server, line.trim().parse().unwrap())
    }
}
