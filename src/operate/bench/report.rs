//! What a measurement says, and whether it can be believed.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::figures::{Figure, Slice, Slices, rounded};
use super::{Plan, ROUNDS, Scheme, Work};
use crate::stack::Stack;

/// Rounds that lie further apart than this share of their median allow no verdict.
const SPREAD: f64 = 0.3;
/// Nor does a machine of which others use more than this share.
const OTHERS: f64 = 0.15;
/// Nor do turns with fewer objects.
const OBJECTS: usize = 50;

/// What encryption costs.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Bench")]
pub(crate) struct Report {
    /// Name of the stack.
    pub(crate) name: String,
    /// How many clients worked at a time.
    pub(crate) clients: usize,
    /// Seconds for which each size was measured.
    pub(crate) seconds: f64,
    /// How often each kind of bucket had its turn.
    pub(crate) rounds: u32,
    /// How many processors the machine has, which clients and servers share.
    pub(crate) processors: usize,
    /// Largest share of the processors that other programs used in one turn; null where that is unknown.
    pub(crate) others: Option<f64>,
    /// Why the figures allow no verdict; null if they do.
    pub(crate) noise: Option<String>,
    /// Why nothing was measured without encryption; null if it was.
    pub(crate) no_comparison: Option<String>,
    /// The figures, by size, work and encryption.
    pub(crate) figures: Vec<Figures>,
}

/// Figures of one kind of bucket.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "BenchFigures")]
pub(crate) struct Figures {
    /// Size of the objects in bytes.
    pub(crate) size: usize,
    /// What the clients did.
    pub(crate) work: Work,
    /// How the objects lie in the bucket.
    pub(crate) encryption: Scheme,
    /// How many objects in all rounds.
    pub(crate) objects: usize,
    /// Objects in a second.
    pub(crate) objects_per_second: Figure,
    /// Million bytes in a second.
    pub(crate) megabytes_per_second: Figure,
    /// Milliseconds that half of the objects took at most.
    pub(crate) p50_milliseconds: Figure,
    /// Milliseconds that 99 of 100 objects took at most.
    pub(crate) p99_milliseconds: Figure,
    /// Microseconds of MinIO's processor time for each object; null where its processes cannot be seen.
    pub(crate) minio_microseconds: Option<Figure>,
    /// The same of KES.
    pub(crate) kes_microseconds: Option<Figure>,
    /// Objects in a second compared with those without encryption, in percent; null without such.
    pub(crate) percent: Option<f64>,
}

impl Report {
    pub(super) fn new(stack: &Stack, plan: &Plan, slices: &Slices) -> Self {
        let mut figures: Vec<_> = slices
            .iter()
            .filter_map(|((size, work, scheme), slices)| Figures::of(size, work, scheme, slices))
            .collect();
        compare(&mut figures);
        let others = slices.iter().flat_map(|(_, slices)| slices).filter_map(|slice| slice.others).reduce(f64::max);
        let has_clear = figures.iter().any(|figures| figures.encryption == Scheme::None);
        Self {
            name: stack.manifest.name.to_string(),
            clients: plan.clients,
            seconds: plan.time.as_secs_f64(),
            rounds: ROUNDS,
            processors: std::thread::available_parallelism().map_or(1, usize::from),
            others: others.map(rounded),
            noise: noise(slices, &figures, others),
            no_comparison: (!has_clear).then(|| {
                "MinIO encrypts everything in this stack; bring up one with `auto_encryption: false` in kestack.yaml to \
                 compare with objects in clear"
                    .into()
            }),
            figures,
        }
    }
}

impl Figures {
    fn of(size: usize, work: Work, encryption: Scheme, slices: &[Slice]) -> Option<Self> {
        let figure = |of: fn(&Slice) -> Option<f64>| Figure::of(slices.iter().map(of));
        let rate = figure(|slice| Some(slice.rate))?;
        #[expect(clippy::cast_precision_loss, reason = "sizes are bounded")]
        let megabytes = size as f64 / 1e6;
        Some(Self {
            size,
            work,
            encryption,
            objects: slices.iter().map(|slice| slice.objects).sum(),
            objects_per_second: rate,
            megabytes_per_second: rate.times(megabytes),
            p50_milliseconds: figure(|slice| Some(slice.p50))?,
            p99_milliseconds: figure(|slice| Some(slice.p99))?,
            minio_microseconds: figure(|slice| slice.minio),
            kes_microseconds: figure(|slice| slice.kes),
            percent: None,
        })
    }

    /// What a line of a table shows: size, work, encryption, objects a second with their spread, megabytes a second, both
    /// percentiles, the processor time of an object, and the percentage of what is not encrypted.
    pub(crate) fn cells(&self) -> [String; 11] {
        let cpu = |figure: Option<Figure>| figure.map_or("-".into(), |figure| format!("{:.0} µs", figure.median));
        let rate = self.objects_per_second;
        [
            bytes(self.size),
            self.work.to_string(),
            self.encryption.to_string(),
            format!("{:.0}", rate.median),
            format!("{:.0}-{:.0}", rate.lowest, rate.highest),
            format!("{:.1}", self.megabytes_per_second.median),
            format!("{:.2}", self.p50_milliseconds.median),
            format!("{:.2}", self.p99_milliseconds.median),
            cpu(self.minio_microseconds),
            cpu(self.kes_microseconds),
            self.percent.map_or("-".into(), |percent| format!("{percent:.0} %")),
        ]
    }
}

