//! kestack
pub mod engine;
pub mod image;
pub mod supply;
pub mod manifest;
pub mod pki;
pub mod template;
pub mod client;
