//! Everything that is known before anything starts: programs, places, arguments.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kes_server::child::STARTED_AGAIN;
use tokio::process::{Child, Command};
use tokio::time::Instant;

use super::arguments::{Server, port};
use super::child;
use super::children::{Role, Running};
use super::copies::Copies;
use super::drive::Drive;
use super::minio_words::{MinioWords, Root};
use super::settings::Settings;
use super::voice::{self, Rename, Voice};
use crate::data::guard::Verdict;
use crate::engine::EngineInfo;
use crate::engine::process::Processes;
use crate::error::Error;
use crate::host::scratch::Scratch;
use crate::manifest::{AUTO_ENCRYPTION, Environment};
use crate::operate::doctor;
use crate::operate::guard;
use crate::operate::session::{environment, environment_names, keystore_environment};
use crate::resource::Context;
use crate::servers::s3::S3Client;
use crate::stack::ports::Claims;
use crate::stack::seed::Content;
use crate::stack::{Clients, Layout, Ports, Stack};
use crate::supply;

/// How the names of folders begin that hold configuration and certificates of a stack in the foreground.
pub(super) const PREFIX: &str = "kestack-serve-";

/// MinIO's switch of the answer that sends browsers to its console, and where to.
const REDIRECT: &str = "MINIO_BROWSER_REDIRECT";
const REDIRECT_URL: &str = "MINIO_BROWSER_REDIRECT_URL";

/// A stack in the foreground before it starts.
pub(super) struct Plan {
    pub(super) settings: Settings,
    pub(super) drive: Drive,
    pub(super) copies: Arc<Copies>,
    pub(super) stack: Stack,
    pub(super) context: Context,
    pub(super) running: Running,
    /// Whether the keystore holds the keys of the data.
    pub(super) keys: Verdict,
    /// Where MinIO listens.
    pub(super) inner: SocketAddr,
    /// Where its console listens, if it has one.
    pub(super) console: Option<SocketAddr>,
    /// Whether S3 speaks TLS.
    pub(super) has_tls: bool,
    /// When the port must be open.
    pub(super) deadline: Instant,
    kes: PathBuf,
    minio: PathBuf,
    minio_variables: Vec<(String, String)>,
    /// Configuration and certificates; it is removed with the plan.
    pub(super) place: Scratch,
    _claims: Claims,
}

impl Plan {
    /// Looks at everything that can be wrong. Nothing is started.
    pub(super) async fn make(
        mut settings: Settings,
        env: Environment<'_>,
        words: &MinioWords<'_>,
    ) -> Result<Self, Error> {
        let (kes, minio) = (
            supply::kes_program(settings.manifest.kes.binary.as_deref(), &environment)?,
            supply::minio_program(settings.manifest.minio.binary.as_deref(), &environment)?,
        );
        let (drive, others) = drives(&settings).await?;
        let root = root(&settings, words);
        let has_tls = has_tls(&settings.server, env);
        let (ports, claims) = ports(&mut settings)?;
        let place = place()?;
        let (inner, scheme) = (SocketAddr::from(([127, 0, 0, 1], ports.s3)), if has_tls { "https" } else { "http" });
        let s3 = S3Client::on_loopback(
            &format!("{scheme}://{inner}"),
            &root.user,
            &root.password,
            words.region().as_deref(),
        )?;
        let minio_variables = minio_variables(&settings, words, &root, has_tls);
        let console = settings.has_console.then(|| SocketAddr::from(([127, 0, 0, 1], ports.console)));
        settings.manifest.minio.root_user = Some(root.user);
        settings.manifest.minio.root_password = Some(root.password);
        let layout = Layout::served(place.path(), &drive.path).with_drives(others);
        let mut stack = Stack::resolve_at(settings.manifest.clone(), layout, ports)?;
        stack.seed = Content::load(&stack.manifest.seed)?;
        let engine =
            Processes::new(place.path().to_owned(), crate::engine::process::own_program().map_err(Error::Signals)?);
        let Clients { kes: client, replicas, .. } = stack.clients()?;
        let context = Context { engine: Arc::new(engine), kes: client, replicas, s3 };
        let copies = Copies::of(&stack);
        copies.gather().await?;
        let keys = require_keys(&stack, &context).await?;
        // what it wrote down is not looked for again, whatever happens to this start
        copies.spread().await;
        // a store without a record of its keys is read completely before, which takes as long as it takes
        let deadline = Instant::now() + settings.timeout;
        let keystores = keystore_environment(&stack.manifest);
        doctor::keystore::require(&stack.manifest, stack.material.admin_identity()?, keystores).await?;
        let plan = Self {
            settings,
            drive,
            copies,
            stack,
            context,
            running: Running::default(),
            keys,
            inner,
            console,
            has_tls,
            deadline,
            kes,
            minio,
            minio_variables,
            place,
            _claims: claims,
        };
        plan.stack.write_served(plan.engine())?;
        Ok(plan)
    }

