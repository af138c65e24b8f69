//! `kestack down`

use std::fmt::Write as _;

use clap::Args;

use super::Globals;
use super::output::Output;
use super::session::{CHANGE, Reached};
use crate::error::Error;
use crate::teardown::{self, Removed};

#[derive(Debug, Args)]
pub(super) struct Down {
    /// Also remove keys, certificates, configuration and all objects: they cannot be brought back
    #[arg(long)]
    data: bool,
}

impl Down {
    pub(super) async fn run(&self, globals: &Globals, output: &Output) -> Result<(), Error> {
        let reached = Reached::of(globals, CHANGE).await?;
        let name = reached.wish.manifest.name.as_str();
        let removed = teardown::stack(reached.engine().as_ref(), &reached.wish.layout(), name, self.data).await?;
        output.result(&removed, |removed| human(name, removed))?;
        Ok(())
    }
}

fn human(name: &str, removed: &Removed) -> String {
    let mut text = match (removed.pod, removed.folders.is_empty()) {
        (false, true) => format!("stack '{name}' was not there"),
        (true, true) => format!("stack '{name}' is down; its data stays"),
        (_, false) => format!("stack '{name}' is down and its data removed"),
    };
    if !removed.snapshots.is_empty() {
        let names: Vec<_> = removed.snapshots.iter().map(ToString::to_string).collect();
        let _ = write!(text, "\nits snapshots stay, until `kestack snapshot remove {}`", names.join(" "));
    }
    for path in &removed.left {
        let _ = write!(text, "\nleft alone, not kestack's: {}", path.display());
    }
    text
}
