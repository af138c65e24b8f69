//! Sandboxes: listed, made, dropped. The password of a new one is shown once, to whoever made it.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::form::{Filled, some};
use super::frame::Shown;
use crate::host::quote::shell_word;
use crate::interface::Interface;
use crate::interface::given::{Given, Named, invalid, named};
use crate::interface::sandboxes::{self, Wanted};
use crate::operate::sandbox::{Created, Sandbox, SandboxName};
use crate::stack::STALE;

#[derive(Serialize)]
struct View {
    sandboxes: Vec<Sandbox>,
    created: Option<Shell>,
    /// The command that drops those whose lease is over.
    gc: Option<String>,
}

/// A new sandbox for a shell.
#[derive(Serialize)]
struct Shell {
    name: String,
    /// What sets the variables.
    variables: String,
    /// The command that prints them again.
    again: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct Made {
    #[serde(default, deserialize_with = "some")]
    name: Option<String>,
    /// Minutes until `kestack gc` drops it.
    #[serde(default, deserialize_with = "some")]
    minutes: Option<String>,
    /// A checkbox.
    versioning: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct Name {
    name: String,
}

pub(super) async fn list(State(interface): State<Interface>) -> Shown {
    interface.shown_sandboxes(None).await
}

pub(super) async fn make(State(interface): State<Interface>, Filled(made): Filled<Made>) -> Shown {
    let minutes = made.minutes.map(|minutes| minutes.parse::<u64>()).transpose();
    let minutes = minutes.map_err(|_| invalid("a lease is a number of minutes".into()))?;
    let lease_seconds = minutes.map(|minutes| minutes.saturating_mul(60));
    let wanted = Wanted { name: made.name, lease_seconds, versioning: made.versioning.is_some() };
    let created = sandboxes::create(State(interface.clone()), Given(wanted)).await?.into_inner();
    interface.shown_sandboxes(Some(created)).await
}

pub(super) async fn drop(State(interface): State<Interface>, Filled(Name { name }): Filled<Name>) -> Shown {
    let sandbox: SandboxName = named(&name)?;
    sandboxes::drop(State(interface.clone()), Named(sandbox)).await?;
    Ok(interface.lead_to("/sandboxes", format!("Sandbox {name} was deleted, with its bucket, its key and its user.")))
}

impl Interface {
    async fn shown_sandboxes(&self, created: Option<Created>) -> Shown {
        let sandboxes = sandboxes::list(State(self.clone())).await?.into_inner().sandboxes;
        let created = match created {
            None => None,
            Some(Created { sandbox, env, .. }) => {
                let again = self.command(&format!("kestack sandbox env {}", sandbox.name)).await?;
                Some(Shell { variables: exports(&env), name: sandbox.name.to_string(), again })
            }
        };
        let view = View { sandboxes, created, gc: self.command("kestack gc").await? };
        self.show("sandboxes.html", ("Sandboxes", "sandboxes"), &view).await
    }
}

/// What `kestack sandbox env` prints for a shell: it also removes the variables that would be in the way.
fn exports(variables: &Map<String, Value>) -> String {
    let set = variables
        .iter()
        .map(|(name, value)| format!("export {name}={}", shell_word(value.as_str().unwrap_or_default())));
    [format!("unset {}", STALE.join(" "))].into_iter().chain(set).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_reads_what_was_meant() {
        let value = "/home/o'neil $HOME/ca.cert";
        let variables = [("AWS_CA_BUNDLE".to_owned(), value.into())].into_iter().collect();
        let script =
            format!("AWS_PROFILE=other\n{}\nprintf '%s|' \"$AWS_CA_BUNDLE\" \"$AWS_PROFILE\"", exports(&variables));
        let said = std::process::Command::new("sh").args(["-c", &script]).output().unwrap().stdout;
        assert_eq!(String::from_utf8(said).unwrap(), format!("{value}||"));
    }
}