    pub(super) fn engine(&self) -> &EngineInfo {
        self.context.engine.info()
    }

    /// True if KES is ready within a moment, so that MinIO need not wait for it.
    pub(super) fn kes_is_quick(&self) -> bool {
        self.keys == Verdict::Good && self.stack.manifest.keystore_is_fs()
    }

    /// Refuses to go on without the keys of the data.
    ///
    /// # Errors
    /// [`Error::Guard`] with their names.
    pub(super) async fn require_keys(&self) -> Result<(), Error> {
        require_keys(&self.stack, &self.context).await.map(drop)
    }

    /// Starts KES, for the first time or again.
    pub(super) fn start_kes(&self, is_again: bool) -> Result<Child, Error> {
        let config = self.stack.layout.kes_config();
        let mut command = child::kes(&self.kes, &config, self.place.path(), &self.stack.manifest)?;
        command.envs(is_again.then_some((STARTED_AGAIN, "1")));
        command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::piped());
        let mut started = child::spawn(&mut command, &self.kes)?;
        self.running.started(Role::Kes, &started);
        voice::of_kes(&mut started);
        Ok(started)
    }

    /// Starts MinIO, where only this machine finds it. Its words wait until the port is open.
    pub(super) fn start_minio(&self) -> Result<(Child, Voice), Error> {
        let mut command = self.minio_command()?;
        let lock = self.drive.lock.try_clone().map_err(Error::file("open", &self.drive.path))?;
        // the drive is ours as long as it lives, also if kestack is killed
        command.stdin(lock).stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
        let mut started = child::spawn(&mut command, &self.minio)?;
        self.running.started(Role::Minio, &started);
        let s3 = Rename { inner: self.inner.to_string(), public: self.public_address() };
        let console = self
            .console
            .zip(self.settings.console())
            .map(|(inner, wanted)| Rename { inner: inner.to_string(), public: public(wanted) });
        let voice = Voice::of(&mut started, &[s3].into_iter().chain(console).collect());
        Ok((started, voice))
    }

    fn minio_command(&self) -> Result<Command, Error> {
        let inner = self.inner.to_string();
        let mut command = child::command(&self.minio, ["server"])?;
        command.args(&self.settings.server.rest).args(["--address", &inner]);
        if let Some(console) = self.console {
            // else MinIO would take any port, on every address
            command.args(["--console-address", &console.to_string()]);
        }
        let ours = |name: &String| {
            name.starts_with("KESTACK_") || ["MINIO_ADDRESS", "MINIO_CONSOLE_ADDRESS"].contains(&name.as_str())
        };
        for name in environment_names().iter().filter(|name| ours(name)) {
            command.env_remove(name);
        }
        for name in &self.settings.of_keystore {
            command.env_remove(name);
        }
        if environment("HOME").is_none() {
            // MinIO ends without one
            command.env("HOME", self.place.path());
        }
        command.envs(self.stack.kes_variables(self.stack.manifest.default_key.as_str()));
        command.envs(self.minio_variables.iter().map(|(name, value)| (name, value)));
        Ok(command)
    }

    /// The address as people use it.
    pub(super) fn public_address(&self) -> String {
        public(&self.settings.server.address)
    }
}

