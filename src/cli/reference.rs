//! The reference and the help of every verb as files of the repository, made from the program itself.
//!
//! `KESTACK_WRITE_REFERENCE=1 cargo test --lib reference` writes them again; read the difference.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::{Arg, Command};
use serde_json::Value;

use super::session::environment;
use super::{schema, verb};
use crate::error::Error;

const HEAD: &str = "# Reference

This page is made from the program. To write it again after a change of a verb, an option, an exit code or an answer, run
`KESTACK_WRITE_REFERENCE=1 cargo test --lib reference`; a test fails as long as page and program differ.

`kestack --help` and `kestack VERB --help` print the same descriptions, `kestack man` the manual page, and
`kestack man FOLDER` writes one manual page per verb.

";

const ANSWERS: &str = "## Answers in JSON

With `--output json` (or `--json`, or `KESTACK_OUTPUT=json`) each call prints one JSON document on standard output. `logs`
is the exception: it prints one document per line of a log. Every document has `schema_version`, which grows when a field
changes its meaning or is removed; new fields may come at any time. `kestack schema VERB` prints the JSON schema of an
answer, `kestack schema` lists all answers.

Standard error then has one JSON document per line. Messages have `level` (`note`, `warning` or `error`) and `message`. An
error that ends the call has `error` with `kind`, `message`, `hint` (or null) and `exit_code`; `kestack schema error`
prints its schema. An answer can come together with an error: `status` prints the state of a stack that does not run,
and exits with 3.

`completion`, `config schema`, `man` and `schema` print the same with and without `--output json`.

";

/// All commands below this one, itself included, with the names above them.
fn all(command: &Command, above: &str) -> Vec<(String, Command)> {
    let name = format!("{above} {}", command.get_name()).trim().to_owned();
    let below = command.get_subcommands().filter(|below| below.get_name() != "help" && !below.is_hide_set());
    let below: Vec<_> = below.flat_map(|below| all(below, &name)).collect();
    [(name, command.clone())].into_iter().chain(below).collect()
}

/// The text of a cell of a table.
fn cell(text: &str) -> String {
    text.replace('\n', " ").replace('|', "\\|")
}

/// How an argument is written.
fn written(argument: &Arg) -> String {
    let value = argument.get_value_names().unwrap_or_default().join(" ");
    let has_value = argument.get_action().takes_values();
    let short = argument.get_short().map(|short| format!("-{short}"));
    let long = argument.get_long().map(|long| format!("--{long}"));
    let names = short.into_iter().chain(long).collect::<Vec<_>>().join(", ");
    match (names.is_empty(), has_value) {
        (true, _) => format!("`{value}`"),
        (false, true) => format!("`{names} {value}`"),
        (false, false) => format!("`{names}`"),
    }
}

/// What an argument means, with its values, its default and its variable.
fn meaning(argument: &Arg) -> String {
    let mut text = argument.get_help().map(ToString::to_string).unwrap_or_default();
    let values: Vec<_> = argument.get_possible_values().iter().map(|value| format!("`{}`", value.get_name())).collect();
    if argument.get_action().takes_values() && !values.is_empty() {
        let _ = write!(text, ": {}", values.join(", "));
    }
    let defaults: Vec<_> = argument.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
    if argument.get_action().takes_values() && !defaults.is_empty() {
        let _ = write!(text, " [default: {}]", defaults.join(", "));
    }
    if let Some(variable) = argument.get_env() {
        let _ = write!(text, " [variable: `{}`]", variable.to_string_lossy());
    }
    cell(&text)
}

fn table(text: &mut String, head: [&str; 2], rows: impl IntoIterator<Item = (String, String)>) {
    let _ = writeln!(text, "| {} | {} |\n|---|---|", head[0], head[1]);
    for (name, meaning) in rows {
        let _ = writeln!(text, "| {name} | {meaning} |");
    }
    text.push('\n');
}

fn arguments(command: &Command, global: bool) -> Vec<(String, String)> {
    let own = command.get_arguments().filter(|argument| argument.is_global_set() == global && !argument.is_hide_set());
    let own = own.filter(|argument| !["help", "version"].contains(&argument.get_id().as_str()));
    own.map(|argument| (written(argument), meaning(argument))).collect()
}

/// The type of a field, as a schema gives it.
fn kind(schema: &Value) -> String {
    let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    match (schema.get("type"), schema.get("$ref"), schema.get("anyOf")) {
        (Some(Value::Array(words)), ..) => words.iter().map(word).collect::<Vec<_>>().join(" or "),
        (Some(one), ..) if one == "array" => format!("array of {}", schema.get("items").map_or_else(String::new, kind)),
        (Some(one), ..) => word(one),
        (None, Some(name), _) => word(name).rsplit('/').next().unwrap_or_default().to_owned(),
        (None, None, Some(Value::Array(ways))) => ways.iter().map(kind).collect::<Vec<_>>().join(" or "),
        _ => "any".to_owned(),
    }
}

fn fields(schema: &Value) -> Vec<(String, String)> {
    let properties = schema.get("properties").and_then(Value::as_object);
    let rows = properties.into_iter().flatten().filter(|(name, _)| *name != "schema_version").map(|(name, field)| {
        let meaning = field.get("description").and_then(Value::as_str).unwrap_or_default();
        (format!("`{name}`"), cell(&format!("{}: {meaning}", kind(field))))
    });
    rows.collect()
}

