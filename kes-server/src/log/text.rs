//! Log lines in the form of Go's slog text handler (docs/kes-protocol.md §8.1).

use std::{
    borrow::Cow,
    fmt::{self, Write as _},
    time::Duration,
};

use jiff::Zoned;

use super::{Outcome, Subject};
use crate::config::Level;

/// Bytes of one value of a line that are written. Keys, identities and addresses are shorter; what a stranger sends as a
/// path may be as long as the head of a request.
const LONGEST: usize = 1024;

/// A line in the making.
pub(super) struct Line(String);

impl Line {
    pub(super) fn new(level: Level, message: &str) -> Self {
        let time = short(Zoned::now().strftime("%Y-%m-%dT%H:%M:%S%.3f%:z").to_string());
        let mut line = Self(String::with_capacity(256));
        line.attribute("time", &time);
        line.attribute("level", &level.to_string());
        line.attribute("msg", message);
        line
    }

    /// An attribute of its own, behind the message.
    pub(super) fn with(mut self, name: &str, value: &str) -> Self {
        self.attribute(name, value);
        self
    }

    /// `unknown` stands for the identity of a caller that has none.
    pub(super) fn subject(mut self, subject: Subject<'_>, unknown: &str) -> Self {
        self.attribute("req.method", subject.method);
        self.attribute("req.path", subject.path);
        self.attribute("req.ip", subject.ip);
        self.attribute("req.identity", if subject.identity.is_empty() { unknown } else { subject.identity });
        self
    }

    pub(super) fn outcome(mut self, outcome: Outcome) -> Self {
        self.attribute("res.code", &outcome.status.to_string());
        self.attribute("res.time", &GoDuration(outcome.time).to_string());
        self
    }

    pub(super) fn finish(mut self) -> String {
        self.0.push('\n');
        self.0
    }

    fn attribute(&mut self, name: &str, value: &str) {
        if !self.0.is_empty() {
            self.0.push(' ');
        }
        self.0.push_str(name);
        self.0.push('=');
        let value = &*cut(value);
        if needs_quotes(value) {
            quote(&mut self.0, value);
        } else {
            self.0.push_str(value);
        }
    }
}

/// As much of a value as is written; `…` stands for the rest.
pub(super) fn cut(value: &str) -> Cow<'_, str> {
    if value.len() <= LONGEST {
        return Cow::Borrowed(value);
    }
    let (start, _) = value.split_at(value.floor_char_boundary(LONGEST));
    Cow::Owned(format!("{start}…"))
}

/// RFC 3339 with as many digits of the second as it takes.
pub(crate) fn timestamp(time: &Zoned) -> String {
    let format = if time.subsec_nanosecond() == 0 { "%Y-%m-%dT%H:%M:%S%:z" } else { "%Y-%m-%dT%H:%M:%S%.f%:z" };
    short(time.strftime(format).to_string())
}

/// With `Z` for UTC.
fn short(time: String) -> String {
    match time.strip_suffix("+00:00") {
        Some(local) => format!("{local}Z"),
        None => time,
    }
}

fn needs_quotes(value: &str) -> bool {
    let is_special = |char: char| char == '"' || char == '=' || char.is_whitespace() || !is_printable(char);
    value.is_empty() || value.contains(is_special)
}

fn is_printable(char: char) -> bool {
    char == ' ' || !(char.is_control() || char.is_whitespace() || char == char::REPLACEMENT_CHARACTER)
}

/// A string literal of Go.
fn quote(line: &mut String, value: &str) {
    line.push('"');
    for char in value.chars() {
        match char {
            '"' => line.push_str("\\\""),
            '\\' => line.push_str("\\\\"),
            '\n' => line.push_str("\\n"),
            '\r' => line.push_str("\\r"),
            '\t' => line.push_str("\\t"),
            '\x07' => line.push_str("\\a"),
            '\x08' => line.push_str("\\b"),
            '\x0b' => line.push_str("\\v"),
            '\x0c' => line.push_str("\\f"),
            char if is_printable(char) => line.push(char),
            char => escape(line, u32::from(char)),
        }
    }
    line.push('"');
}

