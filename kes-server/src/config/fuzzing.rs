//! The reader and writer of durations for the fuzz targets.

use super::duration::{self, Nanoseconds};

/// A duration in nanoseconds.
pub fn duration(text: &str) -> Option<i64> {
    duration::parse(text).map(|duration| duration.0)
}

/// The text of a duration of so many nanoseconds.
pub fn duration_text(nanoseconds: i64) -> String {
    Nanoseconds(nanoseconds).to_string()
}
