//! Commands in messages are given so that they work as they are: with the options that name the stack, as the user gave
//! them.

use std::borrow::Cow;
use std::sync::OnceLock;

use clap::CommandFactory as _;

use super::session::environment;
use super::{Cli, Globals};

/// An option of the command line: its names, the shortest first, and its value.
#[derive(Debug, Clone)]
struct Given {
    names: &'static [&'static str],
    value: String,
}

/// What this call was given.
static GIVEN: OnceLock<Vec<Given>> = OnceLock::new();

/// Remembers what names the stack on the command line. What is in the environment is there for the next command too.
pub(super) fn remember(globals: &Globals) {
    let path = |path: &Option<std::path::PathBuf>| path.as_ref().map(|path| path.display().to_string());
    let engine = globals.engine.and_then(|engine| clap::ValueEnum::to_possible_value(&engine));
    let all: [(&'static [&'static str], &str, Option<String>); 6] = [
        (&["--file"], "KESTACK_FILE", path(&globals.file)),
        (&["-n", "--name"], "KESTACK_NAME", globals.stack.clone()),
        (&["--dir"], "KESTACK_DIR", path(&globals.dir)),
        (&["--engine"], "KESTACK_ENGINE", engine.map(|engine| engine.get_name().to_owned())),
        (&["--host"], "KESTACK_HOST", globals.host.clone()),
        // without it the next command would be for another keystore
        (&["--keystore"], "KESTACK_KEYSTORE", globals.keystore.map(|keystore| keystore.word().to_owned())),
    ];
    let given = all.into_iter().filter_map(|(names, variable, value)| {
        let value = value.filter(|value| environment(variable).as_ref() != Some(value))?;
        Some(Given { names, value })
    });
    let _ = GIVEN.set(given.collect());
}

/// The text with those options in every command of kestack that it names.
pub(super) fn complete(text: &str) -> Cow<'_, str> {
    match GIVEN.get() {
        Some(given) if !given.is_empty() && text.contains("kestack ") => Cow::Owned(with(text, given, &verbs())),
        _ => Cow::Borrowed(text),
    }
}

fn verbs() -> Vec<String> {
    let cli = Cli::command();
    let verbs = cli.get_subcommands();
    verbs.flat_map(|verb| verb.get_all_aliases().chain([verb.get_name()])).map(str::to_owned).collect()
}

fn with(text: &str, given: &[Given], verbs: &[String]) -> String {
    let mut done = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("kestack ") {
        done.push_str(before);
        done.push_str("kestack ");
        let verb = after.split(|sign: char| !sign.is_ascii_lowercase()).next().unwrap_or_default();
        // a path to some kestack is a command, a word such as `my-kestack` is none
        let begins = !before.ends_with(|sign: char| sign.is_alphanumeric() || "-_.".contains(sign));
        if begins && verbs.iter().any(|known| known == verb) {
            let command = after.split(['`', '\n', '"', ')']).next().unwrap_or_default();
            for option in given.iter().filter(|option| !option.is_in(command)) {
                done.push_str(&option.text());
                done.push(' ');
            }
        }
        rest = after;
    }
    done + rest
}

impl Given {
    fn is_in(&self, command: &str) -> bool {
        command.split([' ', '=']).any(|word| self.names.contains(&word))
    }

    fn text(&self) -> String {
        let name = self.names.first().copied().unwrap_or_default();
        let is_plain = |sign: char| sign.is_alphanumeric() || "/._-:@%+,".contains(sign);
        if !self.value.is_empty() && self.value.chars().all(is_plain) {
            return format!("{name} {}", self.value);
        }
        format!("{name} '{}'", self.value.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_keystore_of_the_command_line_is_repeated() {
        let given = [Given { names: &["--keystore"], value: "vault".to_owned() }];
        assert_eq!(with("`kestack up` completes", &given, &verbs()), "`kestack --keystore vault up` completes");
    }

    #[test]
    fn commands_are_repeated_with_what_the_user_gave() {
        let option = |names, value: &str| Given { names, value: value.to_owned() };
        let given = [option(&["-n", "--name"], "a"), option(&["--dir"], "/my data")];
        let verbs = verbs();
        for (text, complete) in [
            ("start it with `kestack up`", "start it with `kestack -n a --dir '/my data' up`"),
            ("eval \"$(kestack env)\"   variables", "eval \"$(kestack -n a --dir '/my data' env)\"   variables"),
            ("`kestack down --name b`, then", "`kestack --dir '/my data' down --name b`, then"),
            ("`kestack verify --dir=/x -n b`", "`kestack verify --dir=/x -n b`"),
            (
                "another kestack works on it; `kestack list`",
                "another kestack works on it; `kestack -n a --dir '/my data' list`",
            ),
            ("a later kestack wrote my-kestack up", "a later kestack wrote my-kestack up"),
            ("kestack up\nkestack ls", "kestack -n a --dir '/my data' up\nkestack -n a --dir '/my data' ls"),
        ] {
            assert_eq!(with(text, &given, &verbs), complete);
        }
    }
}
