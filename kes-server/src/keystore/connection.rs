//! A keystore that may still be out of reach when the server starts (docs/kubernetes.md §1.5, K13).
//!
//! An original KES ends when its keystore cannot be reached at start; an orchestrator then waits minutes before it
//! starts it again. Ours serves at once, says that the keystore is unreachable, and connects in the background.

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use zeroize::Zeroizing;

use super::tally::Operation;
use super::{Backend, Environment, HOLD, KeyStore, KeyStoreError, Tally};
use crate::config::KeyStoreConfig;

/// Pauses between attempts to connect grow from the first to the second.
const PAUSES: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(10));

/// How long a server that starts waits for an answer of its keystore before it serves. MinIO, started at the same moment,
/// ends after two seconds without KES.
const FIRST: Duration = Duration::from_secs(1);

/// The reaction if the keystore cannot be reached at start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Patience {
    /// Serve, and try again until it can.
    #[default]
    Wait,
    /// Fail.
    Fail,
}

/// The way to a keystore. Clones share it.
#[derive(Debug, Clone)]
pub struct Connection {
    shared: Arc<Shared>,
    #[expect(dead_code, reason = "ends them with the last clone")]
    attempts: Option<Arc<Attempts>>,
    tally: Option<Arc<Tally>>,
}

/// Attempts to connect, which end when nobody has the connection any more.
#[derive(Debug)]
struct Attempts(JoinHandle<()>);

#[derive(Debug)]
struct Shared {
    name: String,
    backend: OnceLock<Backend>,
    connected: watch::Sender<bool>,
    /// Why the last attempt failed.
    reason: Mutex<String>,
}

impl Connection {
    /// Connects. Must be called within a runtime.
    ///
    /// # Errors
    /// Those of [`Backend::connect`]; but a keystore that is unreachable, or does not answer within a second, is not an
    /// error if `patience` waits: then `report` gets the reason, and what is asked of the keystore waits a moment for it.
    pub async fn open(
        config: &KeyStoreConfig,
        environment: &Environment,
        patience: Patience,
        report: impl Fn(&str) + Send + Sync + 'static,
    ) -> Result<Self, KeyStoreError> {
        let tally = environment.tally().cloned();
        let mut first = connect(config, environment);
        // a folder is here, and who must give its master key may take long
        let is_here = matches!(config, KeyStoreConfig::Fs(_));
        let limit = if patience == Patience::Fail || is_here { Duration::MAX } else { FIRST };
        let (reason, first) = match timeout(limit, &mut first).await {
            Ok(Ok(backend)) => return Ok(Self { tally, ..Self::from(backend) }),
            Ok(Err(KeyStoreError::Unreachable(reason))) if patience == Patience::Wait => (reason, None),
            Ok(Err(error)) => return Err(error),
            Err(_) => (format!("no answer within {FIRST:?}"), Some(first)),
        };
        report(&format!("keystore '{}' cannot be reached: {reason}; trying again", config.display()));
        let shared = Arc::new(Shared {
            name: config.display(),
            backend: OnceLock::new(),
            connected: watch::Sender::new(false),
            reason: Mutex::new(reason),
        });
        let (config, environment) = (config.clone(), environment.clone());
        let attempts = attempt(shared.clone(), first, move || connect(&config, &environment), report);
        Ok(Self { shared, attempts: Some(Arc::new(Attempts(tokio::spawn(attempts)))), tally })
    }

    /// The keystore, once it has been reached.
    pub fn backend(&self) -> Option<&Backend> {
        self.shared.backend.get()
    }

    /// The keystore; waits a moment for it.
    async fn wait(&self) -> Result<&Backend, KeyStoreError> {
        if let Some(backend) = self.shared.backend.get() {
            return Ok(backend);
        }
        let mut connected = self.shared.connected.subscribe();
        // Whether it was in time is seen from what is there now.
        let _: Result<_, _> = timeout(HOLD, connected.wait_for(|connected| *connected)).await;
        self.shared.backend.get().ok_or_else(|| self.unreachable())
    }

    /// Makes a call, which counts with the wait for the keystore.
    async fn counted<T>(
        &self,
        operation: Operation,
        call: impl Future<Output = Result<T, KeyStoreError>>,
    ) -> Result<T, KeyStoreError> {
        let began = Instant::now();
        let result = call.await;
        if let Some(tally) = &self.tally {
            tally.called(operation, began, &result);
        }
        result
    }

