use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::sync::watch;

use super::*;
use crate::keystore::Environment;

/// Hands out numbered tokens and remembers when it was asked for what.
#[derive(Debug)]
struct Desk {
    life: u64,
    renewable: bool,
    /// Seconds after a login at which no renewal helps any more; 0 if never.
    max: u64,
    /// Share of the life for which new tokens are left alone.
    lag: u32,
    down: AtomicBool,
    sealed: watch::Sender<bool>,
    login: AtomicU64,
    start: Instant,
    asked: Mutex<Vec<(&'static str, u64)>>,
    /// Until when each token is valid.
    ends: Mutex<Vec<Instant>>,
}

impl Desk {
    fn new(life: u64, renewable: bool) -> Self {
        let (start, down, login) = (Instant::now(), AtomicBool::new(false), AtomicU64::new(0));
        let sealed = watch::Sender::new(false);
        Self {
            life,
            renewable,
            max: 0,
            lag: 0,
            down,
            sealed,
            login,
            start,
            asked: Mutex::default(),
            ends: Mutex::default(),
        }
    }

    fn answer(&self, what: &'static str) -> Result<Token, KeyStoreError> {
        let mut asked = self.asked.lock().unwrap();
        let now = self.start.elapsed().as_secs();
        asked.push((what, now));
        if self.down.load(Ordering::Relaxed) {
            return Err(KeyStoreError::Unreachable("down".into()));
        }
        if what == "login" {
            self.login.store(now, Ordering::Relaxed);
        }
        let end = if self.max > 0 { self.login.load(Ordering::Relaxed) + self.max - now } else { self.life };
        let life = (self.life > 0).then(|| Duration::from_secs(self.life.min(end)));
        let mut ends = self.ends.lock().unwrap();
        ends.push(Instant::now() + life.unwrap_or_default().min(LONGEST));
        Ok(Token { secret: Secret::new(format!("token-{}", ends.len())), life, renewable: self.renewable })
    }
}

/// Until when a token is valid.
fn end(desk: &Desk, token: &Token) -> Instant {
    let number: usize = token.secret.expose().strip_prefix("token-").unwrap().parse().unwrap();
    *desk.ends.lock().unwrap().get(number - 1).unwrap()
}

impl Authority for Arc<Desk> {
    async fn login(&self) -> Result<Token, KeyStoreError> {
        self.answer("login")
    }

    async fn renew(&self, _: &Secret) -> Result<Token, KeyStoreError> {
        self.answer("renew")
    }

    async fn ready(&self) {
        let _ = self.sealed.subscribe().wait_for(|sealed| !sealed).await;
    }

