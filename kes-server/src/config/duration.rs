//! Durations as Go writes them: `1h2m3.5s` (kes-api §4.3).

use std::time::Duration;

/// A duration with its sign.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Signed {
    pub(super) negative: bool,
    pub(super) length: Duration,
}

/// Reads a duration; `None` for anything else, also for a number without a unit.
pub(super) fn parse(text: &str) -> Option<Signed> {
    let text = text.trim();
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest.is_empty() {
        return None;
    }
    let mut length = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at_checked(digits)?;
        let end = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at_checked(end)?;
        let seconds = match unit {
            "ns" => 1e-9,
            "us" | "µs" | "μs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return None,
        };
        length += Duration::try_from_secs_f64(number.parse::<f64>().ok()? * seconds).ok()?;
        rest = tail;
    }
    Some(Signed { negative, length })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_go_reads() {
        let some = |seconds| Some(Signed { negative: false, length: Duration::from_secs_f64(seconds) });
        assert_eq!(parse("5m0s"), some(300.0));
        assert_eq!(parse("1h2m3.5s"), some(3723.5));
        assert_eq!(parse("100ms"), some(0.1));
        assert_eq!(parse("-1s").map(|signed| signed.negative), Some(true));
        for text in ["", "5", "0", "1d", "s", "-"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
