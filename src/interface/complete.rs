//! What is about all of the stack: its state, its inventory, the proof, the reset.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Instant;

use axum::extract::State;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Interface;
use super::answer::{Answered, found};
use super::call::Patience;
use super::given::{Given, named};
use crate::error::Error;
use crate::host::lock::Hold;
use crate::manifest::BucketName;
use crate::operate::inventory as drives;
use crate::operate::status::{self as health, Status};
use crate::operate::verify::{self as proof, Report};
use crate::operate::{fresh, reset};
use crate::resource::apply::Silent;

/// The last proof.
pub(super) type Last = Mutex<Option<Evidence>>;

/// A proof, and when it was made.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(super) struct Evidence {
    /// When it was made.
    #[schemars(with = "String")]
    at: Timestamp,
    #[serde(flatten)]
    report: Report,
}

/// What is to be proven.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Proving {
    /// Bucket to write the test object to; without one each bucket of the manifest that encrypts.
    #[schemars(regex(pattern = super::surface::BUCKET))]
    pub(super) bucket: Option<String>,
}

/// How the stack is reset.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Resetting {
    /// Also remove from a remote keystore, or from a folder that you named, the keys that this stack created and the
    /// manifest does not declare.
    keys: bool,
}

pub(super) async fn status(State(interface): State<Interface>) -> Answered<Status> {
    let reach = interface.0.known.reach().await?;
    found(health::status(reach.stack(), reach.context(), reach.pod.as_ref()).await)
}

pub(super) async fn inventory(State(interface): State<Interface>) -> Answered<drives::Report> {
    found(drives::take(&interface.0.known.options().await?).await)
}

pub(super) async fn evidence(State(interface): State<Interface>) -> Answered<Evidence> {
    let last = interface.0.evidence.lock().unwrap_or_else(PoisonError::into_inner).clone();
    found(last.ok_or_else(|| Error::Absent {
        what: "this interface has made no proof yet".into(),
        hint: "`POST /v1/verify` proves the encryption".into(),
    }))
}

pub(super) async fn verify(
    State(interface): State<Interface>,
    patience: Patience,
    Given(Proving { bucket }): Given<Proving>,
) -> Answered<Report> {
    let bucket: Option<BucketName> = bucket.as_deref().map(named).transpose()?;
    let this = interface.clone();
    let verified = interface.run(move |interrupt| async move {
        let (_opened, reach) = this.held(Hold::Fault, patience, &interrupt).await?;
        let only = bucket.as_ref().map(BucketName::as_str);
        let findings = proof::stack(reach.stack(), reach.context(), only, &interrupt).await?;
        Ok(Report::new(reach.stack().manifest.name.to_string(), findings, None))
    });
    let verified = verified.await;
    if let Ok(report) = &verified {
        let evidence = Evidence { at: Timestamp::now(), report: report.clone() };
        *interface.0.evidence.lock().unwrap_or_else(PoisonError::into_inner) = Some(evidence);
        interface.tell("proof", if report.proven { "proven" } else { "not-proven" }, &report.name);
    }
    found(verified)
}

pub(super) async fn reset(
    State(interface): State<Interface>,
    patience: Patience,
    Given(Resetting { keys }): Given<Resetting>,
) -> Answered<reset::Report> {
    let start = Instant::now();
    let this = interface.clone();
    let reset = interface.run(move |interrupt| async move {
        let opened = interrupt.ends(this.open(Hold::Change, patience)).await?;
        opened.options.refuse_served()?;
        let name = opened.options.manifest.name.to_string();
        // the connections that are open already say whether there is anything to do
        let reach = interrupt.ends(this.0.known.running()).await?;
        if !interrupt.ends(fresh::is(reach.stack(), reach.context())).await? {
            let session = Box::pin(interrupt.ends(opened.ready_to_reset())).await?;
            // MinIO is stopped in between: not given up halfway
            Box::pin(reset::in_place(&session.stack, &session.context, keys, &Silent)).await?;
        }
        Ok(reset::Report { name, milliseconds: start.elapsed().as_millis() })
    });
    let reset = reset.await;
    interface.tell_all("stack", "reset", reset.iter().map(|report| &report.name));
    found(reset)
}
