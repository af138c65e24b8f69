//! A stack of its own for a test, removed at its end whatever happens.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use kestack::unstable::servers::s3::S3Client;
use serde_json::Value;

use crate::bounded::Bounded as _;
use crate::engine::kind;
pub(crate) use crate::support::{binary, text};

static COUNT: AtomicU32 = AtomicU32::new(0);

/// A folder, a name and a manifest with automatic ports.
pub(crate) struct Sandbox {
    pub(crate) name: String,
    folder: tempfile::TempDir,
    base: PathBuf,
    /// What `kestack env` said. Only calls of the tool change it.
    variables: Mutex<Option<Value>>,
}

impl Sandbox {
    /// A stack with the default key and bucket, or with more lines of manifest.
    pub(crate) fn new(more: &str) -> Self {
        let name = format!("kt-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let folder = tempfile::tempdir().unwrap();
        let base = folder.path().join("stacks");
        let sandbox = Self { name, folder, base, variables: Mutex::default() };
        sandbox.manifest(more);
        sandbox
    }

    /// A stack of that name.
    pub(crate) fn named(name: &str) -> Self {
        let mut sandbox = Self::new("");
        name.clone_into(&mut sandbox.name);
        sandbox.manifest("");
        sandbox
    }

    /// A stack whose files are below another folder.
    pub(crate) fn below(base: &Path) -> Self {
        let mut sandbox = Self::new("");
        base.clone_into(&mut sandbox.base);
        sandbox
    }

    /// Writes the manifest again.
    pub(crate) fn manifest(&self, more: &str) {
        let minio = if more.contains("minio:") { "" } else { "minio: { port: 0, console_port: 0 }\n" };
        let kes = if more.contains("kes:") { "" } else { "kes: { port: 0 }\n" };
        let text = format!("version: v1\nname: {}\n{kes}{minio}{more}", self.name);
        std::fs::write(self.folder.path().join("kestack.yaml"), text).unwrap();
    }

    /// Folder in which the manifest lies.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Base folder of the stacks.
    pub(crate) fn base(&self) -> PathBuf {
        self.base.clone()
    }

    /// Folder of the stack.
    pub(crate) fn root(&self) -> PathBuf {
        self.base().join(&self.name)
    }

    /// The tool, ready to run in the folder of the manifest.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        *self.variables.lock().unwrap() = None;
        self.command_of(&binary(), arguments)
    }

    /// The same of a tool in another place.
    pub(crate) fn command_of(&self, kestack: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new(kestack);
        command.args(arguments).current_dir(self.folder.path()).env("KESTACK_DIR", self.base());
        command.env("KESTACK_ENGINE", kind().name());
        for variable in ["KESTACK_NAME", "KESTACK_FILE", "KESTACK_OUTPUT"] {
            command.env_remove(variable);
        }
        command.stdin(Stdio::null());
        command
    }