fn answer(text: &mut String, name: &str, schema: &Value) {
    let _ = writeln!(text, "### Answer of `{name}`\n");
    let ways = schema.get("anyOf").and_then(Value::as_array);
    let definitions = schema.get("$defs");
    let of = |way: &Value| -> Vec<(String, String)> {
        let name = way.get("$ref").and_then(Value::as_str).and_then(|name| name.rsplit('/').next());
        let found = name.and_then(|name| definitions?.get(name)).unwrap_or(way);
        fields(found)
    };
    let rows: Vec<_> = fields(schema).into_iter().chain(ways.into_iter().flatten().flat_map(of)).collect();
    if rows.is_empty() {
        text.push_str("An object of strings: names of variables and their values.\n\n");
    } else {
        table(text, ["field", "type and meaning"], rows);
    }
}

fn reference() -> String {
    let program = verb::program();
    let all = all(&program, "");
    let mut text = HEAD.to_owned();
    text.push_str("## Verbs\n\n");
    let about = |command: &Command| command.get_about().map(ToString::to_string).unwrap_or_default();
    let verbs = all.iter().skip(1).filter(|(_, command)| command.get_subcommands().next().is_none());
    table(&mut text, ["verb", "meaning"], verbs.map(|(name, command)| (format!("`{name}`"), cell(&about(command)))));
    text.push_str("## Global options\n\nEvery verb takes them, before or after its name.\n\n");
    table(&mut text, ["option", "meaning"], arguments(&program, true));
    text.push_str("## Exit codes\n\n");
    table(
        &mut text,
        ["code", "meaning"],
        Error::EXIT_CODES.map(|(code, meaning)| (code.to_string(), meaning.to_owned())),
    );
    text.push_str("## Arguments and options of each verb\n\n");
    for (name, command) in all.iter().skip(1) {
        let own = arguments(command, false);
        if own.is_empty() {
            continue;
        }
        let _ = writeln!(text, "### `{name}`\n\n{}.\n", about(command));
        table(&mut text, ["argument", "meaning"], own);
    }
    text.push_str(ANSWERS);
    for (name, schema) in schema::answers() {
        answer(&mut text, name, &schema());
    }
    format!("{}\n", text.trim_end())
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Compares a file of the repository with its content, or writes it.
fn compare(file: &Path, content: &str, wrong: &mut Vec<PathBuf>) {
    if environment("KESTACK_WRITE_REFERENCE").is_some() {
        std::fs::write(root().join(file), content).unwrap();
    }
    if std::fs::read_to_string(root().join(file)).unwrap_or_default() != content {
        wrong.push(file.to_owned());
    }
}

#[test]
fn the_reference_page_says_what_the_program_does() {
    let mut wrong = Vec::new();
    compare(Path::new("docs/reference.md"), &reference(), &mut wrong);
    assert!(wrong.is_empty(), "write it again: KESTACK_WRITE_REFERENCE=1 cargo test --lib reference");
}

#[test]
fn the_schema_of_evidence_is_that_of_the_code() {
    let mut wrong = Vec::new();
    let schema = serde_json::to_string_pretty(&schema::evidence()).unwrap();
    compare(Path::new("docs/evidence.schema.json"), &format!("{schema}\n"), &mut wrong);
    assert!(wrong.is_empty(), "write it again: KESTACK_WRITE_REFERENCE=1 cargo test --lib reference");
}

#[test]
fn the_described_interface_is_that_of_the_code() {
    let mut wrong = Vec::new();
    let document = serde_json::to_string_pretty(&crate::interface::document()).unwrap();
    compare(Path::new("docs/openapi.json"), &format!("{document}\n"), &mut wrong);
    assert!(wrong.is_empty(), "write it again: KESTACK_WRITE_REFERENCE=1 cargo test --lib reference");
}

#[test]
fn the_help_of_every_verb_is_as_in_the_repository() {
    let (mut wrong, mut files) = (Vec::new(), BTreeSet::new());
    for (name, mut command) in all(&verb::program(), "") {
        let help = command.render_long_help().to_string();
        let help: Vec<_> = help.lines().map(str::trim_end).collect();
        for line in &help {
            assert!(line.chars().count() <= 80, "{name}: {line}");
        }
        let file = PathBuf::from(format!("tests/help/{}.txt", name.replace(' ', "-")));
        compare(&file, &format!("{}\n", help.join("\n")), &mut wrong);
        files.insert(file.file_name().unwrap().to_owned());
    }
    let there = std::fs::read_dir(root().join("tests/help")).unwrap().map(|entry| entry.unwrap().file_name());
    let there: BTreeSet<_> = there.collect();
    assert!(
        wrong.is_empty(),
        "write them again: KESTACK_WRITE_REFERENCE=1 cargo test --lib reference; differ: {wrong:?}"
    );
    assert_eq!(there, files, "a file per verb and no other");
}

#[test]
fn every_verb_with_an_answer_is_one() {
    let names: BTreeSet<_> = all(&verb::program(), "").into_iter().map(|(name, _)| name).collect();
    let answers: Vec<_> = schema::answers().map(|(name, _)| name).collect();
    assert!(answers.is_sorted(), "{answers:?}");
    for name in answers.iter().filter(|name| **name != "error") {
        assert!(names.contains(&format!("kestack {name}")), "{name}");
    }
    let without = ["completion", "config schema", "man", "schema"];
    let all = all(&verb::program(), "").into_iter().filter(|(_, command)| command.get_subcommands().next().is_none());
    for (name, _) in all {
        let name = name.trim_start_matches("kestack ");
        assert!(without.contains(&name) || answers.contains(&name), "'{name}' has no schema");
    }
}

#[test]
fn every_schema_can_be_understood() {
    for (name, schema) in schema::answers() {
        let schema = schema();
        assert!(jsonschema::validator_for(&schema).is_ok(), "{name}: {schema}");
        let text = schema.to_string();
        assert!(text.contains("schema_version"), "{name}: {text}");
    }
}