pub(super) fn public(wanted: &str) -> String {
    if wanted.starts_with(':') { format!("127.0.0.1{wanted}") } else { wanted.replace("0.0.0.0", "127.0.0.1") }
}

/// The first drive, taken, and the paths of the others.
async fn drives(settings: &Settings) -> Result<(Drive, Vec<PathBuf>), Error> {
    let mut all = settings.server.all_drives().into_iter();
    let first = Drive::take(&all.next().unwrap_or_default()).await?;
    let others = all.map(|path| std::path::absolute(&path).map_err(Error::file("find", path)));
    Ok((first, others.collect::<Result<_, _>>()?))
}

async fn require_keys(stack: &Stack, context: &Context) -> Result<Verdict, Error> {
    guard::require(stack, context, false, &keystore_environment(&stack.manifest)).await
}

/// MinIO's root user: what its variables say, else the manifest, else MinIO's default.
fn root(settings: &Settings, words: &MinioWords<'_>) -> Root {
    let manifest = &settings.manifest.minio;
    words.root().unwrap_or_else(|| match (&manifest.root_user, &manifest.root_password) {
        (Some(user), Some(password)) => Root { user: user.clone(), password: password.clone() },
        _ => Root::default(),
    })
}

/// What MinIO's environment gets beyond its own: only what it does not say itself.
fn minio_variables(settings: &Settings, words: &MinioWords<'_>, root: &Root, has_tls: bool) -> Vec<(String, String)> {
    let manifest = &settings.manifest.minio;
    let mut all = vec![("MINIO_UPDATE".to_owned(), "off".to_owned())];
    if settings.auto_encryption {
        all.push((AUTO_ENCRYPTION.to_owned(), "on".to_owned()));
    }
    all.extend(redirect(settings, words, has_tls).map(|(name, value)| (name.to_owned(), value)));
    all.extend(manifest.env.clone());
    if words.root().is_none() && manifest.root_user.is_some() {
        all.push(("MINIO_ROOT_USER".to_owned(), root.user.clone()));
        all.push(("MINIO_ROOT_PASSWORD".to_owned(), root.password.to_string()));
    }
    all.retain(|(name, _)| words.value(name).is_none());
    all
}

/// Where MinIO sends browsers that open the S3 port, unless its environment says so. By itself it names the port on which its
/// console listens behind the gate.
fn redirect(settings: &Settings, words: &MinioWords<'_>, has_tls: bool) -> Option<(&'static str, String)> {
    let is_said = |name: &str| words.value(name).is_some() || settings.manifest.minio.env.contains_key(name);
    let console = settings.console().filter(|_| ![REDIRECT, REDIRECT_URL].into_iter().any(is_said))?;
    let (host, _) = console.rsplit_once(':')?;
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    if host.is_empty() || address.is_ok_and(|address| address.is_unspecified()) {
        // which names and ports lead there from elsewhere only the user knows
        return Some((REDIRECT, "off".to_owned()));
    }
    Some((REDIRECT_URL, format!("{}://{console}", if has_tls { "https" } else { "http" })))
}

/// MinIO speaks TLS if it finds a certificate.
pub(super) fn has_tls(server: &Server, env: Environment<'_>) -> bool {
    let home = || env("HOME").map(|home| Path::new(&home).join(".minio/certs"));
    let folder = server.certs.clone().or_else(home);
    folder.is_some_and(|folder| folder.join("public.crt").exists() && folder.join("private.key").exists())
}

