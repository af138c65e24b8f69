//! The only code that prints: results on standard output, everything else on standard error.

use std::io::{self, IsTerminal as _, Write as _};

use clap::ValueEnum;

use super::{CliError, session::Environment};

/// `--color` of the commands that print for people.
#[derive(Debug, Default, Clone, Copy, clap::Args)]
pub(super) struct Color {
    /// Whether to print in colours; automatically on a terminal, unless `NO_COLOR` is set
    #[arg(long = "color", value_name = "when", value_enum, default_value_t)]
    when: When,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum When {
    #[default]
    Auto,
    Always,
    Never,
}

/// Where a command shows its results.
#[derive(Debug, Clone, Copy)]
pub(super) struct Output {
    /// Whether somebody looks: standard output or standard error is a terminal.
    pub(super) is_terminal: bool,
    color: When,
    no_color: bool,
}

impl Output {
    pub(super) fn new(environment: &Environment) -> Self {
        let is_terminal = io::stdout().is_terminal() || io::stderr().is_terminal();
        let no_color = environment.get("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self { is_terminal, color: When::Auto, no_color }
    }

    pub(super) fn with_color(self, color: Color) -> Self {
        Self { color: color.when, ..self }
    }

    /// `Error: <text>`, the prefix red on a terminal.
    pub(super) fn error(self, text: &str) {
        note(&format!("{} {}", self.paint("Error:", "31;1", io::stderr().is_terminal()), lines(text)));
    }

    /// `WARNING: <text>`, the prefix yellow on a terminal.
    pub(super) fn warning(self, text: &str) {
        note(&format!("{} {}", self.paint("WARNING:", "33;1", io::stderr().is_terminal()), lines(text)));
    }

    /// Bold on a terminal: headers and labels.
    pub(super) fn bold(self, text: &str) -> String {
        self.paint(text, "1", io::stdout().is_terminal())
    }

    /// Green on a terminal: what is well.
    pub(super) fn green(self, text: &str) -> String {
        self.paint(text, "32", io::stdout().is_terminal())
    }

    /// Red on a terminal: what is not.
    pub(super) fn red(self, text: &str) -> String {
        self.paint(text, "31", io::stdout().is_terminal())
    }

    fn paint(self, text: &str, style: &str, on_terminal: bool) -> String {
        let painted = match self.color {
            When::Always => true,
            When::Never => false,
            When::Auto => on_terminal && !self.no_color,
        };
        if painted { format!("\u{1b}[{style}m{text}\u{1b}[0m") } else { text.to_owned() }
    }

    /// One `Label       value` line, labels 11 columns wide. The value may be a text of others.
    pub(super) fn field(self, label: &str, value: &str) -> String {
        format!("{} {}", self.bold(&format!("{label:<11}")), printable(value))
    }

    /// A header and one name per line; nothing at all without names. A keystore may list what others put there.
    pub(super) fn table(self, header: &str, names: &[String]) -> String {
        if names.is_empty() {
            return String::new();
        }
        let names: Vec<String> = names.iter().map(|name| printable(name)).collect();
        format!("{}\n{}\n", self.bold(header), names.join("\n"))
    }
}

/// A text of others without anything that a terminal would obey.
pub(super) fn printable(text: &str) -> String {
    text.chars().map(|char| if char.is_control() { char::REPLACEMENT_CHARACTER } else { char }).collect()
}

/// The same for a text of several lines: an error may repeat what a server said.
pub(super) fn lines(text: &str) -> String {
    text.split('\n').map(printable).collect::<Vec<_>>().join("\n")
}

/// Writes to standard output as it is.
pub(super) fn print(text: &str) -> Result<(), CliError> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).map_err(CliError::Output)
}

/// Writes one line to standard output.
pub(super) fn line(text: &str) -> Result<(), CliError> {
    print(&format!("{text}\n"))
}

/// Writes one line to standard error. If that is gone, nobody can read it.
pub(super) fn note(text: &str) {
    drop(writeln!(io::stderr(), "{text}"));
}

/// Replaces the last line of progress on standard error, a terminal; the line stays if it is the `last`.
pub(super) fn progress(text: &str, last: bool) {
    drop(write!(io::stderr(), "\r\u{1b}[K{text}{}", if last { "\n" } else { "" }));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output(color: When, no_color: bool) -> Output {
        Output { is_terminal: true, color, no_color }
    }

    #[test]
    fn colours_are_for_terminals_unless_told_otherwise() {
        let painted = |color, no_color, on_terminal| output(color, no_color).paint("x", "1", on_terminal) != "x";
        assert!(painted(When::Auto, false, true));
        assert!(!painted(When::Auto, false, false));
        assert!(!painted(When::Auto, true, true), "NO_COLOR");
        assert!(painted(When::Always, true, false));
        assert!(!painted(When::Never, false, true));
    }

    #[test]
    fn a_table_without_names_is_nothing() {
        let output = output(When::Never, false);
        assert_eq!(output.table("Key", &[]), "");
        assert_eq!(output.table("Key", &["a".into(), "b".into()]), "Key\na\nb\n");
        assert_eq!(output.field("Name", "a"), "Name        a");
    }

    #[test]
    fn a_name_gives_no_orders_to_a_terminal() {
        assert_eq!(output(When::Never, false).field("Owner", "\u{1b}[2Jä\r"), "Owner       \u{fffd}[2Jä\u{fffd}");
        let names = ["/v1/key/create/\u{1b}[2Jä\n\u{9b}".to_owned()];
        assert_eq!(
            output(When::Never, false).table("Key", &names),
            "Key\n/v1/key/create/\u{fffd}[2Jä\u{fffd}\u{fffd}\n"
        );
    }
}
