//! The stack as pages for people: rendered here, with forms that work without a script. A form does what the request of a
//! program does, through the same handler, and leads on to a page.

use std::collections::VecDeque;
use std::sync::Mutex;

use axum::extract::DefaultBodyLimit;
use axum::routing::{get, post};

use super::surface::Surface;

mod assets;
mod bars;
mod bench;
mod buckets;
mod explain;
mod faults;
mod form;
mod frame;
mod keys;
mod live;
mod object;
mod overview;
mod picture;
mod plot;
mod proof;
mod recorder;
mod render;
mod sandboxes;
mod snapshots;
mod upload;
mod walk;

pub(super) use assets::{ENTERED, is_asset};
pub(super) use explain::explain;

/// What pages remember from one request to the next.
#[derive(Default)]
pub(super) struct Page {
    /// What the last form did, until a page has said it.
    notice: Mutex<Option<String>>,
    recorder: recorder::Recorder,
    tries: Mutex<VecDeque<faults::Try>>,
    walk: walk::Walk,
}

/// The routes of the pages, which the description of the interface does not name.
pub(super) fn add(surface: &mut Surface) {
    for (path, media_type, content) in assets::ALL {
        surface.hidden(path, get(async move || assets::answer(media_type, content)));
    }
    surface.hidden("/", get(overview::show));
    surface.hidden("/buckets", get(buckets::list).post(buckets::make));
    surface.hidden("/buckets/{name}", get(buckets::one));
    surface.hidden("/buckets/{name}/delete", post(buckets::delete));
    surface.hidden("/buckets/{name}/object", get(object::show));
    // as long as it may be: it is passed on while it comes
    surface.hidden("/buckets/{name}/upload", post(upload::store).layer(DefaultBodyLimit::disable()));
    surface.hidden("/keys", get(keys::list).post(keys::make));
    surface.hidden("/keys/delete", post(keys::delete));
    surface.hidden("/keys/rotate", post(keys::rotate));
    surface.hidden("/live", get(live::show));
    surface.hidden("/faults", get(faults::show).post(faults::begin));
    surface.hidden("/faults/heal", post(faults::heal));
    surface.hidden("/faults/try", post(faults::attempt));
    surface.hidden("/bench", get(bench::show).post(bench::measure));
    surface.hidden("/proof", get(proof::show).post(proof::prove));
    surface.hidden("/proof/evidence.json", get(proof::download));
    surface.hidden("/sandboxes", get(sandboxes::list).post(sandboxes::make));
    surface.hidden("/sandboxes/drop", post(sandboxes::drop));
    surface.hidden("/snapshots", get(snapshots::list).post(snapshots::save));
    surface.hidden("/snapshots/restore", post(snapshots::restore));
    surface.hidden("/snapshots/remove", post(snapshots::remove));
}
