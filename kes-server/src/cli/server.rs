//! `kes server`

use std::path::PathBuf;

use super::{CliError, session::Session};
use crate::config::Config;

#[derive(Debug, clap::Args)]
pub(super) struct ServerArguments {
    /// Address to listen on, instead of the configuration's
    #[arg(long, value_name = "ip:port")]
    addr: Option<String>,
    /// Configuration file
    #[arg(long, value_name = "file")]
    config: Option<PathBuf>,
    /// Run a volatile server in memory for a try, with an API key of its own
    #[arg(long)]
    dev: bool,
    #[command(flatten)]
    ignored: IgnoredFlags,
}

/// Flags of older releases, which the configuration file has taken over. Scripts and the operator of `MinIO` still pass
/// them.
#[derive(Debug, clap::Args)]
struct IgnoredFlags {
    #[arg(long, hide = true, value_name = "file")]
    key: Option<String>,
    #[arg(long, hide = true, value_name = "file")]
    cert: Option<String>,
    #[arg(long, hide = true, value_name = "on|off", num_args = 0..=1, default_missing_value = "on")]
    auth: Option<String>,
    #[arg(long, hide = true, value_name = "identity")]
    root: Option<String>,
    #[arg(long, hide = true)]
    mlock: bool,
    #[arg(short, long, hide = true)]
    quiet: bool,
}

pub(super) fn run(arguments: &ServerArguments, session: &Session<'_>) -> Result<(), CliError> {
    for flag in arguments.ignored.given() {
        session.output.warning(&format!("'{flag}' is ignored: the configuration file says it now"));
    }
    if arguments.dev && arguments.config.is_some() {
        return Err(CliError::message("'--config' flag is not supported in development mode"));
    }
    let file = arguments.config.clone().unwrap_or_default();
    let mut config = Config::load(&file, &|name| session.environment.get(name)).map_err(CliError::plain)?;
    if let Some(address) = &arguments.addr {
        config.address = address.parse().map_err(|_| CliError::message(format!("invalid address '{address}'")))?;
    }
    Err(CliError::message("this build has no server yet"))
}

impl IgnoredFlags {
    fn given(&self) -> impl Iterator<Item = &'static str> {
        let flags = [
            ("--key", self.key.is_some()),
            ("--cert", self.cert.is_some()),
            ("--auth", self.auth.is_some()),
            ("--root", self.root.is_some()),
            ("--mlock", self.mlock),
            ("--quiet", self.quiet),
        ];
        flags.into_iter().filter(|(_, is_given)| *is_given).map(|(flag, _)| flag)
    }
}
