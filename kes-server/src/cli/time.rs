//! Times as the command line shows and takes them.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp, tz::TimeZone};

const FORMAT: &str = "%Y-%m-%d %H:%M:%S";

/// `2026-11-21 01:02:06` in UTC; what is no RFC 3339 stays as it is.
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

/// A duration in Go's spelling, such as `720h` or `1h30m`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let signed: SignedDuration =
        text.parse().map_err(|_| format!("'{text}' is not a duration such as 720h or 1h30m"))?;
    match Duration::try_from(signed) {
        Ok(duration) if !duration.is_zero() => Ok(duration),
        _ => Err(format!("'{text}' is not longer than nothing")),
    }
}

/// Days, hours, minutes and seconds, the largest two that are not zero: `3d 4h`, `12s`.
pub(super) fn rough(seconds: u64) -> String {
    let units = [(seconds / 86_400, "d"), (seconds / 3_600 % 24, "h"), (seconds / 60 % 60, "m"), (seconds % 60, "s")];
    let shown: Vec<String> = units
        .iter()
        .skip_while(|(count, _)| *count == 0)
        .take(2)
        .filter(|(count, _)| *count > 0)
        .map(|(count, unit)| format!("{count}{unit}"))
        .collect();
    if shown.is_empty() { "0s".to_owned() } else { shown.join(" ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_spelled_as_in_go() {
        assert_eq!(duration("720h"), Ok(Duration::from_hours(720)));
        assert_eq!(duration("1h30m"), Ok(Duration::from_mins(90)));
        assert!(duration("0s").is_err());
        assert!(duration("-1h").is_err());
        assert!(duration("soon").is_err());
    }

    #[test]
    fn uptime_is_told_roughly() {
        assert_eq!(rough(0), "0s");
        assert_eq!(rough(59), "59s");
        assert_eq!(rough(3600), "1h");
        assert_eq!(rough(90_061), "1d 1h");
    }

    #[test]
    fn a_time_loses_its_fraction() {
        assert_eq!(utc("2026-11-21T01:02:06.488227894Z"), "2026-11-21 01:02:06");
        assert_eq!(utc("2026-11-21T03:02:06+02:00"), "2026-11-21 01:02:06");
        assert_eq!(utc("0001-01-01T00:00:00Z"), "0001-01-01 00:00:00");
    }
}
