//! Facts about MinIO's flavours and their releases: a small file of data with its date (docs/minio-kms-client.md §8).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::version::Answer;

/// Releases of the flavours, and what is wrong with which.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Releases {
    /// Day of the knowledge.
    pub(super) as_of: String,
    flavours: BTreeMap<Flavour, Lineage>,
    advisories: Vec<Advisory>,
}

/// Which server it is; all speak the same to KES and read the same data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Flavour {
    /// MinIO, which its owner no longer repairs.
    Minio,
    /// Silo, its maintained fork.
    Silo,
}

/// How a flavour is looked after.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Standing {
    /// New releases repair what is found.
    Maintained,
    /// There will be no release any more.
    Frozen,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Lineage {
    pub(super) standing: Standing,
    /// First day on which this is so.
    pub(super) since: String,
    /// Where its source is.
    pub(super) source: String,
    /// The newest one known.
    pub(super) last_release: String,
    pub(super) advice: String,
}

/// A defect that others can make use of.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Advisory {
    id: String,
    reference: String,
    what: String,
    fixed: BTreeMap<Flavour, String>,
}

/// A published defect that a server has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct Defect {
    /// Its CVE.
    pub id: String,
    /// Where it is described.
    pub reference: String,
    /// What it allows.
    pub what: String,
}

impl Releases {
    /// What this version of kestack knows.
    ///
    /// # Errors
    /// The file's mistake; a test holds that there is none.
    pub(super) fn known() -> Result<Self, String> {
        serde_yaml::from_str(include_str!("releases.yaml")).map_err(|error| format!("releases.yaml: {error}"))
    }

    pub(super) fn lineage(&self, flavour: Flavour) -> Option<&Lineage> {
        self.flavours.get(&flavour)
    }

    /// Where the sources of all flavours are.
    pub(super) fn sources(&self) -> String {
        let one = |(flavour, lineage): (&Flavour, &Lineage)| format!("{flavour} (AGPL-3.0): {}\n", lineage.source);
        let minio: String = self.flavours.iter().map(one).collect();
        format!("{minio}kes (Apache-2.0): {}\n", env!("CARGO_PKG_REPOSITORY"))
    }

    /// The flavour of a server that says this of itself. Both have the same variables and options, but Silo has had no
    /// release before MinIO's last one; without a release it is the name that the server calls itself.
    pub(super) fn flavour(&self, answer: &Answer) -> Option<Flavour> {
        let last = self.lineage(Flavour::Minio).map(|minio| minio.last_release.as_str())?;
        match answer.release.as_deref().filter(|release| is_release(release)) {
            Some(release) if release > last => Some(Flavour::Silo),
            Some(_) => Some(Flavour::Minio),
            None => Flavour::named(answer.name.as_deref()?),
        }
    }

    /// The defects of a release; `None` if they are unknown, because the release is not named or newer than what is known.
    /// Of a frozen flavour there is no newer one: without a name it has at least those that no release is without.
    pub(super) fn defects(&self, flavour: Flavour, release: Option<&str>) -> Option<Vec<Defect>> {
        let lineage = self.lineage(flavour)?;
        let release = release.filter(|release| is_release(release) && *release <= lineage.last_release.as_str());
        if release.is_none() && lineage.standing == Standing::Maintained {
            return None;
        }
        let has = |advisory: &&Advisory| match (advisory.fixed.get(&flavour), release) {
            (None, _) => true,
            (Some(fixed), Some(release)) => release < fixed.as_str(),
            (Some(_), None) => false,
        };
        let all = self.advisories.iter().filter(has);
        let defect = |found: &Advisory| Defect {
            id: found.id.clone(),
            reference: found.reference.clone(),
            what: found.what.clone(),
        };
        Some(all.map(defect).collect())
    }
}

impl Flavour {
    /// The flavour whose program has that name.
    pub(super) fn named(program: &str) -> Option<Self> {
        match program {
            "minio" => Some(Self::Minio),
            "silo" => Some(Self::Silo),
            _ => None,
        }
    }
}

impl std::fmt::Display for Flavour {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Minio => "MinIO",
            Self::Silo => "Silo",
        })
    }
}

/// `RELEASE.2025-10-15T17-29-55Z`: such names sort by their time.
pub(super) fn is_release(text: &str) -> bool {
    const FORM: &str = "RELEASE.0000-00-00T00-00-00Z";
    let fits = |(byte, form): (u8, u8)| if form == b'0' { byte.is_ascii_digit() } else { byte == form };
    text.len() == FORM.len() && text.bytes().zip(FORM.bytes()).all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn defects(flavour: Flavour, release: Option<&str>) -> Option<usize> {
        Some(Releases::known().unwrap().defects(flavour, release)?.len())
    }

    #[test]
    fn the_file_can_be_read_and_its_releases_compared() {
        let releases = Releases::known().unwrap();
        assert!(releases.as_of.parse::<jiff::civil::Date>().is_ok());
        for flavour in [Flavour::Minio, Flavour::Silo] {
            let lineage = releases.lineage(flavour).unwrap();
            assert!(is_release(&lineage.last_release) && lineage.source.starts_with("https://"));
            assert!(lineage.since.parse::<jiff::civil::Date>().is_ok());
        }
        assert!(releases.advisories.iter().flat_map(|advisory| advisory.fixed.values()).all(|fixed| is_release(fixed)));
        for bad in ["", "latest", "RELEASE.2025-10-15T17-29-55Z-cpuv1", "DEVELOPMENT.GOGET"] {
            assert!(!is_release(bad), "{bad}");
        }
    }

    #[test]
    fn what_is_repaired_in_a_release_is_no_defect_of_it() {
        assert_eq!(defects(Flavour::Minio, Some("RELEASE.2025-09-07T16-13-09Z")), Some(8));
        assert_eq!(defects(Flavour::Minio, Some("RELEASE.2025-10-15T17-29-55Z")), Some(7));
        assert_eq!(defects(Flavour::Minio, Some("DEVELOPMENT.GOGET")), Some(7), "those of the last source");
        assert_eq!(defects(Flavour::Silo, Some("RELEASE.2026-09-16T00-00-00Z")), Some(0));
        assert_eq!(defects(Flavour::Silo, Some("RELEASE.2026-08-06T00-00-00Z")), Some(8));
        for unknown in [None, Some("DEVELOPMENT.GOGET"), Some("latest"), Some("RELEASE.2031-01-01T00-00-00Z")] {
            assert_eq!(defects(Flavour::Silo, unknown), None, "{unknown:?}");
        }
    }

    #[test]
    fn a_server_says_which_flavour_it_is() {
        let releases = Releases::known().unwrap();
        let flavour = |name: &str, release: Option<&str>| {
            releases.flavour(&Answer { name: Some(name.into()), release: release.map(str::to_owned) })
        };
        assert_eq!(flavour("silo", None), Some(Flavour::Silo));
        assert_eq!(flavour("minio", Some("DEVELOPMENT.GOGET")), Some(Flavour::Minio));
        assert_eq!(flavour("minio", Some("RELEASE.2026-09-16T00-00-00Z")), Some(Flavour::Silo));
        assert_eq!(flavour("silo", Some("RELEASE.2025-09-07T16-13-09Z")), Some(Flavour::Minio), "a copy of MinIO");
        assert_eq!(flavour("store", None), None);
        assert_eq!(flavour("minio-silo", Some("DEVELOPMENT.GOGET")), None);
    }
}
