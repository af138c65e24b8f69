//! Evidence for whoever was not there: what was shown of a stack, when, with which programs, and the verdict. It has one
//! form, whatever was shown (docs/evidence.schema.json), and holds no secrets.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

mod file;
mod loss;
mod page;
mod proof;
mod steps;
mod versions;

pub(crate) use file::Target;
pub(crate) use loss::{LISTED, Loss, Lost};
pub(crate) use page::page;
pub(crate) use proof::of_proof;
pub(crate) use steps::{Step, Steps, milliseconds};
pub(crate) use versions::Versions;

/// What was shown of a stack.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Evidence")]
pub(crate) struct Document {
    /// What was done.
    pub(crate) kind: Kind,
    /// Name of the stack.
    pub(crate) stack: String,
    /// Where its keys are, for people.
    pub(crate) keystore: String,
    /// `proven` if every claim is true and nothing ended the work early.
    pub(crate) verdict: Verdict,
    /// When it began.
    #[schemars(with = "String")]
    pub(crate) started: Timestamp,
    /// When it ended.
    #[schemars(with = "String")]
    pub(crate) ended: Timestamp,
    /// The programs that took part.
    pub(crate) versions: Versions,
    /// What was lost and recovered; only a drill has these.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) losses: Vec<Loss>,
    /// The claims, in the order in which they were checked.
    pub(crate) claims: Vec<Claim>,
    /// What was done, in this order.
    pub(crate) steps: Vec<Step>,
    /// What this cannot show, and why.
    pub(crate) not_covered: Vec<String>,
    /// The error that ended it early.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<String>,
}

/// What evidence is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    /// `kestack verify`: the stack encrypts.
    Verify,
    /// `kestack drill`: the stack can be recovered from a snapshot.
    Drill,
}

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Verdict {
    /// Every claim is true.
    Proven,
    /// A claim is not true, or the work ended early.
    NotProven,
}

/// One claim.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[expect(clippy::struct_field_names, reason = "its name in the file")]
pub(crate) struct Claim {
    /// What it is about, such as a bucket.
    pub(crate) about: String,
    /// The claim to prove.
    pub(crate) claim: String,
    /// Whether the claim was proven.
    pub(crate) proven: bool,
    /// What was seen.
    pub(crate) seen: String,
}

impl Verdict {
    /// The verdict on claims, if nothing ended the work early. Without a claim nothing was shown.
    pub(crate) fn of(claims: &[Claim], error: Option<&String>) -> Self {
        let holds = !claims.is_empty() && claims.iter().all(|claim| claim.proven);
        if error.is_none() && holds { Self::Proven } else { Self::NotProven }
    }
}

impl Document {
    /// True if everything was proven.
    pub(crate) fn proven(&self) -> bool {
        self.verdict == Verdict::Proven
    }
}

/// The moment, as exact as evidence needs it.
pub(crate) fn now() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_millisecond(now.as_millisecond()).unwrap_or(now)
}
