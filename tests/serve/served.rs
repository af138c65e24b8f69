//! A stack in the foreground, in a folder and on ports of its own.

use std::ffi::OsStr;
use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use kestack::unstable::servers::s3::S3Client;
use rustix::process::{Pid, Signal, kill_process};

use crate::support::{binary, text};

/// Longest time that anything here may take on a busy machine.
const LIMIT: Duration = Duration::from_secs(60);

/// The place of one or more starts. Whatever still runs ends with it.
pub(crate) struct Place {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) port: u16,
    pub(crate) kes_port: u16,
}

/// One start.
pub(crate) struct Served {
    child: Child,
    stdout: PathBuf,
    stderr: PathBuf,
    pub(crate) begun: Instant,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), port: free_port(), kes_port: free_port() }
    }

    pub(crate) fn drive(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// `program` as the one of kestack, or a link to it by another name, with an environment that holds nothing of ours.
    pub(crate) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.env_clear().env("HOME", self.folder.path()).env("PATH", "/usr/local/bin:/usr/bin:/bin");
        command.env("KESTACK_MINIO", minio()).env("KESTACK_KES", binary().with_file_name("kes"));
        command.env("KESTACK_KES_ADDRESS", format!("127.0.0.1:{}", self.kes_port));
        command.stdin(Stdio::null());
        command
    }

    /// `kestack serve` of the drive, with these variables and further arguments.
    pub(crate) fn start(&self, env: &[(&str, &str)], arguments: &[&str]) -> Served {
        let mut command = self.command(&binary());
        command.args(["serve", "--address", &format!("127.0.0.1:{}", self.port)]).arg(self.drive()).args(arguments);
        command.envs(env.iter().copied());
        self.spawn(command)
    }

    pub(crate) fn spawn(&self, mut command: Command) -> Served {
        let (stdout, stderr) = (self.folder.path().join("stdout"), self.folder.path().join("stderr"));
        command.stdout(File::create(&stdout).unwrap()).stderr(File::create(&stderr).unwrap());
        let begun = Instant::now();
        Served { child: command.spawn().unwrap(), stdout, stderr, begun }
    }

    /// A start that is refused, with what it said.
    pub(crate) fn refused(&self, env: &[(&str, &str)], arguments: &[&str]) -> (i32, String) {
        let mut served = self.start(env, arguments);
        let status = served.ended();
        (status.code().unwrap_or(-1), served.said())
    }

    pub(crate) fn s3(&self) -> S3Client {
        self.s3_as("minioadmin", "minioadmin")
    }

    pub(crate) fn s3_as(&self, user: &str, password: &str) -> S3Client {
        S3Client::new(&format!("http://127.0.0.1:{}", self.port), user, password).unwrap()
    }

    /// `kestack serve --check` of this drive.
    pub(crate) fn check(&self) -> Output {
        self.command(&binary()).args(["serve", "--check"]).arg(self.drive()).output().unwrap()
    }

    /// True if any file of the drive holds these bytes.
    pub(crate) fn holds(&self, bytes: &[u8]) -> bool {
        let mut folders = vec![self.drive()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
                let path = entry.path();
                if path.is_dir() {
                    folders.push(path);
                } else if std::fs::read(&path).is_ok_and(|found| found.windows(bytes.len()).any(|part| part == bytes)) {
                    return true;
                }
            }
        }
        false
    }

    /// Waits until S3 lists these buckets: MinIO may bring back that of the proof once, for some milliseconds.
    pub(crate) fn lists(&self, buckets: &[&str]) {
        let start = Instant::now();
        while run(self.s3().list_buckets()).unwrap() != buckets {
            assert!(start.elapsed() < Duration::from_secs(5), "{:?}", run(self.s3().list_buckets()));
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Processes that were started with something of this place.
    pub(crate) fn processes(&self) -> Vec<String> {
        let here = self.folder.path().to_str().unwrap().to_owned();
        let all = std::fs::read_dir("/proc").unwrap().flatten();
        let lines = all.filter_map(|process| std::fs::read(process.path().join("cmdline")).ok());
        lines.map(|line| text(&line).replace('\0', " ")).filter(|line| line.contains(&here)).collect()
    }
}

impl Served {
    /// Waits until it says that it is open.
    pub(crate) fn open(self, place: &Place) -> Self {
        self.open_by(|| place.check())
    }

    /// The same where it is asked in another way.
    pub(crate) fn open_by(mut self, check: impl Fn() -> Output) -> Self {
        while !check().status.success() {
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("it ended ({status}):\n{}", self.said());
            }
            assert!(self.begun.elapsed() < LIMIT, "not open:\n{}", self.said());
            std::thread::sleep(Duration::from_millis(10));
        }
        self
    }

    pub(crate) fn said(&self) -> String {
        text(&std::fs::read(&self.stderr).unwrap()) + &text(&std::fs::read(&self.stdout).unwrap())
    }

    /// Waits until it has said that: MinIO's words come when the port is open already.
    pub(crate) fn says(&self, text: &str) {
        let start = Instant::now();
        while !self.said().contains(text) {
            assert!(start.elapsed() < Duration::from_secs(20), "not said: {text}\n{}", self.said());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    pub(crate) fn ended(&mut self) -> ExitStatus {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(start.elapsed() < LIMIT, "it does not end:\n{}", self.said());
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Ends it as an engine does; it must end well.
    pub(crate) fn stop(mut self) {
        self.signal(Signal::TERM);
        let status = self.ended();
        assert!(status.success(), "{status}:\n{}", self.said());
    }

    /// The process number of its child that runs this program.
    pub(crate) fn server(&self, program: &str) -> Option<Pid> {
        let of = |process: &Path| -> Option<(i32, String)> {
            let stat = std::fs::read_to_string(process.join("stat")).ok()?;
            let parent: u32 = stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()?;
            let line = text(&std::fs::read(process.join("cmdline")).ok()?);
            let found = Path::new(line.split('\0').next()?).file_name() == Some(OsStr::new(program));
            (found && parent == self.child.id()).then(|| Some((process.file_name()?.to_str()?.parse().ok()?, line)))?
        };
        let mut all = std::fs::read_dir("/proc").unwrap().flatten();
        all.find_map(|process| of(&process.path())).and_then(|(pid, _)| Pid::from_raw(pid))
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|status| status.is_none()) {
            let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
            let _ = self.child.wait();
        }
    }
}

/// The real MinIO.
pub(crate) fn minio() -> PathBuf {
    std::env::var_os("MINIO_BINARY").expect("MINIO_BINARY names the program").into()
}

/// A port that nobody uses, below those that outgoing connections take.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = u16::try_from(std::process::id() * 37 % 9000).unwrap();
    loop {
        let port = 11_000 + (start + NEXT.fetch_add(1, Ordering::Relaxed)) % 9000;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// Runs calls of S3 to their end.
pub(crate) fn run<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}
