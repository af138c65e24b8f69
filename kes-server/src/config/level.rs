//! Levels of the logs (docs/kes-protocol.md §4.4).

use std::fmt;
use std::str::FromStr;

/// A level: DEBUG is -4, INFO 0, WARN 4, ERROR 8; `off` is above all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Level(pub i32);

/// A text that is not a level.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct LevelError(String);

impl Level {
    /// Everything.
    pub const DEBUG: Self = Self(-4);
    /// The default.
    pub const INFO: Self = Self(0);
    /// Only what needs attention.
    pub const WARN: Self = Self(4);
    /// Only failures.
    pub const ERROR: Self = Self(8);
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, base) = match self.0 {
            i32::MIN..0 => ("DEBUG", -4),
            0..4 => ("INFO", 0),
            4..8 => ("WARN", 4),
            _ => ("ERROR", 8),
        };
        match self.0 - base {
            0 => f.write_str(name),
            above => write!(f, "{name}{above:+}"),
        }
    }
}

impl FromStr for Level {
    type Err = LevelError;

    fn from_str(text: &str) -> Result<Self, LevelError> {
        let upper = text.trim().to_ascii_uppercase();
        let not_a_number = |text: &str| format!("strconv.Atoi: parsing \"{text}\": invalid syntax");
        match upper.as_str() {
            "" | "ON" => return Ok(Self::INFO),
            "OFF" => return Ok(Self(9)),
            _ => {}
        }
        for (name, level) in
            [("DEBUG", Self::DEBUG), ("INFO", Self::INFO), ("WARN", Self::WARN), ("ERROR", Self::ERROR)]
        {
            let Some(rest) = upper.strip_prefix(name) else { continue };
            let Some(suffix) = rest.strip_prefix('+') else {
                let error = LevelError(format!("kesconf: invalid log level '{upper}'"));
                return if rest.is_empty() { Ok(level) } else { Err(error) };
            };
            let error =
                || LevelError(format!("kesconf: invalid log level suffix '{suffix}': {}", not_a_number(suffix)));
            return suffix.parse().ok().and_then(|above| level.0.checked_add(above)).map(Self).ok_or_else(error);
        }
        upper.parse().map(Self).map_err(|_| LevelError(not_a_number(&upper)))
    }
}
