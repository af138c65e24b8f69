//! The vendors' own clients, in Python, as judges: they read what we wrote and write what we read.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::{Child, Command};

/// A script of `judges/` and the interpreter that has the vendor's packages.
#[derive(Debug)]
pub struct Judge {
    python: PathBuf,
    script: PathBuf,
}

impl Judge {
    /// `None`, told, without the interpreter's path in `KESTACK_PYTHON`: `tests/run` sets it.
    pub fn find(name: &str) -> Option<Self> {
        let Some(python) = std::env::var_os("KESTACK_PYTHON") else {
            tell("skipped: KESTACK_PYTHON names no Python with the packages of judges/requirements.txt");
            return None;
        };
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/keystores/judges");
        Some(Self { python: python.into(), script: folder.join(format!("{name}.py")) })
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

    /// Starts a module of Python that serves at `address` until it is dropped.
    pub fn serve(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Child {
        let mut command = self.command();
        command.args(arguments).envs(environment.iter().copied()).stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().unwrap()
    }
}

/// A port that nobody listens on.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[expect(clippy::print_stderr, reason = "a test that does not run says so")]
fn tell(text: &str) {
    eprintln!("{text}");
}
