//! `kestack env`

use clap::{Args, ValueEnum};

use super::Globals;
use super::output::{self, Output};
use super::session::{self, environment};
use crate::error::Error;

#[derive(Debug, Args)]
pub(super) struct Env {
    /// Language of the output [default: that of $SHELL; json with --output json]
    #[arg(short, long, value_enum)]
    shell: Option<Shell>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Shell {
    /// `export NAME='value'`
    Sh,
    /// `set -gx NAME 'value'`
    Fish,
    /// `$Env:NAME = 'value'`
    Powershell,
    /// `NAME="value"`
    Dotenv,
    /// An object of strings
    Json,
}

impl Env {
    pub(super) async fn run(&self, globals: &Globals, output: &Output) -> Result<(), Error> {
        let stack = session::known(globals).await?.stack;
        output::line(&Shell::chosen(self.shell, output).write(&stack.variables()));
        Ok(())
    }
}

impl Shell {
    /// The language that was asked for, else the one that fits.
    pub(super) fn chosen(asked: Option<Self>, output: &Output) -> Self {
        asked.unwrap_or_else(|| if output.json() { Self::Json } else { Self::of_user() })
    }

    fn of_user() -> Self {
        let shell = environment("SHELL").unwrap_or_default();
        if shell.ends_with("/fish") { Self::Fish } else { Self::Sh }
    }

    pub(super) fn write(self, variables: &[(String, String)]) -> String {
        if self == Self::Json {
            let map: serde_json::Map<_, _> =
                variables.iter().map(|(name, value)| (name.clone(), value.clone().into())).collect();
            return serde_json::to_string_pretty(&map).unwrap_or_default();
        }
        let line = |(name, value): &(String, String)| match self {
            Self::Fish => {
                format!("set -gx {name} '{}';", value.replace('\\', "\\\\").replace('\'', "\\'"))
            }
            Self::Powershell => format!("$Env:{name} = '{}'", value.replace('\'', "''")),
            Self::Dotenv => format!("{name}=\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\"")),
            Self::Sh | Self::Json => format!("export {name}='{}'", value.replace('\'', r"'\''")),
        };
        variables.iter().map(line).collect::<Vec<_>>().join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_for_each_shell() {
        let variables = [("A".to_owned(), r#"it's a "\"#.to_owned())];
        assert_eq!(Shell::Sh.write(&variables), r#"export A='it'\''s a "\'"#);
        assert_eq!(Shell::Fish.write(&variables), r#"set -gx A 'it\'s a "\\';"#);
        assert_eq!(Shell::Powershell.write(&variables), r#"$Env:A = 'it''s a "\'"#);
        assert_eq!(Shell::Dotenv.write(&variables), r#"A="it's a \"\\""#);
        assert_eq!(Shell::Json.write(&variables), "{\n  \"A\": \"it's a \\\"\\\\\"\n}");
    }
}
