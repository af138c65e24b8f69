//! A deployment as people make it by hand: the folder of the documented procedure, with KES and MinIO as processes.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use kestack::unstable::servers::s3::S3Client;

use crate::bounded::Bounded as _;
use crate::engine::free_port;
use crate::sandbox::{binary, text};

const PATIENCE: Duration = Duration::from_secs(60);

/// The folder of a deployment.
pub(crate) struct ByHand {
    folder: PathBuf,
    kes_port: u16,
}

/// Its servers, which end with the value: MinIO first.
pub(crate) struct Running {
    pub(crate) s3: S3Client,
    _minio: Server,
    _kes: Server,
}

impl ByHand {
    pub(crate) fn new(folder: &Path) -> Self {
        let kes_port = free_port();
        make(folder, kes_port);
        Self { folder: folder.to_owned(), kes_port }
    }

    pub(crate) async fn start(&self) -> Running {
        let config = self.folder.join("config/kes-config.yaml").display().to_string();
        let arguments = ["server".to_owned(), "--config".into(), config];
        let kes = Server::start(&binary().with_file_name("kes"), &arguments, &self.folder);
        let start = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", self.kes_port)).is_err() {
            assert!(start.elapsed() < PATIENCE, "kes does not start");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let (minio, s3) = minio(&self.folder, free_port()).await;
        Running { s3, _minio: minio, _kes: kes }
    }
}

/// A MinIO with the environment of the folder, once it is ready.
pub(crate) async fn minio(folder: &Path, port: u16) -> (Server, S3Client) {
    let program = std::env::var("MINIO_BINARY").expect("MINIO_BINARY names the program");
    let arguments = ["server".to_owned(), "--address".into(), format!("127.0.0.1:{port}")];
    let minio = Server::start(Path::new(&program), &arguments, folder);
    let s3 = S3Client::new(&format!("http://127.0.0.1:{port}"), "old-root", "old-password").unwrap();
    let start = Instant::now();
    while s3.health("ready").await.is_err() || s3.list_buckets().await.is_err() {
        assert!(start.elapsed() < PATIENCE, "MinIO does not start");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    (minio, s3)
}

/// A server of the deployment; it ends with the test.
pub(crate) struct Server(Child);

impl Server {
    fn start(program: &Path, arguments: &[String], folder: &Path) -> Self {
        let log =
            std::fs::File::create(folder.join(format!("{}.log", program.file_name().unwrap().display()))).unwrap();
        let mut command = Command::new(program);
        command
            .args(arguments)
            .env_clear()
            .env("HOME", folder)
            .env("MINIO_CONFIG_ENV_FILE", folder.join("config/minio"));
        Self(command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(crate) fn kes(arguments: &[&str]) -> String {
    let output = Command::new(binary().with_file_name("kes")).args(arguments).finished();
    assert!(output.status.success(), "kes {arguments:?}: {}", text(&output.stderr));
    text(&output.stdout)
}

/// Certificates, configuration and environment as the procedure's variant without containers has them.
fn make(folder: &Path, kes_port: u16) {
    for name in ["certs", "config", "keys", "minio"] {
        std::fs::create_dir_all(folder.join(name)).unwrap();
    }
    let path = |name: &str| folder.join(name).display().to_string();
    for (name, addresses) in [("kes-server", &["--ip", "127.0.0.1", "--dns", "localhost"][..]), ("minio-kes", &[])] {
        let files = [path(&format!("certs/{name}.key")), path(&format!("certs/{name}.cert"))];
        kes(&[&["identity", "new", "--key", &files[0], "--cert", &files[1]], addresses].concat());
    }
    let said = kes(&["identity", "of", &path("certs/minio-kes.cert")]);
    let is_identity = |word: &&str| word.len() == 64 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
    let identity = said.split_whitespace().find(is_identity).unwrap();
    let config = format!(
        "address: 127.0.0.1:{kes_port}\nadmin:\n  identity: disabled\ntls:\n  key: {key}\n  cert: {cert}\npolicy:\n  \
         minio:\n    allow: [/v1/key/create/*, /v1/key/generate/*, /v1/key/decrypt/*, /v1/key/describe/*, \
         /v1/key/list/*, /v1/status, /v1/metrics]\n    identities: [{identity}]\nkeys: [{{ name: old-backend-key }}, {{ \
         name: old-object-key }}]\nkeystore:\n  fs:\n    path: {keys}\n",
        key = path("certs/kes-server.key"),
        cert = path("certs/kes-server.cert"),
        keys = path("keys"),
    );
    std::fs::write(folder.join("config/kes-config.yaml"), config).unwrap();
    let env = format!(
        "MINIO_ROOT_USER=old-root\nMINIO_ROOT_PASSWORD=old-password\nMINIO_VOLUMES={drive}\n\
         MINIO_SITE_NAME=before\nMINIO_KMS_KES_ENDPOINT=https://127.0.0.1:{kes_port}\nMINIO_KMS_KES_CERT_FILE={cert}\n\
         MINIO_KMS_KES_KEY_FILE={key}\nMINIO_KMS_KES_CAPATH={ca}\nMINIO_KMS_KES_KEY_NAME=old-backend-key\n",
        drive = path("minio"),
        cert = path("certs/minio-kes.cert"),
        key = path("certs/minio-kes.key"),
        ca = path("certs/kes-server.cert"),
    );
    std::fs::write(folder.join("config/minio"), env).unwrap();
}
