//! Variables of the environment, in the language of whoever reads them.

use clap::ValueEnum;
use rustix::process::getppid;

use super::session::environment;

/// How many processes above this one are asked: `sudo`, `env` and the like are between a shell and kestack.
const ANCESTORS: usize = 8;

/// Language of the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Shell {
    /// `export NAME='value'`, for sh, bash, zsh and their like
    #[value(aliases = ["bash", "zsh", "dash", "ksh"])]
    Sh,
    /// `set -gx NAME 'value'`
    Fish,
    /// `$Env:NAME = 'value'`
    #[value(alias = "pwsh")]
    Powershell,
    /// `NAME='value'`, for a .env file
    Dotenv,
    /// `NAME=value`, for GitHub Actions: append it to the file that `GITHUB_ENV` names
    Github,
    /// An object of strings
    Json,
}

impl Shell {
    /// The shell that started kestack, which `SHELL` need not name; else that of the account.
    pub(super) fn of_caller() -> Self {
        let mut process = getppid().map(|pid| pid.as_raw_nonzero().get());
        for _ in 0..ANCESTORS {
            let Some((name, parent)) = process.and_then(program) else { break };
            if let Some(shell) = Self::named(&name) {
                return shell;
            }
            process = Some(parent).filter(|parent| *parent > 1);
        }
        let account = environment("SHELL").unwrap_or_default();
        account.rsplit('/').next().and_then(Self::named).unwrap_or(Self::Sh)
    }

    fn named(program: &str) -> Option<Self> {
        match program {
            "fish" => Some(Self::Fish),
            "pwsh" | "powershell" => Some(Self::Powershell),
            "sh" | "bash" | "zsh" | "dash" | "ash" | "ksh" | "mksh" | "busybox" => Some(Self::Sh),
            _ => None,
        }
    }

    /// Sets these variables, after the removal of those that would keep them from having an effect.
    pub(super) fn write(self, variables: &[(String, String)], stale: &[&str]) -> String {
        if self == Self::Json {
            let map: serde_json::Map<_, _> =
                variables.iter().map(|(name, value)| (name.clone(), value.clone().into())).collect();
            return serde_json::to_string_pretty(&map).unwrap_or_default();
        }
        let removed = self.remove(stale);
        let set = variables.iter().map(|(name, value)| self.set(name, value));
        removed.into_iter().chain(set).collect::<Vec<_>>().join("\n")
    }

    fn set(self, name: &str, value: &str) -> String {
        match self {
            Self::Fish => format!("set -gx {name} '{}';", value.replace('\\', "\\\\").replace('\'', "\\'")),
            Self::Powershell => format!("$Env:{name} = '{}'", powershell(value)),
            Self::Dotenv => format!("{name}={}", dotenv(value)),
            Self::Github => github(name, value),
            Self::Sh | Self::Json => format!("export {name}='{}'", value.replace('\'', r"'\''")),
        }
    }

    /// Removes variables; `None` where the language cannot.
    pub(super) fn remove(self, names: &[&str]) -> Option<String> {
        match self {
            _ if names.is_empty() => None,
            Self::Sh => Some(format!("unset {}", names.join(" "))),
            Self::Fish => Some(format!("set -e {};", names.join(" "))),
            Self::Powershell => {
                let names: Vec<_> = names.iter().map(|name| format!("Env:{name}")).collect();
                Some(format!("Remove-Item -ErrorAction SilentlyContinue {}", names.join(", ")))
            }
            Self::Dotenv | Self::Github | Self::Json => None,
        }
    }
}

/// Name and parent of a process; `None` where there is no `/proc`.
fn program(process: i32) -> Option<(String, i32)> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // the name can hold anything, also blanks and brackets
    let (head, rest) = stat.rsplit_once(')')?;
    let (_, name) = head.split_once('(')?;
    Some((name.to_owned(), rest.split_whitespace().nth(1)?.parse().ok()?))
}

/// Typographic quotes end a text in PowerShell like the plain one; each is doubled.
fn powershell(value: &str) -> String {
    let doubled = |letter: char| [letter].repeat(if matches!(letter, '\'' | '\u{2018}'..='\u{201b}') { 2 } else { 1 });
    value.chars().flat_map(doubled).collect()
}

