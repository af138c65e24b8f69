//! `kes policy …`

mod explain;

use clap::Subcommand;
use serde::Serialize;
use serde_json::{Map, Value};

use super::{
    CliError,
    list::names_json,
    output::{self, Color, Output, printable},
    session::{ServerFlags, Session},
    time,
};
use crate::client::PolicyInfo;

#[derive(Debug, Subcommand)]
pub(super) enum PolicyCommand {
    /// Show when a policy was created, and by whom
    Info {
        #[arg(value_name = "policy name")]
        name: String,
        /// Print the information as JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        color: Color,
        #[command(flatten)]
        server: ServerFlags,
    },
    /// List the policies whose names match a pattern
    Ls {
        #[arg(value_name = "pattern", default_value = "*", hide_default_value = true)]
        pattern: String,
        /// Print the names as JSON, too
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        color: Color,
        #[command(flatten)]
        server: ServerFlags,
    },
    /// Say which rule allows or denies a call, and why
    Explain(explain::ExplainArguments),
    /// Show the rules of a policy
    Show {
        #[arg(value_name = "policy name")]
        name: String,
        /// Print the policy as JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        server: ServerFlags,
    },
}

pub(super) async fn run(command: PolicyCommand, session: &Session<'_>) -> Result<(), CliError> {
    match command {
        PolicyCommand::Info { name, json, color, server, .. } => {
            let policy = session.client(&server)?.describe_policy(&name).await;
            let policy = policy.map_err(|error| CliError::call(&format!("failed to show policy '{name}'"), &error))?;
            output::print(&describe(session.output.with_color(color), policy, json)?)
        }
        PolicyCommand::Ls { pattern, json, color, server, .. } => {
            let names = session.client(&server)?.list_policies(&pattern).await;
            let names = names.map_err(|error| CliError::call("failed to list policies", &error))?;
            let json = if json { names_json(&names)? } else { String::new() };
            // The header is the reference's, and wrong; scripts skip the line by its text.
            output::print(&(json + &session.output.with_color(color).table("Key", &names)))
        }
        PolicyCommand::Explain(arguments) => explain::run(arguments, session).await,
        PolicyCommand::Show { name, json, server, .. } => {
            let policy = session.client(&server)?.read_policy(&name).await;
            let policy = policy.map_err(|error| CliError::call(&format!("failed to show policy '{name}'"), &error))?;
            let is_json = json || !session.output.is_terminal;
            output::print(&if is_json { rules_json(policy)? } else { rules(session.output, &policy) })
        }
    }
}

#[derive(Serialize)]
struct InfoJson {
    name: String,
    created_at: String,
    created_by: String,
}

fn describe(output: Output, policy: PolicyInfo, json: bool) -> Result<String, CliError> {
    if json {
        let PolicyInfo { name, created_at, created_by, .. } = policy;
        let info = InfoJson { name, created_at, created_by };
        return if output.is_terminal { super::json_indented(&info) } else { super::json_line(&info) };
    }
    let fields = [
        output.field("Name", &policy.name),
        output.field("Date", &time::local(&policy.created_at)),
        output.field("Created by", &policy.created_by),
    ];
    Ok(fields.join("\n") + "\n")
}

#[derive(Serialize)]
struct RulesJson {
    #[serde(skip_serializing_if = "Map::is_empty")]
    allow: Map<String, Value>,
    #[serde(skip_serializing_if = "Map::is_empty")]
    deny: Map<String, Value>,
    created_at: String,
    created_by: String,
}

fn rules_json(policy: PolicyInfo) -> Result<String, CliError> {
    let PolicyInfo { allow, deny, created_at, created_by, .. } = policy;
    let (allow, deny) = (allow.into_iter().collect(), deny.into_iter().collect());
    super::json_line(&RulesJson { allow, deny, created_at, created_by })
}

fn rules(output: Output, policy: &PolicyInfo) -> String {
    let mut lines = Vec::new();
    for (label, patterns) in [("Allow:", &policy.allow), ("Deny:", &policy.deny)] {
        if !patterns.is_empty() {
            lines.push(output.bold(label));
            lines.extend(patterns.keys().map(|pattern| format!("  · {}", printable(pattern))));
            lines.push(String::new());
        }
    }
    lines.push(output.field("Created at", &time::local(&policy.created_at)));
    lines.push(output.field("Created by", &policy.created_by));
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::{super::session, *};

    #[test]
    fn patterns_give_no_orders_to_a_terminal() {
        let pattern = "/v1/key/create/\u{1b}[2J\u{9b}31m*".to_owned();
        let policy = PolicyInfo {
            allow: [(pattern.clone(), Value::Null)].into(),
            deny: [(pattern, Value::Null)].into(),
            name: String::new(),
            created_at: String::new(),
            created_by: "\u{7}somebody".into(),
        };
        let shown = rules(Output::new(&session::Environment::of_process()), &policy);
        assert!(!shown.chars().any(|char| char.is_control() && char != '\n'), "{shown:?}");
        assert!(shown.contains("  · /v1/key/create/\u{fffd}[2J\u{fffd}31m*"), "{shown:?}");
    }
}
