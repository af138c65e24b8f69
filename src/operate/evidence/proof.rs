//! The evidence of `kestack verify`.

use jiff::Timestamp;

use super::{Claim, Document, Kind, Step, Verdict, Versions, now};
use crate::error::Error;
use crate::manifest::Manifest;
use crate::operate::verify::{Evidence, Report};
use crate::stack::Stack;

/// What `verify` cannot show, whatever it finds.
const LIMIT: &str = "each bucket was shown with one test object of this run: objects that were stored before are not opened, \
                     and `kestack inventory` says which of them lie in clear";

/// Evidence of what `verify` found in a stack, or in the bucket `only`, since `started`, or of the error that ended it.
pub(crate) fn of_proof(
    stack: &Stack,
    only: Option<&str>,
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
        not_covered: limits(&stack.manifest, only, found.ok()),
        error,
    }
}

/// What this proof leaves open.
fn limits(manifest: &Manifest, only: Option<&str>, found: Option<&Report>) -> Vec<String> {
    let only = only.map(|bucket| format!("only bucket '{bucket}' was asked about: no other bucket was looked at"));
    let in_clear = manifest.buckets.iter().filter(|bucket| !bucket.encrypts());
    let in_clear = in_clear.map(|bucket| format!("bucket '{}' is declared to store objects in clear", bucket.name));
    let trials = found.into_iter().flat_map(|report| &report.faults).flat_map(|faults| &faults.trials);
    let not_here = trials.filter_map(|trial| {
        let why = trial.not_here.as_ref()?;
        Some(format!("fault {} was not tried, as it is not possible here: {why}", trial.fault))
    });
    only.into_iter().chain(in_clear).chain(not_here).chain([LIMIT.to_owned()]).collect()
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operate::chaos::Fault;
    use crate::operate::trials::{Trial, Trials};

    #[test]
    fn what_was_not_looked_at_is_named() {
        let yaml = "buckets:\n  - { name: docs }\n  - { name: plain, encryption: none }\n";
        let manifest = crate::manifest::parse(yaml, std::path::Path::new("/"), &|_| None).unwrap();
        let trial = Trial { fault: Fault::KesDown, evidence: vec![], not_here: Some("no KES".into()) };
        let report = Report {
            name: "a".into(),
            proven: true,
            verdicts: vec![],
            exposed_buckets: vec![],
            faults: Some(Trials { seed: 1, trials: vec![trial] }),
        };
        let limits = limits(&manifest, Some("docs"), Some(&report));
        let wanted = ["only bucket 'docs'", "bucket 'plain' is declared", "fault kes-down was not tried", LIMIT];
        assert!(
            limits.len() == 4 && limits.iter().zip(wanted).all(|(limit, start)| limit.starts_with(start)),
            "{limits:?}"
        );
    }
}
