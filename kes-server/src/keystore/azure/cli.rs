//! Azure's command lines: the identity of whoever is logged in at this machine.

use std::io::ErrorKind;
use std::process::Stdio;
use std::time::Duration;

use serde::Deserialize;
use tokio::process::Command;
use zeroize::Zeroizing;

use super::challenge::Challenge;
use super::credential::{Denied, Granted, until};
use crate::config::Secret;

/// Longest time that a command line may think.
const DEADLINE: Duration = Duration::from_secs(10);
/// How long a token lasts that does not say so.
const LIFE: Duration = Duration::from_secs(5 * 60);

/// `az` or `azd`.
#[derive(Debug)]
pub(super) struct Cli {
    program: &'static str,
    /// Where it is looked for.
    path: Option<String>,
}

impl Cli {
    /// The Azure CLI.
    pub(super) fn az(path: Option<String>) -> Self {
        Self { program: "az", path }
    }

    /// The Azure Developer CLI.
    pub(super) fn azd(path: Option<String>) -> Self {
        Self { program: "azd", path }
    }

    /// Asks it for a token. All that goes wrong means that nobody is logged in.
    pub(super) async fn token(&self, challenge: &Challenge) -> Result<Granted, Denied> {
        let absent = |why: &str| Denied::Absent(format!("{}: {why}", self.program));
        let Some(path) = &self.path else { return Err(absent("PATH is not set")) };
        let mut command = Command::new(self.program);
        command.args(self.arguments(challenge)).env("PATH", path).stdin(Stdio::null()).kill_on_drop(true);
        let output = match tokio::time::timeout(DEADLINE, command.output()).await {
            Ok(Ok(output)) => output,
            Ok(Err(error)) if error.kind() == ErrorKind::NotFound => return Err(absent("not installed")),
            Ok(Err(error)) => return Err(absent(&error.to_string())),
            Err(_) => return Err(absent("no answer within 10 s")),
        };
        let stdout = Zeroizing::new(output.stdout);
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(absent(said.lines().next().unwrap_or("it failed without a word")));
        }
        parse(&stdout).ok_or_else(|| absent("it gives no token"))
    }

    /// Each value is an argument of its own, and none of the two can begin with a dash.
    fn arguments(&self, challenge: &Challenge) -> Vec<String> {
        let (tenant, resource) = (challenge.tenant.clone(), challenge.resource.clone());
        let (fixed, values): (&[&str], _) = match self.program {
            "az" => {
                (&["account", "get-access-token", "--output", "json"], [("--resource", resource), ("--tenant", tenant)])
            }
            _ => (
                &["auth", "token", "--output", "json", "--no-prompt"],
                [("--scope", format!("{resource}/.default")), ("--tenant-id", tenant)],
            ),
        };
        let values = values.into_iter().flat_map(|(option, value)| [option.to_owned(), value]);
        fixed.iter().map(|word| (*word).to_owned()).chain(values).collect()
    }
}

/// `accessToken` and `expires_on` are those of `az`, `token` and `expiresOn` those of `azd`.
fn parse(json: &[u8]) -> Option<Granted> {
    #[derive(Deserialize)]
    struct Output {
        #[serde(alias = "accessToken")]
        token: Secret,
        expires_on: Option<u64>,
        #[serde(rename = "expiresOn")]
        end: Option<String>,
    }

    let output: Output = serde_json::from_slice(json).ok()?;
    let end = output.end.and_then(|end| end.parse::<jiff::Timestamp>().ok());
    let seconds = output.expires_on.or_else(|| u64::try_from(end?.as_second()).ok());
    let life = seconds.and_then(until).unwrap_or(LIFE);
    Some(Granted { token: output.token, life }).filter(|granted| !granted.token.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whatever is in a challenge, it stays one argument.
    #[test]
    fn each_value_is_one_argument() {
        let challenge = Challenge { tenant: "a tenant".into(), resource: "https://v --resource https://x".into() };
        let [az, azd] = [Cli::az(None), Cli::azd(None)].map(|cli| cli.arguments(&challenge));
        assert_eq!(az[..4], ["account", "get-access-token", "--output", "json"]);
        assert_eq!(az[4..], ["--resource", "https://v --resource https://x", "--tenant", "a tenant"]);
        assert_eq!(azd[..5], ["auth", "token", "--output", "json", "--no-prompt"]);
        assert_eq!(azd[5..], ["--scope", "https://v --resource https://x/.default", "--tenant-id", "a tenant"]);
    }

    #[test]
    fn both_forms_of_output_are_read() {
        let az =
            parse(br#"{"accessToken":"t","expiresOn":"2030-01-01 10:00:00.000000","expires_on":4070908800}"#).unwrap();
        assert_eq!(az.token.expose(), "t");
        assert!(az.life > Duration::from_secs(86_400));
        let azd = parse(br#"{"token":"t","expiresOn":"2099-01-01T00:00:00Z"}"#).unwrap();
        assert!(azd.life > Duration::from_secs(86_400));
        assert_eq!(parse(br#"{"token":"t"}"#).unwrap().life, LIFE);
        assert!(parse(br#"{"token":""}"#).is_none());
        assert!(parse(b"ERROR: Please run 'az login'").is_none());
    }
}
