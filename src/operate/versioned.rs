//! What every answer in JSON has, whoever gives it.

use schemars::JsonSchema;
use serde::Serialize;

/// Version of the JSON of all answers; grows when a field changes its meaning or goes.
pub(crate) const SCHEMA_VERSION: u32 = 2;

/// An answer with the version of its form.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Versioned<'a, T> {
    /// Version of the form of the answers; it grows when a field changes its meaning or goes.
    schema_version: u32,
    #[serde(flatten)]
    result: &'a T,
}

impl<'a, T> Versioned<'a, T> {
    pub(crate) fn new(result: &'a T) -> Self {
        Self { schema_version: SCHEMA_VERSION, result }
    }
}
