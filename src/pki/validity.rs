//! The life of a certificate, and the time of its renewal: after two thirds of that life.

use jiff::Timestamp;
use x509_parser::prelude::X509Certificate;

use super::{PkiError, with_certificate};

const SECONDS_PER_DAY: i64 = 24 * 3600;

/// The time in which a certificate is valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    /// Its first second.
    pub from: Timestamp,
    /// Its last second.
    pub to: Timestamp,
}

impl Validity {
    /// Of a certificate in PEM.
    ///
    /// # Errors
    /// [`PkiError::Read`] if it is none.
    pub fn of(cert_pem: &str) -> Result<Self, PkiError> {
        with_certificate(cert_pem, Self::in_certificate)
    }

    pub(super) fn in_certificate(certificate: &X509Certificate<'_>) -> Self {
        let validity = certificate.validity();
        let at = |seconds, otherwise| Timestamp::from_second(seconds).unwrap_or(otherwise);
        Self {
            from: at(validity.not_before.timestamp(), Timestamp::MIN),
            to: at(validity.not_after.timestamp(), Timestamp::MAX),
        }
    }

    /// When it is renewed.
    pub fn renewal(&self) -> Timestamp {
        let (from, to) = (self.from.as_second(), self.to.as_second());
        Timestamp::from_second(from + (to - from) / 3 * 2).unwrap_or(self.to)
    }

    /// True if it is to be renewed: its last third has begun, or the clock was set back to before its first second.
    pub fn is_due(&self, now: Timestamp) -> bool {
        now >= self.renewal() || now < self.from
    }

    /// True if nobody accepts it any more, or yet.
    pub fn is_over(&self, now: Timestamp) -> bool {
        now > self.to || now < self.from
    }

    /// Full days until it expires; negative once it has.
    pub fn days_left(&self, now: Timestamp) -> i64 {
        (self.to.as_second() - now.as_second()).div_euclid(SECONDS_PER_DAY)
    }

    /// Full days until it is renewed; negative once it is due.
    pub fn days_to_renewal(&self, now: Timestamp) -> i64 {
        (self.renewal().as_second() - now.as_second()).div_euclid(SECONDS_PER_DAY)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(day: i64) -> Timestamp {
        Timestamp::from_second(day * SECONDS_PER_DAY).unwrap()
    }

    #[test]
    fn is_renewed_at_two_thirds() {
        let validity = Validity { from: day(10), to: day(40) };
        assert_eq!(validity.renewal(), day(30));
        for (now, due, over, left, renews) in
            [(9, true, true, 31, 21), (10, false, false, 30, 20), (30, true, false, 10, 0), (41, true, true, -1, -11)]
        {
            let now = day(now);
            assert_eq!((validity.is_due(now), validity.is_over(now)), (due, over), "{now}");
            assert_eq!((validity.days_left(now), validity.days_to_renewal(now)), (left, renews), "{now}");
        }
    }
}
