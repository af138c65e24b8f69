//! The lines that the server prints when it starts (docs/kes-protocol.md §8.3).

use std::{fmt::Write as _, net::SocketAddr};

use crate::{
    api::go_arch,
    auth::{ApiKey, Identity},
    config::{Config, Level},
    memory,
};

/// The banner, with its last line that says that the server is up.
pub(super) fn banner(
    config: &Config,
    keystore: &str,
    (version, commit): (&str, &str),
    api_key: Option<&ApiKey>,
) -> String {
    let rust = env!("CARGO_PKG_RUST_VERSION");
    let mut text = Lines(String::new());
    text.line("Version", &format!("{version:<22} commit={commit}"));
    text.line("Runtime", &format!("rust{rust} {}/{} compiler=rustc", std::env::consts::OS, go_arch()));
    text.line("License", env!("CARGO_PKG_LICENSE"));
    text.line("Copyright", env!("CARGO_PKG_REPOSITORY"));
    text.gap();
    text.line("KMS", keystore);
    text.line("API", &endpoint(config.address));
    text.gap();
    text.line("Docs", env!("CARGO_PKG_REPOSITORY"));
    text.gap();
    if let Some(api_key) = api_key {
        text.line("API Key", &api_key.reveal());
    }
    text.line("Admin", &admin(config.admin()));
    text.line("Logs", &format!("error=stderr level={}", config.error_level));
    if config.audit_level <= Level::INFO {
        text.line("", &format!("audit=stdout level={}", config.audit_level));
    }
    text.line("MLock", &locked());
    text.gap();
    text.0.push_str("=> Server is up and running...\n\n");
    text.0
}

struct Lines(String);

impl Lines {
    fn line(&mut self, label: &str, value: &str) {
        // Writing to a string cannot fail.
        let _: std::fmt::Result = writeln!(self.0, "{label:<11} {value}");
    }

    fn gap(&mut self) {
        self.0.push('\n');
    }
}

fn endpoint(address: SocketAddr) -> String {
    if address.ip().is_unspecified() {
        format!("· https://127.0.0.1:{} and all other addresses of this host", address.port())
    } else {
        format!("· https://{address}")
    }
}

/// A configured text that is not the hash of a key matches nobody.
fn admin(identity: &Identity) -> String {
    let is_hash = identity.as_str().len() == 64 && identity.as_str().bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_hash { identity.to_string() } else { "<disabled>".into() }
}

/// What is kept out of swap. Only secrets are locked, not the complete process.
fn locked() -> String {
    let report = memory::report();
    if report.unlocked == 0 {
        format!("secrets only ({} KiB locked)", report.locked / 1024)
    } else {
        "off: the limit is too low, raise it with 'ulimit -l' or the IPC_LOCK capability".into()
    }
}
