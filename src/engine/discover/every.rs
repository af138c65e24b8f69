//! Every engine that may run stacks of this user, for commands that look at all of them.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use super::super::process::{self, Processes};
use super::{
    Connection, EngineOptions, Found, ask, at, docker_places, named, own_service, podman_places, socket_path, why,
};
use crate::manifest::EngineKind;

/// Every engine that answers.
#[derive(Debug)]
pub struct Every {
    /// The engines.
    pub connections: Vec<Connection>,
    /// Why the others are not among them.
    pub silent: Vec<String>,
}

/// Connects to every engine of the wanted kind that answers; processes are those of every folder where some run, and of
/// the folder above `options.stack`.
pub async fn every(options: &EngineOptions<'_>) -> Every {
    let mut every = Every { connections: Vec::new(), silent: Vec::new() };
    if [EngineKind::Auto, EngineKind::Process].contains(&options.kind) && options.host.is_none() {
        every.processes(options);
    }
    if options.kind != EngineKind::Process {
        every.containers(options).await;
    }
    every
}

impl Every {
    fn processes(&mut self, options: &EngineOptions<'_>) {
        let below = options.stack.parent().map(PathBuf::from);
        let bases: BTreeSet<_> = process::bases().into_iter().chain(below).collect();
        // nothing is started through these, so that the program does not matter
        let program = std::env::current_exe().unwrap_or_default();
        let engine = |base| Connection { engine: Arc::new(Processes::new(base, program.clone())), _service: None };
        self.connections.extend(bases.into_iter().map(engine));
    }

    async fn containers(&mut self, options: &EngineOptions<'_>) {
        let socket = named(options).and_then(|(_, value)| socket_path(&value));
        let places = match (socket, &options.host) {
            (Some(path), Some(_)) => vec![path],
            (socket, _) => {
                let known = podman_places(options.env).into_iter().chain(docker_places(options.env));
                socket.into_iter().chain(known.map(|(_, path)| path)).collect()
            }
        };
        // two paths may lead to one socket: Podman can be Docker's
        let sockets: BTreeSet<_> =
            places.iter().map(|path| path.canonicalize().unwrap_or_else(|_| path.clone())).collect();
        let mut is_podman_served = false;
        for path in sockets {
            match ask(&path).await {
                Ok(found) if found.suits(options.kind) => {
                    is_podman_served |= matches!(found, Found::Podman { .. }) && found.anothers().is_none();
                    self.keep(found.connect(&path, None).map_err(|error| error.to_string()));
                }
                Ok(_) => {}
                Err(error) => self.silent.push(format!("{}: {}", path.display(), why(&error))),
            }
        }
        self.elsewhere(options).await;
        if !is_podman_served && options.kind != EngineKind::Docker && options.host.is_none() {
            self.keep(own_service(options.env).await.map_err(|why| format!("a Podman service of our own: {why}")));
        }
    }

    /// The Docker behind TCP that the user named.
    async fn elsewhere(&mut self, options: &EngineOptions<'_>) {
        if let Some((name, value)) = named(options).filter(|(_, value)| value.starts_with("tcp://")) {
            self.keep(at(&name, &value, options).await.map_err(|error| error.to_string()));
        }
    }

    fn keep(&mut self, connected: Result<Connection, String>) {
        match connected {
            Ok(connection) => self.connections.push(connection),
            Err(why) => self.silent.push(why),
        }
    }
}
