//! Every engine that may run stacks of this user, for commands that look at all of them.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use super::super::process::{self, Processes};
use super::{
    Connection, EngineWish, Found, ask, at, docker_places, named, own_service, podman_places, socket_path, why,
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
/// the folder above `wish.stack`.
pub async fn every(wish: &EngineWish<'_>) -> Every {
    let mut every = Every { connections: Vec::new(), silent: Vec::new() };
    if [EngineKind::Auto, EngineKind::Process].contains(&wish.kind) && wish.host.is_none() {
        every.processes(wish);
    }
    if wish.kind != EngineKind::Process {
        every.containers(wish).await;
    }
    every
}

impl Every {
    fn processes(&mut self, wish: &EngineWish<'_>) {
        let below = wish.stack.parent().map(PathBuf::from);
        let bases: BTreeSet<_> = process::bases().into_iter().chain(below).collect();
        // nothing is started through these, so that the program does not matter
        let program = std::env::current_exe().unwrap_or_default();
        let engine = |base| Connection { engine: Arc::new(Processes::new(base, program.clone())), _service: None };
        self.connections.extend(bases.into_iter().map(engine));
    }

    async fn containers(&mut self, wish: &EngineWish<'_>) {
        let wished = named(wish).and_then(|(_, value)| socket_path(&value));
        let places = match (wished, &wish.host) {
            (Some(path), Some(_)) => vec![path],
            (wished, _) => {
                let known = podman_places(wish.env).into_iter().chain(docker_places(wish.env));
                wished.into_iter().chain(known.map(|(_, path)| path)).collect()
            }
        };
        // two paths may lead to one socket: Podman can be Docker's
        let sockets: BTreeSet<_> =
            places.iter().map(|path| path.canonicalize().unwrap_or_else(|_| path.clone())).collect();
        let mut is_podman_served = false;
        for path in sockets {
            match ask(&path).await {
                Ok(found) if found.suits(wish.kind) => {
                    is_podman_served |= matches!(found, Found::Podman { .. });
                    self.keep(found.connect(&path, None).map_err(|error| error.to_string()));
                }
                Ok(_) => {}
                Err(error) => self.silent.push(format!("{}: {}", path.display(), why(&error))),
            }
        }
        self.elsewhere(wish).await;
        if !is_podman_served && wish.kind != EngineKind::Docker && wish.host.is_none() {
            self.keep(own_service(wish.env).await.map_err(|why| format!("a Podman service of our own: {why}")));
        }
    }

    /// The Docker behind TCP that the user named.
    async fn elsewhere(&mut self, wish: &EngineWish<'_>) {
        if let Some((name, value)) = named(wish).filter(|(_, value)| value.starts_with("tcp://")) {
            self.keep(at(&name, &value, wish).await.map_err(|error| error.to_string()));
        }
    }

    fn keep(&mut self, connected: Result<Connection, String>) {
        match connected {
            Ok(connection) => self.connections.push(connection),
            Err(why) => self.silent.push(why),
        }
    }
}
