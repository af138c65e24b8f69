//! `kes --version`

use crate::api::go_arch;
pub(super) use crate::release::VERSION;
use crate::release::{self, TARGET};

/// The commit, if the build knew it.
pub(super) const COMMIT: &str = match release::COMMIT {
    Some(commit) => commit,
    None => "<unknown>",
};

/// Version, runtime, licence and copyright, in the columns of MinIO KES.
pub(super) fn text() -> String {
    let rust = env!("CARGO_PKG_RUST_VERSION");
    let runtime = format!("rust{rust} {}/{}", std::env::consts::OS, go_arch());
    let rows = [
        ("Version", VERSION, format!("commit={COMMIT}")),
        ("Runtime", runtime.as_str(), format!("compiler=rustc target={TARGET}")),
        ("License", "Apache-2.0", "https://www.apache.org/licenses/LICENSE-2.0".to_owned()),
        ("Copyright", "kestack founders", env!("CARGO_PKG_REPOSITORY").to_owned()),
    ];
    rows.map(|(label, value, note)| format!("{label:<10} {value:<22} {note}")).join("\n") + "\n"
}
