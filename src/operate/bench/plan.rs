//! What is measured, within the bounds of a machine.

use std::time::Duration;

use super::bytes;
use crate::error::Error;

/// Most bytes that all clients may have in memory.
pub(crate) const LARGEST: usize = 256 << 20;
/// Most clients.
pub(crate) const CLIENTS: u16 = 512;
/// The shortest time: turns that are shorter say nothing.
const SHORTEST: Duration = Duration::from_secs(3);
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// What is measured.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    /// Sizes of objects in bytes.
    pub(super) sizes: Vec<usize>,
    /// How many clients work at a time.
    pub(super) clients: usize,
    /// How long each size is measured.
    pub(super) time: Duration,
}

impl Plan {
    /// A plan that the machine's memory allows.
    ///
    /// # Errors
    /// [`Error::Usage`] if it does not.
    pub(crate) fn new(sizes: Vec<usize>, clients: u16, time: Duration) -> Result<Self, Error> {
        let clients = usize::from(clients);
        let largest = sizes.iter().copied().max().unwrap_or_default();
        if largest.saturating_mul(clients) <= LARGEST {
            return Ok(Self { sizes, clients, time });
        }
        Err(Error::Usage {
            what: format!("{clients} clients with objects of {} need too much memory", bytes(largest)),
            hint: format!("together they may have {}: take smaller objects or fewer clients", bytes(LARGEST)),
        })
    }
}

/// A size as people write it: `512`, `4KiB`, `1MiB`.
///
/// # Errors
/// The sizes that there are.
pub(crate) fn size(text: &str) -> Result<usize, String> {
    let digits = text.trim_end_matches(|sign: char| !sign.is_ascii_digit());
    let factor = match text.get(digits.len()..).map(str::to_ascii_lowercase).as_deref() {
        Some("" | "b") => Some(1),
        Some("k" | "kib") => Some(1 << 10),
        Some("m" | "mib") => Some(1 << 20),
        _ => None,
    };
    let size = digits.parse::<usize>().ok().zip(factor).and_then(|(number, factor)| number.checked_mul(factor));
    size.filter(|size| (1..=LARGEST).contains(size))
        .ok_or_else(|| format!("'{text}' is not a size from 1 to {}: write 512, 4KiB or 1MiB", bytes(LARGEST)))
}

/// The time for one size.
///
/// # Errors
/// The times that there are.
pub(crate) fn time(time: Duration) -> Result<Duration, String> {
    if (SHORTEST..=LONGEST).contains(&time) { Ok(time) } else { Err("from 3s to 24h".into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_numbers_with_units() {
        for (text, bytes) in [("1", 1), ("512b", 512), ("4KiB", 4096), ("4k", 4096), ("1MiB", 1 << 20), ("2m", 2 << 20)]
        {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in ["", "0", "-1", "KiB", "1GiB", "4 KiB", "99999999999999999999", "18446744073709551615k", "1é"] {
            assert!(size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn clients_and_sizes_fit_into_memory() {
        let plan = |sizes: &[usize], clients| Plan::new(sizes.to_vec(), clients, SHORTEST);
        assert!(plan(&[4096, 16 << 20], 16).is_ok());
        let refused = plan(&[4096, 16 << 20], 17).unwrap_err().to_string();
        assert!(refused.starts_with("17 clients with objects of 16MiB"), "{refused}");
        let seconds = Duration::from_secs;
        assert!(time(seconds(2)).is_err() && time(seconds(25 * 60 * 60)).is_err() && time(seconds(3)).is_ok());
    }
}
