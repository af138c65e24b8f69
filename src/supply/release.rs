//! Which MinIO a source gives, so that another one on the same data is noticed.

use serde::{Deserialize, Serialize};

use super::releases::{Flavour, Releases, is_release};
use super::{ImageSource, SupplyError, cache_folder, version};
use crate::engine::{Engine, Env};

/// A MinIO, as it is remembered next to the data that it serves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    /// What containers or processes are made from: another content is another identity.
    pub identity: String,
    /// The name or the program by which the same one is taken again.
    pub reference: String,
    /// Which flavour it is.
    pub flavour: Option<Flavour>,
    /// The release that it says it is.
    pub release: Option<String>,
}

impl Release {
    /// What a source gives. It is asked for its release only if it is not `known`.
    ///
    /// # Errors
    /// Those of the engine; [`SupplyError::Releases`] if the data cannot be read, which a test excludes.
    pub async fn of(
        source: &ImageSource,
        engine: &dyn Engine,
        known: Option<&Self>,
        env: &Env<'_>,
    ) -> Result<Self, SupplyError> {
        let reference = source.reference().to_owned();
        // what is composed here has its content in its name, whether or not the engine has it yet
        let in_engine = if source.names_content() { None } else { engine.image(&reference).await? };
        let identity = in_engine.unwrap_or_else(|| reference.clone());
        if let Some(known) = known.filter(|known| known.identity == identity) {
            return Ok(known.clone());
        }
        let program = source.program().filter(|program| program.is_file());
        let described = match (&program, engine.images()) {
            (None, Ok(store)) => store.describe(&reference).await?,
            _ => None,
        };
        let answer = match (&program, &described) {
            (Some(program), _) => version::of_program(program, cache_folder(env).as_deref()).await,
            (None, Some(image)) => version::of_image(image),
            (None, None) => source.promise(),
        };
        let flavour = Releases::known().map_err(SupplyError::Releases)?.flavour(&answer);
        Ok(Self { identity, reference, flavour, release: answer.release })
    }

    /// True if that is another MinIO than this one: of another flavour or release, or one that only says that it was
    /// built from source, and is not the same.
    pub fn differs(&self, other: &Self) -> bool {
        let is_named = |release: &Self| release.release.as_deref().is_some_and(is_release);
        let same = self.flavour == other.flavour && self.release == other.release && is_named(self);
        self.identity != other.identity && !same
    }
}

impl std::fmt::Display for Release {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.flavour {
            Some(flavour) => write!(f, "{flavour}")?,
            None => f.write_str("a MinIO of unknown flavour")?,
        }
        write!(f, " {}", self.release.as_deref().unwrap_or("of unknown release"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_release_or_flavour_is_another_minio_and_another_place_is_not() {
        let of = |identity: &str, flavour, release: &str| Release {
            identity: identity.into(),
            reference: identity.into(),
            flavour: Some(flavour),
            release: Some(release.into()),
        };
        let (old, new) = ("RELEASE.2025-09-07T16-13-09Z", "RELEASE.2025-10-15T17-29-55Z");
        let now = of("a", Flavour::Minio, old);
        assert!(!now.differs(&of("b", Flavour::Minio, old)), "the same release elsewhere");
        assert!(now.differs(&of("b", Flavour::Minio, new)) && now.differs(&of("b", Flavour::Silo, old)));
        let built = of("a", Flavour::Minio, "DEVELOPMENT.GOGET");
        assert!(!built.differs(&built.clone()) && built.differs(&of("b", Flavour::Minio, "DEVELOPMENT.GOGET")));
        assert_eq!(now.to_string(), format!("MinIO {old}"));
    }
}
