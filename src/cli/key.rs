//! `kestack key`

use clap::Subcommand;
use kes_server::auth::KeyName;

use super::Globals;
use super::output::{Output, table, time};
use super::rotate::Rotate;
use super::session::{ADD, CHANGE, Intent, Session};
use crate::error::Error;
use crate::host::interrupt::Interrupt;
use crate::operate::keys::{self, Entry, New};

#[derive(Debug, Subcommand)]
pub(super) enum Key {
    /// Create encryption keys; existing ones stay as they are
    Create {
        /// Names of the keys
        #[arg(required = true)]
        names: Vec<KeyName>,
    },
    /// Delete keys that protect nothing; a key that protects anything is refused
    #[command(visible_alias = "rm")]
    Delete {
        /// Names of the keys
        #[arg(required = true)]
        names: Vec<KeyName>,
    },
    /// Replace a key: everything under it gets another key, and no object is read or written; returns when nothing
    /// needs the old key
    Rotate(Rotate),
    /// List the keys
    #[command(visible_alias = "ls")]
    List,
    /// Show one key
    Info {
        /// Name of the key
        name: KeyName,
    },
}

/// When a key was created, for people.
fn created(key: &Entry) -> String {
    key.created_at.parse().map_or_else(|_| key.created_at.clone(), time)
}

impl Key {
    pub(super) async fn run(&self, globals: &Globals, output: &Output, interrupt: &Interrupt) -> Result<(), Error> {
        let intent = match self {
            Self::Rotate(rotate) => return Box::pin(rotate.run(globals, output, interrupt)).await,
            Self::Create { .. } => ADD,
            Self::Delete { .. } => CHANGE,
            Self::List | Self::Info { .. } => Intent::Read,
        };
        let session = interrupt.ends(Session::running(globals, intent)).await?;
        match self {
            Self::Rotate(_) => Ok(()),
            Self::Create { names } => create(&session, names, output).await,
            Self::Delete { names } => delete(&session, names, output).await,
            Self::List => list(&session, output).await,
            Self::Info { name } => info(&session, name, output).await,
        }
    }
}

async fn create(session: &Session, names: &[KeyName], output: &Output) -> Result<(), Error> {
    output.done(&keys::create(&session.stack, &session.context, names).await?, |report| {
        let did = |key: &New| format!("key '{}' {}", key.name, if key.created { "created" } else { "exists" });
        report.keys.iter().map(did).collect::<Vec<_>>().join("\n")
    })
}

async fn delete(session: &Session, names: &[KeyName], output: &Output) -> Result<(), Error> {
    output.done(&keys::delete(&session.stack, &session.context, names).await?, |report| {
        report.deleted.iter().map(|name| format!("key '{name}' deleted")).collect::<Vec<_>>().join("\n")
    })
}

async fn list(session: &Session, output: &Output) -> Result<(), Error> {
    output.result(&keys::list(&session.stack, &session.context).await?, |listed| {
        let rows: Vec<_> = listed
            .keys
            .iter()
            .map(|key| vec![key.name.clone(), key.algorithm.clone(), created(key), key.created_by.clone()])
            .collect();
        table(&["key", "algorithm", "created", "by"], &rows)
    })?;
    Ok(())
}

async fn info(session: &Session, name: &KeyName, output: &Output) -> Result<(), Error> {
    output.result(&keys::one(&session.stack, &session.context, name.as_str()).await?, |key| {
        format!(
            "name       {}\nalgorithm  {}\ncreated    {}\nby         {}",
            key.name,
            key.algorithm,
            created(key),
            key.created_by
        )
    })?;
    Ok(())
}