    /// Runs the tool to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).finished()
    }

    /// Runs the tool, which must succeed, and returns what it printed.
    pub(crate) fn ok(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
        assert!(output.status.success(), "kestack {arguments:?}: {:?}\n{stdout}\n{stderr}", output.status);
        stdout
    }

    /// Runs the tool with `--output json`.
    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        let all = [arguments, &["--output", "json"]].concat();
        serde_json::from_str(&self.ok(&all)).unwrap()
    }

    /// Runs the tool, which must fail with this exit code, and returns its error text.
    pub(crate) fn fails(&self, arguments: &[&str], code: i32) -> String {
        let output = self.run(arguments);
        let stderr = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "kestack {arguments:?}\n{}\n{stderr}", text(&output.stdout));
        stderr
    }

    /// Starts the tool in the background.
    pub(crate) fn start(&self, arguments: &[&str]) -> Child {
        self.command(arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    }

    /// One variable of `kestack env`.
    pub(crate) fn variable(&self, name: &str) -> String {
        let all: Value = serde_json::from_str(&self.ok(&["env", "--shell", "json"])).unwrap();
        let value = all[name].as_str().unwrap_or_else(|| panic!("no {name} in {all}")).to_owned();
        *self.variables.lock().unwrap() = Some(all);
        value
    }

    /// The same without another call, if the tool was not called since.
    fn known(&self, name: &str) -> String {
        let known = self.variables.lock().unwrap().as_ref().and_then(|all| all[name].as_str()).map(str::to_owned);
        known.unwrap_or_else(|| self.variable(name))
    }

    /// A client of the root user. It is ours, and much faster than [`Sandbox::s3`].
    pub(crate) fn client(&self) -> S3Client {
        let [endpoint, user, password] =
            ["AWS_ENDPOINT_URL_S3", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"].map(|name| self.known(name));
        S3Client::new(&endpoint, &user, &password).unwrap()
    }

    /// Stores so many objects of one size in a bucket, below `many/`.
    pub(crate) fn put_many(&self, bucket: &str, count: usize, size: usize) {
        let (s3, body) = (self.client(), vec![7; size]);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        for number in 0..count {
            runtime.block_on(s3.put_object(bucket, &format!("many/{number}"), &body)).unwrap();
        }
    }

    /// A signed S3 request by curl, an implementation of `SigV4` that is not ours. Returns status and body.
    pub(crate) fn s3(&self, method: &str, path: &str, body: Option<&[u8]>) -> (u16, Vec<u8>) {
        let user = (self.known("AWS_ACCESS_KEY_ID"), self.known("AWS_SECRET_ACCESS_KEY"));
        self.s3_as(&user, method, path, body, &[])
    }

    /// The same as another user than root, with more headers.
    pub(crate) fn s3_as(
        &self,
        (user, password): &(String, String),
        method: &str,
        path: &str,
        body: Option<&[u8]>,
        headers: &[&str],
    ) -> (u16, Vec<u8>) {
        let url = format!("{}{path}", self.known("AWS_ENDPOINT_URL_S3"));
        let upload = self.folder.path().join("upload");
        let answer = self.folder.path().join("answer");
        let mut curl = Command::new("curl");
        curl.args(["-sS", "--max-time", "30", "--aws-sigv4", "aws:amz:us-east-1:s3", "-K", "-"]);
        let ca = self.root().join("certs/ca.cert");
        if ca.exists() {
            curl.arg("--cacert").arg(ca);
        }
        curl.arg("-o").arg(&answer).args(["-w", "%{http_code}", &url]);
        for header in headers {
            curl.args(["-H", header]);
        }
        if let Some(body) = body {
            std::fs::write(&upload, body).unwrap();
            curl.arg("-T").arg(&upload);
        }
        curl.args(["-X", method]);
        curl.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = curl.spawn().unwrap();
        let config = format!("user = \"{user}:{password}\"\n");
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), config.as_bytes()).unwrap();
        let output = child.finished();
        let status = text(&output.stdout).trim().parse().unwrap();
        let body = std::fs::read(&answer).unwrap_or_default();
        let _ = std::fs::remove_file(&answer);
        (status, body)
    }

    /// Puts objects of several kinds into the buckets `docs` and `other`: versions of one, one of that many bytes, one with an
    /// odd name, one that is deleted, and one under the other bucket's key.
    pub(crate) fn fill(&self, versions: &[&str], big: usize) {
        for content in versions {
            self.put("/docs/a", content.as_bytes());
        }
        self.put("/docs/deep/big", &vec![7; big]);
        self.put("/docs/we%3Ci%3E%26rd%20%C3%BC", b"odd");
        self.put("/docs/deleted", b"deleted");
        assert_eq!(self.s3("DELETE", "/docs/deleted", None).0, 204);
        self.put("/other/s3", b"default key");
    }

    /// Stores an object, which must work.
    pub(crate) fn put(&self, path: &str, body: &[u8]) {
        let (status, answer) = self.s3("PUT", path, Some(body));
        assert_eq!(status, 200, "{}", text(&answer));
    }

    /// Reads an object, which must work.
    pub(crate) fn read(&self, path: &str) -> Vec<u8> {
        let (status, body) = self.s3("GET", path, None);
        assert_eq!(status, 200, "{}", text(&body));
        body
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let logs = self.run(&["logs", "--tail", "40"]);
            eprintln!("{}{}", text(&logs.stdout), text(&logs.stderr));
        }
        let down = self.run(&["down", "--data", "--quiet", "--adopt"]);
        if !down.status.success() {
            eprintln!("a stack may be left: {}", text(&down.stderr));
        }
    }
}

/// Puts a program into a folder, under its own name.
pub(crate) fn install(program: &Path, folder: &Path) -> PathBuf {
    let path = folder.join(program.file_name().unwrap());
    if std::fs::hard_link(program, &path).is_err() {
        std::fs::copy(program, &path).unwrap();
    }
    path
}
