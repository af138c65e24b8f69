//! A stack over HTTP, for test suites in any language: the verbs of the command line as requests, with the same answers, the
//! same errors and the same lock (docs/http-interface.md).
//!
//! A request passes [`gate`] (host, origin, token), then its row of [`routes`], whose table also makes the OpenAPI document.
//! [`reach`] knows the stack between requests, [`call`] holds its lock and learns that the caller hung up.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::net::TcpListener;

use crate::error::Error;
use crate::host::interrupt::{Caller, Interrupt};

mod answer;
mod buckets;
mod busy;
mod call;
mod complete;
mod entrance;
mod events;
mod faults;
mod gate;
mod given;
mod keys;
mod listener;
mod page;
mod places;
mod problem;
mod reach;
mod routes;
mod sandboxes;
mod snapshots;
mod surface;
mod told;

pub(crate) use entrance::Entrance;
pub(crate) use reach::Source;
#[cfg(test)]
pub(crate) use routes::document;

/// How long running calls may take to give back what they changed, after the program was asked to end.
const GRACE: Duration = Duration::from_secs(120);

/// One stack over HTTP.
#[derive(Clone)]
pub(crate) struct Interface(Arc<Parts>);

struct Parts {
    known: reach::Known,
    gate: gate::Gate,
    events: events::Events,
    evidence: complete::Last,
    page: page::Page,
    /// Asks calls and streams to end, once the one who may ask is gone.
    interrupt: Interrupt,
    asks: Mutex<Option<Caller>>,
    busy: busy::Busy,
}

impl Interface {
    /// The stack of that source, for whoever comes in by `entrance`; `hints` completes the commands in messages.
    pub(crate) fn new(source: Source, entrance: Entrance, hints: fn(&str) -> String) -> Self {
        problem::complete_hints(hints);
        let (asks, interrupt) = Interrupt::of_caller();
        Self(Arc::new(Parts {
            known: reach::Known::new(source),
            gate: gate::Gate::new(entrance),
            events: events::Events::default(),
            evidence: complete::Last::default(),
            page: page::Page::default(),
            interrupt,
            asks: Mutex::new(Some(asks)),
            busy: busy::Busy::default(),
        }))
    }

    /// Serves until a signal comes or it is over. Calls that run then are asked to end, and waited for.
    ///
    /// # Errors
    /// [`Error::Interrupted`] after a signal.
    pub(crate) async fn serve(
        &self,
        listener: TcpListener,
        over: impl Future<Output = ()>,
        interrupt: &Interrupt,
    ) -> Result<(), Error> {
        let ended = async {
            let over = async {
                over.await;
                Ok::<(), Error>(())
            };
            let ended = interrupt.ends(over).await;
            drop(self.0.asks.lock().unwrap_or_else(PoisonError::into_inner).take());
            ended
        };
        listener::serve(listener, routes::router(self.clone()), ended, async {
            if tokio::time::timeout(GRACE, self.0.busy.done()).await.is_err() {
                tracing::warn!("a call did not end within {} s", GRACE.as_secs());
            }
        })
        .await
    }
}
