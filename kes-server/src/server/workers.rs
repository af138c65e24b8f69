//! Threads that serve connections, each with a runtime of its own. A client that speaks HTTP/2 sends everything over
//! one connection: served by one thread, its requests need no other thread to be woken.

use std::{
    io,
    num::NonZero,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use tokio::{
    net::TcpStream,
    runtime::{Builder, Runtime},
    sync::{mpsc, watch},
};

use super::{connection, connections::Admitted, shared::Shared, watchdog::Beat};

/// Threads for what cannot be waited for otherwise, such as files; per worker.
const BLOCKING_THREADS: usize = 32;

/// A connection that was accepted, and counts.
pub(super) struct Accepted {
    pub(super) stream: std::net::TcpStream,
    pub(super) admitted: Admitted,
}

/// The threads.
#[derive(Debug)]
pub(super) struct Workers {
    queues: Vec<mpsc::UnboundedSender<Accepted>>,
    beats: Vec<Beat>,
    next: AtomicUsize,
    stop: watch::Sender<bool>,
}

impl Workers {
    /// Starts one for every CPU that the process may use.
    pub(super) fn start(shared: &Shared) -> io::Result<Self> {
        let (stop, stopped) = watch::channel(false);
        let count = thread::available_parallelism().map_or(1, NonZero::get);
        let beats: Vec<_> = (0..count).map(|_| Beat::new()).collect();
        let queues = beats.iter().map(|beat| start(shared.clone(), beat.clone(), stopped.clone()));
        Ok(Self { queues: queues.collect::<io::Result<_>>()?, beats, next: AtomicUsize::new(0), stop })
    }

    /// Signs of life, one of each.
    pub(super) fn beats(&self) -> Vec<Beat> {
        self.beats.clone()
    }

    /// Hands a connection to the next one in turn.
    pub(super) fn serve(&self, accepted: Accepted) {
        let turn = self.next.fetch_add(1, Ordering::Relaxed) % self.queues.len().max(1);
        if let Some(queue) = self.queues.get(turn) {
            // A worker takes connections until it is stopped, and then there is nothing to serve.
            let _: Result<(), _> = queue.send(accepted);
        }
    }

    /// Ends them, and with them the connections that are left.
    pub(super) fn stop(&self) {
        self.stop.send_replace(true);
    }
}

fn start(shared: Shared, beat: Beat, stopped: watch::Receiver<bool>) -> io::Result<mpsc::UnboundedSender<Accepted>> {
    let runtime = Builder::new_current_thread().enable_all().max_blocking_threads(BLOCKING_THREADS).build()?;
    let (queue, connections) = mpsc::unbounded_channel();
    thread::Builder::new()
        .name("kes-worker".into())
        .spawn(move || work(runtime, &shared, beat, connections, stopped))?;
    Ok(queue)
}

fn work(
    runtime: Runtime,
    shared: &Shared,
    beat: Beat,
    mut connections: mpsc::UnboundedReceiver<Accepted>,
    mut stopped: watch::Receiver<bool>,
) {
    runtime.block_on(async {
        tokio::spawn(beat.keep());
        loop {
            let accepted = tokio::select! {
                accepted = connections.recv() => accepted,
                _ = stopped.wait_for(|stopped| *stopped) => return,
            };
            let Some(Accepted { stream, admitted }) = accepted else { return };
            let Ok(stream) = TcpStream::from_std(stream) else { continue };
            let shared = shared.clone();
            tokio::spawn(async move {
                tokio::select! {
                    biased;
                    () = admitted.activity.evicted() => {}
                    () = connection::serve(stream, &shared, &admitted) => {}
                }
            });
        }
    });
    runtime.shutdown_background();
}
