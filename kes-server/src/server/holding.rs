//! The memory that clients make the server hold: heads of requests that run, and answers that wait until their client
//! takes them. A client decides how many of them there are; the server decides how many there may be.

use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

/// Rounds that are kept apart: an answer of the round before the last one is late.
const ROUNDS: usize = 3;

/// What is held for one connection.
#[derive(Debug, Default)]
pub(super) struct Holding {
    /// Bytes.
    held: AtomicUsize,
    /// The part of it that the sum of all connections has. It is brought up to date in large steps: all threads share
    /// the sum.
    summed: AtomicUsize,
    /// Answers that are not sent, by the round in which they were ready.
    unsent: [AtomicU32; ROUNDS],
}

impl Holding {
    /// What a request costs while it runs or its answer waits, in addition to its head and its answer: the stream, the
    /// task.
    pub(super) const REQUEST: usize = 4 << 10;

    /// Bytes from which on a connection takes part in the sum.
    pub(super) const STEP: usize = 64 << 10;

    /// Bytes.
    pub(super) fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// Holds more; how much there is then, and whether the sum has changed.
    pub(super) fn add(&self, bytes: usize, sum: &AtomicUsize) -> (usize, bool) {
        let held = self.held.fetch_add(bytes, Ordering::Relaxed) + bytes;
        let is_step = held > self.summed.load(Ordering::Relaxed) + Self::STEP;
        if is_step {
            self.update(held, sum);
        }
        (held, is_step)
    }

    /// Holds less; whether the sum has changed.
    pub(super) fn subtract(&self, bytes: usize, sum: &AtomicUsize) -> bool {
        let held = self.held.fetch_sub(bytes, Ordering::Relaxed) - bytes;
        let is_step = held + Self::STEP < self.summed.load(Ordering::Relaxed);
        if is_step {
            self.update(held, sum);
        }
        is_step
    }

    /// Makes this part of the sum what it should be; what it was. Whoever exchanges it adds the difference: nothing is
    /// lost when two do it at a time.
    pub(super) fn update(&self, held: usize, sum: &AtomicUsize) -> usize {
        let before = self.summed.swap(held, Ordering::Relaxed);
        sum.fetch_add(held.wrapping_sub(before), Ordering::Relaxed);
        before
    }

    /// An answer is ready in this round.
    pub(super) fn answer_begins(&self, round: Option<usize>) {
        self.count(round, |unsent| unsent.fetch_add(1, Ordering::Relaxed));
    }

    /// An answer that was ready in this round is sent.
    pub(super) fn answer_ends(&self, round: Option<usize>) {
        self.count(round, |unsent| unsent.fetch_sub(1, Ordering::Relaxed));
    }

    fn count(&self, round: Option<usize>, change: impl Fn(&AtomicU32) -> u32) {
        if let Some(unsent) = round.and_then(|round| self.unsent.get(round % ROUNDS)) {
            change(unsent);
        }
    }

    /// Whether an answer has been ready since the round before this one: for up to two rounds.
    pub(super) fn is_slow(&self, round: usize) -> bool {
        self.has_unsent(round + ROUNDS - 1)
    }

    /// Whether an answer has been ready since the round before that: for one round at least, two at most.
    pub(super) fn is_stalled(&self, round: usize) -> bool {
        self.has_unsent(round + ROUNDS - 2)
    }

    fn has_unsent(&self, round: usize) -> bool {
        self.unsent.get(round % ROUNDS).is_some_and(|unsent| unsent.load(Ordering::Relaxed) > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_follows_in_steps_and_loses_nothing() {
        let (one, other, sum) = (Holding::default(), Holding::default(), AtomicUsize::new(0));
        one.add(Holding::STEP, &sum);
        assert_eq!(sum.load(Ordering::Relaxed), 0);
        one.add(Holding::STEP, &sum);
        other.add(Holding::STEP * 3, &sum);
        assert_eq!(sum.load(Ordering::Relaxed), Holding::STEP * 5);
        one.subtract(Holding::STEP * 2, &sum);
        other.update(0, &sum);
        assert_eq!(sum.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn an_answer_is_slow_in_the_next_round_and_stalled_in_the_one_after() {
        let holding = Holding::default();
        for round in 7..9 {
            holding.answer_begins(Some(round));
            assert_eq!((holding.is_slow(round), holding.is_stalled(round)), (false, false));
            assert_eq!((holding.is_slow(round + 1), holding.is_stalled(round + 1)), (true, false));
            assert_eq!((holding.is_slow(round + 2), holding.is_stalled(round + 2)), (false, true));
            holding.answer_ends(Some(round));
            assert!(!holding.is_stalled(round + 2));
        }
    }
}
