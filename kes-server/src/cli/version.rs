//! `kes --version`

/// Version, runtime, licence and copyright, in the columns of the reference.
pub(super) fn text() -> String {
    let version = env!("CARGO_PKG_VERSION");
    let commit = option_env!("KES_COMMIT").unwrap_or("<unknown>");
    let rust = env!("CARGO_PKG_RUST_VERSION");
    let runtime = format!("rust{rust} {}/{}", std::env::consts::OS, arch());
    let rows = [
        ("Version", version, format!("commit={commit}")),
        ("Runtime", runtime.as_str(), "compiler=rustc".to_owned()),
        ("License", "Apache-2.0", "https://www.apache.org/licenses/LICENSE-2.0".to_owned()),
        ("Copyright", "kestack founders", env!("CARGO_PKG_REPOSITORY").to_owned()),
    ];
    rows.map(|(label, value, note)| format!("{label:<10} {value:<22} {note}")).join("\n") + "\n"
}

/// The processor by the name that KES's tools know.
fn arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
