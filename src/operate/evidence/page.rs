//! Evidence as a page for people: HTML without scripts, which needs no network.

use zeroize::Zeroizing;

use super::Document;
use crate::template::{TemplateError, context, render};

/// The suffix has the template engine escape what it puts in.
const PAGE: &str = "evidence/page.html";

/// The page.
///
/// # Errors
/// [`TemplateError`] if the template is broken, which a test excludes.
pub(crate) fn page(document: &Document) -> Result<Zeroizing<String>, TemplateError> {
    render(PAGE, include_str!("../../../templates/evidence/page.html.tera"), &context(PAGE, document)?)
}

#[cfg(test)]
mod tests {
    use super::super::{Claim, Kind, Loss, Lost, Step, Verdict, Versions, now};
    use super::*;

    #[test]
    fn names_of_others_stay_text_on_the_page() {
        let hostile = "b/<script>alert(1)</script>&";
        let claim = Claim { about: hostile.into(), claim: "c".into(), proven: false, seen: hostile.into() };
        let loss = Loss {
            lost: Lost::Machine,
            recovery_milliseconds: None,
            recovery_point: now(),
            recovery_point_age_milliseconds: 61_250,
            versions: 1,
            bytes: 2,
            missing_count: 1,
            missing: vec![hostile.into()],
        };
        let step = Step { step: "s".into(), started: now(), milliseconds: 1, failed: Some(hostile.into()) };
        let versions = Versions { kestack: "1".into(), kes: None, minio: None, engine: "process 1".into() };
        let document = Document {
            kind: Kind::Drill,
            stack: "a".into(),
            keystore: "fs".into(),
            verdict: Verdict::NotProven,
            started: now(),
            ended: now(),
            versions,
            losses: vec![loss],
            claims: vec![claim],
            steps: vec![step],
            not_covered: vec![hostile.into()],
            error: Some(hostile.into()),
        };
        let page = page(&document).unwrap();
        assert!(!page.contains("<script") && page.matches("&lt;script&gt;").count() == 6, "{}", *page);
        assert!(page.contains("61.2 s before the loss") && page.contains("not recovered"), "{}", *page);
        let nothing = Document { losses: vec![], error: None, ..document };
        assert!(!super::page(&nothing).unwrap().contains("Losses and recoveries"));
    }
}
