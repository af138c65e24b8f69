//! Lines of a shell: commands, and their words, with quotes and variables. Nothing is run.

use std::collections::BTreeSet;

use super::variables::{Lookup, braced, expand};

/// The commands of a script, each as it is written; comments and here-documents are left out.
pub(super) fn commands(script: &str) -> Vec<String> {
    let script = script.replace("\\\r\n", " ").replace("\\\n", " ");
    let mut commands = Vec::new();
    let mut lines = script.lines();
    let mut open = String::new();
    while let Some(line) = lines.next() {
        open.push_str(line);
        let Some(pieces) = pieces(&open) else {
            open.push('\n');
            continue;
        };
        if let Some(end) = here_document(&open) {
            lines.find(|line| line.trim() == end);
        }
        commands.extend(pieces);
        open.clear();
    }
    // a quote that is never closed
    commands.extend((!open.is_empty()).then_some(open));
    commands
}

/// A line at its `;`, `&` and `|`; `None` if a quote is still open.
fn pieces(line: &str) -> Option<Vec<String>> {
    let (mut pieces, mut piece, mut quote, mut before) = (Vec::new(), String::new(), None, ' ');
    let mut signs = line.chars().peekable();
    while let Some(sign) = signs.next() {
        match (quote, sign) {
            (None | Some('"'), '\\') => {
                piece.push(sign);
                piece.extend(signs.next());
                before = ' ';
                continue;
            }
            (None, '#') if before.is_whitespace() || before == ';' => break,
            (None, '\'' | '"') => quote = Some(sign),
            (Some(open), _) if open == sign => quote = None,
            (None, '&') if before == '>' || signs.peek() == Some(&'>') => {}
            (None, ';' | '&' | '|') => {
                pieces.push(std::mem::take(&mut piece));
                before = ';';
                continue;
            }
            _ => {}
        }
        piece.push(sign);
        before = sign;
    }
    pieces.push(piece);
    pieces.retain(|piece| !piece.trim().is_empty());
    quote.is_none().then_some(pieces)
}

/// The word that ends the here-document which a line begins.
fn here_document(line: &str) -> Option<String> {
    let (_, word) = line.split_once("<<")?;
    let word = word.trim_start_matches('-').trim_start();
    let word: String = word.chars().take_while(|sign| !sign.is_whitespace() && !";&|<>".contains(*sign)).collect();
    let word = word.trim_matches(['"', '\'', '\\']).to_owned();
    (!word.is_empty()).then_some(word)
}

/// The words of a command, as a shell splits it, variables put in if there is a `lookup`; redirections are left out.
///
/// # Errors
/// Which variable is not set, or that only running a command gives the word.
pub(super) fn words(command: &str, lookup: Option<Lookup<'_>>) -> Result<Vec<String>, String> {
    let mut reader = Reader { words: Vec::new(), word: None, lookup };
    let mut rest = command;
    while let Some(sign) = rest.chars().next() {
        rest = rest.get(sign.len_utf8()..).unwrap_or_default();
        rest = match sign {
            '\'' => {
                let (inside, after) = rest.split_once('\'').ok_or("a quote is not closed")?;
                reader.push(inside);
                after
            }
            '"' => reader.quoted(rest)?,
            '\\' => reader.escaped(rest),
            '$' | '`' if lookup.is_some() => {
                let (value, after) = reader.variable(sign, rest)?;
                reader.split(&value);
                after
            }
            sign if sign.is_whitespace() => {
                reader.end();
                rest
            }
            sign => {
                reader.push(sign.encode_utf8(&mut [0; 4]));
                rest
            }
        };
    }
    reader.end();
    Ok(without_redirections(reader.words))
}

struct Reader<'a> {
    words: Vec<String>,
    word: Option<String>,
    lookup: Option<Lookup<'a>>,
}

