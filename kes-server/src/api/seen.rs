//! Until when the certificates of clients are valid, by identity, for `/v1/metrics` (docs/kes-protocol.md §7).
//!
//! Only of clients that the configuration knows, and only if somebody must vouch for them: other certificates may end,
//! and their clients are served nevertheless.

use std::{
    io::Write as _,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use crate::auth::Identity;

/// Identities that are remembered. Of more, those stay whose certificates end first.
const MOST: usize = 100;

/// The last certificate of each identity: seconds since 1970. They are few, and need no map.
#[derive(Debug, Default)]
pub(crate) struct Seen(Mutex<Vec<(Identity, u64)>>);

impl Seen {
    /// A client has shown a certificate that is valid until `end`.
    pub(crate) fn saw(&self, identity: &Identity, end: Duration) {
        let (mut seen, end) = (self.0.lock().unwrap_or_else(PoisonError::into_inner), end.as_secs());
        if let Some((_, known)) = seen.iter_mut().find(|(known, _)| known == identity) {
            *known = end;
        } else if seen.len() < MOST {
            seen.push((identity.clone(), end));
        } else if let Some(last) = seen.iter_mut().max_by_key(|(_, end)| *end).filter(|(_, last)| *last > end) {
            *last = (identity.clone(), end);
        }
    }

    /// Appends one line for each identity that is still known; the others are forgotten.
    pub(super) fn append(&self, text: &mut Vec<u8>, is_known: impl Fn(&Identity) -> bool) {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.retain(|(identity, _)| is_known(identity));
        if seen.is_empty() {
            return;
        }
        let name = "kes_tls_client_certificate_end";
        // what is written to memory is written
        let _ = write!(text, "# HELP {name} Last second of the client's last certificate.\n# TYPE {name} gauge\n");
        for (identity, end) in seen.iter() {
            let _ = writeln!(text, "{name}{{identity=\"{identity}\"}} {end}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(seen: &Seen, is_known: impl Fn(&Identity) -> bool) -> String {
        let mut text = Vec::new();
        seen.append(&mut text, is_known);
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn the_last_certificate_of_a_known_identity_counts() {
        let seen = Seen::default();
        assert_eq!(text(&seen, |_| true), "", "a family without a member is not shown");
        let [one, two] = ["aa", "bb"].map(Identity::new);
        seen.saw(&one, Duration::from_secs(10));
        seen.saw(&two, Duration::from_secs(20));
        seen.saw(&one, Duration::from_secs(30));
        let all = text(&seen, |_| true);
        assert!(
            all.ends_with("end{identity=\"aa\"} 30\nkes_tls_client_certificate_end{identity=\"bb\"} 20\n"),
            "{all}"
        );
        assert!(!text(&seen, |identity| *identity == one).contains("bb"));
        assert!(!text(&seen, |_| true).contains("bb"), "it is forgotten");
    }

    #[test]
    fn of_too_many_those_stay_that_end_first() {
        let seen = Seen::default();
        for number in (0..3 * MOST as u64).rev() {
            seen.saw(&Identity::new(format!("{number:04}")), Duration::from_secs(number));
        }
        let all = text(&seen, |_| true);
        assert_eq!(all.lines().count(), 2 + MOST);
        assert!(all.contains("\"0000\"} 0\n") && all.contains("\"0099\"} 99\n"), "{all}");
    }
}
