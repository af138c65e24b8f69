//! `credentials.env`: variables that kestack.yaml refers to, as a shell reads them.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use zeroize::Zeroizing;

use super::text_of;
use crate::error::Error;
use crate::host::disk::is_absent;

/// The text of the file: `NAME='value'` for those that are known. Those that are missing are there to be filled in, unless
/// somebody has done that in the `earlier` text.
pub(super) fn text(
    known: &[(String, Zeroizing<String>)],
    missing: &BTreeSet<String>,
    earlier: &str,
) -> Zeroizing<String> {
    let mut text = Zeroizing::new("# Credentials that kestack.yaml refers to; only you may read this.\n".to_owned());
    for (name, value) in known {
        let _ = writeln!(text, "{name}='{}'", value.replace('\'', r"'\''"));
    }
    for name in missing.iter().filter(|name| !known.iter().any(|(known, _)| known == *name)) {
        let _ = match filled_in(earlier, name) {
            Some(assignment) => writeln!(text, "{assignment}"),
            None => writeln!(text, "# not known, fill it in: {name}="),
        };
    }
    text
}

/// What an earlier import wrote there, and somebody filled in.
///
/// # Errors
/// Those of reading it, but for a file that is not there.
pub(super) fn earlier(path: &Path) -> Result<Zeroizing<String>, Error> {
    match text_of(path) {
        Err(Error::File { source, .. }) if is_absent(&source) => Ok(Zeroizing::default()),
        found => found,
    }
}

/// The assignment of a variable as it is written there; the last one counts.
fn filled_in<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    let is_it = |statement: &&str| {
        let assignment = statement.strip_prefix("export ").unwrap_or(statement);
        assignment.strip_prefix(name).is_some_and(|rest| rest.starts_with('='))
    };
    statements(text).filter(is_it).last()
}

/// Statements of a shell, one a line: within quotes a line break is a part of the value.
fn statements(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let all = rest.trim_start();
        if all.is_empty() {
            return None;
        }
        let (statement, after) = all.split_at_checked(end(all)).unwrap_or((all, ""));
        rest = after;
        Some(statement.trim_end())
    })
}

/// Where the first statement of a text ends.
fn end(text: &str) -> usize {
    let is_comment = text.starts_with('#');
    let (mut quote, mut escaped) = (None, false);
    for (position, letter) in text.char_indices() {
        match (quote, letter) {
            _ if escaped => escaped = false,
            (Some('"') | None, '\\') if !is_comment => escaped = true,
            (None, '\n') => return position,
            (None, '"' | '\'') if !is_comment => quote = Some(letter),
            (Some(open), _) if open == letter => quote = None,
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_somebody_filled_in_are_kept() {
        let known = [("KNOWN".to_owned(), Zeroizing::new("it's".to_owned()))];
        let missing: BTreeSet<_> = ["EMPTY", "KEY", "KNOWN", "NONE", "TOKEN"].map(str::to_owned).into();
        let first = text(&known, &missing, "");
        assert!(first.contains("# not known, fill it in: TOKEN=\n"), "{}", *first);
        let key = "KEY='-----BEGIN-----\nTOKEN=not this one\n-----END-----'\\''s'";
        let filled = first
            .replace("# not known, fill it in: KEY=", key)
            .replace("# not known, fill it in: TOKEN=", "# don't lose it\nexport TOKEN=\"a \\\" b\"  ")
            .replace("# not known, fill it in: EMPTY=", "EMPTY=");
        let again = text(&known, &missing, &filled.replace("it'\\''s", "old"));
        for line in [key, "export TOKEN=\"a \\\" b\"", "EMPTY=", "KNOWN='it'\\''s'", "# not known, fill it in: NONE="] {
            assert!(again.contains(&format!("\n{line}\n")), "{line} is not in\n{}", *again);
        }
        assert_eq!(*text(&known, &missing, &again), *again, "a third import changes nothing");
    }
}
