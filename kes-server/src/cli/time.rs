//! Times as the command line shows and takes them.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp, tz::TimeZone};

use crate::config::duration;

const FORMAT: &str = "%Y-%m-%d %H:%M:%S";

/// `2026-11-21 01:02:06` in UTC; anything but RFC 3339 stays as it is.
pub(super) fn utc(text: &str) -> String {
    in_zone(text, TimeZone::UTC)
}

/// `2026-11-21 01:02:06` in the zone of this host.
pub(super) fn local(text: &str) -> String {
    in_zone(text, TimeZone::system())
}

/// `15:04:05` in the zone of this host.
pub(super) fn clock(text: &str) -> String {
    text.parse::<Timestamp>()
        .map_or_else(|_| text.to_owned(), |time| time.to_zoned(TimeZone::system()).strftime("%H:%M:%S").to_string())
}

fn in_zone(text: &str, zone: TimeZone) -> String {
    text.parse::<Timestamp>().map_or_else(|_| text.to_owned(), |time| time.to_zoned(zone).strftime(FORMAT).to_string())
}

/// A duration in Go's spelling, such as `720h` or `1h30m`, that is longer than nothing.
pub(super) fn positive(text: &str) -> Result<Duration, String> {
    match Duration::try_from(signed(text)?) {
        Ok(duration) if !duration.is_zero() => Ok(duration),
        _ => Err(format!("'{text}' is not longer than zero")),
    }
}

/// A duration in Go's spelling, also zero or less.
pub(super) fn signed(text: &str) -> Result<SignedDuration, String> {
    let nanoseconds =
        duration::parse(text).ok_or_else(|| format!("'{text}' is not a duration such as 720h or 1h30m"))?;
    Ok(SignedDuration::from_nanos(nanoseconds.0))
}

/// Days, hours, minutes and seconds, the largest two that are not zero: `2 days 4 hours`, `12 seconds`.
pub(super) fn rough(seconds: u64) -> String {
    let units = [
        (seconds / 86_400, "day"),
        (seconds / 3_600 % 24, "hour"),
        (seconds / 60 % 60, "minute"),
        (seconds % 60, "second"),
    ];
    let shown: Vec<String> = units
        .iter()
        .skip_while(|(count, _)| *count == 0)
        .take(2)
        .filter(|(count, _)| *count > 0)
        .map(|(count, unit)| format!("{count} {unit}{}", if *count == 1 { "" } else { "s" }))
        .collect();
    if shown.is_empty() { "0 seconds".to_owned() } else { shown.join(" ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_spelled_as_in_go() {
        assert_eq!(positive("720h"), Ok(Duration::from_hours(720)));
        assert_eq!(positive("1h30m"), Ok(Duration::from_mins(90)));
        assert_eq!((signed("0"), signed("-1h")), (Ok(SignedDuration::ZERO), Ok(SignedDuration::from_hours(-1))));
        for text in ["0", "0s", "-1h", "soon", "1h 30m", "3000000h"] {
            assert!(positive(text).is_err(), "{text}");
        }
    }

    #[test]
    fn uptime_is_told_roughly() {
        assert_eq!(rough(0), "0 seconds");
        assert_eq!(rough(59), "59 seconds");
        assert_eq!(rough(480), "8 minutes");
        assert_eq!(rough(187_200), "2 days 4 hours");
        assert_eq!(rough(90_061), "1 day 1 hour");
    }

    #[test]
    fn a_time_loses_its_fraction() {
        assert_eq!(utc("2026-11-21T01:02:06.488227894Z"), "2026-11-21 01:02:06");
        assert_eq!(utc("2026-11-21T03:02:06+02:00"), "2026-11-21 01:02:06");
        assert_eq!(utc("0001-01-01T00:00:00Z"), "0001-01-01 00:00:00");
    }
}
