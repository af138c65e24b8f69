//! Stacks in other forms: exports, imports, bundles, one image with everything.

pub mod bundle;
pub mod export;
pub mod image;
pub mod import;