/// The ports of KES and of MinIO behind the gate. Nobody asked for MinIO's.
fn ports(settings: &mut Settings) -> Result<(Ports, Claims), Error> {
    // nobody listens there yet, so that a try would not find them
    let public = [Some(settings.server.address.as_str()), settings.console()].into_iter().flatten();
    let page = settings.page.as_ref().map(|page| page.address().port());
    let taken = public.filter_map(port).chain(page).collect();
    let manifest = &mut settings.manifest;
    (manifest.minio.port, manifest.minio.console_port) = (0, 0);
    manifest.ports = crate::manifest::PortRules { kes: settings.kes.is_some(), ..Default::default() };
    manifest.host = settings.kes.map_or(std::net::Ipv4Addr::LOCALHOST.into(), |address| address.ip());
    let (ports, claims) = Ports::claim(manifest, &[], taken)?;
    if let Some(address) = settings.kes
        && let Err(error) = std::net::TcpListener::bind(address)
    {
        return Err(Error::Environment {
            what: format!("KES cannot listen on {address}: {error}"),
            hint: "choose another address with KESTACK_KES_ADDRESS".into(),
        });
    }
    Ok((ports, claims))
}

/// A folder in memory, for as long as somebody holds its lock.
///
/// # Errors
/// If it cannot be made.
pub(super) fn place() -> Result<Scratch, Error> {
    Scratch::in_memory(PREFIX).map_err(Error::file("make a folder in", std::env::temp_dir()))
}

#[cfg(test)]
mod tests {
    use super::super::{Asked, settings};
    use super::*;

    /// The port that KES gets which prefers `wanted`, of a call with these variables and addresses.
    fn kes_port(wanted: u16, variables: &[(&str, &str)], arguments: &[&str]) -> u16 {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("kestack.yaml");
        std::fs::write(&file, format!("kes: {{ port: {wanted} }}\n")).unwrap();
        let env = |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        let arguments = arguments.iter().chain(&["/data"]).map(Into::into).collect();
        let asked = Asked { arguments, file: Some(file), keystore: None };
        let mut settings = settings::read(&asked, &env, &MinioWords::read(&env).unwrap()).unwrap();
        let (ports, _claims) = ports(&mut settings).unwrap();
        *ports.kes.first().unwrap()
    }

    #[test]
    fn browsers_are_sent_where_the_user_has_the_console() {
        let sent = |console: &str, variables: &[(&str, &str)], has_tls| {
            let folder = tempfile::tempdir().unwrap();
            let file = folder.path().join("kestack.yaml");
            std::fs::write(&file, "minio: { env: { MINIO_SITE_NAME: here } }\n").unwrap();
            let env =
                |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
            let words = MinioWords::read(&env).unwrap();
            let arguments = ["--console-address", console, "/data"].iter().map(Into::into).collect();
            let asked = Asked { arguments, file: Some(file), keystore: None };
            let settings = settings::read(&asked, &env, &words).unwrap();
            redirect(&settings, &words, has_tls).map(|(name, value)| format!("{name}={value}"))
        };
        for console in [":9001", "0.0.0.0:9001", "[::]:9001"] {
            assert_eq!(sent(console, &[], false).as_deref(), Some("MINIO_BROWSER_REDIRECT=off"), "{console}");
        }
        let url = sent("s3.example.org:9001", &[], true);
        assert_eq!(url.as_deref(), Some("MINIO_BROWSER_REDIRECT_URL=https://s3.example.org:9001"));
        let url = sent("[::1]:9001", &[], false);
        assert_eq!(url.as_deref(), Some("MINIO_BROWSER_REDIRECT_URL=http://[::1]:9001"));
        for said in [REDIRECT, REDIRECT_URL] {
            assert_eq!(sent(":9001", &[(said, "http://localhost:8080")], false), None, "{said}");
        }
        assert_eq!(sent(":9001", &[("MINIO_BROWSER", "off")], false), None);
        assert_eq!(sent(":0", &[], false), None, "it is at no port that people chose");
    }

    #[test]
    fn kes_leaves_the_ports_of_the_others_alone() {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let (port, address) = (free.port(), free.to_string());
        assert_eq!(kes_port(port, &[], &[]), port);
        assert_ne!(kes_port(port, &[("KESTACK_UI", &address)], &[]), port);
        assert_ne!(kes_port(port, &[], &["--address", &address]), port);
        assert_ne!(kes_port(port, &[], &["--console-address", &address]), port);
    }
}
