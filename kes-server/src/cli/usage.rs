//! Errors of the command line in KES's words: help goes to standard error with code 2, mistakes are one line with
//! code 1 (docs/kes-protocol.md §9).

use std::ffi::OsString;

use clap::{
    Command,
    error::{ContextKind, ContextValue, ErrorKind},
};

/// What to show instead of running a command.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Usage {
    /// Help; exit code 2.
    Help(String),
    /// One line; exit code 1.
    Mistake(String),
}

/// Says what is wrong with `arguments` (the program's name left out).
pub(super) fn explain(mut root: Command, arguments: &[OsString], error: &clap::Error) -> Usage {
    let words = command(&root, arguments);
    let path = words.join(" ");
    let name = words.last().map_or("kes", String::as_str);
    let argument = context(error, ContextKind::InvalidArg);
    let text = match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand | ErrorKind::MissingSubcommand => {
            root.build();
            return Usage::Help(help(&mut root, words.get(1..).unwrap_or_default()));
        }
        ErrorKind::InvalidSubcommand => {
            format!("\"{}\" is not a {name} command", context(error, ContextKind::InvalidSubcommand))
        }
        ErrorKind::UnknownArgument if argument.starts_with("--") => format!("unknown flag: {argument}"),
        ErrorKind::UnknownArgument if argument.starts_with('-') => format!("unknown shorthand flag: {argument}"),
        ErrorKind::UnknownArgument | ErrorKind::TooManyValues => "too many arguments".to_owned(),
        ErrorKind::ArgumentConflict if !argument.starts_with("--") => "too many arguments".to_owned(),
        ErrorKind::MissingRequiredArgument if argument.starts_with("--") => format!("flag needed: {argument}"),
        ErrorKind::MissingRequiredArgument => format!("no {} specified", required(&argument)),
        ErrorKind::InvalidValue if context(error, ContextKind::InvalidValue).is_empty() => {
            format!("flag needs an argument: {}", argument.split(' ').next().unwrap_or_default())
        }
        _ => first_line(error),
    };
    Usage::Mistake(format!("{text}. See '{path} --help'"))
}

/// The help of the subcommand that these words name below `command`.
fn help(command: &mut Command, words: &[String]) -> String {
    if let Some((word, rest)) = words.split_first()
        && command.find_subcommand(word).is_some()
    {
        return command.find_subcommand_mut(word).map(|next| help(next, rest)).unwrap_or_default();
    }
    command.render_help().to_string()
}

/// The words of the subcommand that the arguments name, `kes` first.
fn command(root: &Command, arguments: &[OsString]) -> Vec<String> {
    let mut words = vec![root.get_name().to_owned()];
    let mut current = root;
    let arguments = arguments.iter().filter_map(|argument| argument.to_str());
    for argument in arguments.filter(|argument| !argument.starts_with('-')) {
        // a word that follows an unknown command is not a command either
        let Some(next) = current.find_subcommand(argument) else { break };
        words.push(next.get_name().to_owned());
        current = next;
    }
    words
}

fn context(error: &clap::Error, kind: ContextKind) -> String {
    match error.get(kind) {
        Some(ContextValue::String(text)) => text.clone(),
        Some(ContextValue::Strings(texts)) => texts.first().cloned().unwrap_or_default(),
        _ => String::new(),
    }
}

/// `<key name>...` is `key name`.
fn required(argument: &str) -> String {
    argument.trim_end_matches('.').trim_matches(['<', '>', '[', ']']).to_owned()
}

fn first_line(error: &clap::Error) -> String {
    let text = error.render().to_string();
    text.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned()
}
