//! kes

pub mod client;
pub mod crypto;