    fn unreachable(&self) -> KeyStoreError {
        KeyStoreError::Unreachable(self.shared.reason.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

impl From<Backend> for Connection {
    fn from(backend: Backend) -> Self {
        let name = backend.to_string();
        let (backend, connected) = (OnceLock::from(backend), watch::Sender::new(true));
        let shared = Arc::new(Shared { name, backend, connected, reason: Mutex::default() });
        Self { shared, attempts: None, tally: None }
    }
}

impl Drop for Attempts {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// An attempt to connect.
type Connecting = Pin<Box<dyn Future<Output = Result<Backend, KeyStoreError>> + Send>>;

fn connect(config: &KeyStoreConfig, environment: &Environment) -> Connecting {
    let (config, environment) = (config.clone(), environment.clone());
    Box::pin(async move { Backend::connect(&config, &environment).await })
}

/// Waits for an attempt that has begun, and begins others until one succeeds.
async fn attempt(
    shared: Arc<Shared>,
    mut begun: Option<Connecting>,
    connect: impl Fn() -> Connecting + Send + Sync,
    report: impl Fn(&str) + Send + Sync,
) {
    let mut pause = PAUSES.0;
    loop {
        let connecting = if let Some(begun) = begun.take() {
            begun
        } else {
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSES.1);
            connect()
        };
        match connecting.await {
            Ok(backend) => {
                // Nobody else sets it.
                let _: Result<(), Backend> = shared.backend.set(backend);
                shared.connected.send_replace(true);
                return report(&format!("keystore '{}' is connected", shared.name));
            }
            Err(error) => {
                let text = error.to_string();
                let mut reason = shared.reason.lock().unwrap_or_else(PoisonError::into_inner);
                if *reason != text {
                    report(&format!("keystore '{}': {text}; trying again", shared.name));
                    *reason = text;
                }
            }
        }
    }
}

impl fmt::Display for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shared.name)
    }
}

impl KeyStore for Connection {
    /// Does not wait: who asks wants to know what is the case now.
    async fn status(&self) -> Result<Duration, KeyStoreError> {
        match self.shared.backend.get() {
            Some(backend) => backend.status().await,
            None => Err(self.unreachable()),
        }
    }

    async fn create(&self, name: &str, value: &[u8]) -> Result<(), KeyStoreError> {
        self.counted(Operation::Create, async { self.wait().await?.create(name, value).await }).await
    }

    async fn get(&self, name: &str) -> Result<Zeroizing<Vec<u8>>, KeyStoreError> {
        self.counted(Operation::Get, async { self.wait().await?.get(name).await }).await
    }

    async fn delete(&self, name: &str) -> Result<(), KeyStoreError> {
        self.counted(Operation::Delete, async { self.wait().await?.delete(name).await }).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<String>, KeyStoreError> {
        self.counted(Operation::List, async { self.wait().await?.list(prefix).await }).await
    }

    fn tally(&self) -> Option<&Tally> {
        self.tally.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;
    use crate::config::Config;

    /// As behind a firewall that drops what it does not like.
    #[tokio::test(start_paused = true)]
    async fn a_keystore_that_never_answers_does_not_keep_a_server_from_serving() {
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", silent.local_addr().unwrap());
        let text = format!(
            "admin: {{ identity: a }}\ntls: {{ key: k, cert: c }}\nkeystore: {{ gemalto: {{ keysecure: {{ endpoint: \"{endpoint}\", \
             credentials: {{ token: t }} }} }} }}"
        );
        let keystore = Config::parse(&text, &|_| None).unwrap().keystore;
        let (told, tells) = std::sync::mpsc::channel();
        let report = move |text: &str| drop(told.send(text.to_owned()));
        let began = tokio::time::Instant::now();
        let connection = Connection::open(&keystore, &Environment::empty(), Patience::Wait, report).await.unwrap();
        assert!(began.elapsed() <= 2 * FIRST, "{:?}", began.elapsed());
        assert!(connection.backend().is_none());
        assert!(tells.recv().unwrap().ends_with("cannot be reached: no answer within 1s; trying again"));
    }
}
