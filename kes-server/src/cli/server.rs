//! `kes server`

use std::{net::SocketAddr, path::PathBuf};

use super::{CliError, session::Session, supervise, version};
use crate::{
    auth::Identity,
    config::{self, Config, Overrides, TlsConfig},
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
    /// Run a volatile server in memory with its own API key, to try it
    #[arg(long)]
    dev: bool,
    /// End if the keystore cannot be reached at start, instead of serving and trying again
    #[arg(long)]
    fail_fast: bool,
    /// Accept deny rules that can match nothing, instead of refusing to start
    #[arg(long)]
    allow_dead_rules: bool,
    /// The admin, if the configuration names none: a flag of older releases
    #[arg(long, hide = true, value_name = "identity")]
    root: Option<String>,
    #[command(flatten)]
    ignored: IgnoredFlags,
}

/// Flags of older releases, without effect next to a configuration. Scripts and the operator of `MinIO` still pass
/// them.
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
    let patience = if arguments.fail_fast { Patience::Fail } else { Patience::Wait };
    let address = arguments.addr.as_deref().map(config::address).transpose().map_err(CliError::plain)?;
    let volatile = if arguments.dev || arguments.config.is_some() { None } else { arguments.volatile()? };
    if let Some((admin, files)) = volatile {
        session.output.warning("NO CONFIGURATION: KEYS ARE IN MEMORY ONLY, AND ARE LOST WHEN THIS SERVER ENDS");
        session.output.warning("a server without '--config' is for tests; its data becomes unreadable");
        let options = options(None, patience, session);
        return server::run_volatile(address, admin, files, options, commands).await.map_err(CliError::plain);
    }
    for (flag, why) in arguments.ignored.given() {
        session.output.warning(&format!("'{flag}' is ignored: {why}"));
    }
    match (arguments.dev, arguments.config) {
        (true, Some(_)) => Err(CliError::message("'--config' flag is not supported in development mode")),
        (true, None) => {
            if arguments.root.is_some() {
                session.output.warning("'--root' is ignored: a server in development mode makes its own admin");
            }
            server::run_dev(address, options(None, patience, session), commands).await.map_err(CliError::plain)
        }
        (false, file) => {
            let overrides = (arguments.root, address, arguments.allow_dead_rules);
            let (config, reload) = load(file.unwrap_or_default(), overrides, session)?;
            server::run(config, options(Some(reload), patience, session), commands).await.map_err(CliError::plain)
        }
    }
}

/// The configuration, and how to read it again.
fn load(
    file: PathBuf,
    (root, address, allows_dead_rules): (Option<String>, Option<SocketAddr>, bool),
    session: &Session<'_>,
) -> Result<(Config, Reload), CliError> {
    let (path, environment) = (file.clone(), session.environment.clone());
    let read = move || {
        let overrides = Overrides { admin: root.as_deref(), address, allows_dead_rules };
        Config::load_for(overrides, &path, &|name| environment.get(name))
    };
    let reload = Reload::new(file, read);
    let config = reload.config().map_err(CliError::plain)?;
    for warning in &config.warnings {
        session.output.warning(warning);
    }
    Ok((config, reload))
}

impl ServerArguments {
    /// Admin and certificate of a server without a configuration, as releases up to v0.17 could be started; `None` if
    /// none of their flags is given.
    fn volatile(&self) -> Result<Option<(Identity, TlsConfig)>, CliError> {
        let IgnoredFlags { key, cert, auth, .. } = &self.ignored;
        let flags = [("--key", key), ("--cert", cert), ("--root", &self.root)];
        let (Some(key), Some(cert), Some(root)) = (key, cert, &self.root) else {
            let missing = flags.iter().find(|(_, value)| value.is_none());
            return match missing.filter(|_| flags.iter().any(|(_, value)| value.is_some())) {
                Some((flag, _)) => Err(CliError::message(format!(
                    "no '--config', and no '{flag}': a server in memory needs '--key', '--cert' and '--root'"
                ))),
                None => Ok(None),
            };
        };
        let verify_clients = match auth.as_deref().unwrap_or("on") {
            "on" => true,
            "off" => false,
            other => return Err(CliError::message(format!("'--auth' must be 'on' or 'off', not '{other}'"))),
        };
        let files = TlsConfig { key: key.into(), cert: cert.into(), ca: None, password: None, verify_clients };
        Ok(Some((Identity::new(root), files)))
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
        const IN_FILE: &str = "the configuration file decides that now";
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
