//! `kestack key`

use clap::Subcommand;
use kes_server::auth::KeyName;
use schemars::JsonSchema;
use serde::Serialize;

use super::Globals;
use super::output::{Output, table, time};
use super::rotate::Rotate;
use super::session::{ADD, CHANGE, Intent, Session};
use crate::error::Error;
use crate::host::interrupt::Interrupt;
use crate::operate::guard;
use crate::resource::plan::{Decision, decide};
use crate::resource::{KeyResource, Resource as _};

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
    /// Replace a key: everything under it gets another one, without being read or written; returns once nothing needs it
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

#[derive(Serialize, JsonSchema)]
pub(super) struct Listed {
    /// All keys, by name.
    keys: Vec<Entry>,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct Entry {
    /// Name of the key.
    name: String,
    /// Its algorithm.
    algorithm: String,
    /// When it was created.
    created_at: String,
    /// The identity that created it.
    created_by: String,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct Created {
    /// True if at least one of the keys is new.
    created: bool,
    /// The keys, in the order of the command line.
    keys: Vec<New>,
}

#[derive(Serialize, JsonSchema)]
struct New {
    /// Name of the key.
    name: String,
    /// False if it existed.
    created: bool,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct Deleted {
    /// Names of the keys that were deleted.
    deleted: Vec<String>,
}

impl Entry {
    /// When it was created, for people.
    fn created(&self) -> String {
        self.created_at.parse().map_or_else(|_| self.created_at.clone(), time)
    }
}

impl Key {
    pub(super) async fn run(&self, globals: &Globals, output: &Output, interrupt: &Interrupt) -> Result<(), Error> {
        let intent = match self {
            Self::Rotate(rotate) => return Box::pin(rotate.run(globals, output, interrupt)).await,
            Self::Create { .. } => ADD,
            Self::Delete { .. } => CHANGE,
            Self::List | Self::Info { .. } => Intent::Read,
        };
        let session = Session::running(globals, intent).await?;
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
    let mut keys = Vec::new();
    for name in names {
        let key = KeyResource { key: name.clone() };
        let decision = decide(&key.wanted(), &key.observe(&session.context).await?);
        if decision != Decision::Keep {
            key.create(&session.context).await?;
        }
        guard::remember(&session.stack, &session.context, name.as_str()).await?;
        keys.push(New { name: name.to_string(), created: decision != Decision::Keep });
    }
    let report = Created { created: keys.iter().any(|key| key.created), keys };
    output.result(&report, |report| {
        let did = |key: &New| format!("key '{}' {}", key.name, if key.created { "created" } else { "exists" });
        report.keys.iter().map(did).collect::<Vec<_>>().join("\n")
    })
}

async fn delete(session: &Session, names: &[KeyName], output: &Output) -> Result<(), Error> {
    guard::require_unused(&session.stack, names)?;
    let mut deleted = Vec::new();
    for name in names {
        let existed = session.context.replicas.delete_key(name.as_str()).await?;
        // the record knows a key that an earlier call removed from the keystore, but not from every server
        if !guard::forget(&session.stack, name)? && !existed {
            session.context.kes.describe_key(name.as_str()).await?;
        }
        deleted.push(name.to_string());
    }
    output.result(&Deleted { deleted }, |report| {
        report.deleted.iter().map(|name| format!("key '{name}' deleted")).collect::<Vec<_>>().join("\n")
    })
}

async fn entry(session: &Session, name: &KeyName) -> Result<Entry, Error> {
    let key = session.context.kes.describe_key(name.as_str()).await?;
    Ok(Entry {
        name: name.to_string(),
        algorithm: key.algorithm,
        created_at: key.created_at,
        created_by: owner(session, key.created_by)?,
    })
}

/// Who made a key, in words where it is one of the stack's own identities.
fn owner(session: &Session, identity: String) -> Result<String, Error> {
    let material = &session.stack.material;
    Ok(if identity == material.admin_identity()?.to_string() {
        "admin".into()
    } else if identity == material.minio_identity()?.to_string() {
        "minio".into()
    } else {
        identity
    })
}

async fn list(session: &Session, output: &Output) -> Result<(), Error> {
    let mut keys = Vec::new();
    for name in session.context.kes.list_keys("").await? {
        // Foreign entries of the keystore cannot be asked for.
        if let Ok(name) = name.parse() {
            keys.push(entry(session, &name).await?);
        }
    }
    output.result(&Listed { keys }, |listed| {
        let rows: Vec<_> = listed
            .keys
            .iter()
            .map(|key| vec![key.name.clone(), key.algorithm.clone(), key.created(), key.created_by.clone()])
            .collect();
        table(&["key", "algorithm", "created", "by"], &rows)
    })?;
    Ok(())
}

async fn info(session: &Session, name: &KeyName, output: &Output) -> Result<(), Error> {
    output.result(&entry(session, name).await?, |key| {
        format!(
            "name       {}\nalgorithm  {}\ncreated    {}\nby         {}",
            key.name,
            key.algorithm,
            key.created(),
            key.created_by
        )
    })?;
    Ok(())
}
