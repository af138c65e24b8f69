//! Durations and levels of logs (docs/kes-protocol.md §4.3, §4.4).

use kes_server::config::Level;
use kes_server::fuzzing::{duration, duration_text};

const UNITS: [(&str, i128); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("\u{b5}s", 1_000),
    ("\u{3bc}s", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// What is read is what the rule says; what is written is read again; any number of nanoseconds can be written.
pub fn check(input: &[u8]) {
    if let Some(number) = input.first_chunk() {
        let nanos = i64::from_le_bytes(*number);
        assert_eq!(duration(&duration_text(nanos)), Some(nanos));
    }
    let Ok(text) = std::str::from_utf8(input) else { return };
    let read = duration(text);
    assert_eq!(read, documented(text), "{text:?}");
    if let Some(nanos) = read {
        assert_eq!(duration(&duration_text(nanos)), Some(nanos), "{text:?}");
    }
    level(text);
}

/// A sign, then `0` or numbers with units; exact, each cut to full nanoseconds; as long as 64 bits hold it.
fn documented(text: &str) -> Option<i64> {
    let (sign, mut rest) = match text.as_bytes().first()? {
        b'-' => (-1, &text[1..]),
        b'+' => (1, &text[1..]),
        _ => (1, text),
    };
    if rest == "0" {
        return Some(0);
    }
    let mut total = 0_i128;
    loop {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.').len();
        let (number, tail) = rest.split_at(digits);
        // the longest unit that fits: `ms` before `m`
        let fitting = UNITS.iter().filter(|(name, _)| tail.starts_with(name)).max_by_key(|(name, _)| name.len());
        let (name, unit) = fitting?;
        total += nanoseconds(number, *unit)?;
        rest = &tail[name.len()..];
        if total > 1 << 63 {
            return None;
        } else if rest.is_empty() {
            return i64::try_from(sign * total).ok();
        }
    }
}

fn nanoseconds(number: &str, unit: i128) -> Option<i128> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let is_no_number = whole.is_empty() && fraction.is_empty() || fraction.contains('.');
    let whole = whole.trim_start_matches('0');
    if is_no_number || whole.len() > 19 {
        return None;
    }
    let fraction = &fraction[..fraction.len().min(15)];
    let scale = 10_i128.pow(u32::try_from(fraction.len()).unwrap());
    let digits = |text: &str| if text.is_empty() { 0 } else { text.parse::<i128>().unwrap() };
    let whole = digits(whole) * unit;
    (whole <= 1 << 63).then(|| whole + digits(fraction) * unit / scale)
}

/// A level that is read is shown as one that is read as the same; below DEBUG MinIO KES shows what it does not read.
fn level(text: &str) {
    let Ok(level) = text.parse::<Level>() else { return };
    assert_eq!(text.to_ascii_lowercase().parse::<Level>(), Ok(level));
    assert_eq!(level.0.to_string().parse::<Level>(), Ok(level));
    let shown = level.to_string();
    if level >= Level::DEBUG {
        assert_eq!(shown.parse::<Level>(), Ok(level), "{text:?}");
    } else {
        assert!(shown.starts_with("DEBUG-"), "{shown}");
    }
}
