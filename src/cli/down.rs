//! `kestack down`

use std::fmt::Write as _;
use std::time::Duration;

use clap::Args;
use schemars::JsonSchema;
use serde::Serialize;
use tokio::time::timeout;

use super::Globals;
use super::output::{self, Output};
use super::session::{All, CHANGE, Opened, Options, Reached, Scope};
use crate::error::Error;
use crate::manifest::{Manifest, StackName};
use crate::operate::bench;
use crate::operate::stacks::{Listed, State};
use crate::operate::teardown::{self, Removed};

/// How long the buckets of a killed `bench` may keep us.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Debug, Args)]
pub(super) struct Down {
    /// Also remove keys, certificates, configuration and all objects, forever
    #[arg(long)]
    data: bool,
    /// All stacks of this user on every engine, whichever manifest brought them up; with --dir those below that folder,
    /// with --engine those on that engine
    #[arg(long, conflicts_with_all = ["stack", "file"])]
    all: bool,
}

/// What was removed of one stack among all.
#[derive(Serialize, JsonSchema)]
pub(super) struct One {
    /// Name of the stack.
    name: String,
    #[serde(flatten)]
    removed: Removed,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct Report {
    /// The stacks that were removed.
    stacks: Vec<One>,
}

impl Down {
    pub(super) async fn run(&self, globals: &Globals, output: &Output) -> Result<(), Error> {
        if self.all {
            return self.run_all(globals, output).await;
        }
        let reached = Reached::of(globals, CHANGE).await?;
        let name = reached.options.manifest.name.as_str();
        if !self.data {
            tidy(&reached).await;
        }
        let removed = teardown::stack(reached.engine().as_ref(), &reached.options.layout(), name, self.data).await?;
        output.done(&removed, |removed| human(name, removed))?;
        Ok(())
    }
}

/// Removes the buckets of a killed `bench` while MinIO still runs. What cannot be removed now stays on record.
async fn tidy(reached: &Reached) {
    let tidied = timeout(PATIENCE, bench::sweep_of(reached)).await;
    let why = match tidied {
        Ok(Ok(())) => return,
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("not done within {} s", PATIENCE.as_secs()),
    };
    tracing::warn!("the buckets of an interrupted `kestack bench` stay until the next one, or `kestack gc`: {why}");
}

impl Down {
    /// One that cannot be removed keeps none of the others.
    async fn run_all(&self, globals: &Globals, output: &Output) -> Result<(), Error> {
        let all = All::of(&Scope::of(globals)?).await?;
        let (mut stacks, mut failed) = (Vec::new(), None);
        for stack in all.stacks.iter().filter(|stack| self.data || stack.state != State::Down) {
            match self.one_of(&all, stack).await {
                Ok(removed) => stacks.push(One { name: stack.name.clone(), removed }),
                Err(error) => {
                    output::error(&format!("stack '{}': {error}", stack.name));
                    failed = Some(error);
                }
            }
        }
        output.done(&Report { stacks }, |report| {
            let lines: Vec<_> = report.stacks.iter().map(|one| human(&one.name, &one.removed)).collect();
            if lines.is_empty() { "no stacks".to_owned() } else { lines.join("\n") }
        })?;
        failed.map_or(Ok(()), Err)
    }

    async fn one_of(&self, all: &All, stack: &Listed) -> Result<Removed, Error> {
        let folder = stack.folder.as_ref().ok_or_else(|| Error::Environment {
            what: "its folder is gone, or belongs to another stack".into(),
            hint: format!("remove its servers by name: `kestack down --name {}`", stack.name),
        })?;
        let engine = all.engine_of(stack, folder).ok_or_else(|| Error::Environment {
            what: format!("{} does not answer", stack.engine.as_deref().unwrap_or("its engine")),
            hint: "start it, or name its socket with `--host`".into(),
        })?;
        let name: StackName =
            stack.name.parse().map_err(|what| Error::Usage { what, hint: "kestack did not make it".into() })?;
        let base = folder.parent().unwrap_or(folder).to_owned();
        let manifest = Manifest { name, ..Manifest::default() };
        let options = Options { adopt: true, ..Options::of(manifest, base) };
        let opened = Opened::new(options, CHANGE).await?;
        teardown::stack(engine, &opened.options.layout(), &stack.name, self.data).await
    }
}

fn human(name: &str, removed: &Removed) -> String {
    let mut text = match (removed.pod, removed.folders.is_empty()) {
        (false, true) => format!("stack '{name}' was not up"),
        (true, true) => format!("stack '{name}' is down; its data stays"),
        (_, false) => format!("stack '{name}' is down, and its data is removed"),
    };
    if !removed.snapshots.is_empty() {
        let names: Vec<_> = removed.snapshots.iter().map(ToString::to_string).collect();
        let _ = write!(text, "\nits snapshots stay until `kestack snapshot remove {}`", names.join(" "));
    }
    for path in &removed.left {
        let _ = write!(text, "\nnot removed, because kestack did not make it: {}", path.display());
    }
    text
}
