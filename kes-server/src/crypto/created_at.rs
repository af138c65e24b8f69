//! When a key was made, in the form that clients see.

use std::fmt;

use jiff::Timestamp;
use jiff::tz::Offset;

/// A point in time with the offset it was written with. Displayed as docs/kes-protocol.md §1.4 says: RFC 3339, fraction
/// without trailing zeros, `Z` for UTC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreatedAt(Option<(Timestamp, Offset)>);

impl CreatedAt {
    /// Not known: shown as the year 1.
    pub const ZERO: Self = Self(None);

    /// Now.
    pub fn now() -> Self {
        Self(Some((Timestamp::now(), Offset::UTC)))
    }

    /// Seconds and nanoseconds since 1970, in UTC.
    pub fn from_parts(seconds: i64, nanoseconds: i32) -> Option<Self> {
        if (seconds, nanoseconds) == ZERO_PARTS {
            return Some(Self::ZERO);
        }
        (0..NANOS).contains(&nanoseconds).then_some(())?;
        Self::at(Timestamp::new(seconds, nanoseconds).ok()?, Offset::UTC)
    }

    /// RFC 3339 text, and nothing that only looks like it.
    pub fn parse(text: &str) -> Option<Self> {
        if text == ZERO_TEXT {
            return Some(Self::ZERO);
        }
        is_rfc3339(text).then_some(())?;
        Self::at(text.parse().ok()?, jiff::fmt::temporal::Pieces::parse(text).ok()?.to_numeric_offset()?)
    }

    /// Not before the year 1: clients could not read that.
    fn at(time: Timestamp, offset: Offset) -> Option<Self> {
        let created_at = Self(Some((time, offset)));
        (created_at.parts().0 >= ZERO_PARTS.0).then_some(created_at)
    }

    /// Seconds and nanoseconds since 1970. The nanoseconds are never negative, also before 1970.
    pub fn parts(&self) -> (i64, i32) {
        let Some((time, _)) = self.0 else { return ZERO_PARTS };
        match (time.as_second(), time.subsec_nanosecond()) {
            (seconds, nanos @ ..0) => (seconds - 1, nanos + NANOS),
            parts => parts,
        }
    }
}

/// Of a second.
const NANOS: i32 = 1_000_000_000;

/// `dddd-dd-ddTdd:dd:dd`, perhaps a fraction, `Z` or an offset of hours and minutes.
fn is_rfc3339(text: &str) -> bool {
    let has_form = |text: &str, form: &str| {
        let fits = |(byte, form): (u8, u8)| if form == b'd' { byte.is_ascii_digit() } else { byte == form };
        text.len() == form.len() && text.bytes().zip(form.bytes()).all(fits)
    };
    let Some((time, rest)) = text.split_at_checked("dddd-dd-ddTdd:dd:dd".len()) else { return false };
    let zone = match rest.strip_prefix('.') {
        Some(fraction) if fraction.starts_with(|c: char| c.is_ascii_digit()) => {
            fraction.trim_start_matches(|c: char| c.is_ascii_digit())
        }
        Some(_) => return false,
        None => rest,
    };
    let is_zone = zone == "Z" || has_form(zone, "+dd:dd") || has_form(zone, "-dd:dd");
    is_zone && has_form(time, "dddd-dd-ddTdd:dd:dd")
}

const ZERO_TEXT: &str = "0001-01-01T00:00:00Z";
const ZERO_PARTS: (i64, i32) = (-62_135_596_800, 0);

impl fmt::Display for CreatedAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((time, offset)) = self.0 else { return f.write_str(ZERO_TEXT) };
        if offset == Offset::UTC { write!(f, "{time}") } else { write!(f, "{}", time.display_with_offset(offset)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_shown_as_they_were_read() {
        for (text, shown) in [
            ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z"),
            ("2024-02-29T23:59:59Z", "2024-02-29T23:59:59Z"),
            ("2024-02-29T23:59:59.120Z", "2024-02-29T23:59:59.12Z"),
            ("2024-02-29T23:59:59+00:00", "2024-02-29T23:59:59Z"),
            ("2024-02-29T23:59:59.000000001+05:30", "2024-02-29T23:59:59.000000001+05:30"),
            ("1969-12-31T23:59:59.25-08:00", "1969-12-31T23:59:59.25-08:00"),
        ] {
            assert_eq!(CreatedAt::parse(text).map(|time| time.to_string()).as_deref(), Some(shown), "{text}");
        }
    }

    #[test]
    fn other_texts_are_no_times() {
        for text in [
            "",
            "2024-02-29",
            "2024-02-29T23:59Z",
            "2024-02-29T23:59:59",
            "2024-02-30T23:59:59Z",
            "2024-02-29 23:59:59Z",
            "2024-02-29t23:59:59z",
            "20240229T235959Z",
            "2024-02-29T23:59:59.Z",
            "2024-02-29T23:59:59.+05:00",
            "2024-02-29T23:59:59.1",
            "2024-02-29T23:59:59,1Z",
            "2024-02-29T23:59:59+05",
            "2024-02-29T23:59:59+05:30:15",
            "2024-02-29T23:59:59+05:30[Asia/Kolkata]",
            "-000001-02-28T23:59:59Z",
            "0000-12-31T23:59:59.5Z",
            "é2024-02-29T23:59:59Z",
        ] {
            assert_eq!(CreatedAt::parse(text), None, "{text}");
        }
    }

    #[test]
    fn parts_are_those_of_protobuf() {
        for parts in [(0, 0), (-1, 1), (-1, 999_999_999), (1_700_000_000, 5), ZERO_PARTS, (ZERO_PARTS.0, 1)] {
            assert_eq!(CreatedAt::from_parts(parts.0, parts.1).map(|time| time.parts()), Some(parts));
        }
        let before = CreatedAt::from_parts(-1, 250_000_000);
        assert_eq!(before.map(|time| time.to_string()).as_deref(), Some("1969-12-31T23:59:59.25Z"));
        for parts in [(0, -1), (0, NANOS), (ZERO_PARTS.0 - 1, 999_999_999), (i64::MAX, 0)] {
            assert_eq!(CreatedAt::from_parts(parts.0, parts.1), None);
        }
        assert_eq!(CreatedAt::from_parts(ZERO_PARTS.0, 0), Some(CreatedAt::ZERO));
        assert!(CreatedAt::now().parts().0 > 1_700_000_000);
    }
}
