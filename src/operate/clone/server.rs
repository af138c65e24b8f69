//! A MinIO on a clone.

use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::process::Child;
use zeroize::Zeroizing;

use super::drive::ClonedDrive;
use crate::error::Error;
use crate::host::disk::{Outlasts, remove, replace};
use crate::host::random;
use crate::host::scratch::{self, Scratch};
use crate::keystore::StaticKey;
use crate::manifest::WITHOUT_SCANNER;
use crate::operate::serve::child;
use crate::resource::probe;
use crate::servers::s3::S3Client;

/// How names of folders begin that hold the settings and the log of such a MinIO.
const PREFIX: &str = "kestack-clone-";
/// How long it may take to be ready.
const READY: Duration = Duration::from_secs(60);
/// How long the kernel may take to end it.
const KILLED: Duration = Duration::from_secs(5);
/// How often another port is tried, if somebody takes it first.
const TRIES: usize = 3;

/// What a MinIO knows of keys.
#[derive(Debug)]
pub(crate) enum Kms {
    /// Nothing.
    None,
    /// One key in its environment.
    StaticKey(StaticKey),
    /// The KES that these variables name.
    Kes(Vec<(&'static str, String)>),
}

/// A MinIO on a clone; both go with the value.
#[derive(Debug)]
pub(crate) struct CloneServer {
    minio: Child,
    /// Its clients' way to it.
    pub(crate) s3: S3Client,
    /// What it serves.
    pub(crate) drive: Arc<ClonedDrive>,
    told: Scratch,
}

impl CloneServer {
    /// Starts the program on the loopback, and waits until it serves. Must be called on a thread that lives as long as it.
    ///
    /// # Errors
    /// [`Error::Ended`] with its last words if it does not start; [`Error::NotReady`] if it takes too long.
    pub(crate) async fn start(drive: Arc<ClonedDrive>, program: &Path, kms: &Kms) -> Result<Self, Error> {
        let told = place(kms)?;
        drive.renew()?;
        let (user, password) = (secret()?, secret()?);
        let settings = settings(&user, &password, kms);
        let file = told.path().join("minio.env");
        replace(&file, settings.as_bytes(), Outlasts::Process).map_err(Error::file("write", &file))?;
        let mut last = None;
        for _ in 0..TRIES {
            let port = free_port()?;
            let mut minio = spawn(&drive, told.path(), program, port)?;
            let s3 = S3Client::new(&format!("http://127.0.0.1:{port}"), &user, &password)?;
            match ready(&mut minio, &s3, told.path()).await {
                Ok(()) => {
                    // MinIO reads it at its start only, and a kestack that is killed must leave no secret
                    remove(&file)?;
                    return Ok(Self { minio, s3, drive, told });
                }
                Err(error @ Error::Ended { .. }) => last = Some(error),
                Err(error) => {
                    end(&mut minio);
                    return Err(error);
                }
            }
        }
        Err(last.unwrap_or_else(|| Error::NotRunning("clone".into())))
    }

    /// Makes sure that it still serves: else its clients' errors say nothing about the objects.
    ///
    /// # Errors
    /// [`Error::Ended`] with its last words if it has ended; those of the call if it does not answer.
    pub(crate) async fn require_alive(&mut self) -> Result<(), Error> {
        let answer = self.s3.list_buckets().await;
        let ended = match (self.minio.try_wait(), &answer) {
            (Ok(None), Ok(_)) => return Ok(()),
            // it may be about to end
            (Ok(None), Err(_)) => tokio::time::timeout(KILLED, self.minio.wait()).await.ok().and_then(Result::ok),
            (status, _) => status.ok().flatten(),
        };
        if let Some(status) = ended {
            return Err(ended_with(child::code(status).into(), self.told.path()));
        }
        Ok(answer.map(drop)?)
    }
}

fn ended_with(code: i64, told: &Path) -> Error {
    Error::Ended { what: "MinIO on the clone".into(), code, said: child::said(&told.join("log")) }
}

impl Drop for CloneServer {
    /// Nothing of it is kept, so nothing has to be ended in order; but it must have ended before its drive goes.
    fn drop(&mut self) {
        end(&mut self.minio);
    }
}

/// Removes what killed processes left of the settings.
pub(super) fn clear_settings() {
    scratch::clear_places(PREFIX);
}

/// The folder for the settings: a key in clear is in memory or nowhere.
fn place(kms: &Kms) -> Result<Scratch, Error> {
    if matches!(kms, Kms::StaticKey(_)) {
        return secrets();
    }
    Scratch::in_memory(PREFIX).map_err(Error::file("make a folder in", std::env::temp_dir()))
}

/// A folder in memory for what must never be on a disk in clear. [`clear_settings`] removes it if kestack is killed.
///
/// # Errors
/// [`Error::Environment`] if there is no such place.
pub(crate) fn secrets() -> Result<Scratch, Error> {
    Scratch::only_in_memory(PREFIX).map_err(|error| Error::Environment {
        what: format!("there is no place in memory for keys and credentials: '/dev/shm' cannot be used: {error}"),
        hint: "mount a tmpfs there that this user can write to: they must not be on a disk in clear".into(),
    })
}

/// MinIO's environment file.
fn settings(user: &str, password: &str, kms: &Kms) -> Zeroizing<String> {
    let mut text = Zeroizing::new(format!("MINIO_ROOT_USER={user}\nMINIO_ROOT_PASSWORD={password}\n"));
    match kms {
        Kms::None => {}
        Kms::StaticKey(key) => {
            text.push_str("MINIO_KMS_SECRET_KEY=");
            text.push_str(&key.value());
            text.push('\n');
        }
        Kms::Kes(variables) => variables.iter().for_each(|(name, value)| {
            text.extend([*name, "=", value.as_str(), "\n"]);
        }),
    }
    text
}

fn spawn(drive: &ClonedDrive, told: &Path, program: &Path, port: u16) -> Result<Child, Error> {
    let path = drive.path();
    let mut command = child::command(program, ["server".as_ref(), path.as_os_str()])?;
    command.args(["--address", &format!("127.0.0.1:{port}")]);
    command.env_clear().env("HOME", told).current_dir("/");
    command.env("MINIO_CONFIG_ENV_FILE", told.join("minio.env"));
    // no console, no calls home, and nothing done to objects that nobody asked for
    command.envs([("MINIO_BROWSER", "off"), ("MINIO_UPDATE", "off"), WITHOUT_SCANNER]);
    child::speak_to(&mut command, &told.join("log"))?;
    // as long as it lives, nobody takes the clone for abandoned
    command.stdin(drive.lock().map_err(Error::file("open", &path))?);
    child::spawn(&mut command, program)
}

/// Waits until it knows its root user: whoever else got the port does not.
async fn ready(minio: &mut Child, s3: &S3Client, told: &Path) -> Result<(), Error> {
    let answers = probe::until_ready("MinIO on the clone", READY, || async {
        s3.health("cluster").await?;
        s3.list_buckets().await
    });
    tokio::select! {
        ready = answers => ready.map(drop),
        ended = minio.wait() => {
            let code = ended.map_or(-1, |status| child::code(status).into());
            Err(ended_with(code, told))
        }
    }
}

fn end(minio: &mut Child) {
    let _ = minio.start_kill();
    let start = Instant::now();
    while matches!(minio.try_wait(), Ok(None)) && start.elapsed() < KILLED {
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn free_port() -> Result<u16, Error> {
    let bound = TcpListener::bind(("127.0.0.1", 0)).and_then(|listener| listener.local_addr());
    bound.map(|address| address.port()).map_err(|error| Error::Environment {
        what: format!("no port is free on 127.0.0.1: {error}"),
        hint: "end a program that has many of them".into(),
    })
}

/// What nobody else knows.
fn secret() -> Result<Zeroizing<String>, Error> {
    random::hex::<16>().map_err(Error::no_random_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn minio_istold_of_one_kind_of_keys() {
        let key: StaticKey = "my-key:BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=".parse().unwrap();
        let text = settings("user", "password", &Kms::StaticKey(key));
        assert!(text.ends_with("MINIO_KMS_SECRET_KEY=my-key:BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=\n"));
        let kes = settings("user", "password", &Kms::Kes(vec![("MINIO_KMS_KES_KEY_NAME", "my-key".into())]));
        assert_eq!(kes.as_str(), "MINIO_ROOT_USER=user\nMINIO_ROOT_PASSWORD=password\nMINIO_KMS_KES_KEY_NAME=my-key\n");
        assert!(!settings("u", "p", &Kms::None).contains("KMS"));
    }
}
