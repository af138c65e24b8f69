//! The engine under test, `KESTACK_E2E_ENGINE=podman|docker|process`, and what can be seen of it and done to it
//! without our own code: by its command line, or in `/proc`.

use std::net::TcpListener;
use std::process::Command;

use crate::bounded::Bounded as _;
use crate::sandbox::text;

/// Kind of the engine under test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Podman,
    Docker,
    Process,
}

/// A server of a stack as a process of this host.
struct Server {
    pid: String,
    /// Ticks from boot to its start (proc(5), field 22 of `stat`).
    started: String,
}

/// The engine under test; Podman unless said otherwise.
pub(crate) fn kind() -> Kind {
    match std::env::var("KESTACK_E2E_ENGINE").as_deref() {
        Err(_) | Ok("podman") => Kind::Podman,
        Ok("docker") => Kind::Docker,
        Ok("process") => Kind::Process,
        Ok(other) => panic!("KESTACK_E2E_ENGINE is '{other}'; there is: podman, docker, process"),
    }
}

/// True if the engine is Podman of a user who is not root.
pub(crate) fn rootless() -> bool {
    kind() == Kind::Podman && !rustix::process::geteuid().is_root()
}

/// Runs the command line of the container engine, which must succeed.
pub(crate) fn cli(arguments: &[&str]) -> String {
    let program = kind().name();
    let output = Command::new(program).args(arguments).finished();
    assert!(output.status.success(), "{program} {arguments:?}: {}", text(&output.stderr));
    text(&output.stdout)
}

impl Kind {
    /// The word for it on the command line, which is its program's name, too.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Podman => "podman",
            Self::Docker => "docker",
            Self::Process => "process",
        }
    }

    /// What is there of a stack: containers, or processes with their command lines.
    pub(crate) fn members(self, stack: &str) -> Vec<String> {
        let all = match self {
            Self::Podman => cli(&["ps", "-a", "--format", "{{.Names}} {{.PodName}}"]),
            Self::Docker => cli(&["ps", "-a", "--format", "{{.Names}}"]),
            Self::Process => processes(stack, "").join("\n"),
        };
        all.lines().filter(|line| line.contains(stack)).map(str::to_owned).collect()
    }

    /// When a server was started: changes with every start.
    pub(crate) fn started(self, container: &str) -> String {
        match self {
            Self::Process => server(container).started,
            _ => cli(&["inspect", "--format", "{{.State.StartedAt}}", container]),
        }
    }

    /// Ends a server with SIGKILL.
    pub(crate) fn kill(self, container: &str) {
        match self {
            Self::Process => kill(&[server(container).pid]),
            _ => drop(cli(&["kill", "--signal", "KILL", container])),
        }
    }

    /// What the engine itself could leave on the host, by kind.
    pub(crate) fn leftovers(self) -> Vec<(&'static str, String)> {
        let all = match self {
            Self::Process => vec![],
            Self::Podman => vec![
                ("container", vec!["ps", "-a", "--external", "--format", "{{.Names}}"]),
                ("pod", vec!["pod", "ls", "--format", "{{.Name}}"]),
            ],
            Self::Docker => vec![("container", vec!["ps", "-a", "--format", "{{.Names}}"])],
        };
        let shared: &[(_, &[_])] = match self {
            Self::Process => &[],
            _ => &[
                ("volume", &["volume", "ls", "--format", "{{.Name}}"]),
                ("network", &["network", "ls", "--format", "{{.Name}}"]),
                ("image", &["images", "-a", "--no-trunc", "--format", "{{.ID}}"]),
            ],
        };
        let shared = shared.iter().map(|(what, arguments)| (*what, arguments.to_vec()));
        all.into_iter().chain(shared).map(|(what, arguments)| (what, cli(&arguments))).collect()
    }
}

/// Ends processes with SIGKILL.
pub(crate) fn kill(pids: &[String]) {
    assert!(!pids.is_empty());
    assert!(Command::new("kill").arg("-KILL").args(pids).status().unwrap().success());
}

/// A port that is free now.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// `<pid> <command line>` of each process of `program` (of any if empty) that names the stack in its arguments or
/// its environment, this test and its children aside: they stand in its folder, but do not name it.
pub(crate) fn processes(stack: &str, program: &str) -> Vec<String> {
    let folders = std::fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path());
    let of_stack = folders.filter_map(|folder| {
        let pid = folder.file_name()?.to_str()?.parse::<u32>().ok()?;
        let arguments = text(&std::fs::read(folder.join("cmdline")).ok()?).replace('\0', " ");
        let environment = text(&std::fs::read(folder.join("environ")).unwrap_or_default());
        let name = std::fs::read_to_string(folder.join("comm")).ok()?;
        let of_program = program.is_empty() || name.trim_end() == program;
        (of_program && (arguments.contains(stack) || environment.contains(stack))).then(|| format!("{pid} {arguments}"))
    });
    of_stack.collect()
}

/// The process of `<stack>-kes-server` or `<stack>-minio-server`.
fn server(container: &str) -> Server {
    let (stack, program) = container.trim_end_matches("-server").rsplit_once('-').unwrap();
    let found = processes(stack, program);
    let [line] = found.as_slice() else { panic!("{container}: {found:?}") };
    let pid = line.split(' ').next().unwrap().to_owned();
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let started = stat.rsplit_once(')').unwrap().1.split_whitespace().nth(19).unwrap().to_owned();
    Server { pid, started }
}
