//! `kes server`

use std::path::PathBuf;

use super::{CliError, session::Session, supervise, version};
use crate::{
    config::{self, Config},
    keystore::Patience,
    server::{self, Reload, ServeOptions},
};

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
    /// End if the keystore cannot be reached at start, instead of serving and trying again
    #[arg(long)]
    fail_fast: bool,
    /// The admin, if the configuration names none: a flag of older releases
    #[arg(long, hide = true, value_name = "identity")]
    root: Option<String>,
    #[command(flatten)]
    ignored: IgnoredFlags,
}

/// Flags of older releases without effect. Scripts and the operator of `MinIO` still pass them.
#[derive(Debug, clap::Args)]
struct IgnoredFlags {
    #[arg(long, hide = true, value_name = "file")]
    key: Option<String>,
    #[arg(long, hide = true, value_name = "file")]
    cert: Option<String>,
    #[arg(long, hide = true, value_name = "on|off", num_args = 0..=1, default_missing_value = "on")]
    auth: Option<String>,
    #[arg(long, hide = true)]
    mlock: bool,
    #[arg(short, long, hide = true)]
    quiet: bool,
}

/// Serves until a signal ends it.
pub(super) async fn run(arguments: ServerArguments, session: &Session<'_>) -> Result<(), CliError> {
    let commands = server::signals().map_err(|error| CliError::message(format!("cannot handle signals: {error}")))?;
    if session.environment.get("KES_SUPERVISED").is_some() {
        supervise::end_with_parent();
    }
    for (flag, why) in arguments.ignored.given() {
        session.output.warning(&format!("'{flag}' is ignored: {why}"));
    }
    let patience = if arguments.fail_fast { Patience::Fail } else { Patience::Wait };
    let address = arguments.addr.as_deref().map(config::address).transpose().map_err(CliError::plain)?;
    match (arguments.dev, arguments.config) {
        (true, Some(_)) => Err(CliError::message("'--config' flag is not supported in development mode")),
        (true, None) => {
            if arguments.root.is_some() {
                session.output.warning("'--root' is ignored: a server in development mode makes an admin of its own");
            }
            server::run_dev(address, options(None, patience, session), commands).await.map_err(CliError::plain)
        }
        (false, file) => {
            let (file, environment) = (file.unwrap_or_default(), session.environment.clone());
            let (path, root) = (file.clone(), arguments.root);
            let read = move || Config::load_for(root.as_deref(), &path, &|name| environment.get(name));
            let mut config = read().map_err(CliError::plain)?;
            for warning in &config.warnings {
                session.output.warning(warning);
            }
            config.address = address.unwrap_or(config.address);
            server::run(config, options(Some(Reload::new(file, read)), patience, session), commands)
                .await
                .map_err(CliError::plain)
        }
    }
}

fn options(reload: Option<Reload>, patience: Patience, session: &Session<'_>) -> ServeOptions {
    ServeOptions {
        stdout: Box::new(std::io::stdout()),
        stderr: Box::new(std::io::stderr()),
        version: version::VERSION,
        commit: version::COMMIT,
        environment: session.environment.for_keystores(),
        patience,
        reload,
        listening: None,
    }
}

impl IgnoredFlags {
    /// The flags that were given, and what makes each of them needless.
    fn given(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        const IN_FILE: &str = "the configuration file says it now";
        let flags = [
            ("--key", IN_FILE, self.key.is_some()),
            ("--cert", IN_FILE, self.cert.is_some()),
            ("--auth", IN_FILE, self.auth.is_some()),
            ("--mlock", "the memory of keys is always locked", self.mlock),
            ("--quiet", IN_FILE, self.quiet),
        ];
        flags.into_iter().filter(|(.., is_given)| *is_given).map(|(flag, why, _)| (flag, why))
    }
}
