//! A KES of its own on the deployment's real keystore, which reads keys and makes none.

use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use kes_server::client::Client;
use serde_json::{Value, json};
use tokio::process::Child;

use super::Deployment;
use super::copied::CopiedKeys;
use crate::engine::Engine as _;
use crate::engine::process::{Processes, own_program};
use crate::error::Error;
use crate::host::blocking::blocking;
use crate::host::scratch::Scratch;
use crate::manifest::{Manifest, PortRules};
use crate::operate::clone;
use crate::operate::serve::child;
use crate::resource::{FileResource, probe};
use crate::stack::ports::Claims;
use crate::stack::{Clients, Layout, Ports, Stack};

/// How long it may take to reach its keystore.
const READY: Duration = Duration::from_secs(20);
/// How long it may take to end.
const END: Duration = Duration::from_secs(2);

/// A KES that serves; it ends with the value.
pub(super) struct TrialKes {
    child: Child,
    /// Its admin's way to it.
    pub(super) client: Arc<Client>,
    stack: Stack,
    _claims: Claims,
    _place: Scratch,
}

impl TrialKes {
    /// Starts the program with a configuration, certificates and a copy of a folder of keys that are in memory and go with it. Must be called on a
    /// thread that lives as long as it.
    ///
    /// # Errors
    /// The outer ones keep it from being tried. The inner one says why it does not reach the keystore.
    pub(super) async fn start(deployment: &Deployment, program: &Path) -> Result<Result<Self, String>, Error> {
        let place = clone::secrets()?;
        let mut manifest = tried(&deployment.manifest);
        let copied = match copied(&mut manifest, place.path()).await? {
            Ok(copied) => copied,
            Err(why) => return Ok(Err(why)),
        };
        let (ports, claims) = Ports::claim(&manifest, &[], vec![])?;
        let stack = Stack::resolve_at(manifest, Layout::at(place.path()), ports)?;
        let kestack = own_program().map_err(Error::file("find", "/proc/self/exe"))?;
        stack.write_read_only(Processes::new(place.path().to_owned(), kestack).info())?;
        if let Some((name, key)) = &deployment.static_key {
            FileResource::private(stack.layout.keys().join(name.as_str()), key).make()?;
        }
        let log = place.path().join("log");
        let mut command = child::kes(program, &stack.layout.kes_config(), place.path(), &stack.manifest)?;
        child::speak_to(&mut command, &log)?;
        let mut child = child::spawn(&mut command, program)?;
        let Clients { kes: client, .. } = stack.clients()?;
        if let Err(why) = ready(&mut child, &client).await {
            let said = child::said(&log);
            let last = said.lines().next_back().unwrap_or_default().trim();
            let last = copied.map_or_else(|| last.to_owned(), |copied| copied.shown(last));
            return Ok(Err(if last.is_empty() { why } else { format!("{why}; KES says: {last}") }));
        }
        Ok(Ok(Self { child, client, stack, _claims: claims, _place: place }))
    }

    /// The variables by which a MinIO finds it, with that default key.
    pub(super) fn variables(&self, key: &str) -> Vec<(&'static str, String)> {
        self.stack.kes_variables(key)
    }

    /// Ends it before what it reads goes.
    pub(super) async fn end(mut self) {
        let ended = kes_server::child::stop(&mut self.child, END).await;
        tracing::debug!(?ended, "the KES of the rehearsal got the signal to end");
    }
}

/// Has it serve a copy of the folder of keys that the manifest names, if it names one.
async fn copied(manifest: &mut Manifest, place: &Path) -> Result<Result<Option<CopiedKeys>, String>, Error> {
    let Some(from) = manifest.fs_path() else { return Ok(Ok(None)) };
    let (shown, to) = (from.clone(), place.join("copied-keys"));
    let copying = blocking("copy", &shown, move || Ok::<_, Error>(CopiedKeys::of(from, to)));
    let copied = copying.await?;
    if let (Ok(copied), Some(fs)) = (&copied, manifest.keystore.get_mut("fs").and_then(Value::as_object_mut)) {
        fs.insert("path".into(), json!(copied.folder));
    }
    Ok(copied.map(Some))
}

/// Waits until it reaches its keystore.
async fn ready(child: &mut Child, client: &Client) -> Result<(), String> {
    let answers = probe::until_ready("KES", READY, || client.ready());
    tokio::select! {
        ready = answers => match ready {
            Err(Error::NotReady { last, .. }) => Err(last),
            ready => ready.map_err(|error| error.to_string()),
        },
        ended = child.wait() => {
            Err(ended.map_or_else(|error| error.to_string(), |status| format!("it ended with code {}", child::code(status))))
        }
    }
}

/// The manifest of a stack on ports that nobody asked for.
fn tried(manifest: &Manifest) -> Manifest {
    let mut tried = Manifest { host: Ipv4Addr::LOCALHOST.into(), ports: PortRules::default(), ..manifest.clone() };
    (tried.kes.port, tried.kes.replicas, tried.kes.seal) = (0, 1, None);
    (tried.minio.port, tried.minio.console_port, tried.minio.tls) = (0, 0, false);
    tried
}
