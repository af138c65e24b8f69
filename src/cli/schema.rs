//! `kestack schema`: the form of each verb's answer in JSON.

use std::collections::BTreeMap;

use clap::Args;
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::Value;

use super::output::{self, Failure, Versioned};
use super::{
    archive, bucket, bundle, chaos, config, doctor, down, export, gc, image, images, import, init, inventory, key,
    list, logs, plan, reset, sandbox, snapshot, stop, up, verify, version,
};
use crate::error::Error;
use crate::operate::rotate as rotation;
use crate::operate::sandbox as sandboxes;
use crate::operate::serve as foreground;
use crate::operate::snapshot as snapshots;
use crate::operate::status as health;
use crate::operate::teardown;
use crate::transfer::bundle as bundles;

/// Name under which the form of errors is found.
const ERROR: &str = "error";

#[derive(Debug, Args)]
pub(super) struct Schema {
    /// The verb, such as `up` or `key create`, or `error` [default: the names of all answers are printed]
    #[arg(value_name = "VERB")]
    verb: Vec<String>,
}

/// The name of an answer, and what makes its schema.
type Answer = (&'static str, fn() -> Value);

/// Each answer by its verb. `logs` writes one per line; errors go to standard error.
const ANSWERS: &[Answer] = &[
    ("bucket create", of::<bucket::Entry>),
    ("bucket delete", of::<bucket::delete::Deleted>),
    ("bucket encrypt", of::<bucket::Encrypted>),
    ("bucket info", of::<bucket::Entry>),
    ("bucket list", of::<bucket::Listed>),
    ("bundle load", of::<bundle::Loaded>),
    ("bundle save", of::<bundles::Saved>),
    ("chaos cert-expired", of::<chaos::Report>),
    ("chaos heal", of::<chaos::Report>),
    ("chaos kes-deny", of::<chaos::Report>),
    ("chaos kes-down", of::<chaos::Report>),
    ("chaos kes-flap", of::<chaos::Report>),
    ("chaos kes-slow", of::<chaos::Report>),
    ("chaos keystore-full", of::<chaos::Report>),
    ("chaos keystore-readonly", of::<chaos::Report>),
    ("config check", of::<config::Checked>),
    ("doctor", of::<doctor::Report>),
    ("down", either::<teardown::Removed, down::Report>),
    ("env", of::<BTreeMap<String, String>>),
    (ERROR, of::<Failure>),
    ("export compose", of::<export::Report>),
    ("export iam", of::<export::Printed>),
    ("export kube", of::<export::Report>),
    ("export kubernetes", either::<export::Report, export::Printed>),
    ("export quadlet", of::<export::Report>),
    ("export systemd", of::<export::Report>),
    ("export tenant", either::<export::Report, export::Printed>),
    ("gc", of::<gc::Report>),
    ("image build", of::<image::Built>),
    ("images", of::<images::Report>),
    ("import", of::<import::Report>),
    ("init", of::<init::Report>),
    ("inventory", of::<inventory::Report>),
    ("key create", of::<key::Created>),
    ("key delete", of::<key::Deleted>),
    ("key info", of::<key::Entry>),
    ("key list", of::<key::Listed>),
    ("key rotate", of::<rotation::Report>),
    ("list", of::<list::Report>),
    ("logs", of::<logs::Entry<'_>>),
    ("plan", of::<plan::Report>),
    ("reset", either::<reset::Report, up::Report>),
    ("sandbox create", of::<sandbox::Created>),
    ("sandbox drop", of::<sandbox::DropReport>),
    ("sandbox env", of::<BTreeMap<String, String>>),
    ("sandbox extend", of::<sandboxes::Sandbox>),
    ("sandbox list", of::<sandbox::Listed>),
    ("serve", of::<foreground::Checked>),
    ("snapshot export", of::<snapshots::archive::Exported>),
    ("snapshot import", of::<archive::Imported>),
    ("snapshot list", of::<snapshot::Listed>),
    ("snapshot remove", of::<snapshot::Removed>),
    ("snapshot restore", of::<snapshot::Restored>),
    ("snapshot save", of::<snapshot::SavedReport>),
    ("start", of::<up::Report>),
    ("status", of::<health::Status>),
    ("stop", of::<stop::Report>),
    ("up", of::<up::Report>),
    ("verify", of::<verify::Report>),
    ("version", of::<version::Report>),
];

fn of<T: JsonSchema + 'static>() -> Value {
    let mut generator = SchemaSettings::draft2020_12().for_serialize().into_generator();
    generator.root_schema_for::<Versioned<'static, T>>().to_value()
}

/// An answer that has one of two forms, as options decide.
#[derive(JsonSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "only its schema is used")]
enum Either<A, B> {
    One(A),
    Other(B),
}

fn either<A: JsonSchema + 'static, B: JsonSchema + 'static>() -> Value {
    of::<Either<A, B>>()
}

/// All answers by their verb.
pub(super) fn answers() -> impl Iterator<Item = Answer> {
    ANSWERS.iter().copied()
}

impl Schema {
    pub(super) fn run(&self) -> Result<(), Error> {
        let wanted = self.verb.join(" ");
        if wanted.is_empty() {
            let names: Vec<_> = answers().map(|(name, _)| name).collect();
            return output::line(&names.join("\n"));
        }
        let found = answers().find(|(name, _)| *name == wanted).ok_or_else(|| Error::Usage {
            what: format!("'{wanted}' has no answer in JSON"),
            hint: "`kestack schema` prints the names of all answers".into(),
        })?;
        output::line(&serde_json::to_string_pretty(&found.1()).unwrap_or_default())
    }
}
