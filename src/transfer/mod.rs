//! Stacks in other forms: exports, imports, bundles.

pub mod bundle;
pub mod export;
pub mod import;
