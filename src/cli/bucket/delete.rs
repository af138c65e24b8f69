//! `kestack bucket delete`

use clap::Args;
use schemars::JsonSchema;
use serde::Serialize;

use super::super::output::{self, Output};
use super::super::session::Session;
use crate::error::Error;
use crate::manifest::BucketName;
use crate::operate::sandbox::SandboxName;
use crate::servers::s3::S3Error;

#[derive(Debug, Args)]
pub(in crate::cli) struct Delete {
    /// Names of the buckets
    #[arg(required = true)]
    names: Vec<BucketName>,
    /// Also delete all objects and versions in them, forever
    #[arg(long)]
    force: bool,
    /// Do not ask at a terminal
    #[arg(short, long)]
    yes: bool,
}

#[derive(Serialize, JsonSchema)]
pub(in crate::cli) struct Deleted {
    /// Names of the buckets that were deleted.
    deleted: Vec<String>,
    /// Those of them that kestack.yaml declares: `kestack up` creates them again.
    declared: Vec<String>,
}

impl Delete {
    /// Checks all buckets before it deletes the first one. Keys stay: `kestack key delete` removes those that protect
    /// nothing any more.
    pub(super) async fn run(&self, session: &Session, output: &Output) -> Result<(), Error> {
        let mut found = Vec::new();
        for name in &self.names {
            found.push(format!("'{name}' ({})", self.check(session, name).await?));
        }
        if !self.yes && output::is_attended() && !output::confirm(&question(&found)).await {
            return Err(Error::Declined);
        }
        for name in &self.names {
            self.delete(session, name.as_str()).await?;
        }
        let names: Vec<_> = self.names.iter().map(ToString::to_string).collect();
        let is_declared =
            |name: &&String| session.stack.manifest.buckets.iter().any(|bucket| bucket.name.as_str() == *name);
        let declared = names.iter().filter(is_declared).cloned().collect();
        output.result(&Deleted { deleted: names, declared }, human)
    }

    /// How full the bucket is, if it may be deleted.
    async fn check(&self, session: &Session, name: &BucketName) -> Result<String, Error> {
        if let Some(sandbox) = SandboxName::of_resource(name.as_str()) {
            return Err(Error::Usage {
                what: format!("bucket '{name}' belongs to sandbox '{sandbox}'"),
                hint: format!("`kestack sandbox drop {sandbox}` removes it with its key and its user"),
            });
        }
        let s3 = &session.context.s3;
        // says NoSuchBucket before anything is deleted
        s3.bucket_encryption(name.as_str()).await?;
        let names = s3.object_names(name.as_str(), "").await?;
        match names.len() {
            0 => Ok("empty".to_owned()),
            _ if !self.force => Err(not_empty(name.as_str())),
            1 => Ok("1 object".to_owned()),
            count @ 2..1000 => Ok(format!("{count} objects")),
            _ => Ok("1000 objects or more".to_owned()),
        }
    }

    async fn delete(&self, session: &Session, name: &str) -> Result<(), Error> {
        let s3 = &session.context.s3;
        if self.force {
            return Ok(s3.remove_bucket_with_objects(name).await?);
        }
        match s3.delete_bucket(name).await {
            // somebody has written to it meanwhile
            Err(error) if is_not_empty(&error) => Err(not_empty(name)),
            deleted => Ok(deleted?),
        }
    }
}

fn is_not_empty(error: &S3Error) -> bool {
    error.code() == "BucketNotEmpty"
}

fn not_empty(name: &str) -> Error {
    Error::Usage {
        what: format!("bucket '{name}' is not empty; nothing in it was deleted"),
        hint: format!("`kestack bucket delete --force {name}` deletes its objects and versions too, forever"),
    }
}

fn question(found: &[String]) -> String {
    let buckets = if found.len() == 1 { "bucket" } else { "buckets" };
    format!("delete {buckets} {} forever?", found.join(", "))
}

fn human(report: &Deleted) -> String {
    let line = |name: &String| {
        let again = if report.declared.contains(name) {
            "; `kestack up` creates it again, kestack.yaml declares it"
        } else {
            ""
        };
        format!("bucket '{name}' deleted{again}")
    };
    report.deleted.iter().map(line).collect::<Vec<_>>().join("\n")
}
