//! `kestack plan`

use clap::Args;
use schemars::JsonSchema;
use serde::Serialize;

use super::Globals;
use super::output::{Output, kind, table};
use super::session::{Intent, Reached, keystore_environment};
use crate::error::Error;
use crate::operate::guard;
use crate::operate::session::{Resolved, resolve};
use crate::resource::apply::{self, Step};
use crate::resource::plan::Decision;

#[derive(Debug, Args)]
pub(super) struct Plan {
    /// Also list everything that does not change
    #[arg(short, long)]
    all: bool,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct Report {
    /// How many things `up` would change.
    changes: usize,
    /// Everything that makes up the stack, in the order in which `up` looks at it.
    steps: Vec<Step>,
}

impl Plan {
    pub(super) async fn run(&self, globals: &Globals, output: &Output) -> Result<(), Error> {
        let reached = Reached::of(globals, Intent::Read).await?;
        let engine = reached.engine().clone();
        let Resolved { stack, images, pod, .. } = resolve(reached.options.clone(), engine.as_ref()).await?;
        let context = stack.context(engine.clone())?;
        let keystores = keystore_environment(&stack.manifest);
        let kes_stays = stack.kes_stays(engine.info(), &images, pod.as_ref())?;
        let keys = guard::require(&stack, &context, kes_stays, &keystores).await?;
        let mut stages = stack.stages(engine.info(), &images, keys)?;
        stages.extend(stack.interface()?);
        let mut steps = apply::plan(&stages, &context).await?;
        let changes = steps.iter().filter(|step| step.decision != Decision::Keep).count();
        steps.retain(|step| self.all || output.json() || step.decision != Decision::Keep);
        let has_containers = engine.info().has_containers();
        output.result(&Report { changes, steps }, |report| human(report, has_containers))?;
        Ok(())
    }
}

fn human(report: &Report, has_containers: bool) -> String {
    if report.changes == 0 && report.steps.is_empty() {
        return "nothing to change".into();
    }
    let rows: Vec<_> = report
        .steps
        .iter()
        .map(|step| vec![step.decision.to_string(), kind(step.kind, has_containers).to_owned(), step.name.clone()])
        .collect();
    table(&["action", "kind", "name"], &rows)
}
