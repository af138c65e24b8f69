//! Durations as Go writes them: `1h2m3.5s` (docs/kes-protocol.md §4.3).

use std::fmt;
use std::time::Duration;

/// A duration with its sign, in nanoseconds; as wide as in Go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Nanoseconds(pub(crate) i64);

impl Nanoseconds {
    pub(crate) fn is_negative(self) -> bool {
        self.0 < 0
    }

    /// Its length, unless it is zero or less.
    pub(crate) fn positive(self) -> Option<Duration> {
        u64::try_from(self.0).ok().filter(|nanos| *nanos > 0).map(Duration::from_nanos)
    }
}

/// Reads a duration; `None` for anything else, also for a number without a unit unless it is zero.
pub(crate) fn parse(text: &str) -> Option<Nanoseconds> {
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(Nanoseconds(0));
    }
    if rest.is_empty() {
        return None;
    }
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let (number, tail) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit() && c != '.')?);
        let end = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(end);
        total = total.checked_add(nanoseconds(number, self::unit(unit)?)?)?;
        rest = tail;
    }
    // the least duration has no positive counterpart
    let nanos = if negative { 0_i64.checked_sub_unsigned(total) } else { total.try_into().ok() };
    nanos.map(Nanoseconds)
}

fn unit(name: &str) -> Option<u64> {
    Some(match name {
        "ns" => 1,
        // the micro sign and the Greek letter
        "us" | "\u{b5}s" | "\u{3bc}s" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return None,
    })
}

/// A decimal number of units; digits beyond the nanosecond are dropped.
fn nanoseconds(number: &str, unit: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
        return None;
    }
    let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let mut total = whole.checked_mul(unit)?;
    let mut place = u128::from(unit);
    let mut scale = 1;
    let mut part: u128 = 0;
    // 15 digits are more than a nanosecond of an hour
    for digit in fraction.chars().take(15) {
        part = part * 10 + u128::from(digit.to_digit(10)?);
        scale *= 10;
    }
    place = place * part / scale;
    total = total.checked_add(u64::try_from(place).ok()?)?;
    Some(total)
}

impl fmt::Display for Nanoseconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanos = self.0.unsigned_abs();
        if self.is_negative() {
            f.write_str("-")?;
        }
        match nanos {
            0 => f.write_str("0s"),
            1..1_000 => write!(f, "{nanos}ns"),
            1_000..1_000_000 => write!(f, "{}\u{b5}s", decimal(nanos, 1_000)),
            1_000_000..1_000_000_000 => write!(f, "{}ms", decimal(nanos, 1_000_000)),
            _ => {
                let minutes = nanos / 60_000_000_000;
                if minutes >= 60 {
                    write!(f, "{}h", minutes / 60)?;
                }
                if minutes > 0 {
                    write!(f, "{}m", minutes % 60)?;
                }
                write!(f, "{}s", decimal(nanos % 60_000_000_000, 1_000_000_000))
            }
        }
    }
}

fn decimal(value: u64, unit: u64) -> String {
    let width = unit.ilog10() as usize;
    let text = format!("{}.{:0width$}", value / unit, value % unit);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_go_reads() {
        for (text, nanos) in [
            ("5m0s", 300_000_000_000),
            ("1h2m3.5s", 3_723_500_000_000),
            ("300ms", 300_000_000),
            ("1us", 1_000),
            ("1\u{b5}s", 1_000),
            (".5s", 500_000_000),
            ("1.s", 1_000_000_000),
            ("-1s", -1_000_000_000),
            ("-2562047h47m16.854775808s", i64::MIN),
            ("0", 0),
        ] {
            assert_eq!(parse(text), Some(Nanoseconds(nanos)), "{text}");
        }
        for text in [
            "",
            "5",
            "1d",
            "s",
            "-",
            ".s",
            "1..5s",
            "1.5.s",
            " 1s",
            "5 minutes",
            "2562048h",
            "9223372036854775808ns",
            "9999999999999999999s",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn writes_what_go_writes() {
        for (text, written) in [
            ("-1s", "-1s"),
            ("90s", "1m30s"),
            ("1h", "1h0m0s"),
            ("1.5ms", "1.5ms"),
            ("1us", "1\u{b5}s"),
            ("0s", "0s"),
            ("2h0.25s", "2h0m0.25s"),
        ] {
            assert_eq!(parse(text).unwrap().to_string(), written);
        }
    }
}
