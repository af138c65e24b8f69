//! `kestack schema`: the form of each verb's answer in JSON.

use std::collections::BTreeMap;

use clap::Args;
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::Value;

use super::output::{self, Failure, Versioned};
use super::{
    archive, bucket, bundle, config, doctor, down, export, gc, image, images, import, init, list, logs, plan, stop, ui,
    up, version,
};
use crate::error::Error;
use crate::operate::bench as costs;
use crate::operate::chaos as faults;
use crate::operate::escape as leaving;
use crate::operate::evidence::Document;
use crate::operate::inventory as drives;
use crate::operate::rehearse as rehearsals;
use crate::operate::rescue as rescues;
use crate::operate::reset as resets;
use crate::operate::rotate as rotation;
use crate::operate::sandbox as sandboxes;
use crate::operate::serve as foreground;
use crate::operate::snapshot as snapshots;
use crate::operate::status as health;
use crate::operate::teardown;
use crate::operate::verify as proofs;
use crate::operate::{buckets, keys};

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
    ("bench", of::<costs::Report>),
    ("bucket create", of::<buckets::Entry>),
    ("bucket delete", of::<buckets::Deleted>),
    ("bucket encrypt", of::<bucket::Encrypted>),
    ("bucket info", of::<buckets::Entry>),
    ("bucket list", of::<buckets::Listed>),
    ("bundle load", of::<bundle::Loaded>),
    ("bundle save", of::<bundle::Made>),
    ("chaos cert-expired", of::<faults::Report>),
    ("chaos heal", of::<faults::Report>),
    ("chaos kes-deny", of::<faults::Report>),
    ("chaos kes-down", of::<faults::Report>),
    ("chaos kes-flap", of::<faults::Report>),
    ("chaos kes-slow", of::<faults::Report>),
    ("chaos keystore-full", of::<faults::Report>),
    ("chaos keystore-readonly", of::<faults::Report>),
    ("config check", of::<config::Checked>),
    ("doctor", of::<doctor::Report>),
    ("down", either::<teardown::Removed, down::Report>),
    ("drill", of::<Document>),
    ("env", of::<BTreeMap<String, String>>),
    (ERROR, of::<Failure>),
    ("escape", of::<leaving::Report>),
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
    ("import", either::<import::Report, rehearsals::Report>),
    ("init", of::<init::Report>),
    ("inventory", of::<drives::Report>),
    ("key create", of::<keys::Created>),
    ("key delete", of::<keys::Deleted>),
    ("key info", of::<keys::Entry>),
    ("key list", of::<keys::Listed>),
    ("key rotate", of::<rotation::Report>),
    ("list", of::<list::Report>),
    ("logs", of::<logs::Entry<'_>>),
    ("plan", of::<plan::Report>),
    ("rescue", of::<rescues::Report>),
    ("reset", either::<resets::Report, up::Report>),
    ("sandbox create", of::<sandboxes::Created>),
    ("sandbox drop", of::<sandboxes::DropReport>),
    ("sandbox env", of::<BTreeMap<String, String>>),
    ("sandbox extend", of::<sandboxes::Sandbox>),
    ("sandbox list", of::<sandboxes::Listed>),
    ("serve", of::<foreground::Checked>),
    ("snapshot export", of::<snapshots::archive::Exported>),
    ("snapshot import", of::<archive::Imported>),
    ("snapshot list", of::<snapshots::Listed>),
    ("snapshot remove", of::<snapshots::Removed>),
    ("snapshot restore", of::<snapshots::Restored>),
    ("snapshot save", of::<snapshots::Saved>),
    ("start", of::<up::Report>),
    ("status", of::<health::Status>),
    ("stop", of::<stop::Report>),
    ("ui", of::<ui::Listening>),
    ("up", of::<up::Report>),
    ("verify", of::<proofs::Report>),
    ("version", of::<version::Report>),
];

fn of<T: JsonSchema + 'static>() -> Value {
    let mut generator = SchemaSettings::draft2020_12().for_serialize().into_generator();
    generator.root_schema_for::<Versioned<'static, T>>().to_value()
}

/// The form of files of evidence.
#[cfg(test)]
pub(super) fn evidence() -> Value {
    of::<Document>()
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
