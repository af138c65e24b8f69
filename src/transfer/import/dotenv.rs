//! `.env` and the files of `env_file`, as Compose reads them.

use std::collections::{BTreeMap, BTreeSet};

use zeroize::Zeroizing;

use super::variables::{Lookup, expand};

/// Variables by name.
pub(super) type Values = BTreeMap<String, Zeroizing<String>>;

/// Reads `NAME=value` lines: values in single quotes stay as they are, in others variables are put in, those of `outer`
/// before those of the file. A name alone has its value from `outer`.
///
/// # Errors
/// What is wrong with which line.
pub(super) fn parse(text: &str, outer: Lookup<'_>, unset: &mut BTreeSet<String>) -> Result<Values, String> {
    let mut values = Values::new();
    let (mut rest, mut line) = (text, 1);
    while !rest.is_empty() {
        let next = entry(rest, outer, &mut values, unset).map_err(|why| format!("line {line}: {why}"))?;
        let read = rest.get(..rest.len() - next.len()).unwrap_or_default();
        line += read.matches('\n').count();
        rest = next;
    }
    Ok(values)
}

/// Reads the first entry of a text, and returns what follows it.
fn entry<'t>(
    text: &'t str,
    outer: Lookup<'_>,
    values: &mut Values,
    unset: &mut BTreeSet<String>,
) -> Result<&'t str, String> {
    let (line, after) = text.split_once('\n').unwrap_or((text, ""));
    let start = line.trim_start();
    if start.is_empty() || start.starts_with('#') {
        return Ok(after);
    }
    let start = start.strip_prefix("export ").unwrap_or(start);
    let separator = start.find(['=', ':']);
    let Some((name, value)) = separator.and_then(|at| Some((start.get(..at)?.trim(), start.get(at + 1..)?))) else {
        let name = bare(start);
        values.extend(outer(name).map(|value| (name.to_owned(), Zeroizing::new(value))));
        return Ok(after);
    };
    if name.is_empty() || name.contains(char::is_whitespace) {
        return Err("it has no name of a variable".into());
    }
    let written = text.get(line.len() - value.trim_start().len()..).unwrap_or_default();
    let (value, next) = written_value(written, after)?;
    let value = match value {
        Written::Literal(text) => text,
        Written::Open(text) => {
            let lookup = |name: &str| outer(name).or_else(|| values.get(name).map(|value| value.to_string()));
            expand(&text, &lookup, unset).map_err(|why| format!("{name}: {why}"))?
        }
    };
    values.insert(name.to_owned(), Zeroizing::new(value));
    Ok(next)
}

/// A value as it is written.
enum Written {
    /// It stays as it is.
    Literal(String),
    /// Variables are put into it.
    Open(String),
}

/// The value at the start of a text, and what follows it; `after` is what follows the line. A value in quotes may go on in
/// the next lines.
fn written_value<'t>(text: &'t str, after: &'t str) -> Result<(Written, &'t str), String> {
    let Some(quote @ ('"' | '\'')) = text.chars().next() else {
        let line = text.split('\n').next().unwrap_or_default();
        return Ok((Written::Open(bare(line).to_owned()), after));
    };
    let closed = closed(text.get(1..).unwrap_or_default(), quote);
    let (inside, behind) = closed.ok_or("a quote is not closed")?;
    let next = behind.split_once('\n').map_or("", |(_, after)| after);
    let value = if quote == '"' { Written::Open(unescaped(inside)) } else { Written::Literal(inside.to_owned()) };
    Ok((value, next))
}

/// The same for `format: raw`: every value stays as it is.
pub(super) fn parse_raw(text: &str, outer: Lookup<'_>) -> Values {
    let lines = text.lines().filter(|line| !line.trim_start().starts_with('#') && !line.trim().is_empty());
    let values = lines.filter_map(|line| match line.split_once('=') {
        Some((name, value)) => Some((name.trim().to_owned(), Zeroizing::new(value.to_owned()))),
        None => Some((line.trim().to_owned(), Zeroizing::new(outer(line.trim())?))),
    });
    values.collect()
}