/// Bare where every reader takes it so, also `docker run --env-file`; else in single quotes, between which nothing is
/// replaced. Only what holds such a quote or a line break needs double ones.
fn dotenv(value: &str) -> String {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "/._-+:@%,=".contains(letter);
    if !value.is_empty() && value.chars().all(plain) {
        return value.to_owned();
    }
    if !value.contains(['\'', '\n', '\r']) {
        return format!("'{value}'");
    }
    let mut quoted = String::from("\"");
    for letter in value.chars() {
        match letter {
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\\' | '"' | '$' | '`' => quoted.extend(['\\', letter]),
            _ => quoted.push(letter),
        }
    }
    quoted + "\""
}

/// A value of several lines is put between two lines that it does not contain.
fn github(name: &str, value: &str) -> String {
    if !value.contains(['\n', '\r']) {
        return format!("{name}={value}");
    }
    let mut end = String::from("END");
    while value.contains(&end) {
        end.push('_');
    }
    format!("{name}<<{end}\n{value}\n{end}")
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// What every quoting must survive.
    const HOSTILE: &str = "it's a \"\\ $HOME `id` $(id) ${A:-b} %s !x #y \u{2019}; exit\u{2018} & é";

    fn one(shell: Shell, value: &str) -> String {
        shell.write(&[("A".to_owned(), value.to_owned())], &[])
    }

    #[test]
    fn quotes_for_each_shell() {
        let value = r#"it's a "\"#;
        assert_eq!(one(Shell::Sh, value), r#"export A='it'\''s a "\'"#);
        assert_eq!(one(Shell::Fish, value), r#"set -gx A 'it\'s a "\\';"#);
        assert_eq!(one(Shell::Powershell, value), r#"$Env:A = 'it''s a "\'"#);
        assert_eq!(one(Shell::Powershell, "\u{2018}\u{2019}\u{201a}\u{201b}").chars().count(), 10 + 8 + 1);
        assert_eq!(one(Shell::Dotenv, value), r#"A="it's a \"\\""#);
        assert_eq!(one(Shell::Json, value), "{\n  \"A\": \"it's a \\\"\\\\\"\n}");
        assert_eq!(one(Shell::Github, HOSTILE), format!("A={HOSTILE}"));
        assert_eq!(one(Shell::Github, "a\nEND\nb"), "A<<END_\na\nEND\nb\nEND_");
    }

    #[test]
    fn nothing_is_replaced_in_a_dotenv_file() {
        assert_eq!(one(Shell::Dotenv, "http://127.0.0.1:9000"), "A=http://127.0.0.1:9000");
        assert_eq!(one(Shell::Dotenv, ""), "A=''");
        assert_eq!(one(Shell::Dotenv, "a $HOME `id`"), "A='a $HOME `id`'");
        assert_eq!(one(Shell::Dotenv, "a'$HOME`id`\n"), r#"A="a'\$HOME\`id\`\n""#);
    }

    #[test]
    fn a_shell_reads_back_what_was_written() {
        for (shell, value) in
            [(Shell::Sh, HOSTILE), (Shell::Sh, "a\nb"), (Shell::Dotenv, HOSTILE), (Shell::Dotenv, "$A `id`")]
        {
            let script = format!("{}\nprintf %s \"$A\"", one(shell, value));
            let output = Command::new("sh").args(["-c", &script]).output().unwrap();
            assert_eq!(String::from_utf8(output.stdout).unwrap(), value, "{script}");
        }
    }

    #[test]
    fn what_would_be_in_the_way_is_removed_first() {
        let written = |shell: Shell| shell.write(&[("A".into(), "1".into())], &["B", "C"]);
        assert_eq!(written(Shell::Sh), "unset B C\nexport A='1'");
        assert_eq!(written(Shell::Fish), "set -e B C;\nset -gx A '1';");
        let powershell = "Remove-Item -ErrorAction SilentlyContinue Env:B, Env:C\n$Env:A = '1'";
        assert_eq!(written(Shell::Powershell), powershell);
        assert_eq!(written(Shell::Dotenv), "A=1");
    }

    #[test]
    fn a_process_is_known_by_its_name_and_its_parent() {
        let own = std::process::id().cast_signed();
        if let Some((name, parent)) = program(own) {
            assert!(!name.is_empty() && Some(parent) == getppid().map(|pid| pid.as_raw_nonzero().get()));
        }
        assert_eq!(Shell::named("fish"), Some(Shell::Fish));
        assert_eq!(Shell::named("cargo"), None);
    }
}
