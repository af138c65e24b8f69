//! A real `kes` in a folder of its own.
#![allow(dead_code, reason = "each test file uses its part")]

use std::{
    fs,
    io::Write as _,
    net::TcpListener,
    path::Path,
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    thread::sleep,
    time::{Duration, Instant},
};

use kes_server::{
    auth::ApiKey,
    client::{Client, Credentials, Timeouts, Trust},
};
use tempfile::TempDir;

pub(crate) const ADMIN_API_KEY: &str = "kes:v1:AAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f";
pub(crate) const ADMIN: &str = "a050837d85070582ccf7394b0988847cc312cb88259b894899f6f239cf1791a5";

/// Longest wait for what must come, on a machine with much else to do.
const PATIENCE: Duration = Duration::from_secs(30);

const POLICIES: &str = r#"
policy:
  my-app:
    allow:
    - "/v1/key/create/my-app*"
    - "/v1/key/decrypt/my-app*"
    - "/v1/key/encrypt/my-app*"
    - "/v1/key/generate/my-app*"
    - "/v1/key/hmac/my-app-exact"
    - "/v1/key/list/*"
    - "/v1/status"
    deny:
    - "/v1/key/generate/my-app-internal*"
    identities: ["503d8ee46d581c649966569ae095e27041de83322e8e0480e5539e00d2d5d874"]
  my-ops:
    allow: ["*"]
    identities: ["744f36cca67eb1912cb282e08e86bd2fe0d09004a28cf6e7c6bd56cdd6bf65aa"]
  unused-policy:
    allow: ["/v1/status"]
"#;

/// A folder, and the environment in which `kes` runs there.
pub(crate) struct Folder {
    pub(crate) dir: TempDir,
    pub(crate) address: String,
}

impl Folder {
    /// With a port of its own, a server certificate and a configuration with an fs keystore.
    pub(crate) fn new() -> Self {
        let folder = Self { dir: TempDir::new().unwrap(), address: format!("127.0.0.1:{}", free_port()) };
        let made = folder.kes(&["identity", "new", "--key", "server.key", "--cert", "server.crt", "--ip", "127.0.0.1"]);
        assert!(made.status.success(), "{made:?}");
        folder.write("config.yaml", &folder.config("keys"));
        folder
    }

    /// A configuration whose fs keystore is the named folder.
    pub(crate) fn config(&self, keystore: &str) -> String {
        format!(
            "version: v1\naddress: {}\nadmin:\n  identity: {ADMIN}\ntls:\n  key: server.key\n  cert: server.crt\n{POLICIES}\nkeystore:\n  fs:\n    path: {}\n",
            self.address,
            self.path(keystore)
        )
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.dir.path().join(name).to_str().unwrap().to_owned()
    }

    pub(crate) fn write(&self, name: &str, content: &str) {
        fs::write(self.dir.path().join(name), content).unwrap();
    }

