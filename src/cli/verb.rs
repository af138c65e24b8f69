//! Verbs by name: that of this call, and advice about names that kestack does not have.

use clap::ArgMatches;
use clap::error::{ContextKind, ErrorKind};

use crate::error::Error;

/// Names that other tools have, and the call of kestack that does the same.
const OTHERS: [(&[&str], &str); 13] = [
    (
        &["delete", "destroy", "remove", "rm", "uninstall"],
        "`kestack down` removes the servers and keeps the data; `kestack down --data` removes everything, keys too",
    ),
    (&["create", "deploy", "install", "launch", "run"], "`kestack up` brings the stack up"),
    (&["restart", "reboot"], "`kestack stop` stops the servers, `kestack start` starts them again"),
    (&["kill", "pause", "shutdown", "halt"], "`kestack stop` stops the servers and keeps everything"),
    (&["describe", "info", "inspect", "show", "health"], "`kestack status` shows the stack"),
    (&["check", "prove", "test"], "`kestack verify` proves the encryption, `kestack doctor` finds problems"),
    (&["backup", "save", "dump"], "`kestack snapshot save NAME` takes a snapshot"),
    (&["restore", "load"], "`kestack snapshot restore NAME` restores a snapshot"),
    (&["clean", "cleanup", "prune"], "`kestack gc` removes what nobody needs, `kestack reset` empties the stack"),
    (&["validate", "lint"], "`kestack config check` checks kestack.yaml"),
    (&["console", "credentials", "login", "password", "url"], "`kestack env` prints endpoints and credentials"),
    (
        &["keys", "buckets", "snapshots", "sandboxes"],
        "kestack has `key list`, `bucket list`, `snapshot list` and `sandbox list`",
    ),
    (&["diff", "dry-run", "preview"], "`kestack plan` shows the changes that `up` would make"),
];

/// The verb of a call with those below it, such as `key create`.
pub(super) fn named(matches: &ArgMatches) -> String {
    let below = std::iter::successors(matches.subcommand(), |(_, matches)| matches.subcommand());
    below.map(|(name, _)| name).collect::<Vec<_>>().join(" ")
}

/// What to say to somebody who calls a verb by the name that another tool has for it.
pub(super) fn advice(error: &clap::Error) -> Option<Error> {
    if error.kind() != ErrorKind::InvalidSubcommand {
        return None;
    }
    let is_top = error.get(ContextKind::Usage)?.to_string().contains("kestack [OPTIONS]");
    let name = error.get(ContextKind::InvalidSubcommand)?.to_string();
    let (_, hint) = OTHERS.iter().filter(|_| is_top).find(|(names, _)| names.contains(&name.as_str()))?;
    Some(Error::Usage { what: format!("kestack has no verb '{name}'"), hint: (*hint).to_owned() })
}

/// The program with all its verbs, complete as for a call at a terminal of 80 columns.
#[cfg(test)]
pub(super) fn program() -> clap::Command {
    let mut program = <super::Cli as clap::CommandFactory>::command().term_width(80);
    program.build();
    program
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::super::Cli;
    use super::*;

    #[test]
    fn names_of_other_tools_lead_to_ours() {
        let said = |line: &str| Cli::command().try_get_matches_from(line.split(' ')).unwrap_err();
        for (names, hint) in OTHERS {
            for name in names {
                let advice = advice(&said(&format!("kestack {name}"))).unwrap();
                assert_eq!((advice.exit_code(), advice.to_string().contains(hint)), (2, true), "{name}: {advice}");
            }
        }
        assert!(advice(&said("kestack key destroy")).is_none());
        assert!(advice(&said("kestack nonsense")).is_none());
    }

    #[test]
    fn commands_in_advice_exist() {
        let verbs = program();
        for (_, hint) in OTHERS {
            let quoted = hint.split('`').skip(1).step_by(2);
            let commands = quoted.filter_map(|part| part.strip_prefix("kestack "));
            for command in commands {
                let words = command.split(' ').filter(|word| word.chars().all(|sign| sign.is_ascii_lowercase()));
                let mut verb = &verbs;
                for word in words {
                    verb = verb.find_subcommand(word).unwrap_or_else(|| panic!("{command}"));
                }
            }
        }
    }

    #[test]
    fn a_verb_is_named_with_those_above_it() {
        let named = |line: &str| named(&Cli::command().try_get_matches_from(line.split(' ')).unwrap());
        assert_eq!(named("kestack -n a key create b"), "key create");
        assert_eq!(named("kestack ls"), "list");
    }
}
