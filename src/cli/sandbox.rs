//! `kestack sandbox`

use std::time::{Duration, Instant};

use clap::{Args, Subcommand};

use super::Globals;
use super::env::print;
use super::output::{self, Output, table};
use super::session::{self, Intent, Known};
use super::shell::Shell;
use crate::error::Error;
use crate::operate::sandbox::{Created, DropReport, Listed, Sandbox, SandboxName, SandboxOptions, Sandboxes};

#[derive(Debug, Subcommand)]
pub(super) enum Sandboxed {
    /// Create a sandbox: a bucket, the key that encrypts it, and a user that may use only these two
    Create(Create),
    /// List the sandboxes
    #[command(visible_alias = "ls")]
    List,
    /// Print the variables that clients of a sandbox need
    Env {
        /// Name of the sandbox
        name: SandboxName,
        /// Language of the output [default: that of the shell that runs kestack]
        #[arg(short, long, value_enum)]
        shell: Option<Shell>,
    },
    /// Give a sandbox a new lease, from now on
    Extend {
        /// Name of the sandbox
        name: SandboxName,
        /// How long it is needed, such as 90s, 30m or 2h; without it, until it is dropped
        #[arg(long, value_parser = session::duration)]
        lease: Option<Duration>,
    },
    /// Drop sandboxes with all their content: objects, versions, bucket, user and key
    #[command(visible_aliases = ["rm", "delete"])]
    Drop {
        /// Names of the sandboxes
        #[arg(required = true)]
        names: Vec<SandboxName>,
    },
}

#[derive(Debug, Args)]
pub(super) struct Create {
    /// Name of the sandbox [default: a random one]
    name: Option<SandboxName>,
    /// How long it is needed, such as 90s, 30m or 2h: `kestack gc` drops it afterwards
    #[arg(long, value_parser = session::duration)]
    lease: Option<Duration>,
    /// Keep versions of its objects
    #[arg(long)]
    versioning: bool,
}

impl Sandboxed {
    pub(super) async fn run(&self, globals: &Globals, output: &Output) -> Result<(), Error> {
        let start = Instant::now();
        let Known { stack, clients } = session::known(globals, self.intent()).await?;
        let sandboxes = Sandboxes::of(&stack, clients);
        match self {
            Self::Create(options) => options.run(&sandboxes, start, output).await,
            Self::List => list(&sandboxes, output).await,
            Self::Env { name, shell } => {
                let sandbox = sandboxes.find(name).await?;
                print(sandbox.variables(&sandboxes.user_of(&sandbox)?), stack.ports.host, *shell, output)?;
                Ok(())
            }
            Self::Extend { name, lease } => {
                output.done(&sandboxes.extend(name, *lease).await?, |sandbox| {
                    format!("sandbox '{}' is kept {}", sandbox.name, until(sandbox))
                })?;
                Ok(())
            }
            Self::Drop { names } => drop_all(&sandboxes, names, start, output).await,
        }
    }
}

impl Sandboxed {
    fn intent(&self) -> Intent {
        match self {
            Self::List | Self::Env { .. } => Intent::Read,
            Self::Create(_) | Self::Extend { .. } | Self::Drop { .. } => Intent::Share,
        }
    }
}

impl Create {
    async fn run(&self, sandboxes: &Sandboxes, start: Instant, output: &Output) -> Result<(), Error> {
        let name = self.name.clone().map_or_else(SandboxName::random, Ok)?;
        let options = SandboxOptions { name, lease: self.lease, versioning: self.versioning };
        let (sandbox, user) = sandboxes.create(&options).await?;
        let created = Created::new(sandbox, &user, start.elapsed().as_millis());
        output.result(&created, |created| {
            let sandbox = &created.sandbox;
            format!(
                "sandbox '{}' was created in {} and is kept {}\n  bucket  {}\n  key     {}\nnext:\n  \
                 eval \"$(kestack sandbox env {})\"   variables of its own user",
                sandbox.name,
                output::span(created.milliseconds),
                until(sandbox),
                sandbox.bucket,
                sandbox.key,
                sandbox.name
            )
        })?;
        Ok(())
    }
}

async fn list(sandboxes: &Sandboxes, output: &Output) -> Result<(), Error> {
    let listed = Listed { sandboxes: sandboxes.list().await? };
    output.result(&listed, |listed| {
        let rows: Vec<_> = listed.sandboxes.iter().map(row).collect();
        table(&["name", "bucket", "created", "kept until"], &rows)
    })?;
    Ok(())
}

async fn drop_all(sandboxes: &Sandboxes, names: &[SandboxName], start: Instant, output: &Output) -> Result<(), Error> {
    let mut kept = Vec::new();
    for name in names {
        kept.extend(sandboxes.drop(name).await?);
    }
    let dropped = names.iter().map(ToString::to_string).collect();
    output.done(&DropReport { dropped, milliseconds: start.elapsed().as_millis(), kept }, |report| {
        let dropped = format!("dropped {} in {}", report.dropped.join(", "), output::span(report.milliseconds));
        let kept = report.kept.iter().map(|kept| format!("  {kept}"));
        [dropped].into_iter().chain(kept).collect::<Vec<_>>().join("\n")
    })?;
    Ok(())
}

fn row(sandbox: &Sandbox) -> Vec<String> {
    let made = sandbox.created.map_or_else(|| "incomplete".to_owned(), output::time);
    let end = sandbox.expires.map_or_else(|| "-".to_owned(), output::time);
    vec![sandbox.name.to_string(), sandbox.bucket.clone(), made, end]
}

fn until(sandbox: &Sandbox) -> String {
    sandbox.expires.map_or_else(|| "until it is dropped".to_owned(), |end| format!("until {}", output::time(end)))
}