/// What is before the quote that closes, and what follows it.
fn closed(text: &str, quote: char) -> Option<(&str, &str)> {
    let mut escaped = false;
    for (position, sign) in text.char_indices() {
        match sign {
            '\\' if !escaped => {
                escaped = true;
                continue;
            }
            _ if sign == quote && !escaped => return Some((text.get(..position)?, text.get(position + 1..)?)),
            _ => {}
        }
        escaped = false;
    }
    None
}

/// A value without quotes ends at its comment.
fn bare(text: &str) -> &str {
    let comment = text.match_indices('#').find(|(position, _)| {
        text.get(..*position).is_some_and(|before| before.is_empty() || before.ends_with(char::is_whitespace))
    });
    text.get(..comment.map_or(text.len(), |(position, _)| position)).unwrap_or(text).trim()
}

/// A text of double quotes; a `$` behind a backslash stays one.
fn unescaped(text: &str) -> String {
    let (mut done, mut signs) = (String::new(), text.chars());
    while let Some(sign) = signs.next() {
        match (sign, signs.clone().next()) {
            ('\\', Some(next)) if "nrt\"\\$".contains(next) => {
                signs.next();
                done.push_str(match next {
                    'n' => "\n",
                    'r' => "\r",
                    't' => "\t",
                    '$' => "$$",
                    '\\' => "\\",
                    _ => "\"",
                });
            }
            _ => done.push(sign),
        }
    }
    done
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outer(name: &str) -> Option<String> {
        (name == "OUTER").then(|| "o".to_owned())
    }

    #[test]
    fn a_file_is_read_as_compose_reads_it() {
        let text = "# comment\nA=1\nexport B = two words # no\nC='$A # ${X}'\nD=\"$A\\n\\$A \\\"q\\\"\"\r\nE=a#b\nF=\nG: yaml\n\
                    H=\"first\nsecond\"\nI=${A}${OUTER}${MISSING:-m}\nOUTER=file\nJ=$OUTER\nOUTER\nK=it's\nL=last";
        let mut unset = BTreeSet::new();
        let values = parse(text, &outer, &mut unset).unwrap();
        for (name, expected) in [
            ("A", "1"),
            ("B", "two words"),
            ("C", "$A # ${X}"),
            ("D", "1\n$A \"q\""),
            ("E", "a#b"),
            ("F", ""),
            ("G", "yaml"),
            ("H", "first\nsecond"),
            ("I", "1om"),
            ("J", "o"),
            ("OUTER", "o"),
            ("K", "it's"),
            ("L", "last"),
        ] {
            assert_eq!(values.get(name).map(|value| value.as_str()), Some(expected), "{name}");
        }
        assert!(unset.is_empty(), "{unset:?}");
        parse("A=$NOBODY", &outer, &mut unset).unwrap();
        assert_eq!(unset.into_iter().collect::<Vec<_>>(), ["NOBODY"]);
    }

    #[test]
    fn raw_values_stand_as_they_are() {
        let values = parse_raw("A=\"$B\" # x\n#C=1\nOUTER\nNOBODY\n", &outer);
        assert_eq!(values.get("A").map(|value| value.as_str()), Some("\"$B\" # x"));
        assert_eq!(values.keys().collect::<Vec<_>>(), ["A", "OUTER"]);
    }

    #[test]
    fn what_doubles_itself_or_never_ends_is_refused() {
        let mut text = "A0=xxxxxxxxxxxxxxxx\n".to_owned();
        for line in 1..64 {
            use std::fmt::Write as _;
            writeln!(text, "A{line}=$A{0}$A{0}", line - 1).unwrap();
        }
        let of = |text: &str| parse(text, &outer, &mut BTreeSet::new()).unwrap_err();
        assert!(of(&text).contains("too long"));
        assert!(of("A=1\nB=\"x\nC=2").contains("line 2: a quote"));
        assert!(of("=x").contains("line 1: it has no name"));
        assert!(of("A=${B:?say B}").contains("say B"));
    }
}
