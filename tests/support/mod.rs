//! What tests of the command line share.

use std::path::PathBuf;

/// The tool under test: a release build if `KESTACK_BIN` names one.
pub(crate) fn binary() -> PathBuf {
    std::env::var_os("KESTACK_BIN").map_or_else(|| env!("CARGO_BIN_EXE_kestack").into(), PathBuf::from)
}

/// Bytes as text.
pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
