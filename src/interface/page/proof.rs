//! The proof that the stack encrypts, and its evidence.

use std::sync::PoisonError;

use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse as _;
use serde::{Deserialize, Serialize};

use super::form::{Filled, some};
use super::frame::Shown;
use crate::interface::Interface;
use crate::interface::call::Patience;
use crate::interface::complete::{self, Evidence, Proving};
use crate::interface::given::Given;

#[derive(Serialize)]
struct View {
    evidence: Option<Evidence>,
    buckets: Vec<String>,
}

#[derive(Deserialize)]
pub(super) struct Asked {
    #[serde(default, deserialize_with = "some")]
    bucket: Option<String>,
}

pub(super) async fn show(State(interface): State<Interface>) -> Shown {
    let evidence = interface.0.evidence.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let declared = interface.0.known.options().await?.manifest.buckets;
    let buckets = declared.iter().filter(|bucket| bucket.encrypts()).map(|bucket| bucket.name.to_string()).collect();
    interface.show("proof.html", ("Proof", "proof"), &View { evidence, buckets }).await
}

pub(super) async fn prove(
    State(interface): State<Interface>,
    patience: Patience,
    Filled(Asked { bucket }): Filled<Asked>,
) -> Shown {
    let report = complete::verify(State(interface.clone()), patience, Given(Proving { bucket })).await?.into_inner();
    let done = if report.proven { "Proven: the evidence is below." } else { "Not everything was proven: see below." };
    Ok(interface.lead_to("/proof", done))
}

/// The evidence as a file.
pub(super) async fn download(State(interface): State<Interface>) -> Shown {
    let name = interface.0.known.options().await?.manifest.name;
    let answer = complete::evidence(State(interface)).await?;
    let disposition = format!("attachment; filename=\"{name}-evidence.json\"");
    Ok(([(header::CONTENT_DISPOSITION, disposition)], answer).into_response())
}
