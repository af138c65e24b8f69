//! The evidence of `kestack verify`.

use jiff::Timestamp;

use super::{Claim, Document, Kind, Step, Verdict, Versions, now};
use crate::error::Error;
use crate::operate::verify::{Evidence, Report};
use crate::stack::Stack;

/// What `verify` cannot show, whatever it finds.
const LIMIT: &str = "each bucket was shown with one test object of this run: objects that were stored before are not opened, \
                     and `kestack inventory` says which of them lie in clear";

/// Evidence of what `verify` found in a stack since `started`, or of the error that ended it.
pub(crate) fn of_proof(
    stack: &Stack,
    versions: Versions,
    started: Timestamp,
    found: Result<&Report, &Error>,
) -> Document {
    let claims = found.map(claims).unwrap_or_default();
    let steps = found.map(steps).unwrap_or_default();
    let error = found.err().map(ToString::to_string);
    Document {
        kind: Kind::Verify,
        stack: stack.manifest.name.to_string(),
        keystore: stack.manifest.keystore_name(),
        verdict: Verdict::of(&claims, error.as_ref()),
        started,
        ended: now(),
        versions,
        losses: vec![],
        claims,
        steps,
        not_covered: vec![LIMIT.to_owned()],
        error,
    }
}

fn claims(report: &Report) -> Vec<Claim> {
    let of = |about: String, evidence: &Evidence| Claim {
        about,
        claim: evidence.claim.to_owned(),
        proven: evidence.proven,
        seen: evidence.seen.clone(),
    };
    let mut claims = Vec::new();
    for proof in &report.verdicts {
        claims.extend(proof.evidence.iter().map(|evidence| of(format!("bucket '{}'", proof.bucket), evidence)));
    }
    claims.extend(report.exposed_buckets.iter().map(|bucket| Claim {
        about: format!("bucket '{bucket}'"),
        claim: "new objects are encrypted".into(),
        proven: false,
        seen: "the bucket has no encryption".into(),
    }));
    for trial in report.faults.iter().flat_map(|faults| &faults.trials) {
        claims.extend(trial.evidence.iter().map(|evidence| of(format!("fault {}", trial.fault), evidence)));
    }
    claims
}

fn steps(report: &Report) -> Vec<Step> {
    let of = |proof: &crate::operate::verify::Proof| Step {
        step: format!("prove that bucket '{}' encrypts", proof.bucket),
        started: proof.started,
        milliseconds: proof.milliseconds,
        failed: None,
    };
    report.verdicts.iter().map(of).collect()
}
