//! `kes probe`: whether a server answers, for health checks in containers that have nothing but `kes`.
//!
//! No credentials are needed: without any, the probe makes up an API key. A server that verifies certificates ends the
//! handshake with an alert; that, too, is an answer of a server that runs.

use std::{net::IpAddr, path::PathBuf, time::Duration};

use super::{CliError, session::Session, time};
use crate::{
    auth::ApiKey,
    client::{Client, Credentials, Proxies, Timeouts, Trust},
    config::Config,
};

#[derive(Debug, clap::Args)]
pub(super) struct ProbeArguments {
    /// Server as host:port; by default the environment's, else 127.0.0.1:7373
    #[arg(value_name = "server")]
    server: Option<String>,
    /// Take the address from the server's configuration file
    #[arg(long, value_name = "file", conflicts_with = "server")]
    config: Option<PathBuf>,
    /// Also check whether the keystore is reachable: needs credentials, or `skip_auth` for /v1/ready
    #[arg(long)]
    ready: bool,
    /// How long to wait for an answer
    #[arg(long, value_name = "duration", default_value = "3s", value_parser = time::positive)]
    timeout: Duration,
}

pub(super) async fn run(arguments: ProbeArguments, session: &Session<'_>) -> Result<(), CliError> {
    let (servers, proxies) = match &arguments.config {
        // the server of this machine, whatever its address is
        Some(file) => (vec![own_address(file, session)?], Proxies::none()),
        None => (session.servers(arguments.server.as_deref()), session.environment.proxies()),
    };
    let client = client(&servers, proxies, arguments.timeout, session)?;
    if arguments.ready {
        return Ok(client.ready().await?);
    }
    match client.version().await {
        Ok(_) => Ok(()),
        Err(error) if error.status().is_some_and(|status| status < 500) || error.is_tls_alert() => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn client(servers: &[String], proxies: Proxies, timeout: Duration, session: &Session<'_>) -> Result<Client, CliError> {
    let credentials = session.credentials(None).or_else(|_| stranger())?;
    let timeouts = Timeouts { connect: timeout, request: timeout };
    Ok(Client::by_way_of(proxies, servers, credentials, &Trust::Insecure, timeouts)?)
}

fn stranger() -> Result<Credentials, CliError> {
    let api_key = ApiKey::generate().map_err(CliError::plain)?;
    let certificate = api_key.certificate().map_err(CliError::plain)?;
    Ok(Credentials::new(vec![certificate], api_key.private_key()))
}

/// Where to reach a server that listens on the configured address: a wildcard is asked on the loopback.
fn own_address(file: &std::path::Path, session: &Session<'_>) -> Result<String, CliError> {
    let config = Config::load(file, &|name| session.environment.get(name))
        .map_err(|error| CliError::message(format!("{}: {error}", file.display())))?;
    let mut address = config.address;
    if address.ip().is_unspecified() {
        address.set_ip(match address.ip() {
            IpAddr::V4(_) => IpAddr::from([127, 0, 0, 1]),
            IpAddr::V6(_) => IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1]),
        });
    }
    Ok(address.to_string())
}
