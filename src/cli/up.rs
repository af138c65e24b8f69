//! `kestack up`

use std::time::Duration;

use clap::{Args, ValueEnum};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use super::Globals;
use super::output::Output;
use super::session::{self, CHANGE, Options, Reached};
use crate::engine::Engine;
use crate::error::Error;
use crate::operate::sandbox::end_of;
use crate::operate::session::bring_up;
use crate::resource::apply::Step;
use crate::resource::interface::Record;
use crate::resource::plan::Decision;
use crate::stack::Stack;
use crate::stack::certificates::Renewal;

#[derive(Debug, Default, Args)]
pub(super) struct Up {
    /// How long the stack is needed, such as 30m or 2h: `kestack gc` removes it with its data afterwards. A stack that
    /// is up keeps its lease
    #[arg(long, value_parser = session::duration)]
    lease: Option<Duration>,
    /// Ports of the stack: any free ones, or those of the manifest; later calls keep this choice [default: as before, at
    /// first the manifest's, and free ones where its defaults are taken]
    #[arg(long, value_enum, value_name = "WHICH")]
    port: Option<PortChoice>,
    /// Take no snapshot before another release or flavour of MinIO gets the data: if it cannot read the data, the
    /// former MinIO comes back, but with the data as the new one left it
    #[arg(long)]
    no_snapshot: bool,
}

/// Which ports a stack gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum PortChoice {
    /// Any free ones.
    Auto,
    /// Those of the manifest.
    Manifest,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct Report {
    /// Name of the stack.
    name: String,
    /// Engine and its version.
    engine: String,
    /// URL of S3.
    s3: String,
    /// URL of MinIO's console.
    console: String,
    /// URL of KES; with replicas all URLs, separated by commas.
    kes: String,
    /// Folder of the stack.
    folder: String,
    /// Declared buckets.
    buckets: Vec<String>,
    /// Declared keys.
    keys: Vec<String>,
    /// The HTTP interface, with `ui: true` in kestack.yaml.
    #[serde(skip_serializing_if = "Option::is_none")]
    interface: Option<Reachable>,
    /// How many steps changed something.
    changed: usize,
    /// Certificates that were renewed.
    renewed: Vec<Renewal>,
    /// All steps, in the order in which they were taken.
    steps: Vec<Step>,
}

/// Where the HTTP interface is, and how to come in.
#[derive(Serialize, JsonSchema)]
struct Reachable {
    /// Its URL.
    url: String,
    /// File with URL and token, which only its owner may read.
    token_file: String,
    /// Link that lets one browser in, once. The link of the previous `up` is no longer valid.
    link: String,
}

impl Reachable {
    /// The interface of a stack that came up; `None` if the manifest wants none.
    async fn of(stack: &Stack) -> Result<Option<Self>, Error> {
        let file = stack.layout.interface();
        let record = if stack.manifest.ui { Record::read(&file)? } else { None };
        let Some(record) = record else { return Ok(None) };
        let (url, token_file) = (record.url.clone(), file.display().to_string());
        Ok(Some(Self { url, token_file, link: record.link().await? }))
    }
}

impl Up {
    pub(super) async fn run(&self, globals: &Globals, output: &Output) -> Result<(), Error> {
        let reached = Reached::of(globals, CHANGE).await?;
        reached.recover().await?;
        self.bring_up(&reached, output).await
    }

    /// Brings it up under the lock that is held, and says how it is.
    pub(super) async fn bring_up(&self, reached: &Reached, output: &Output) -> Result<(), Error> {
        let expires = self.lease.map(|lease| end_of(lease, Timestamp::now())).transpose()?;
        self.bring_up_until(expires, reached, output).await
    }

    /// The same with a lease that the stack had before, if it had one.
    pub(super) async fn bring_up_until(
        &self,
        expires: Option<Timestamp>,
        reached: &Reached,
        output: &Output,
    ) -> Result<(), Error> {
        let engine = reached.engine();
        let progress = output.progress(engine.info());
        let mut options = Options { without_snapshot: self.no_snapshot, ..reached.options.clone() };
        if let Some(choice) = self.port {
            options.manifest.ports.any = choice == PortChoice::Auto;
        }
        let (stack, steps) = bring_up(options, engine.clone(), expires, progress.as_ref()).await?;
        progress.finished();
        let interface = Reachable::of(&stack).await?;
        output.done(&report(&stack, engine.as_ref(), steps, interface), human)?;
        Ok(())
    }
}

fn report(stack: &Stack, engine: &dyn Engine, steps: Vec<Step>, interface: Option<Reachable>) -> Report {
    let manifest = &stack.manifest;
    Report {
        name: manifest.name.to_string(),
        engine: format!("{} {}", engine.info().kind, engine.info().version),
        s3: stack.s3_endpoint(),
        console: stack.console_endpoint(),
        kes: stack.kes_endpoints(),
        folder: stack.layout.root().display().to_string(),
        buckets: manifest.buckets.iter().map(|bucket| bucket.name.to_string()).collect(),
        keys: manifest.keys.iter().map(ToString::to_string).collect(),
        interface,
        renewed: stack.material.renewed.clone(),
        changed: steps.iter().filter(|step| step.decision != Decision::Keep).count(),
        steps,
    }
}

fn human(report: &Report) -> String {
    let state = if report.changed == 0 { "is up, nothing to change" } else { "is up" };
    let renewed: Vec<_> = report.renewed.iter().map(renewal).collect();
    let page = report.interface.as_ref().map(|interface| format!("  page     {}\n", interface.link));
    format!(
        "stack '{}' {state}\n  S3       {}\n  console  {}\n  login    `kestack env` prints user and password: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY\n  KES      {}\n  keys     {}\n  buckets  {}\n  folder   {}\n{}{}\
         next:\n  eval \"$(kestack env)\"   variables for aws, mc, SDKs and kes\n  kestack verify         proof of the encryption",
        report.name,
        report.s3,
        report.console,
        report.kes,
        report.keys.join(", "),
        report.buckets.join(", "),
        report.folder,
        page.unwrap_or_default(),
        renewed.concat(),
    )
}

fn renewal(Renewal { name, why, advice }: &Renewal) -> String {
    let advice = advice.as_deref().map(|advice| format!("\n           {advice}")).unwrap_or_default();
    format!("  renewed  certificate of {name}: {why}{advice}\n")
}
