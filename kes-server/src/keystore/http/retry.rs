//! Which calls are repeated, and when.

use std::time::Duration;

use tokio::time::Instant;

use super::{Answer, DEADLINE, Failure};

/// Rules of one keystore. The default is that of Entrust, Thales and Fortanix (docs/keystores-protocol.md §1.9).
#[derive(Debug, Clone)]
pub(in crate::keystore) struct Retry {
    /// How often a call is sent at most.
    pub(in crate::keystore) attempts: u32,
    /// Whether this outcome is worth another attempt.
    pub(in crate::keystore) worthwhile: fn(&Result<Answer, Failure>) -> bool,
    /// How long to wait before the next attempt, after so many (at least 1) that failed, the last of them so.
    pub(in crate::keystore) pause: fn(u32, &Result<Answer, Failure>) -> Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            attempts: 3,
            worthwhile: |outcome| match outcome {
                Ok(answer) => answer.status.is_server_error(),
                Err(failure) => failure.is_interrupted(),
            },
            pause: |_, _| between(Duration::from_millis(200), Duration::from_secs(1)),
        }
    }
}

impl Retry {
    /// Never.
    pub(in crate::keystore) fn never() -> Self {
        Self { attempts: 1, ..Self::default() }
    }

    /// Runs `attempt` until it is not worth another try, or there is no time for one: then the last outcome tells
    /// more than a deadline that passed.
    pub(in crate::keystore) async fn run<F>(&self, attempt: impl Fn() -> F) -> Result<Answer, Failure>
    where
        F: Future<Output = Result<Answer, Failure>>,
    {
        let (mut made, start) = (0, Instant::now());
        loop {
            let mut outcome = attempt().await;
            if let Ok(answer) = &mut outcome {
                answer.repeated = made > 0;
            }
            made += 1;
            if made >= self.attempts || !(self.worthwhile)(&outcome) {
                return outcome;
            }
            let pause = (self.pause)(made, &outcome);
            if start.elapsed().saturating_add(pause) >= DEADLINE {
                return outcome;
            }
            tokio::time::sleep(pause).await;
        }
    }
}

/// How long an answer asks to wait, as seconds or as Azure's milliseconds.
pub(in crate::keystore) fn retry_after(answer: &Answer) -> Option<Duration> {
    let number = |name: &str| answer.headers.get(name)?.to_str().ok()?.parse().ok();
    number("retry-after-ms").map(Duration::from_millis).or_else(|| number("retry-after").map(Duration::from_secs))
}

/// A random duration, so that many servers do not come back at the same moment. The lower bound if the system gives
/// no random bytes.
pub(in crate::keystore) fn between(least: Duration, most: Duration) -> Duration {
    let mut bytes = [0; 4];
    let share = aws_lc_rs::rand::fill(&mut bytes).map_or(0, |()| u32::from_le_bytes(bytes));
    least + most.saturating_sub(least).mul_f64(f64::from(share) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    async fn attempts(retry: &Retry, failure: Failure) -> u32 {
        let made = AtomicU32::new(0);
        let outcome = retry.run(|| async {
            made.fetch_add(1, Ordering::Relaxed);
            Err(failure.clone())
        });
        assert_eq!(outcome.await.unwrap_err(), failure);
        made.into_inner()
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_without_end_is_not_waited_for() {
        let retry = Retry { attempts: 5, pause: |_, _| Duration::MAX, ..Retry::default() };
        assert_eq!(attempts(&retry, Failure::timeout("GET", Duration::from_secs(1))).await, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_cut_off_is_tried_three_times_what_was_refused_once() {
        let retry = Retry::default();
        assert_eq!(attempts(&retry, Failure::timeout("GET", Duration::from_secs(1))).await, 3);
        assert_eq!(attempts(&retry, Failure::other("GET", "no")).await, 1);
        assert_eq!(attempts(&Retry::never(), Failure::timeout("GET", Duration::from_secs(1))).await, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn the_last_outcome_is_told_when_time_is_up() {
        let start = Instant::now();
        let retry = Retry { attempts: u32::MAX, pause: |_, _| Duration::from_secs(7), ..Retry::default() };
        assert_eq!(attempts(&retry, Failure::timeout("GET", Duration::from_secs(1))).await, 5);
        assert_eq!(start.elapsed(), Duration::from_secs(28));
    }

    #[test]
    fn a_random_pause_keeps_its_bounds() {
        let (least, most) = (Duration::from_millis(200), Duration::from_secs(1));
        let pauses: Vec<_> = (0..100).map(|_| between(least, most)).collect();
        assert!(pauses.iter().all(|pause| (least..=most).contains(pause)));
        assert!(pauses.iter().any(|pause| pause != pauses.first().unwrap()));
    }
}
