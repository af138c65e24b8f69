//! The programs that took part.

use kes_server::release::{COMMIT, VERSION};
use schemars::JsonSchema;
use serde::Serialize;

use crate::operate::minio_change;
use crate::resource::Context;
use crate::stack::Stack;

/// What ran, by its own word.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct Versions {
    /// Version and commit of kestack.
    pub(crate) kestack: String,
    /// Version of the KES that answers; null if none does.
    pub(crate) kes: Option<String>,
    /// Flavour and release of the MinIO that serves the data; null if that is not known.
    pub(crate) minio: Option<String>,
    /// The engine that runs them, and its version.
    pub(crate) engine: String,
}

impl Versions {
    /// Those of a stack. What does not answer is not known.
    pub(crate) async fn of(stack: &Stack, context: &Context) -> Self {
        let info = context.engine.info();
        let minio = minio_change::serving(&stack.layout).ok().flatten();
        Self {
            kestack: format!("{VERSION} (commit {})", COMMIT.unwrap_or("unknown")),
            kes: context.kes.version().await.ok().map(|answer| answer.version),
            minio: minio.map(|release| release.to_string()),
            engine: format!("{} {}", info.kind, info.version),
        }
    }
}
