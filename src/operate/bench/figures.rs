//! Figures of all turns: medians, and how far the rounds lie apart.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::clients::Done;
use super::processor::Spent;
use super::{Scheme, Work};

/// Size in bytes, work, and how objects lie in the bucket.
pub(super) type Kind = (usize, Work, Scheme);

/// The turns of each kind.
#[derive(Debug, Default)]
pub(super) struct Slices(BTreeMap<Kind, Vec<Slice>>);

/// One turn.
#[derive(Debug, Clone, Copy)]
pub(super) struct Slice {
    /// How many objects were written or read.
    pub(super) objects: usize,
    /// The same in a second.
    pub(super) rate: f64,
    /// Milliseconds that half of them took at most.
    pub(super) p50: f64,
    /// Milliseconds that 99 of 100 took at most.
    pub(super) p99: f64,
    /// Microseconds of MinIO's processor time for an object.
    pub(super) minio: Option<f64>,
    /// The same of KES.
    pub(super) kes: Option<f64>,
    /// Share of the machine that other programs used.
    pub(super) others: Option<f64>,
}

/// One figure of all rounds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub(crate) struct Figure {
    /// Of the rounds.
    pub(crate) median: f64,
    /// Of the round with the lowest one.
    pub(crate) lowest: f64,
    /// Of the round with the highest one.
    pub(crate) highest: f64,
}

impl Slices {
    pub(super) fn add(&mut self, kind: Kind, done: &Done, spent: Spent) {
        self.0.entry(kind).or_default().push(Slice::new(done, spent));
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Kind, &[Slice])> {
        self.0.iter().map(|(kind, slices)| (*kind, slices.as_slice()))
    }
}

#[expect(clippy::cast_precision_loss, reason = "no measurement has that many objects")]
impl Slice {
    fn new(done: &Done, spent: Spent) -> Self {
        let objects = done.each.len();
        let each = |time: Option<Duration>| time.map(|time| time.as_secs_f64() * 1e6 / objects.max(1) as f64);
        let within = |percent: usize| {
            let place = (objects * percent).div_ceil(100).saturating_sub(1);
            done.each.get(place).map_or(0.0, |time| time.as_secs_f64() * 1e3)
        };
        Self {
            objects,
            rate: objects as f64 / done.time.as_secs_f64(),
            p50: within(50),
            p99: within(99),
            minio: each(spent.minio),
            kes: each(spent.kes),
            others: spent.others,
        }
    }
}

impl Figure {
    /// The figure of some rounds; `None` if one of them has none.
    pub(super) fn of(figures: impl Iterator<Item = Option<f64>>) -> Option<Self> {
        let mut figures: Vec<_> = figures.collect::<Option<_>>()?;
        figures.sort_unstable_by(f64::total_cmp);
        let median = figures.get(figures.len() / 2)?;
        Some(Self { median: rounded(*median), lowest: rounded(*figures.first()?), highest: rounded(*figures.last()?) })
    }

    /// The same in another unit.
    pub(super) fn times(self, factor: f64) -> Self {
        let times = |figure: f64| rounded(figure * factor);
        Self { median: times(self.median), lowest: times(self.lowest), highest: times(self.highest) }
    }

    /// How far the rounds lie apart, as a share of the median.
    pub(super) fn spread(self) -> f64 {
        if self.median > 0.0 { (self.highest - self.lowest) / self.median } else { 0.0 }
    }
}

/// To three places, which is more than any figure is exact to.
pub(super) fn rounded(figure: f64) -> f64 {
    (figure * 1e3).round() / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_has_its_rate_its_percentiles_and_its_processor_time() {
        let each = (1..=200).map(Duration::from_millis).collect();
        let done = Done { time: Duration::from_secs(2), each };
        let spent = Spent { minio: Some(Duration::from_millis(40)), kes: None, others: Some(0.5) };
        let slice = Slice::new(&done, spent);
        let close = |one: f64, other: f64| assert!((one - other).abs() < 1e-6, "{one} {other}");
        close(slice.rate, 100.0);
        close(slice.p50, 100.0);
        close(slice.p99, 198.0);
        close(slice.minio.unwrap(), 200.0);
        assert_eq!(slice.kes, None);
    }

    #[test]
    fn a_figure_has_the_median_and_its_spread() {
        let figure = Figure::of([3.0, 1.0, 2.0, 5.0, 2.5].map(Some).into_iter()).unwrap();
        assert_eq!(figure, Figure { median: 2.5, lowest: 1.0, highest: 5.0 });
        assert!((figure.spread() - 1.6).abs() < 1e-9);
        assert_eq!(figure.times(2.0).highest.to_bits(), 10_f64.to_bits());
        assert_eq!(Figure::of([Some(1.0), None].into_iter()), None);
        assert_eq!(Figure::of(std::iter::empty()), None);
    }
}