    fn lag(&self, life: Duration) -> Duration {
        if self.lag > 0 { life / self.lag } else { Duration::ZERO }
    }
}

fn renewals(warn: impl Fn(&str) + Send + Sync + 'static) -> Renewals {
    Renewals::of("the token", &Environment::empty().with_warnings_to(warn))
}

async fn start(desk: &Arc<Desk>) -> Result<Session<Arc<Desk>>, KeyStoreError> {
    Session::start(desk.clone(), 0.8, renewals(|_| {})).await
}

async fn asked(life: u64, renewable: bool, seconds: u64) -> Vec<(&'static str, u64)> {
    let desk = Arc::new(Desk::new(life, renewable));
    let _session = start(&desk).await.unwrap();
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    let asked = desk.asked.lock().unwrap();
    asked.clone()
}

#[tokio::test(start_paused = true)]
async fn tokens_are_renewed_at_a_share_of_their_life() {
    assert_eq!(asked(60, true, 100).await, [("login", 0), ("renew", 48), ("renew", 96)]);
    assert_eq!(asked(40, false, 70).await, [("login", 0), ("login", 32), ("login", 64)]);
    assert_eq!(asked(20, true, 40).await, [("login", 0), ("renew", 16), ("renew", 32)]);
    assert_eq!(asked(0, true, 86_400).await, [("login", 0)], "valid forever");
    assert_eq!(asked(u64::MAX, true, 86_400).await, [("login", 0)], "beyond what a clock can say");
}

#[tokio::test(start_paused = true)]
async fn a_token_of_a_moment_is_no_storm() {
    assert!(asked(1, true, 60).await.len() <= 62);
}

#[tokio::test(start_paused = true)]
async fn an_outage_of_hours_ends_by_itself_and_without_a_storm() {
    let desk = Arc::new(Desk::new(60, true));
    let session = start(&desk).await.unwrap();
    desk.down.store(true, Ordering::Relaxed);
    tokio::time::sleep(Duration::from_secs(3 * 3600)).await;
    let attempts = desk.asked.lock().unwrap().len();
    assert!(attempts < 2 * 3 * 3600 / 15 + 20, "{attempts} attempts in three hours");
    desk.down.store(false, Ordering::Relaxed);
    let before = session.token();
    tokio::time::sleep(CEILING + FLOOR).await;
    assert!(!Arc::ptr_eq(&before, &session.token()), "a new token soon after");
}

#[tokio::test(start_paused = true)]
async fn a_refused_token_is_replaced_once_for_all_who_ask() {
    let desk = Arc::new(Desk::new(600, true));
    let session = start(&desk).await.unwrap();
    let refused = session.token();
    assert_eq!(session.replace(&refused).await.unwrap(), None, "a token this young is not the reason");
    tokio::time::sleep(Duration::from_secs(5)).await;
    let all = futures_util::future::join_all((0..9).map(|_| session.replace(&refused))).await;
    assert!(all.into_iter().all(|token| token.unwrap().unwrap().secret.expose() == "token-2"));
    assert_eq!(desk.asked.lock().unwrap().len(), 2);
}

/// As a Vault with `max_ttl`: what MinIO KES does at 32 s it does too, but without a login every 3 s after.
#[tokio::test(start_paused = true)]
async fn near_the_end_of_all_renewals_a_login_follows() {
    let desk = Arc::new(Desk { max: 60, ..Desk::new(40, true) });
    let _session = start(&desk).await.unwrap();
    tokio::time::sleep(Duration::from_secs(100)).await;
    let expected = [("login", 0), ("renew", 32), ("renew", 54), ("login", 54), ("renew", 86)];
    assert_eq!(*desk.asked.lock().unwrap(), expected);
}

#[tokio::test(start_paused = true)]
async fn a_sealed_keystore_is_left_alone_and_asked_as_soon_as_it_is_not() {
    let desk = Arc::new(Desk::new(60, true));
    let _session = start(&desk).await.unwrap();
    desk.sealed.send_replace(true);
    tokio::time::sleep(Duration::from_secs(7200)).await;
    assert_eq!(*desk.asked.lock().unwrap(), [("login", 0)], "nothing while sealed");
    desk.sealed.send_replace(false);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(*desk.asked.lock().unwrap(), [("login", 0), ("renew", 7200)]);
}

#[tokio::test(start_paused = true)]
async fn the_old_token_is_used_until_all_servers_know_the_new_one() {
    let desk = Arc::new(Desk { lag: 10, ..Desk::new(60, false) });
    let session = start(&desk).await.unwrap();
    let used = || session.token().secret.expose().to_owned();
    for (until, token) in [(47, "token-1"), (49, "token-1"), (53, "token-1"), (55, "token-2"), (95, "token-2")] {
        tokio::time::sleep_until(desk.start + Duration::from_secs(until)).await;
        assert_eq!(used(), token, "at {until} s");
    }
    tokio::time::sleep_until(desk.start + Duration::from_secs(97)).await;
    let old = session.token();
    assert_eq!(old.secret.expose(), "token-2", "the third is there, but young");
    let new = session.replace(&old).await.unwrap().unwrap();
    assert_eq!(new.secret.expose(), "token-3", "the second was refused: no reason to wait, nor for a login");
    assert_eq!(used(), "token-3");
}

/// Whatever the life: at every moment the token in use is valid, and no two attempts follow at once.
#[tokio::test(start_paused = true)]
async fn there_is_no_gap_and_no_storm_at_any_life() {
    for (life, renewable, max) in
        [(5, true, 0), (20, true, 0), (20, false, 0), (40, false, 0), (40, true, 60), (60, true, 0), (300, true, 900)]
    {
        let desk = Arc::new(Desk { max, lag: 10, ..Desk::new(life, renewable) });
        let session = start(&desk).await.unwrap();
        for _ in 0..3600 {
            tokio::time::sleep(Duration::from_secs(1)).await;
            assert!(end(&desk, &session.token()) > Instant::now(), "a gap with a life of {life} s");
        }
        let attempts = u64::try_from(desk.asked.lock().unwrap().len()).unwrap();
        assert!(attempts <= 3 * 3600 / life + 2, "{attempts} attempts with a life of {life} s");
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_after_an_outage_does_not_wait_for_the_next_attempt() {
    let desk = Arc::new(Desk::new(60, true));
    let session = start(&desk).await.unwrap();
    desk.down.store(true, Ordering::Relaxed);
    tokio::time::sleep(Duration::from_secs(3 * 3600 + 7)).await;
    let lost = session.token();
    assert!(session.replace(&lost).await.is_err());
    desk.down.store(false, Ordering::Relaxed);
    assert!(session.replace(&lost).await.unwrap().is_some(), "at once");
}

#[tokio::test(start_paused = true)]
async fn a_token_that_is_not_renewed_is_reported_now_and_then() {
    let desk = Arc::new(Desk::new(60, true));
    let (sender, receiver) = std::sync::mpsc::channel();
    let renewals = renewals(move |text| sender.send(text.to_owned()).unwrap());
    let _session = Session::start(desk.clone(), 0.8, renewals).await.unwrap();
    let minutes = |count: u64| tokio::time::sleep(Duration::from_secs(60 * count));
    minutes(10).await;
    assert_eq!(receiver.try_iter().count(), 0, "nothing is wrong");
    desk.down.store(true, Ordering::Relaxed);
    minutes(1).await;
    let first: Vec<_> = receiver.try_iter().collect();
    assert_eq!(first.len(), 1, "{first:?}");
    assert!(
        first[0].contains("cannot renew") && first[0].contains("down") && first[0].contains("valid for another 12 s")
    );
    minutes(60).await;
    let more: Vec<_> = receiver.try_iter().collect();
    assert!((11..=13).contains(&more.len()), "{more:?}");
    assert!(more.iter().all(|text| text.contains("not valid any more")), "{more:?}");
    desk.down.store(false, Ordering::Relaxed);
    minutes(1).await;
    let last: Vec<_> = receiver.try_iter().collect();
    assert!(last.len() == 1 && last[0].contains("renewed again"), "{last:?}");
    assert!(last.iter().chain(&more).chain(&first).all(|text| !text.contains("token-")), "no secrets");
}
