//! `kestack key`

use clap::Subcommand;
use kes_server::auth::KeyName;
use serde::Serialize;

use super::Globals;
use super::output::{Output, table};
use super::session::{ADD, CHANGE, Intent, Session};
use crate::error::Error;
use crate::guard;
use crate::plan::{Decision, decide};
use crate::resource::{KeyResource, Resource as _};

#[derive(Debug, Subcommand)]
pub(super) enum Key {
    /// Create an encryption key; one that exists is left as it is
    Create {
        /// Names of the keys
        #[arg(required = true)]
        names: Vec<KeyName>,
    },
    /// Delete keys that protect nothing; one that protects anything is refused
    Delete {
        /// Names of the keys
        #[arg(required = true)]
        names: Vec<KeyName>,
    },
    /// List the keys
    List,
    /// Show one key
    Info {
        /// Name of the key
        name: KeyName,
    },
}

#[derive(Serialize)]
struct Listed {
    keys: Vec<Entry>,
}

#[derive(Serialize)]
struct Entry {
    name: String,
    algorithm: String,
    created_at: String,
    created_by: String,
}

impl Key {
    pub(super) async fn run(&self, globals: &Globals, output: &Output) -> Result<(), Error> {
        let intent = match self {
            Self::Create { .. } => ADD,
            Self::Delete { .. } => CHANGE,
            Self::List | Self::Info { .. } => Intent::Read,
        };
        let session = Session::running(globals, intent).await?;
        match self {
            Self::Create { names } => create(&session, names, output).await,
            Self::Delete { names } => delete(&session, names, output).await,
            Self::List => list(&session, output).await,
            Self::Info { name } => info(&session, name, output).await,
        }
    }
}

async fn create(session: &Session, names: &[KeyName], output: &Output) -> Result<(), Error> {
    for name in names {
        let key = KeyResource { key: name.clone() };
        let decision = decide(&key.wanted(), &key.observe(&session.context).await?);
        if decision != Decision::Keep {
            key.create(&session.context).await?;
        }
        guard::remember(&session.stack, &session.context, name.as_str()).await?;
        let created = decision != Decision::Keep;
        let result = serde_json::json!({ "name": name.to_string(), "created": created });
        output.result(&result, |_| {
            if created { format!("key '{name}' created") } else { format!("key '{name}' exists") }
        })?;
    }
    Ok(())
}

async fn delete(session: &Session, names: &[KeyName], output: &Output) -> Result<(), Error> {
    guard::require_unused(&session.stack, names)?;
    for name in names {
        let existed = session.context.replicas.delete_key(name.as_str()).await?;
        // the record knows a key that an earlier call removed from the keystore, but not from every server
        if !guard::forget(&session.stack, name)? && !existed {
            session.context.kes.describe_key(name.as_str()).await?;
        }
        output.result(&serde_json::json!({ "deleted": name.to_string() }), |_| format!("key '{name}' deleted"))?;
    }
    Ok(())
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
            .map(|key| [&key.name, &key.algorithm, &key.created_at, &key.created_by].map(Clone::clone).to_vec())
            .collect();
        table(&["key", "algorithm", "created", "by"], &rows)
    })?;
    Ok(())
}

async fn info(session: &Session, name: &KeyName, output: &Output) -> Result<(), Error> {
    output.result(&entry(session, name).await?, |key| {
        format!(
            "name       {}\nalgorithm  {}\ncreated    {}\nby         {}",
            key.name, key.algorithm, key.created_at, key.created_by
        )
    })?;
    Ok(())
}
