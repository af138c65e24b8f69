//! kestack
pub mod client;
pub mod engine;
pub mod image;
pub mod manifest;
pub mod pki;
pub mod supply;
pub mod template;
