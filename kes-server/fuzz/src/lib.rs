//! What must hold for any input, one module per reader of kes-server. Each `check` panics where it does not.
//!
//! The fuzz targets call these, and so does `tests/corpora.rs` for every file of the corpora: this file is a module
//! there, so nothing in here may name the crate it is in.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    reason = "a check tells by panicking"
)]

pub mod api_key;
pub mod ciphertext;
pub mod client_certificate;
pub mod config;
pub mod duration;
pub mod pem_file;
pub mod policy;
pub mod request_body;
pub mod request_path;
pub mod stored_key;

/// The check of a target.
pub type Check = fn(&[u8]);

/// All targets by name.
pub const TARGETS: [(&str, Check); 10] = [
    ("api_key", api_key::check),
    ("ciphertext", ciphertext::check),
    ("client_certificate", client_certificate::check),
    ("config", config::check),
    ("duration", duration::check),
    ("pem_file", pem_file::check),
    ("policy", policy::check),
    ("request_body", request_body::check),
    ("request_path", request_path::check),
    ("stored_key", stored_key::check),
];
