//! A keystore that may still be out of reach when the server starts (docs/kubernetes.md §1.5, K13).
//!
//! An original KES ends when its keystore cannot be reached at start; an orchestrator then waits minutes before it
//! starts it again. Ours serves at once, says that the keystore is unreachable, and connects in the background.

use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::JoinHandle;
use zeroize::Zeroizing;

use super::tally::Operation;
use super::{Backend, Environment, HOLD, KeyStore, KeyStoreError, Tally};
use crate::config::KeyStoreConfig;

/// Pauses between attempts to connect grow from the first to the second.
const PAUSES: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(10));

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
    /// Those of [`Backend::connect`]; but an unreachable keystore is not an error if `patience` waits: then `report` is
    /// told why, and what is asked of the keystore waits a moment for it.
    pub async fn open(
        config: &KeyStoreConfig,
        environment: &Environment,
        patience: Patience,
        report: impl Fn(&str) + Send + Sync + 'static,
    ) -> Result<Self, KeyStoreError> {
        let reason = match Backend::connect(config, environment).await {
            Ok(backend) => {
                let mut connection = Self::from(backend);
                connection.tally = environment.tally().cloned();
                return Ok(connection);
            }
            Err(KeyStoreError::Unreachable(reason)) if patience == Patience::Wait => reason,
            Err(error) => return Err(error),
        };
        report(&format!("keystore '{}' cannot be reached: {reason}; trying again", config.display()));
        let shared = Arc::new(Shared {
            name: config.display(),
            backend: OnceLock::new(),
            connected: watch::Sender::new(false),
            reason: Mutex::new(reason),
        });
        let attempts = attempt(shared.clone(), config.clone(), environment.clone(), report);
        let tally = environment.tally().cloned();
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
        let _: Result<_, _> = tokio::time::timeout(HOLD, connected.wait_for(|connected| *connected)).await;
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

async fn attempt(
    shared: Arc<Shared>,
    config: KeyStoreConfig,
    environment: Environment,
    report: impl Fn(&str) + Send + Sync + 'static,
) {
    let mut pause = PAUSES.0;
    loop {
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSES.1);
        match Backend::connect(&config, &environment).await {
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
