//! The walks over a stack's stages: [`plan`] looks, [`up`] does (docs/architecture.md §3.1).

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde::Serialize;

use crate::error::Error;
use crate::resource::plan::{Decision, decide};
use crate::resource::{Context, Resource};
use crate::supply::Waiting;

/// Things that can be made side by side once all stages before are done.
#[derive(Debug)]
pub struct Stage(pub Vec<Box<dyn Resource>>);

/// One line of a plan, or of what was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct Step {
    /// Kind of the resource: `pod`, `file`, …
    pub kind: &'static str,
    /// Name of the resource.
    pub name: String,
    /// The step to do, or done.
    pub decision: Decision,
}

/// Told of each resource as it is settled, and of what takes minutes.
pub trait Progress: Waiting + Send + Sync {
    /// Work on it begins: it is not as wanted.
    fn began(&self, step: &Step);
    /// It is as wanted now.
    fn settled(&self, step: &Step, took: Duration);
    /// Everything is as wanted.
    fn finished(&self) {}
}

/// Tells nobody.
#[derive(Debug, Clone, Copy)]
pub struct Silent;

impl Waiting for Silent {
    fn waits(&self, _: &str, _: Duration) {}
    fn waited(&self, _: &str) {}
}

impl Progress for Silent {
    fn began(&self, _: &Step) {}
    fn settled(&self, _: &Step, _: Duration) {}
}

/// Says what [`up`] would do; changes nothing.
pub async fn plan(stages: &[Stage], context: &Context) -> Result<Vec<Step>, Error> {
    let mut steps: Vec<Step> = Vec::new();
    for resource in stages.iter().flat_map(|stage| &stage.0) {
        let mut step = look(resource.as_ref(), context).await?;
        let base = resource.within().and_then(|name| steps.iter().find(|step| step.name == name));
        if base.is_some_and(|base| matches!(base.decision, Decision::Create | Decision::Replace)) {
            step.decision = Decision::Create;
        }
        steps.push(step);
    }
    Ok(steps)
}

/// Brings every resource to its wanted state, stage by stage; what is so already is left alone.
///
/// # Errors
/// The first error of a stage, after its other resources have come to an end: nothing runs on behind the caller's
/// back.
pub async fn up(stages: &[Stage], context: &Context, progress: &dyn Progress) -> Result<Vec<Step>, Error> {
    let mut steps = Vec::new();
    for stage in stages {
        let settled = join_all(stage.0.iter().map(|resource| settle(resource.as_ref(), context, progress))).await;
        for step in settled {
            steps.push(step?);
        }
    }
    Ok(steps)
}

async fn look(resource: &dyn Resource, context: &Context) -> Result<Step, Error> {
    let observed = resource.observe(context).await?;
    let decision = decide(&resource.wanted(), &observed);
    Ok(Step { kind: resource.kind(), name: resource.name(), decision })
}

async fn settle(resource: &dyn Resource, context: &Context, progress: &dyn Progress) -> Result<Step, Error> {
    let start = Instant::now();
    let step = look(resource, context).await?;
    if step.decision != Decision::Keep {
        progress.began(&step);
    }
    match step.decision {
        Decision::Keep => {}
        Decision::Create | Decision::Ensure => resource.create(context).await?,
        Decision::Replace => resource.replace(context).await?,
    }
    progress.settled(&step, start.elapsed());
    Ok(step)
}
