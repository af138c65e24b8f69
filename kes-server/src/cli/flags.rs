//! Flags as Go programs take them, which scripts rely on: a switch may have a value, and whoever is named twice counts
//! as named last.

use clap::{Arg, ArgAction, Command};

/// The same command with `--flag=true`, `-k=false`, `-kk` and `--config one --config other`. Help is rendered without
/// this: there, a switch is a switch.
pub(super) fn as_in_go(command: Command) -> Command {
    command.args_override_self(true).mut_args(switch).mut_subcommands(as_in_go)
}

fn switch(flag: Arg) -> Arg {
    if !matches!(flag.get_action(), ArgAction::SetTrue) {
        return flag;
    }
    let flag = flag.action(ArgAction::Set).num_args(0..=1).require_equals(true);
    flag.default_missing_value("true").default_value("false").value_parser(boolean)
}

fn boolean(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err("neither true nor false".into()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::super::Cli;
    use super::*;

    #[test]
    fn every_switch_of_every_command_takes_a_value() {
        fn switches(command: &Command) -> usize {
            let own = command.get_arguments().filter(|flag| matches!(flag.get_action(), ArgAction::SetTrue)).count();
            own + command.get_subcommands().map(switches).sum::<usize>()
        }
        assert!(switches(&Cli::command()) > 30);
        let as_in_go = as_in_go(Cli::command());
        assert_eq!(switches(&as_in_go), 0);
        as_in_go.debug_assert();
    }

    #[test]
    fn the_last_value_of_a_switch_counts() {
        let switch = Arg::new("insecure").short('k').long("insecure").action(ArgAction::SetTrue);
        let command = as_in_go(Command::new("kes").arg(switch).arg(Arg::new("name")));
        let value = |arguments: &[&str]| {
            let found = command.clone().try_get_matches_from([&["kes"], arguments].concat());
            found.map(|found| (found.get_flag("insecure"), found.get_one::<String>("name").cloned())).ok()
        };
        let name = || Some("name".to_owned());
        for set in
            [&["-k"][..], &["-kk"], &["-k", "-k"], &["-k=true"], &["--insecure=T"], &["-k=false", "--insecure=1"]]
        {
            assert_eq!(value(&[set, &["name"]].concat()), Some((true, name())), "{set:?}");
        }
        for unset in [&[][..], &["-k=0"], &["--insecure=false"], &["-kk", "--insecure=F"]] {
            assert_eq!(value(&[unset, &["name"]].concat()), Some((false, name())), "{unset:?}");
        }
        for refused in ["-k=maybe", "--insecure=", "-kx", "--insecure=TRue"] {
            assert_eq!(value(&[refused]), None, "{refused}");
        }
    }
}