fn escape(line: &mut String, code: u32) {
    // Writing to a string cannot fail.
    let _: fmt::Result = match code {
        0..=0x7f => write!(line, "\\x{code:02x}"),
        0x80..=0xffff => write!(line, "\\u{code:04x}"),
        _ => write!(line, "\\U{code:08x}"),
    };
}

/// A duration as Go prints it: `624.187µs`, `11.2ms`, `1m2.5s`.
struct GoDuration(Duration);

impl fmt::Display for GoDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanos = self.0.as_nanos();
        match nanos {
            0 => f.write_str("0s"),
            1..1_000 => write!(f, "{nanos}ns"),
            1_000..1_000_000 => fraction(f, nanos, 1_000, "µs"),
            1_000_000..1_000_000_000 => fraction(f, nanos, 1_000_000, "ms"),
            _ => {
                const MINUTE: u128 = 60_000_000_000;
                let minutes = nanos / MINUTE;
                if minutes >= 60 {
                    write!(f, "{}h", minutes / 60)?;
                }
                if minutes > 0 {
                    write!(f, "{}m", minutes % 60)?;
                }
                fraction(f, nanos % MINUTE, 1_000_000_000, "s")
            }
        }
    }
}

fn fraction(f: &mut fmt::Formatter<'_>, nanos: u128, unit: u128, suffix: &str) -> fmt::Result {
    let digits = unit.ilog10() as usize;
    let rest = format!("{:0digits$}", nanos % unit);
    let rest = rest.trim_end_matches('0');
    let point = if rest.is_empty() { "" } else { "." };
    write!(f, "{}{point}{rest}{suffix}", nanos / unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_in_go() {
        for (nanos, text) in [
            (0, "0s"),
            (999, "999ns"),
            (624_187, "624.187µs"),
            (11_200_000, "11.2ms"),
            (15_939_959, "15.939959ms"),
            (1_000_000_000, "1s"),
            (62_500_000_000, "1m2.5s"),
            (3_600_000_000_000, "1h0m0s"),
        ] {
            assert_eq!(GoDuration(Duration::from_nanos(nanos)).to_string(), text);
        }
    }

    #[test]
    fn values_are_quoted_where_needed() {
        for (value, text) in [
            ("PUT", "a=PUT"),
            ("", r#"a="""#),
            ("a b", r#"a="a b""#),
            ("a=b", r#"a="a=b""#),
            ("key 'x'\n\u{7}\"\\", r#"a="key 'x'\n\a\"\\""#),
            ("\u{8}\u{b}\u{c}\u{1}", r#"a="\b\v\f\x01""#),
            ("é", "a=é"),
            ("\u{2028}", r#"a="\u2028""#),
        ] {
            let mut line = Line(String::new());
            line.attribute("a", value);
            assert_eq!(line.0, text);
        }
    }

    #[test]
    fn lines_have_the_attributes_of_the_original_in_its_order() {
        let subject = Subject { method: "PUT", path: "/v1/key/create/a", ip: "127.0.0.1", identity: "ab" };
        let outcome = Outcome { status: 200, time: Duration::from_nanos(907_163) };
        let line = Line::new(Level::INFO, "secret key 'a' created").subject(subject, "").outcome(outcome).finish();
        let (time, rest) = line.split_once(' ').unwrap();
        assert!(time.starts_with("time=20") && time.as_bytes()[24] == b'.', "{time}");
        assert_eq!(
            rest,
            "level=INFO msg=\"secret key 'a' created\" req.method=PUT req.path=/v1/key/create/a req.ip=127.0.0.1 \
             req.identity=ab res.code=200 res.time=907.163µs\n"
        );
    }

    #[test]
    fn timestamps_drop_trailing_zeros() {
        let utc = |text: &str| text.parse::<jiff::Timestamp>().unwrap().to_zoned(jiff::tz::TimeZone::UTC);
        assert_eq!(timestamp(&utc("2026-11-21T00:58:49.317282190Z")), "2026-11-21T00:58:49.31728219Z");
        assert_eq!(timestamp(&utc("2026-11-21T00:58:49Z")), "2026-11-21T00:58:49Z");
        let east = utc("2026-11-21T00:58:49.5Z").with_time_zone(jiff::tz::TimeZone::fixed(jiff::tz::offset(2)));
        assert_eq!(timestamp(&east), "2026-11-21T02:58:49.5+02:00");
    }
}