impl Reader<'_> {
    fn push(&mut self, text: &str) {
        self.word.get_or_insert_default().push_str(text);
    }

    fn end(&mut self) {
        self.words.extend(self.word.take());
    }

    /// Adds a value that is outside of quotes: its blanks end words.
    fn split(&mut self, value: &str) {
        for (number, part) in value.split(char::is_whitespace).enumerate() {
            if number > 0 {
                self.end();
            }
            if !part.is_empty() {
                self.push(part);
            }
        }
    }

    fn escaped<'t>(&mut self, rest: &'t str) -> &'t str {
        let Some(sign) = rest.chars().next() else { return rest };
        self.push(sign.encode_utf8(&mut [0; 4]));
        rest.get(sign.len_utf8()..).unwrap_or_default()
    }

    /// A text in double quotes, up to what follows them.
    fn quoted<'t>(&mut self, mut rest: &'t str) -> Result<&'t str, String> {
        self.push("");
        while let Some(sign) = rest.chars().next() {
            let after = rest.get(sign.len_utf8()..).unwrap_or_default();
            rest = match sign {
                '"' => return Ok(after),
                '\\' if after.starts_with(['"', '\\', '$', '`']) => self.escaped(after),
                '$' | '`' if self.lookup.is_some() => {
                    let (value, after) = self.variable(sign, after)?;
                    self.push(&value);
                    after
                }
                sign => {
                    self.push(sign.encode_utf8(&mut [0; 4]));
                    after
                }
            };
        }
        Err("a quote is not closed".into())
    }

    /// The value of the variable behind a `$`, and what follows.
    fn variable<'t>(&self, sign: char, rest: &'t str) -> Result<(String, &'t str), String> {
        if sign == '`' || rest.starts_with('(') {
            return Err("only running it gives the word".into());
        }
        let after = match rest.strip_prefix('{') {
            Some(inside) => braced(inside).ok_or("a brace is not closed")?.1,
            None => super::variables::name(rest).1,
        };
        let variable = rest.get(..rest.len() - after.len()).unwrap_or_default();
        if variable.is_empty() {
            return Ok(("$".into(), rest));
        }
        let mut unset = BTreeSet::new();
        let value = expand(&format!("${variable}"), self.lookup.unwrap_or(&|_| None), &mut unset)?;
        match unset.first() {
            Some(name) => Err(format!("{name} is not set")),
            None => Ok((value, after)),
        }
    }
}

fn without_redirections(words: Vec<String>) -> Vec<String> {
    let mut kept = Vec::new();
    let mut words = words.into_iter();
    while let Some(word) = words.next() {
        let operator = word.trim_start_matches(|sign: char| sign.is_ascii_digit() || sign == '&');
        if !operator.starts_with(['<', '>']) {
            kept.push(word);
        } else if operator.chars().all(|sign| "<>&".contains(sign)) {
            words.next();
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_split_as_a_shell_does_it() {
        for (line, expected) in [
            (
                r#"server "/my data" --console-address ':9001'"#,
                vec!["server", "/my data", "--console-address", ":9001"],
            ),
            (r#"sh -c "mc mb a/b; echo \"x y\"""#, vec!["sh", "-c", "mc mb a/b; echo \"x y\""]),
            (r"a\ b '' 'it'\''s' $A", vec!["a b", "", "it's", "$A"]),
            ("mc mb x >/dev/null 2>&1 < in", vec!["mc", "mb", "x"]),
        ] {
            assert_eq!(words(line, None).unwrap(), expected, "{line}");
        }
        assert!(words("a 'b", None).is_err() && words("a \"b", None).is_err());
    }

    #[test]
    fn variables_are_put_in_where_a_shell_does_it() {
        let lookup = |name: &str| (name == "B").then(|| "one two".to_owned());
        let of = |line: &str| words(line, Some(&lookup));
        assert_eq!(
            of("mc mb $B \"$B\" '$B' x/${B:-c} \\$B").unwrap(),
            ["mc", "mb", "one", "two", "one two", "$B", "x/one", "two", "$B"]
        );
        assert_eq!(of("${A:-d}").unwrap(), ["d"]);
        assert_eq!(of("mc mb $A").unwrap_err(), "A is not set");
        for line in ["mc mb $(cat x)", "mc mb `cat x`", "mc mb \"$(cat x)\""] {
            assert!(of(line).unwrap_err().contains("running"), "{line}");
        }
    }

    #[test]
    fn a_script_is_its_commands() {
        let script = "# first\nset -e; mc mb a/b && mc mb \"c;d\" || true # no\nmc cp x \\\n  y 2>&1 | tee log\ncat <<EOF\nmc mb no/no\nEOF\nexit 0";
        let commands: Vec<_> = commands(script).iter().map(|command| command.trim().to_owned()).collect();
        let expected =
            ["set -e", "mc mb a/b", "mc mb \"c;d\"", "true", "mc cp x    y 2>&1", "tee log", "cat <<EOF", "exit 0"];
        assert_eq!(commands, expected);
    }
}
