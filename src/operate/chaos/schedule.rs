//! The steps of a fault over time: the same for the same seed.

use std::time::Duration;

use super::Fault;

/// One thing done to KES.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// The fault lasts as it is.
    Nothing,
    /// Its process is paused.
    Freeze,
    /// Its process runs on.
    Thaw,
    /// It is stopped.
    Stop,
    /// It is started.
    Start,
}

/// Acts without end, each with how long it lasts.
#[derive(Debug, Clone)]
pub struct Schedule {
    turns: [(Act, Span); 2],
    next: usize,
    random: fastrand::Rng,
}

/// From and to, in milliseconds.
type Span = (u64, u64);

impl Schedule {
    /// The schedule of a fault. Of those that just last, the seed changes nothing.
    pub fn new(fault: Fault, seed: u64) -> Self {
        let turns = match fault {
            // far below the 10 s after which MinIO takes a connection for dead, and long enough to be felt
            Fault::KesSlow => [(Act::Freeze, (100, 700)), (Act::Thaw, (20, 120))],
            Fault::KesFlap => [(Act::Stop, (200, 1500)), (Act::Start, (300, 2000))],
            _ => [(Act::Nothing, (1000, 1000)); 2],
        };
        Self { turns, next: 0, random: fastrand::Rng::with_seed(seed) }
    }
}

impl Iterator for Schedule {
    type Item = (Act, Duration);

    fn next(&mut self) -> Option<Self::Item> {
        let (act, (from, to)) = *self.turns.get(self.next)?;
        self.next = 1 - self.next;
        Some((act, Duration::from_millis(self.random.u64(from..=to))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seed_decides() {
        let first = |seed| Schedule::new(Fault::KesFlap, seed).take(20).collect::<Vec<_>>();
        assert_eq!(first(7), first(7));
        assert_ne!(first(7), first(8));
        let acts: Vec<_> = Schedule::new(Fault::KesSlow, 1).take(4).map(|(act, _)| act).collect();
        assert_eq!(acts, [Act::Freeze, Act::Thaw, Act::Freeze, Act::Thaw]);
    }
}
