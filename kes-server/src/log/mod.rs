//! The two logs of the server (kes-api §8): errors on standard error, audit on standard output, both also as streams
//! that clients follow over HTTP.

mod stream;
mod text;

use std::{
    fmt,
    io::Write,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicI32, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use serde::Serialize;

pub(crate) use self::{stream::Stream, text::timestamp};
use crate::{config::Level, metrics::Metrics};

/// Where a log's lines go.
pub type Sink = Box<dyn Write + Send>;

/// Both logs.
pub(crate) struct Log {
    errors: Output,
    audit: Output,
}

/// One log: its level, its sink and those who follow it.
struct Output {
    level: AtomicI32,
    sink: Mutex<Sink>,
    stream: Arc<Stream>,
}

/// The request that an entry is about.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Subject<'a> {
    pub(crate) method: &'a str,
    /// Decoded.
    pub(crate) path: &'a str,
    pub(crate) ip: &'a str,
    /// Empty if unknown.
    pub(crate) identity: &'a str,
}

/// How the server answered it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Outcome {
    pub(crate) status: u16,
    pub(crate) time: Duration,
}

impl Log {
    pub(crate) fn new(errors: Sink, audit: Sink, metrics: &Metrics) -> Self {
        Self {
            errors: Output::new(errors, Stream::new(metrics.error_events.clone())),
            audit: Output::new(audit, Stream::new(metrics.audit_events.clone())),
        }
    }

    /// Sets the lowest levels that are logged.
    pub(crate) fn set_levels(&self, errors: Level, audit: Level) {
        self.errors.level.store(errors.0, Ordering::Relaxed);
        self.audit.level.store(audit.0, Ordering::Relaxed);
    }

    /// Says something about the server itself.
    pub(crate) fn error(&self, level: Level, message: &str) {
        if self.errors.takes(level) {
            self.errors.write_error(&text::Line::new(level, message).finish());
        }
    }

    /// Says why a request was not served.
    pub(crate) fn request_error(&self, level: Level, message: &str, subject: Subject<'_>) {
        if self.errors.takes(level) {
            self.errors.write_error(&text::Line::new(level, message).subject(subject, "<unknown>").finish());
        }
    }

    /// Records on standard output what was done: changes of the keystore at INFO, as the original does, every other
    /// request about keys, policies and identities, also a refused one, at DEBUG.
    pub(crate) fn audit(&self, level: Level, message: impl Fn() -> String, subject: Subject<'_>, outcome: Outcome) {
        if self.audit.takes(level) {
            let line = text::Line::new(level, &message()).subject(subject, "").outcome(outcome).finish();
            self.audit.write(&line);
        }
    }

    /// Tells those who follow the audit log of a request, if there are any.
    pub(crate) fn audit_event(&self, subject: Subject<'_>, outcome: Outcome) {
        if self.audit.takes(Level::INFO) {
            self.audit.stream.publish(|| event(subject, outcome));
        }
    }

    pub(crate) fn error_stream(&self) -> &Arc<Stream> {
        &self.errors.stream
    }

    pub(crate) fn audit_stream(&self) -> &Arc<Stream> {
        &self.audit.stream
    }

    /// Writes something that is not a log entry to the audit log's sink: the banner.
    pub(crate) fn print(&self, text: &str) {
        self.audit.write(text);
    }

    /// Writes something that is not a log entry to the error log's sink.
    pub(crate) fn print_error(&self, text: &str) {
        self.errors.write(text);
    }
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Log").finish_non_exhaustive()
    }
}

impl Output {
    fn new(sink: Sink, stream: Stream) -> Self {
        Self { level: AtomicI32::new(Level::INFO.0), sink: Mutex::new(sink), stream: Arc::new(stream) }
    }

    fn takes(&self, level: Level) -> bool {
        level.0 >= self.level.load(Ordering::Relaxed)
    }

    /// A log that cannot be written is no reason to stop serving keys.
    fn write(&self, text: &str) {
        let mut sink = self.sink.lock().unwrap_or_else(PoisonError::into_inner);
        let _: std::io::Result<()> = sink.write_all(text.as_bytes()).and_then(|()| sink.flush());
    }

    fn write_error(&self, line: &str) {
        self.write(line);
        self.stream.publish(|| document(&ErrorEvent { message: line.trim_end_matches('\n') }));
    }
}

#[derive(Serialize)]
struct ErrorEvent<'a> {
    message: &'a str,
}

#[derive(Serialize)]
struct AuditEvent<'a> {
    time: String,
    request: RequestPart<'a>,
    response: ResponsePart,
}

#[derive(Serialize)]
struct RequestPart<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    ip: &'a str,
    path: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    identity: &'a str,
}

#[derive(Serialize)]
struct ResponsePart {
    code: u16,
    /// Nanoseconds: what all clients take it for.
    time: u64,
}

fn event(subject: Subject<'_>, outcome: Outcome) -> Bytes {
    document(&AuditEvent {
        time: timestamp(&jiff::Zoned::now()),
        request: RequestPart { ip: subject.ip, path: subject.path, identity: subject.identity },
        response: ResponsePart {
            code: outcome.status,
            time: u64::try_from(outcome.time.as_nanos()).unwrap_or(u64::MAX),
        },
    })
}

/// One line of a stream; encoding to memory cannot fail.
fn document(event: &impl Serialize) -> Bytes {
    let mut line = serde_json::to_vec(event).unwrap_or_default();
    line.push(b'\n');
    // what is kept for followers is counted by its length
    line.into_boxed_slice().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn audit_events_carry_nanoseconds_and_no_empty_fields() {
        let subject = Subject { method: "PUT", path: "/v1/key/create/a", ip: "::1", identity: "" };
        let line = event(subject, Outcome { status: 403, time: Duration::from_micros(5) });
        let event: serde_json::Value = serde_json::from_slice(&line).unwrap();
        assert_eq!(event["request"], serde_json::json!({"ip": "::1", "path": "/v1/key/create/a"}));
        assert_eq!(event["response"], serde_json::json!({"code": 403, "time": 5000}));
        assert!(line.ends_with(b"}\n"));
    }
}