/// Compares what is encrypted with what is not.
fn compare(figures: &mut [Figures]) {
    let clear = |figures: &&Figures| figures.encryption == Scheme::None;
    let clear: Vec<_> =
        figures.iter().filter(clear).map(|one| (one.size, one.work, one.objects_per_second.median)).collect();
    for one in figures.iter_mut().filter(|one| one.encryption != Scheme::None) {
        let same = clear.iter().find(|(size, work, _)| (*size, *work) == (one.size, one.work));
        one.percent = same.map(|(_, _, rate)| rounded(one.objects_per_second.median / rate * 100.0));
    }
}

/// Why the figures allow no verdict.
fn noise(slices: &Slices, figures: &[Figures], others: Option<f64>) -> Option<String> {
    let Some(others) = others else { return Some("other programs could not be measured".into()) };
    if others > OTHERS {
        return Some(format!("other programs used up to {:.0} % of the processors", others * 100.0));
    }
    let few = slices.iter().flat_map(|(kind, slices)| slices.iter().map(move |slice| (kind, slice.objects)));
    if let Some(((size, work, scheme), objects)) = few.min_by_key(|(_, objects)| *objects)
        && objects < OBJECTS
    {
        let what = format!("{work} of {} with encryption {scheme}", bytes(size));
        return Some(format!("a turn of {what} had time for {objects} objects only: measure longer with `--for`"));
    }
    let spread = |one: &Figures| one.objects_per_second.spread();
    let worst = figures.iter().max_by(|one, other| spread(one).total_cmp(&spread(other)))?;
    (spread(worst) > SPREAD).then(|| {
        let Figures { size, work, encryption, .. } = worst;
        format!(
            "the rounds of {work} of {} with encryption {encryption} differ by {:.0} %",
            bytes(*size),
            spread(worst) * 100.0
        )
    })
}

/// A size as the command line takes it.
pub(crate) fn bytes(size: usize) -> String {
    match size {
        _ if size > 0 && size.is_multiple_of(1 << 20) => format!("{}MiB", size >> 20),
        _ if size > 0 && size.is_multiple_of(1 << 10) => format!("{}KiB", size >> 10),
        _ => format!("{size}B"),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::clients::Done;
    use super::super::processor::Spent;
    use super::*;

    fn slices(rates: [(Scheme, [u64; 3]); 2], others: f64) -> Slices {
        let mut slices = Slices::default();
        for (scheme, rates) in rates {
            for rate in rates {
                let count = usize::try_from(rate).unwrap();
                let done = Done { time: Duration::from_secs(1), each: vec![Duration::from_millis(1); count] };
                let spent = Spent { minio: Some(Duration::from_millis(100)), kes: None, others: Some(others) };
                slices.add((4096, Work::Put, scheme), &done, spent);
            }
        }
        slices
    }

    fn judged(slices: &Slices) -> (Vec<Figures>, Option<String>) {
        let kinds = slices.iter().filter_map(|((size, work, scheme), slices)| Figures::of(size, work, scheme, slices));
        let mut figures: Vec<_> = kinds.collect();
        compare(&mut figures);
        let others = slices.iter().flat_map(|(_, slices)| slices).filter_map(|slice| slice.others).reduce(f64::max);
        let noise = noise(slices, &figures, others);
        (figures, noise)
    }

    #[test]
    fn what_is_encrypted_is_compared_with_what_is_not() {
        let (figures, noise) =
            judged(&slices([(Scheme::None, [1000, 980, 1010]), (Scheme::SseKms, [750, 740, 760])], 0.01));
        assert_eq!(noise, None);
        assert_eq!((figures[0].percent, figures[1].percent), (None, Some(75.0)));
        assert_eq!(figures[1].minio_microseconds.unwrap().median.to_bits(), 133.333_f64.to_bits());
        assert_eq!(figures[1].kes_microseconds, None);
    }

    #[test]
    fn a_machine_that_does_other_things_allows_no_verdict() {
        let steady = [(Scheme::None, [1000, 1000, 1000]), (Scheme::SseKms, [750, 750, 750])];
        let why = |rates, others| judged(&slices(rates, others)).1.unwrap_or_default();
        assert_eq!(why(steady, 0.4), "other programs used up to 40 % of the processors");
        let apart = [(Scheme::None, [1000, 1000, 1000]), (Scheme::SseKms, [500, 750, 1000])];
        assert_eq!(why(apart, 0.0), "the rounds of put of 4KiB with encryption sse-kms differ by 67 %");
        let few = [(Scheme::None, [1000, 1000, 1000]), (Scheme::SseKms, [75, 75, 9])];
        assert!(why(few, 0.0).contains("had time for 9 objects only"), "{}", why(few, 0.0));
        assert_eq!(why(steady, 0.1), "");
    }

    #[test]
    fn sizes_are_shown_as_they_are_written() {
        assert_eq!([1, 4096, 1 << 20, 1500].map(bytes), ["1B", "4KiB", "1MiB", "1500B"]);
    }
}
