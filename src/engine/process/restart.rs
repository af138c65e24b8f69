//! Decides when a server that ended is started again.

use std::time::Duration;

/// Wait before the first restart; each further one waits twice as long.
const FIRST: Duration = Duration::from_millis(50);
/// Restarts in a row before the supervisor gives up: after some 1.5 s of waiting.
const LIMIT: u32 = 5;
/// A server that ran this long had started well: its end begins a new row.
const STABLE: Duration = Duration::from_secs(10);

/// The row of restarts of one server.
#[derive(Debug, Default)]
pub(super) struct Restarts {
    made: u32,
}

impl Restarts {
    /// How long to wait before the server, which ran that long, is started again; `None` to give up.
    pub(super) fn after(&mut self, ran: Duration) -> Option<Duration> {
        if ran >= STABLE {
            self.made = 0;
        }
        let wait = (self.made < LIMIT).then(|| FIRST * 2_u32.pow(self.made));
        self.made += 1;
        wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_longer_each_time_and_gives_up() {
        let mut restarts = Restarts::default();
        let waits: Vec<_> = (0..7).map_while(|_| restarts.after(Duration::ZERO)).map(|wait| wait.as_millis()).collect();
        assert_eq!(waits, [50, 100, 200, 400, 800]);
        assert_eq!(restarts.after(STABLE), Some(FIRST), "a good run is forgiven all before it");
    }
}
