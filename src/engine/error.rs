//! Why a call to an engine failed, in terms that a caller can act on.

/// An engine call that failed.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// No engine answers; the text lists each place tried with its error and what to do.
    #[error("{0}")]
    NotFound(String),
    /// The engine refused a call.
    #[error("{call}: {message}{}", hint.as_deref().map(|h| format!("\n  {h}")).unwrap_or_default())]
    Refused {
        /// The request, as something the user can repeat.
        call: String,
        /// What is in the way.
        obstacle: Obstacle,
        /// What the engine said.
        message: String,
        /// What to do about it, where known.
        hint: Option<String>,
    },
    /// The connection failed or the call took too long.
    #[error("{call}: {source}")]
    Connection {
        /// The request.
        call: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The engine answered something unexpected.
    #[error("{call}: unexpected answer: {detail}")]
    Answer {
        /// The request.
        call: String,
        /// What was wrong with the answer.
        detail: String,
    },
}

/// What is in the way of a refused call. Each kind but the last two is one that kestack removes by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Obstacle {
    /// Somebody else has this port, or the engine keeps it for a container that is gone.
    TakenPort(u16),
    /// The container's image is not there.
    MissingImage,
    /// Only removing the container helps: it is in no state to be started, signalled or stopped, or the engine cannot
    /// say why it does not start it.
    StuckContainer,
    /// A folder that should be mounted is not there as the engine sees it.
    UnsharedFolder,
    /// The name is taken, or somebody else is at the same thing.
    Conflict,
    /// The engine failed, for a reason that nobody knows.
    Unexplained,
    /// Something else, which the message explains.
    Other,
}

impl EngineError {
    /// What is in the way, if the engine refused the call.
    pub fn obstacle(&self) -> Option<Obstacle> {
        match self {
            Self::Refused { obstacle, .. } => Some(*obstacle),
            _ => None,
        }
    }

    /// True if the engine refused a call that names this container.
    pub(crate) fn refuses(&self, container: &str) -> bool {
        matches!(self, Self::Refused { call, .. } if call.split_whitespace().any(|word| word == container))
    }

    /// The same of a call that starts a container. One that an engine does not start and cannot say why was half started
    /// when the engine's service died: its runtime refuses without a reason (docs/containers.md §8).
    pub(super) fn of_start(mut self) -> Self {
        if let Self::Refused { obstacle: obstacle @ Obstacle::Unexplained, .. } = &mut self {
            *obstacle = Obstacle::StuckContainer;
        }
        self
    }
}
