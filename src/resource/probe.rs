//! Waiting for the real thing: ask until it answers, or until the deadline.

use std::future::Future;
use std::time::{Duration, Instant};

use crate::error::Error;

/// Time between two questions. Each question goes over a kept-alive connection where there is one: a new
/// connection every 10 ms was seen to exhaust local ports (docs/containers.md §8).
const INTERVAL: Duration = Duration::from_millis(10);

/// Asks `question` until it answers `Ok`, at most for `deadline`.
///
/// # Errors
/// [`Error::NotReady`] with the last refusal when the time is up.
pub async fn until_ready<T, E, F, A>(what: &str, deadline: Duration, mut question: F) -> Result<T, Error>
where
    F: FnMut() -> A,
    A: Future<Output = Result<T, E>>,
    E: std::fmt::Display,
{
    let start = Instant::now();
    let mut last = String::from("no answer");
    loop {
        let left = deadline.saturating_sub(start.elapsed());
        match tokio::time::timeout(left, question()).await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(refusal)) => last = refusal.to_string(),
            Err(_) => {}
        }
        // A question that never waits is never interrupted by its timeout.
        if start.elapsed() >= deadline {
            return Err(Error::NotReady { what: what.to_owned(), after: deadline, last });
        }
        tokio::time::sleep(INTERVAL).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn asks_until_it_answers() {
        let mut left = 3;
        let answer = until_ready("it", Duration::from_secs(1), || {
            left -= 1;
            let now = left;
            async move { if now == 0 { Ok(7) } else { Err("not yet") } }
        })
        .await;
        assert_eq!(answer.unwrap(), 7);
    }

    #[tokio::test]
    async fn gives_up_at_the_deadline_with_the_last_refusal() {
        let answer: Result<(), _> = until_ready("kes", Duration::from_millis(30), || async { Err("refused") }).await;
        let error = answer.unwrap_err();
        assert_eq!(error.exit_code(), 4);
        assert!(error.to_string().starts_with("kes was not ready after 0.0 s: refused"), "{error}");
    }
}
