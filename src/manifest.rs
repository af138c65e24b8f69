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
/// The KES server of a stack.
#[derive(Debug, Clone, Default)]
pub struct KesSection {
    /// An image instead of our own.
    pub image: Option<String>,
    /// The `kes` binary to make the image from.
    pub binary: Option<std::path::PathBuf>,
}
/// The MinIO server of a stack.
#[derive(Debug, Clone, Default)]
pub struct MinioSection {
    /// The image to use.
    pub image: Option<String>,
    /// The `minio` binary to make the image from.
    pub binary: Option<std::path::PathBuf>,
}
