//! Chance that can be replayed.

use std::time::Duration;

/// A small generator, so that a seed replays a run.
pub(crate) struct Dice(u64);

impl Dice {
    /// The next number.
    pub(crate) fn roll(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.roll() % end as u64).unwrap()
    }

    /// A moment within a span.
    pub(crate) fn moment(&mut self, span: Duration) -> Duration {
        span * u32::try_from(self.roll() % 1000).unwrap() / 1000
    }

    /// One of these.
    pub(crate) fn pick<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }
}

/// A generator with the seed of the environment, else a new one; it is printed.
pub(crate) fn seeded() -> Dice {
    let seed: u64 = std::env::var("KESTACK_E2E_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or_else(|| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        u64::from(now.subsec_nanos()) * 2_654_435_761 + u64::from(std::process::id())
    });
    eprintln!("KESTACK_E2E_SEED={seed}");
    Dice(seed.max(1))
}
