//! When a key was made, in the form that clients see.

use std::fmt;

use jiff::Timestamp;
use jiff::tz::Offset;

/// A point in time with the offset it was written with. Displayed as kes-api §1.4 says: RFC 3339, fraction without
/// trailing zeros, `Z` for UTC.
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
        Timestamp::new(seconds, nanoseconds).ok().map(|time| Self(Some((time, Offset::UTC))))
    }

    /// RFC 3339 text.
    pub fn parse(text: &str) -> Option<Self> {
        if text == ZERO_TEXT {
            return Some(Self::ZERO);
        }
        let time: Timestamp = text.parse().ok()?;
        let offset = jiff::fmt::temporal::Pieces::parse(text).ok()?.to_numeric_offset()?;
        Some(Self(Some((time, offset))))
    }

    /// Seconds and nanoseconds since 1970.
    pub fn parts(&self) -> (i64, i32) {
        self.0.map_or(ZERO_PARTS, |(time, _)| (time.as_second(), time.subsec_nanosecond()))
    }
}

const ZERO_TEXT: &str = "0001-01-01T00:00:00Z";
const ZERO_PARTS: (i64, i32) = (-62_135_596_800, 0);

impl fmt::Display for CreatedAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((time, offset)) = self.0 else { return f.write_str(ZERO_TEXT) };
        if offset == Offset::UTC { write!(f, "{time}") } else { write!(f, "{}", time.display_with_offset(offset)) }
    }
}
