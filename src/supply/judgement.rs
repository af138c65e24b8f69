//! Assesses a MinIO by its own statements about itself.

use super::releases::{Defect, Flavour, Lineage, Releases, Standing};
use super::version::{self, Answer};
use super::{ImageSource, SupplyError, cache_folder};
use crate::engine::Env;

/// How good a MinIO is.
#[derive(Debug)]
pub(super) struct Judgement {
    /// Which flavour it is.
    pub(super) flavour: Option<Flavour>,
    /// Whether there will be releases that repair what is found.
    pub(super) standing: Option<Standing>,
    /// Published defects; `None` if they are unknown.
    pub(super) defects: Option<Vec<Defect>>,
    /// What to do about it.
    pub(super) advice: Option<String>,
}

impl Releases {
    /// Judges a MinIO that says this of itself.
    pub(super) fn judge(&self, answer: &Answer) -> Judgement {
        let flavour = self.flavour(answer);
        let Some((flavour, lineage)) = flavour.and_then(|flavour| Some((flavour, self.lineage(flavour)?))) else {
            let advice = "defects unknown: it does not tell which flavour of MinIO it is; ask its maker";
            return Judgement { flavour, standing: None, defects: None, advice: Some(advice.into()) };
        };
        let defects = self.defects(flavour, answer.release.as_deref());
        let advice = advice(lineage, defects.as_deref());
        Judgement { flavour: Some(flavour), standing: Some(lineage.standing), defects, advice }
    }
}

fn advice(lineage: &Lineage, defects: Option<&[Defect]>) -> Option<String> {
    let Lineage { since, advice, last_release, source, .. } = lineage;
    match (lineage.standing, defects) {
        (Standing::Frozen, _) => Some(format!("frozen since {since}: {advice}")),
        (Standing::Maintained, Some([])) => None,
        (Standing::Maintained, Some(_)) => Some(format!("{advice}, {last_release} or later: {source}")),
        (Standing::Maintained, None) => Some(format!(
            "defects unknown: its release is not among those up to {last_release}, the newest that this kestack knows; see {source}"
        )),
    }
}

/// The warning for somebody who deploys this MinIO elsewhere; `None` if no defect is known.
///
/// # Errors
/// [`SupplyError::Releases`] if the data of releases cannot be read, which a test excludes.
pub async fn warning(source: &ImageSource, env: &Env<'_>) -> Result<Option<String>, SupplyError> {
    let releases = Releases::known().map_err(SupplyError::Releases)?;
    let answer = match source.program().filter(|program| program.is_file()) {
        Some(program) => version::of_program(&program, cache_folder(env).as_deref()).await,
        None => source.promise(),
    };
    let Judgement { defects, advice, .. } = releases.judge(&answer);
    let known = match defects.as_deref() {
        Some([]) => return Ok(None),
        Some([_]) => "1 known defect; ".to_owned(),
        Some(several) => format!("{} known defects; ", several.len()),
        None => String::new(),
    };
    Ok(Some(format!("MinIO is {source}: {known}{}", advice.unwrap_or_default())))
}
