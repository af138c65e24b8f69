//! `kes policy explain`: which rule decides a call, and why.

use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;

use super::super::{
    CliError,
    identity::identity_of_subject,
    output,
    session::{ServerFlags, Session},
};
use crate::{
    auth::{self, Access, Decision, Identity, Policy},
    client::ClientError,
    config::Config,
};

#[derive(Debug, Args)]
pub(in crate::cli) struct ExplainArguments {
    /// The caller: an identity, an API key or a certificate file
    #[arg(value_name = "identity")]
    identity: String,
    /// Path of the call, such as /v1/key/generate/my-key
    #[arg(value_name = "path")]
    path: String,
    /// Ask this configuration file instead of a server
    #[arg(long, value_name = "file")]
    config: Option<PathBuf>,
    /// Print the decision as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerFlags,
}

/// A decision, as JSON shows it.
#[derive(Debug, Serialize)]
struct Explanation {
    identity: String,
    path: String,
    allowed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    policy: Option<String>,
    /// The pattern that decides.
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<String>,
    reason: String,
}

/// Ends with 0 if the call is allowed and 1 if not, as `kubectl auth can-i` does.
pub(super) async fn run(arguments: ExplainArguments, session: &Session<'_>) -> Result<(), CliError> {
    let identity = identity_of_subject(&arguments.identity)?;
    let path = arguments.path.as_str();
    if !path.starts_with('/') {
        return Err(CliError::message(format!("'{path}' is not a path: it must start with '/'")));
    }
    let explanation = if let Some(file) = &arguments.config {
        by_file(file, &identity, path, session)?
    } else {
        let access = access(&identity, &arguments.server, session).await?;
        Explanation::new(&identity, path, access.decide(&identity, &auth::asked(path)))
    };
    let text = if arguments.json { super::super::json_line(&explanation)? } else { explanation.text() };
    output::print(&text)?;
    if explanation.allowed { Ok(()) } else { Err(CliError::Ended(1)) }
}

fn by_file(file: &Path, identity: &Identity, path: &str, session: &Session<'_>) -> Result<Explanation, CliError> {
    let config = Config::load(file, &|name| session.environment.get(name))
        .map_err(|error| CliError::message(format!("{}: {error}", file.display())))?;
    let asked = auth::asked(path);
    let is_open = |route: &&str| config.api.get(*route).is_some_and(|api| api.skip_auth);
    Ok(match auth::route_of(&asked).filter(is_open) {
        Some(route) => {
            let reason = format!("api.{route}.skip_auth lets everybody call it");
            Explanation::complete(identity, path, true, None, reason)
        }
        None => Explanation::new(identity, path, config.access.decide(identity, &asked)),
    })
}

/// What a server says of one identity.
async fn access(identity: &Identity, flags: &ServerFlags, session: &Session<'_>) -> Result<Access, CliError> {
    let client = session.client(flags)?;
    let failed = |error: &ClientError| CliError::call(&format!("failed to explain '{identity}'"), error);
    let nobody = || Access::new(Identity::new(""), []).map_err(CliError::plain);
    let info = match client.describe_identity(identity.as_str()).await {
        Err(error) if error.status() == Some(404) => return nobody(),
        info => info.map_err(|error| failed(&error))?,
    };
    if info.admin {
        return Access::new(identity.clone(), []).map_err(CliError::plain);
    }
    let policy = client.read_policy(&info.policy).await.map_err(|error| failed(&error))?;
    let rules = Policy { allow: policy.allow.into_keys().collect(), deny: policy.deny.into_keys().collect() };
    Access::new(Identity::new(""), [(info.policy, rules, vec![identity.clone()])]).map_err(CliError::plain)
}

impl Explanation {
    fn new(identity: &Identity, path: &str, decision: Decision<'_>) -> Self {
        if auth::is_open(path) {
            return Self::complete(identity, path, true, None, "everybody may call it".into());
        }
        let deciding = match decision {
            Decision::Allowed { policy, rule } | Decision::Denied { policy, rule } => Some((policy, Some(rule))),
            Decision::NotAllowed { policy } => Some((policy, None)),
            Decision::Admin | Decision::UnknownIdentity => None,
        };
        Self::complete(identity, path, decision.is_allowed(), deciding, decision.to_string())
    }

    /// With what the path itself decides: a permission for a call that cannot be served is none.
    fn complete(
        identity: &Identity,
        path: &str,
        is_allowed: bool,
        deciding: Option<(&str, Option<&str>)>,
        mut reason: String,
    ) -> Self {
        let asked = auth::asked(path);
        if asked != path {
            reason = format!("{reason}; policies are asked about '{asked}'");
        }
        let is_call = auth::is_call(&asked);
        if !is_call {
            reason = format!("no route has this path, or the name in it is not valid ({reason})");
        }
        Self {
            identity: identity.to_string(),
            path: path.to_owned(),
            allowed: is_allowed && is_call,
            policy: deciding.map(|(policy, _)| policy.to_owned()),
            rule: deciding.and_then(|(_, rule)| rule).map(str::to_owned),
            reason,
        }
    }

    fn text(&self) -> String {
        format!("{}: {}\n", if self.allowed { "allowed" } else { "denied" }, output::printable(&self.reason))
    }
}
