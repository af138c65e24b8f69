//! When cached keys go, and when they are compared with the keystore's.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::super::KeyStore;
use super::{Notice, Shared};
use crate::config::Expiry;

/// How often the keystore is asked whether it works.
const STATUS_INTERVAL: Duration = Duration::from_secs(10);

/// How many times within `any` the cached keys are compared with the keystore's.
const REVIEWS: u32 = 5;

/// Sweeps forever. `has_former`: there are keys that another cache has read.
pub(super) async fn sweep<S: KeyStore>(
    shared: Arc<Shared<S>>,
    expiry: Expiry,
    notify: impl Fn(Notice) + Send + Sync,
    has_former: bool,
) {
    // side by side: a keystore that takes its time to answer must not keep entries alive; what goes is not compared
    tokio::join!(biased; expire(&shared, expiry), watch(&shared), async {
        let mut reviews = ticks(expiry.any / REVIEWS);
        if has_former {
            shared.review(&notify).await;
        }
        loop {
            tick(&mut reviews).await;
            if !shared.offline.load(Ordering::Relaxed) {
                shared.review(&notify).await;
            }
        }
    });
}

/// Asks the keystore now and then whether it works.
async fn watch<S: KeyStore>(shared: &Shared<S>) {
    let mut status = ticks(STATUS_INTERVAL);
    loop {
        tick(&mut status).await;
        let down = shared.store.status().await.is_err();
        shared.offline.store(down, Ordering::Relaxed);
    }
}

async fn expire<S: KeyStore>(shared: &Shared<S>, expiry: Expiry) {
    let mut any = ticks(expiry.any);
    let mut unused = ticks(expiry.unused / 2);
    let mut offline = ticks(expiry.offline);
    // asked after the tick: an outage may have begun or ended since the last one
    let is_down = || shared.offline.load(Ordering::Relaxed);
    let is_paused = || is_down() && !expiry.offline.is_zero();
    loop {
        tokio::select! {
            () = tick(&mut any) => if !is_paused() { shared.clear() },
            () = tick(&mut unused) => if !is_paused() { shared.drop_unused() },
            () = tick(&mut offline) => if is_down() { shared.clear() },
        }
    }
}

/// A clock that ticks every `period`, `None` if that is zero.
fn ticks(period: Duration) -> Option<tokio::time::Interval> {
    if period.is_zero() {
        return None;
    }
    let mut ticks = interval_at(Instant::now() + period, period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    Some(ticks)
}

async fn tick(clock: &mut Option<tokio::time::Interval>) {
    match clock {
        Some(clock) => drop(clock.tick().await),
        None => std::future::pending().await,
    }
}
