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
    /// Answers that are not sent, by the round in which they were ready.
    unsent: [AtomicU32; ROUNDS],
}

impl Holding {
    /// What a request costs while it runs or its answer waits, in addition to its head and its answer: the stream, the
    /// task.
    pub(super) const REQUEST: usize = 4 << 10;

    /// Bytes that each connection may hold without taking part in the sum of all. Most never hold more: their requests
    /// change nothing that threads share.
    pub(super) const OWN: usize = 64 << 10;

    /// Bytes that take part in the sum.
    pub(super) fn shared(&self) -> usize {
        shared(self.held.load(Ordering::Relaxed))
    }

    /// Holds more; how much there is then, and how much more of it takes part in the sum.
    pub(super) fn add(&self, bytes: usize) -> (usize, usize) {
        let before = self.held.fetch_add(bytes, Ordering::Relaxed);
        let held = before + bytes;
        (held, shared(held) - shared(before))
    }

    /// Holds less; how much less takes part in the sum.
    pub(super) fn subtract(&self, bytes: usize) -> usize {
        let before = self.held.fetch_sub(bytes, Ordering::Relaxed);
        shared(before) - shared(before - bytes)
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

fn shared(held: usize) -> usize {
    held.saturating_sub(Holding::OWN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_above_the_own_part_takes_part_in_the_sum() {
        let one = Holding::default();
        assert_eq!(one.add(Holding::OWN), (Holding::OWN, 0));
        assert_eq!(one.add(10), (Holding::OWN + 10, 10));
        assert_eq!((one.shared(), one.subtract(4)), (10, 4));
        assert_eq!((one.subtract(Holding::OWN), one.shared()), (6, 0));
        assert_eq!(one.subtract(6), 0);
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
