//! `/v1/events`: KES's audit log, faults and resources as they change, as server-sent events. All readers share one
//! source and one bounded memory; who reads too slowly learns how many events went by, and nobody waits for anybody.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use futures_util::stream::unfold;
use tokio::sync::broadcast::{Receiver, Sender, channel, error::RecvError};
use tokio::task::AbortHandle;

use super::Interface;
use super::problem::Problem;
use super::told::{Changed, Missed, Told};
use crate::error::Error;

/// Events that are kept for readers that are behind.
const KEPT: usize = 256;
/// Most readers at a time.
const READERS: usize = 256;
/// How long a stream is silent before a comment shows that it lives.
const SILENCE: Duration = Duration::from_secs(15);
/// How long until KES is asked again for its log after it ended.
const AGAIN: Duration = Duration::from_secs(1);

/// What happens, for whoever listens.
pub(super) struct Events {
    sender: Sender<Bytes>,
    readers: Arc<Mutex<Readers>>,
}

/// How many read, and who reads KES's log for them.
#[derive(Default)]
struct Readers {
    count: usize,
    source: Option<AbortHandle>,
}

/// One that reads. The last one ends the source.
struct Reader {
    readers: Arc<Mutex<Readers>>,
    events: Receiver<Bytes>,
}

impl Default for Events {
    fn default() -> Self {
        Self { sender: channel(KEPT).0, readers: Arc::default() }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let mut readers = self.readers.lock().unwrap_or_else(PoisonError::into_inner);
        readers.count = readers.count.saturating_sub(1);
        if readers.count == 0
            && let Some(source) = readers.source.take()
        {
            source.abort();
        }
    }
}

impl Interface {
    /// Tells of a change of something with a name.
    pub(super) fn tell(&self, kind: &str, change: &str, name: &str) {
        self.send(&Told::Change(Changed { kind, change, name }));
    }

    /// The same of several.
    pub(super) fn tell_all<N: ToString>(&self, kind: &str, change: &str, names: impl Iterator<Item = N>) {
        names.for_each(|name| self.tell(kind, change, &name.to_string()));
    }

    fn send(&self, told: &Told<'_>) {
        // without readers nobody misses it
        let _ = self.0.events.sender.send(told.text());
    }

    /// Passes KES's audit log on, for as long as anybody reads.
    async fn audit(self) {
        loop {
            if let Err(error) = self.audit_once().await {
                tracing::debug!(%error, "KES's log cannot be read");
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    async fn audit_once(&self) -> Result<(), Error> {
        let kept = self.0.known.kept().await?;
        let endpoints = kept.stack().replicas().into_iter().map(|replica| replica.endpoint);
        let logs = endpoints.map(|endpoint| {
            let clients = kept.clients();
            async move {
                let mut log = clients.replicas.at(&endpoint)?.audit_log().await?;
                while let Some(event) = log.next().await? {
                    self.send(&Told::Audit(event));
                }
                Ok::<_, Error>(())
            }
        });
        let (ended, ..) = futures_util::future::select_all(logs.map(Box::pin)).await;
        ended
    }

    fn reader(&self) -> Result<Reader, Problem> {
        let mut readers = self.0.events.readers.lock().unwrap_or_else(PoisonError::into_inner);
        if readers.count >= READERS {
            let hint = "close one of the others first";
            return Err(Problem::refused(StatusCode::SERVICE_UNAVAILABLE, "too many streams of events", hint));
        }
        readers.count += 1;
        if readers.source.is_none() {
            readers.source = Some(tokio::spawn(self.clone().audit()).abort_handle());
        }
        Ok(Reader { readers: Arc::clone(&self.0.events.readers), events: self.0.events.sender.subscribe() })
    }
}

impl Reader {
    /// The next text for the stream; `None` if the program ends.
    async fn next(&mut self, interface: &Interface) -> Option<Bytes> {
        let event = async {
            match tokio::time::timeout(SILENCE, self.events.recv()).await {
                Ok(Ok(event)) => Some(event),
                Ok(Err(RecvError::Lagged(events))) => Some(Told::Missed(Missed { events }).text()),
                Ok(Err(RecvError::Closed)) => None,
                Err(_) => Some(Bytes::from_static(b": nothing happens\n\n")),
            }
        };
        tokio::select! {
            event = event => event,
            _ = interface.0.interrupt.asked() => None,
        }
    }
}

/// Follows the events until either side ends.
pub(super) async fn follow(State(interface): State<Interface>) -> Result<Response, Problem> {
    let reader = interface.reader()?;
    let begin = Bytes::from_static(b": events follow\n\n");
    let stream = unfold((Some(begin), reader, interface), async |(begin, mut reader, interface)| {
        let text = match begin {
            Some(begin) => begin,
            None => reader.next(&interface).await?,
        };
        Some((Ok::<_, Infallible>(text), (None, reader, interface)))
    });
    Ok(([(header::CONTENT_TYPE, "text/event-stream")], Body::from_stream(stream)).into_response())
}
