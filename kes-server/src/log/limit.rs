//! Limits the log lines that one caller can cause: a few in a while; then a count replaces the others. Whoever is
//! refused a million times must neither fill a disk nor hide what others do.

use std::{
    collections::{BTreeMap, HashMap},
    mem,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::Subject;
use crate::config::Level;

/// Lines of one caller and one level within a [`WINDOW`].
const LINES: u64 = 10;

/// How long lines of one caller are counted together.
pub(super) const WINDOW: Duration = Duration::from_secs(10);

/// Callers of one level that are counted apart; all others count as one more. New keys and new addresses cost a stranger
/// little.
const CALLERS: usize = 64;

/// Counts lines.
#[derive(Debug, Default)]
pub(super) struct Limit(Mutex<BTreeMap<Level, HashMap<Caller, Window>>>);

/// Who made the server write a line.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Caller {
    /// The identity of a client certificate.
    Identity(String),
    /// An IPv4 address, or the first half of an IPv6 address, which is what one subscriber gets.
    Network(String),
    /// Anyone of those that are not counted apart.
    Others,
}

#[derive(Debug)]
struct Window {
    began: Instant,
    lines: u64,
}

/// Lines that were not written.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct LeftOut {
    pub(super) level: Level,
    pub(super) caller: Caller,
    pub(super) lines: u64,
}

impl Caller {
    pub(super) fn of(subject: Subject<'_>) -> Self {
        match subject.identity {
            "" => Self::address(subject.ip),
            identity => Self::Identity(identity.to_owned()),
        }
    }

    /// By the address alone.
    pub(super) fn address(ip: &str) -> Self {
        let network =
            |ip: std::net::Ipv6Addr| format!("{}/64", std::net::Ipv6Addr::from_bits(ip.to_bits() >> 64 << 64));
        Self::Network(ip.parse().map_or_else(|_| ip.to_owned(), network))
    }
}

impl Limit {
    /// Counts a line, and says whether it may be written.
    pub(super) fn takes(&self, level: Level, caller: Caller) -> bool {
        let mut levels = self.levels();
        let callers = levels.entry(level).or_default();
        let caller = if callers.len() < CALLERS || callers.contains_key(&caller) { caller } else { Caller::Others };
        let window = callers.entry(caller).or_insert_with(|| Window { began: Instant::now(), lines: 0 });
        window.lines += 1;
        window.lines <= LINES
    }

    /// What was left out in the windows that are over; their callers may make lines again.
    pub(super) fn ended(&self) -> Vec<LeftOut> {
        self.end(|window| window.began.elapsed() >= WINDOW)
    }

    /// What was left out until now.
    pub(super) fn all(&self) -> Vec<LeftOut> {
        self.end(|_| true)
    }

    fn end(&self, is_over: impl Fn(&Window) -> bool) -> Vec<LeftOut> {
        let mut left_out = Vec::new();
        for (&level, callers) in self.levels().iter_mut() {
            let (over, rest) = mem::take(callers).into_iter().partition(|(_, window)| is_over(window));
            *callers = rest;
            let over: HashMap<_, _> = over;
            let more = over.into_iter().filter(|(_, window)| window.lines > LINES);
            left_out.extend(more.map(|(caller, window)| LeftOut { level, caller, lines: window.lines - LINES }));
        }
        left_out
    }

    /// Nothing that holds the lock can panic halfway.
    fn levels(&self) -> MutexGuard<'_, BTreeMap<Level, HashMap<Caller, Window>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn somebody(number: usize) -> Caller {
        Caller::Identity(number.to_string())
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_gets_a_few_lines_and_then_a_count() {
        let limit = Limit::default();
        let written = (0..1_000).filter(|_| limit.takes(Level::INFO, somebody(1))).count();
        assert_eq!(written, 10);
        assert!(limit.takes(Level::INFO, somebody(2)), "others are not affected");
        assert!(limit.takes(Level::ERROR, somebody(1)), "nor are lines of another level");
        assert_eq!(limit.ended(), [], "the window is not over");
        tokio::time::sleep(WINDOW).await;
        assert_eq!(limit.ended(), [LeftOut { level: Level::INFO, caller: somebody(1), lines: 990 }]);
        assert!(limit.takes(Level::INFO, somebody(1)), "again");
        assert_eq!(limit.all(), []);
    }

    #[tokio::test(start_paused = true)]
    async fn many_callers_are_counted_as_one() {
        let limit = Limit::default();
        let written = (0..100_000).filter(|number| limit.takes(Level::INFO, somebody(*number))).count();
        assert_eq!(written, CALLERS + 10);
        let left_out: u64 = limit.all().iter().map(|left| left.lines).sum();
        assert_eq!(left_out, 100_000 - written as u64);
    }

    #[test]
    fn a_caller_without_identity_is_its_network() {
        let caller = |ip| Caller::of(Subject { method: "GET", path: "/", ip, identity: "" });
        assert_eq!(caller("192.0.2.1"), Caller::Network("192.0.2.1".into()));
        assert_eq!(caller("2001:db8:1:2:3:4:5:6"), Caller::Network("2001:db8:1:2::/64".into()));
        assert_eq!(caller("2001:db8:1:2::9"), caller("2001:db8:1:2:3:4:5:6"));
    }
}
