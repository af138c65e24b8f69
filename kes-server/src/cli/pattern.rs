//! Patterns of names, in the spelling of Go's `path.Match`: `*`, `?`, `[a-z]`, `[^a-z]` and `\` before a character that
//! stands for itself. Unlike there, `*` also stands for `/`: nothing that a keystore lists may go unseen.

use std::str::{Chars, FromStr};

/// A pattern, valid by construction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pattern(Vec<Piece>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    /// `*`
    Any,
    /// `?`
    One,
    /// `[a-z]`: the first and the last character of each range.
    Range { ranges: Vec<(char, char)>, is_negated: bool },
    /// A character that stands for itself.
    Character(char),
}

/// A text that is not a pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a '[' needs characters and a ']', and a '\\' a character after it")]
pub(super) struct PatternError;

impl Pattern {
    /// Whether the complete name matches.
    pub(super) fn matches(&self, name: &str) -> bool {
        let name: Vec<char> = name.chars().collect();
        let (mut piece, mut at) = (0, 0);
        // Where the last `*` is, and what it takes so far: only the last one ever has to take more.
        let mut star: Option<(usize, usize)> = None;
        while at < name.len() || piece < self.0.len() {
            match (self.0.get(piece), name.get(at)) {
                (Some(Piece::Any), _) => {
                    star = Some((piece, at));
                    piece += 1;
                }
                (Some(one), Some(character)) if one.is(*character) => {
                    piece += 1;
                    at += 1;
                }
                _ => match star {
                    Some((place, taken)) if taken < name.len() => {
                        star = Some((place, taken + 1));
                        (piece, at) = (place + 1, taken + 1);
                    }
                    _ => return false,
                },
            }
        }
        true
    }

    /// What every name that matches begins with.
    pub(super) fn prefix(&self) -> String {
        let literal = |piece: &Piece| if let Piece::Character(character) = piece { Some(*character) } else { None };
        self.0.iter().map_while(literal).collect()
    }
}

impl Piece {
    fn is(&self, character: char) -> bool {
        match self {
            Self::Any => false,
            Self::One => true,
            Self::Range { ranges, is_negated } => {
                ranges.iter().any(|(first, last)| (first..=last).contains(&&character)) != *is_negated
            }
            Self::Character(own) => *own == character,
        }
    }
}

impl FromStr for Pattern {
    type Err = PatternError;

    /// The empty pattern matches everything, as in MinIO KES.
    fn from_str(text: &str) -> Result<Self, PatternError> {
        let mut pieces = Vec::new();
        let mut rest = text.chars();
        while let Some(character) = rest.next() {
            pieces.push(match character {
                '*' => Piece::Any,
                '?' => Piece::One,
                '[' => range(&mut rest)?,
                '\\' => Piece::Character(rest.next().ok_or(PatternError)?),
                own => Piece::Character(own),
            });
        }
        if pieces.is_empty() {
            pieces.push(Piece::Any);
        }
        Ok(Self(pieces))
    }
}

/// What is behind a `[`.
fn range(rest: &mut Chars<'_>) -> Result<Piece, PatternError> {
    let is_negated = rest.as_str().starts_with('^');
    if is_negated {
        rest.next();
    }
    let mut ranges = Vec::new();
    while ranges.is_empty() || !rest.as_str().starts_with(']') {
        let first = bound(rest)?;
        let is_range = rest.as_str().starts_with('-');
        if is_range {
            rest.next();
        }
        ranges.push((first, if is_range { bound(rest)? } else { first }));
    }
    rest.next();
    Ok(Piece::Range { ranges, is_negated })
}

/// An end of a range.
fn bound(rest: &mut Chars<'_>) -> Result<char, PatternError> {
    match rest.next() {
        None | Some('-' | ']') => Err(PatternError),
        Some('\\') => rest.next().ok_or(PatternError),
        Some(character) => Ok(character),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_match(pattern: &str, name: &str) -> bool {
        pattern.parse::<Pattern>().unwrap().matches(name)
    }

    #[test]
    fn patterns_match_as_in_go() {
        for (pattern, name) in [
            ("", "kk-0001"),
            ("*", "kk-0001"),
            ("kk-0*1", "kk-0001"),
            ("[k]k-0001", "kk-0001"),
            ("[!k]k-0001", "kk-0001"),
            ("kk-000?", "kk-0001"),
            ("*k*0*1", "kk-0001"),
            ("kk-0001", "kk-0001"),
            ("kk-000[0-2]", "kk-0001"),
            ("kk-000[^2-9]", "kk-0001"),
            ("kk-000[71]", "kk-0001"),
            (r"\k[\k-l]-*", "kk-0001"),
            ("**1", "kk-0001"),
            ("a*b*c", "a-b-b-c"),
            ("*", "sub/folder"),
        ] {
            assert!(is_match(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [
            ("kk-0*2", "kk-0001"),
            ("[^k]k-0001", "kk-0001"),
            ("kk", "kk-0001"),
            ("kk-0001?", "kk-0001"),
            ("K*", "kk-0001"),
            ("a*b*c", "a-c-b"),
            ("?", ""),
        ] {
            assert!(!is_match(pattern, name), "{pattern} {name}");
        }
    }

    #[test]
    fn a_pattern_says_what_names_begin_with() {
        for (pattern, prefix) in [("", ""), ("*", ""), ("a-*", "a-"), ("a[b]c", "a"), (r"a\*b", "a*b"), ("abc", "abc")]
        {
            assert_eq!(pattern.parse::<Pattern>().unwrap().prefix(), prefix, "{pattern}");
        }
    }

    #[test]
    fn what_go_refuses_is_refused() {
        for pattern in ["[", "[a", "[]", "[]a]", "[-]", "[a-]", "[^]", "[^", "a\\", "[a-", "[\\"] {
            assert_eq!(pattern.parse::<Pattern>(), Err(PatternError), "{pattern}");
        }
    }

    /// Backtracking is bounded: a name of any length is matched in moments.
    #[test]
    fn many_stars_take_no_time() {
        assert!(!is_match(&format!("{}b", "*a".repeat(40)), &"a".repeat(2_000)));
    }
}
