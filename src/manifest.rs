//! (in progress)
/// Which engine a stack wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EngineKind {
    /// The first that answers.
    Auto,
    /// Podman.
    Podman,
    /// Docker.
    Docker,
    /// No container engine.
    Process,
}