    /// `kes` with these arguments, as admin of the server of this folder.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kes"));
        command
            .args(arguments)
            .current_dir(self.dir.path())
            .env_clear()
            .env("MINIO_KES_SERVER", &self.address)
            .env("MINIO_KES_API_KEY", ADMIN_API_KEY)
            .stdin(Stdio::null());
        command
    }

    pub(crate) fn kes(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// As [`Self::kes`], with something to read on standard input.
    pub(crate) fn kes_with_input(&self, arguments: &[&str], input: &str) -> Output {
        let mut command = self.command(arguments);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    }

    /// The library's client, as admin of the server of this folder.
    pub(crate) fn client(&self, timeouts: Timeouts) -> Client {
        self.clients(timeouts)()
    }

    /// Makes such clients, each with connections of its own.
    pub(crate) fn clients(&self, timeouts: Timeouts) -> impl Fn() -> Client + Send + 'static {
        let (address, trust) = (self.address.clone(), Trust::Pem(fs::read(self.path("server.crt")).unwrap()));
        move || {
            let key: ApiKey = ADMIN_API_KEY.parse().unwrap();
            let credentials = Credentials::new(vec![key.certificate().unwrap()], key.private_key());
            Client::new(&[&address], credentials, &trust, timeouts).unwrap()
        }
    }

    /// A server that may not answer yet.
    pub(crate) fn start(&self) -> Server {
        self.start_by(&mut self.command(&["server", "--config", "config.yaml"]))
    }

    fn start_by(&self, command: &mut Command) -> Server {
        let child = command
            .stdout(fs::File::create(self.path("stdout")).unwrap())
            .stderr(fs::File::create(self.path("stderr")).unwrap())
            .spawn()
            .unwrap();
        Server(child)
    }

    /// A server that answers.
    pub(crate) fn serve(&self) -> Server {
        self.until_ready(self.start())
    }

    /// A server that answers, started with these arguments and its configuration.
    pub(crate) fn serve_with(&self, more: &[&str]) -> Server {
        let arguments = [&["server", "--config", "config.yaml"], more].concat();
        self.until_ready(self.start_by(&mut self.command(&arguments)))
    }

    /// A server that answers, started with these arguments and nothing else.
    pub(crate) fn serve_as(&self, arguments: &[&str]) -> Server {
        self.until_ready(self.start_by(&mut self.command(arguments)))
    }

    /// A server that answers, within a limit as `prlimit` names it.
    pub(crate) fn serve_within(&self, limit: &str, value: u32) -> Server {
        let limit = format!("--{limit}={value}");
        self.serve_through(&["prlimit", &limit])
    }

    /// A server that answers, which another program turns itself into.
    pub(crate) fn serve_through(&self, program: &[&str]) -> Server {
        let (program, arguments) = program.split_first().unwrap();
        let kes = [env!("CARGO_BIN_EXE_kes"), "server", "--config", "config.yaml"];
        self.serve_by(program, &[arguments, &kes].concat())
    }

    /// A server that answers, as which a program with these arguments ends up.
    pub(crate) fn serve_by(&self, program: &str, arguments: &[&str]) -> Server {
        let mut command = Command::new(program);
        command.args(arguments).current_dir(self.dir.path()).stdin(Stdio::null());
        self.until_ready(self.start_by(&mut command))
    }

    fn until_ready(&self, server: Server) -> Server {
        let start = Instant::now();
        while !self.kes(&["probe", "--timeout", "1s"]).status.success() {
            let told = || read(&self.dir.path().join("stderr"));
            assert!(start.elapsed() < PATIENCE, "the server does not answer: {}", told());
            sleep(Duration::from_millis(20));
        }
        server
    }
}

/// A port that stays free until a server listens there: below those that the system gives to connections, and others in
/// each process that runs tests.
fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let ports = 10_000..32_000;
    let candidates = std::iter::repeat_with(|| {
        let number = std::process::id().wrapping_mul(97).wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        ports.start + u16::try_from(number % u32::from(ports.end - ports.start)).unwrap()
    });
    candidates.take(1_000).find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).unwrap()
}

/// Ends with the test.
pub(crate) struct Server(Child);

impl Server {
    /// Ends as an operator ends it; the exit code.
    pub(crate) fn terminate(mut self) -> Option<i32> {
        self.signal("-TERM");
        self.0.wait().unwrap().code()
    }

    /// Ends as a crash ends it.
    pub(crate) fn abort(mut self) -> ExitStatus {
        self.signal("-ABRT");
        self.0.wait().unwrap()
    }

    /// Its process.
    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }

    /// Reloads as an operator reloads.
    pub(crate) fn hang_up(&self) {
        self.signal("-HUP");
    }

    /// Stops it until [`Self::go_on`].
    pub(crate) fn pause(&self) {
        self.signal("-STOP");
    }

    /// Goes on after a pause.
    pub(crate) fn go_on(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        assert!(Command::new("kill").args([signal, &self.0.id().to_string()]).status().unwrap().success());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Waits for what must come, a bounded time.
pub(crate) fn eventually(what: &str, is_so: impl Fn() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < PATIENCE, "never: {what}");
        sleep(Duration::from_millis(50));
    }
}

pub(crate) fn read(file: &Path) -> String {
    fs::read_to_string(file).unwrap_or_default()
}

pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}
