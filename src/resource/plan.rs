//! The decision: a pure function of what is wanted and what is there (docs/architecture.md §3.2).

use serde::Serialize;

/// What was found of a resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Observed {
    /// It does not exist.
    Absent,
    /// It exists.
    Present {
        /// Digest of the state it is in.
        digest: String,
        /// True if it can be used as it is: a pod that runs, a server that answers.
        usable: bool,
    },
    /// It cannot be asked yet, because what would answer does not run.
    Unknown,
}

impl Observed {
    /// Present and usable in the state of that digest.
    pub fn ready(digest: impl Into<String>) -> Self {
        Self::Present { digest: digest.into(), usable: true }
    }
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Decision {
    /// Make it: it is not there.
    Create,
    /// Make sure of it once what answers for it runs.
    Ensure,
    /// Leave it alone.
    Keep,
    /// It is there, but not as wanted: bring it to the wanted state.
    Replace,
}

impl std::fmt::Display for Decision {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.serialize(f)
    }
}

/// Decides what to do with a resource whose wanted state has the digest `wanted`.
pub fn decide(wanted: &str, observed: &Observed) -> Decision {
    match observed {
        Observed::Absent => Decision::Create,
        Observed::Present { digest, usable: true } if digest == wanted => Decision::Keep,
        Observed::Present { .. } => Decision::Replace,
        Observed::Unknown => Decision::Ensure,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decides_by_digest_and_usability() {
        assert_eq!(decide("a", &Observed::Absent), Decision::Create);
        assert_eq!(decide("a", &Observed::ready("a")), Decision::Keep);
        assert_eq!(decide("a", &Observed::ready("b")), Decision::Replace);
        assert_eq!(decide("a", &Observed::Present { digest: "a".into(), usable: false }), Decision::Replace);
        assert_eq!(decide("a", &Observed::Unknown), Decision::Ensure);
    }
}
