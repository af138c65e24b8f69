//! Processes of this host among the engines to choose from. They are always available, so they come last; but a stack
//! that runs as processes stays there, because the servers of two engines must never share a drive.

use std::sync::Arc;

use super::super::EngineError;
use super::super::process::{Processes, is_there};
use super::{ADVICE, Connection, EngineOptions};
use crate::manifest::EngineKind;

/// The process engine if it is the one: named, or the one where the stack is up.
///
/// # Errors
/// [`EngineError::NotFound`] if the stack is up there and another engine is named, or a socket is.
pub(super) fn chosen(options: &EngineOptions<'_>) -> Result<Option<Connection>, EngineError> {
    match (options.kind, is_there(options.stack)) {
        (EngineKind::Process, _) | (EngineKind::Auto, true) => connection(options).map(Some),
        (_, false) => Ok(None),
        (_, true) => Err(EngineError::NotFound(format!(
            "the stack in '{}' is up as processes of this host\n  end it there first: `kestack down --engine process`",
            options.stack.display()
        ))),
    }
}

/// What is left where `auto` found no container engine.
pub(super) fn instead_of(error: EngineError, options: &EngineOptions<'_>) -> Result<Connection, EngineError> {
    if options.kind != EngineKind::Auto {
        return Err(error);
    }
    tracing::warn!("no container engine answers: the servers are processes of this host ({})", reasons(&error));
    connection(options)
}

/// Every place tried, in one line, without what to do about it.
fn reasons(error: &EngineError) -> String {
    let text = error.to_string();
    let text = text.split(ADVICE).next().unwrap_or_default();
    text.lines().skip(1).map(str::trim).collect::<Vec<_>>().join("; ")
}

fn connection(options: &EngineOptions<'_>) -> Result<Connection, EngineError> {
    if let Some(host) = options.host.as_ref().filter(|host| !host.is_empty()) {
        return Err(EngineError::NotFound(format!(
            "--host (or KESTACK_HOST) is '{host}', the socket of a container engine, but the servers are processes of \
             this host\n  leave it out, or choose another engine"
        )));
    }
    let this = || {
        std::env::current_exe()
            .map_err(|error| EngineError::NotFound(format!("kestack cannot find its own program file: {error}")))
    };
    let kestack = options.program.map_or_else(this, |program| Ok(program.to_owned()))?;
    let base = options.stack.parent().unwrap_or(options.stack);
    Ok(Connection { engine: Arc::new(Processes::new(base.to_owned(), kestack)), _service: None })
}

#[cfg(test)]
mod tests {
    use super::super::{NOBODY, OTHERS, connect};
    use super::*;

    #[test]
    fn a_change_of_engine_says_why() {
        let tried = "rootful Podman, /a: cannot connect\n  Docker, /b: cannot connect";
        let error = EngineError::NotFound(format!("{NOBODY}\n  {tried}\n{ADVICE}{OTHERS}"));
        assert_eq!(reasons(&error), "rootful Podman, /a: cannot connect; Docker, /b: cannot connect");
    }

    #[tokio::test]
    async fn a_stack_stays_where_it_is() {
        let base = tempfile::tempdir().unwrap();
        let stack = base.path().join("stack");
        std::fs::create_dir_all(stack.join("run")).unwrap();
        let connect = async |kind, host: Option<&str>| {
            connect(&EngineOptions {
                kind,
                host: host.map(str::to_owned),
                env: &|_| None,
                stack: &stack,
                program: None,
            })
            .await
        };
        for kind in [EngineKind::Auto, EngineKind::Process] {
            assert!(!connect(kind, None).await.unwrap().engine.info().has_containers());
            let error = connect(kind, Some("/a/socket")).await.unwrap_err().to_string();
            assert!(error.contains("'/a/socket'") && error.contains("leave it out"), "{error}");
        }
        for kind in [EngineKind::Podman, EngineKind::Docker] {
            let error = connect(kind, None).await.unwrap_err().to_string();
            assert!(error.contains("kestack down --engine process"), "{error}");
        }
    }
}
