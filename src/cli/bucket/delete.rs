//! `kestack bucket delete`

use clap::Args;

use super::super::output::{self, Output};
use super::super::session::Session;
use crate::error::Error;
use crate::manifest::BucketName;
use crate::operate::buckets::{self, Deleted};

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

impl Delete {
    /// Checks all buckets before it deletes the first one. Keys stay: `kestack key delete` removes those that protect
    /// nothing any more.
    pub(super) async fn run(&self, session: &Session, output: &Output) -> Result<(), Error> {
        let (stack, context) = (&session.stack, &session.context);
        let mut found = Vec::new();
        for name in &self.names {
            found.push(format!("'{name}' ({})", buckets::check_deletable(context, name, self.force).await?));
        }
        if !self.yes && output::is_attended() && !output::confirm(&question(&found)).await {
            return Err(Error::Declined);
        }
        output.done(&buckets::delete(stack, context, &self.names, self.force).await?, human)
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
