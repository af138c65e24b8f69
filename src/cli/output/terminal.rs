//! What a terminal can show: colours, and so many columns.

use std::os::fd::AsFd;

use rustix::termios::{isatty, tcgetwinsize};

use super::super::session::environment;

/// Where nothing is known of the width of a terminal.
const USUAL: usize = 80;

/// Narrower than this nothing is broken into lines: the terminal does it.
const NARROWEST: usize = 20;

/// The columns of a terminal; `None` for a file or a pipe, which takes lines of any length.
pub(super) fn width(stream: &impl AsFd) -> Option<usize> {
    if !isatty(stream) {
        return None;
    }
    let columns = tcgetwinsize(stream).map_or(0, |size| usize::from(size.ws_col));
    Some(if columns == 0 { USUAL } else { columns })
}

/// True if a line of that terminal can be written again and again.
pub(super) fn is_live(stream: &impl AsFd) -> bool {
    isatty(stream) && !is_dumb() && environment("CI").is_none()
}

/// True if text may be coloured: `NO_COLOR` forbids it, `CLICOLOR_FORCE` asks for it, else a terminal must be able to.
pub(super) fn has_colours(stream: &impl AsFd) -> bool {
    let is = |name: &str, value: &str| environment(name).is_some_and(|found| found == value);
    let is_forced = environment("CLICOLOR_FORCE").is_some() && !is("CLICOLOR_FORCE", "0");
    let is_able = || isatty(stream) && !is_dumb() && !is("CLICOLOR", "0");
    environment("NO_COLOR").is_none() && (is_forced || is_able())
}

fn is_dumb() -> bool {
    environment("TERM").is_none_or(|terminal| terminal == "dumb")
}

/// The text with its long lines broken, so that they fit the width. A line goes on below the column in which its last
/// entry begins. Commands between backticks and words stay as they are, because they are copied.
pub(super) fn fitted(text: &str, width: Option<usize>) -> String {
    match width.filter(|width| *width >= NARROWEST) {
        Some(width) => text.lines().map(|line| broken(line, width)).collect::<Vec<_>>().join("\n"),
        None => text.to_owned(),
    }
}

fn broken(line: &str, width: usize) -> String {
    if length(line) <= width {
        return line.to_owned();
    }
    let indent = " ".repeat(hanging(line, width));
    let (mut done, mut column) = (String::new(), 0);
    for word in words(line) {
        let needed = length(word.trim_end());
        if column > indent.len() && column + needed > width {
            done.truncate(done.trim_end().len());
            done.push('\n');
            done.push_str(&indent);
            column = indent.len();
        }
        done.push_str(word);
        column += length(word);
    }
    done.truncate(done.trim_end().len());
    done
}

/// The column below which a line goes on: that of its last entry near the start, which follows two spaces or more; two
/// columns further in than the line if there is none.
fn hanging(line: &str, width: usize) -> usize {
    let start = length(line) - length(line.trim_start());
    let (mut entry, mut blanks) = (None, 0);
    for (column, sign) in line.chars().enumerate().take(width / 3 + 1) {
        if sign != ' ' && blanks >= 2 && column > start {
            entry = Some(column);
        }
        blanks = if sign == ' ' { blanks + 1 } else { 0 };
    }
    entry.unwrap_or((start + 2).min(width / 3))
}

/// The words of a line with the spaces after them. What is between backticks is one word.
fn words(line: &str) -> Vec<&str> {
    let (mut words, mut start, mut quoted, mut after) = (Vec::new(), 0, false, false);
    for (at, sign) in line.char_indices() {
        if after && sign != ' ' && !line.get(start..at).unwrap_or_default().trim().is_empty() {
            words.extend(line.get(start..at));
            start = at;
        }
        quoted ^= sign == '`';
        after = sign == ' ' && !quoted;
    }
    words.extend(line.get(start..));
    words
}

fn length(text: &str) -> usize {
    text.chars().count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lines_go_on_below_their_entry() {
        let text = "stack 'a' is up\n  keys         first-key, second-key, third-key, fourth-key\n";
        let shown = fitted(text, Some(45));
        assert_eq!(
            shown,
            "stack 'a' is up\n  keys         first-key, second-key,\n               third-key, fourth-key"
        );
        assert_eq!(fitted(text, None), text, "a file takes lines of any length");
    }

    #[test]
    fn commands_stay_in_one_piece() {
        let text = "error: the stack is not there; `kestack -n some-name up` brings it up again";
        let shown = fitted(text, Some(40));
        assert!(shown.contains("`kestack -n some-name up`"), "{shown}");
        assert!(shown.lines().all(|line| line.chars().count() <= 40), "{shown}");
    }

    #[test]
    fn no_word_is_lost_or_cut_at_any_width() {
        let text =
            "  WARN  keystore  it does not answer → `kestack doctor` says why /a/very/long/path/that/fits/nowhere";
        for width in 1..120 {
            let shown = fitted(text, Some(width));
            assert!(shown.split_whitespace().eq(text.split_whitespace()), "{width}: {shown}");
        }
    }
}
