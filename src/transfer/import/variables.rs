//! `${NAME}` in texts, as Compose resolves it: variables, defaults, alternatives, required ones. What was put in is not read
//! again.

use std::collections::BTreeSet;

/// Longest text that may come out: one that doubles itself line by line ends here.
pub(super) const MAX_TEXT: usize = 256 << 10;
/// How deep defaults may hold defaults.
const MAX_DEPTH: usize = 16;

/// Where values come from.
pub(super) type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// A text with its variables put in; names without a value are added to `unset`, and give nothing.
///
/// # Errors
/// What is not a variable, or the message of a required one.
pub(super) fn expand(text: &str, lookup: Lookup<'_>, unset: &mut BTreeSet<String>) -> Result<String, String> {
    at_depth(text, lookup, unset, 0)
}

fn at_depth(text: &str, lookup: Lookup<'_>, unset: &mut BTreeSet<String>, depth: usize) -> Result<String, String> {
    if depth > MAX_DEPTH {
        return Err("defaults hold defaults too deep".into());
    }
    let (mut done, mut rest) = (String::new(), text);
    while let Some((before, after)) = rest.split_once('$') {
        done.push_str(before);
        rest = if let Some(after) = after.strip_prefix('$') {
            done.push('$');
            after
        } else if let Some(after) = after.strip_prefix('{') {
            let (inside, after) = braced(after).ok_or_else(|| format!("'${{{after}' has no '}}'"))?;
            done.push_str(&one(inside, lookup, unset, depth)?);
            after
        } else {
            let (name, after) = name(after);
            if name.is_empty() {
                return Err("a '$' has no name behind it: write '$$' for the sign itself".into());
            }
            done.push_str(&value_of(name, lookup, unset));
            after
        };
        if done.len() > MAX_TEXT {
            return Err("it becomes too long with its variables".into());
        }
    }
    done.push_str(rest);
    Ok(done)
}

/// What is between the braces.
fn one(inside: &str, lookup: Lookup<'_>, unset: &mut BTreeSet<String>, depth: usize) -> Result<String, String> {
    let (name, operator) = name(inside);
    if name.is_empty() {
        return Err(format!("'${{{inside}}}' has no name of a variable"));
    }
    let (counts_empty, operator) = operator.strip_prefix(':').map_or((false, operator), |rest| (true, rest));
    let value = lookup(name);
    let given = value.clone().filter(|value| !counts_empty || !value.is_empty());
    let mut sign = operator.chars();
    match (sign.next(), given) {
        (None, _) if !counts_empty => Ok(value_of(name, lookup, unset)),
        (Some('-' | '?'), Some(value)) => Ok(value),
        (Some('-'), None) | (Some('+'), Some(_)) => at_depth(sign.as_str(), lookup, unset, depth + 1),
        (Some('+'), None) => Ok(String::new()),
        (Some('?'), None) => {
            let message = at_depth(sign.as_str(), lookup, unset, depth + 1).unwrap_or_default();
            let message = if message.is_empty() { "it is required".to_owned() } else { message };
            Err(format!("{name} is not set: {message}"))
        }
        _ => Err(format!("'${{{inside}}}' is not a way to write a variable")),
    }
}

fn value_of(name: &str, lookup: Lookup<'_>, unset: &mut BTreeSet<String>) -> String {
    lookup(name).unwrap_or_else(|| {
        unset.insert(name.to_owned());
        String::new()
    })
}

/// Name of a variable at the start, and what follows.
pub(super) fn name(text: &str) -> (&str, &str) {
    let end = text.find(|sign: char| !sign.is_ascii_alphanumeric() && sign != '_').unwrap_or(text.len());
    let end = if text.starts_with(|sign: char| sign.is_ascii_digit()) { 0 } else { end };
    text.split_at(end)
}

/// What is before the brace that closes, and what follows it.
pub(super) fn braced(text: &str) -> Option<(&str, &str)> {
    let mut depth = 0_usize;
    let mut before = '\0';
    for (position, sign) in text.char_indices() {
        match sign {
            '{' if before == '$' => depth += 1,
            '}' if depth == 0 => return Some((text.get(..position)?, text.get(position + 1..)?)),
            '}' => depth -= 1,
            _ => {}
        }
        before = sign;
    }
    None
}

/// True for a text in which a variable is still to be put in.
pub(super) fn is_open(text: &str) -> bool {
    text.split("${").skip(1).any(|rest| !name(rest).0.is_empty() && rest.contains('}')) || text.contains("{{")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lookup(name: &str) -> Option<String> {
        match name {
            "A" => Some("a".into()),
            "EMPTY" => Some(String::new()),
            "MONEY" => Some("${A}$A".into()),
            _ => None,
        }
    }

    #[test]
    fn each_form_gives_what_compose_gives() {
        for (text, expected) in [
            ("$A-${A}.", "a-a."),
            ("$$A $${A}", "$A ${A}"),
            ("${A:-d}${B:-d}${EMPTY:-d}", "add"),
            ("${A-d}${B-d}${EMPTY-d}", "ad"),
            ("${A:+x}${B:+x}${EMPTY:+x}|${A+x}${B+x}${EMPTY+x}", "x|xx"),
            ("${A:?no}${A?no}${EMPTY?no}", "aa"),
            ("${B:-${C:-${A}}}${B:-{x}}", "a{x}"),
            ("${B:-http://x:80/?a=$A}", "http://x:80/?a=a"),
            ("${MONEY}", "${A}$A"),
            ("${B:-}${B-}", ""),
        ] {
            let mut unset = BTreeSet::new();
            assert_eq!(expand(text, &lookup, &mut unset).unwrap(), expected, "{text}");
            assert!(unset.is_empty(), "{text}: {unset:?}");
        }
    }

    #[test]
    fn what_is_not_set_is_named() {
        let mut unset = BTreeSet::new();
        assert_eq!(expand("$B ${C} ${D:-$E} ${A:+$F}", &lookup, &mut unset).unwrap(), "   ");
        assert_eq!(unset.into_iter().collect::<Vec<_>>(), ["B", "C", "E", "F"]);
        for (text, why) in [
            ("${B:?set the password}", "B is not set: set the password"),
            ("${EMPTY:?}", "EMPTY is not set: it is required"),
            ("a$", "write '$$'"),
            ("$(id)", "write '$$'"),
            ("$1", "write '$$'"),
            ("${A", "has no '}'"),
            ("${}", "no name"),
            ("${A/x}", "not a way"),
        ] {
            let error = expand(text, &lookup, &mut BTreeSet::new()).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }

    #[test]
    fn depth_and_length_are_bounded() {
        let deep = "${B:-".repeat(100) + &"}".repeat(100);
        assert!(expand(&deep, &lookup, &mut BTreeSet::new()).is_err());
        let long = |_: &str| Some("x".repeat(100_000));
        assert!(expand(&"$A".repeat(10), &long, &mut BTreeSet::new()).unwrap_err().contains("too long"));
    }

    #[test]
    fn a_text_that_is_still_open_is_known() {
        for (text, open) in [
            ("${A}", true),
            ("x${A:-b}", true),
            ("{{ .Values.x }}", true),
            ("$A", false),
            ("${", false),
            ("a{b}", false),
        ] {
            assert_eq!(is_open(text), open, "{text}");
        }
    }
}
