//! kes

pub mod client;
