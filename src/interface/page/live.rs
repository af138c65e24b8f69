//! KES at work: its audit log, and what the last ten minutes looked like.

use axum::extract::State;
use serde::Serialize;

use super::frame::{ForPart, Shown};
use super::plot::Plot;
use super::recorder::{Seen, Slot};
use crate::interface::Interface;

/// Seconds of a slot.
const SLOT: f64 = 5.0;

#[derive(Serialize)]
struct View {
    plots: [Plot; 4],
    events: Vec<Seen>,
}

pub(super) async fn show(State(interface): State<Interface>, part: ForPart) -> Shown {
    let recorder = &interface.0.page.recorder;
    let slots = recorder.slots();
    let of = |value: fn(&Slot) -> f64| slots.iter().map(value).collect::<Vec<_>>();
    let plots = [
        Plot::new("Requests for keys", "", "/s", &[("", of(|slot| f64::from(slot.requests) / SLOT))]),
        Plot::new(
            "Time to an answer",
            "",
            " ms",
            &[("p50 ", of(|slot| slot.percentile(50))), ("p99 ", of(|slot| slot.percentile(99)))],
        ),
        Plot::new("Errors", "bad", "/s", &[("", of(|slot| f64::from(slot.errors) / SLOT))]),
        Plot::new(
            "KES's cache of keys",
            "hits",
            "/s",
            &[("hits ", of(|slot| per_second(slot.hits))), ("misses ", of(|slot| per_second(slot.misses)))],
        ),
    ];
    let view = View { plots, events: recorder.events() };
    interface.show_for(part, "live.html", ("Live", "live"), &view).await
}

fn per_second(count: u64) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX)) / SLOT
}
