//! The two logs of the server (docs/kes-protocol.md §8): errors on standard error, audit on standard output, both also
//! as streams that clients follow over HTTP. The lines that a caller can cause are bounded: in length by `text`,
//! in number by `limit`.

mod limit;
mod stream;
mod text;

use std::{
    fmt,
    io::Write,
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicI32, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use serde::Serialize;

use self::limit::{Caller, LeftOut, Limit};
pub(crate) use self::{stream::Stream, text::timestamp};
use crate::{config::Level, metrics::Metrics};

/// The target of a log's lines.
pub type Sink = Box<dyn Write + Send>;

/// Both logs.
pub(crate) struct Log {
    errors: Output,
    audit: Output,
}

/// One log: its level, its sink and those who follow it.
struct Output {
    level: AtomicI32,
    limit: Limit,
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

    /// Says why a handshake with this address failed.
    pub(crate) fn handshake_error(&self, address: SocketAddr, reason: &str) {
        let caller = || Caller::address(&address.ip().to_string());
        if self.errors.takes(Level::INFO) && self.errors.limit.takes(Level::INFO, caller()) {
            self.error(Level::INFO, &format!("http: TLS handshake error from {address}: {reason}"));
        }
    }

    /// Says why a request was not served.
    pub(crate) fn request_error(&self, level: Level, message: &str, subject: Subject<'_>) {
        if self.errors.takes(level) && self.errors.limit.takes(level, Caller::of(subject)) {
            self.errors.write_error(&text::Line::new(level, message).subject(subject, "<unknown>").finish());
        }
    }

    /// Records what was done, on standard output: changes of the keystore at INFO, as MinIO KES does, every other
    /// request about keys, policies and identities, also a refused one, at DEBUG. Those who follow the audit log get
    /// every request. Repeated refusals of one caller are left out of both, and counted.
    pub(crate) fn audit(&self, level: Level, message: impl Fn() -> String, subject: Subject<'_>, outcome: Outcome) {
        let is_written = self.audit.takes(level);
        let is_followed = self.audit.stream.is_followed() && self.audit.takes(Level::INFO);
        if !is_written && !is_followed
            || outcome.is_refusal(subject) && !self.audit.limit.takes(level, Caller::of(subject))
        {
            return;
        }
        if is_followed {
            self.audit.stream.publish(|| event(subject, outcome));
        }
        if is_written {
            let line = text::Line::new(level, &message()).subject(subject, "").outcome(outcome).finish();
            self.audit.write(&line);
        }
    }

    /// Says again and again how many lines the limits left out, forever.
    pub(crate) async fn keep_count(&self) {
        loop {
            tokio::time::sleep(limit::WINDOW / 2).await;
            self.say_left_out(Limit::ended);
        }
    }

    /// Says how many lines the limits have left out that nothing was said about yet.
    pub(crate) fn finish_count(&self) {
        self.say_left_out(Limit::all);
    }

    fn say_left_out(&self, of: impl Fn(&Limit) -> Vec<LeftOut>) {
        for left_out in of(&self.errors.limit) {
            self.errors.write_error(&left_out.line("lines"));
        }
        for left_out in of(&self.audit.limit).into_iter().filter(|left_out| self.audit.takes(left_out.level)) {
            self.audit.write(&left_out.line("refused requests"));
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
        let level = AtomicI32::new(Level::INFO.0);
        Self { level, limit: Limit::default(), sink: Mutex::new(sink), stream: Arc::new(stream) }
    }

    fn takes(&self, level: Level) -> bool {
        level.0 >= self.level.load(Ordering::Relaxed)
    }

    /// A server whose log cannot be written goes on serving keys.
    fn write(&self, text: &str) {
        let mut sink = self.sink.lock().unwrap_or_else(PoisonError::into_inner);
        let _: std::io::Result<()> = sink.write_all(text.as_bytes()).and_then(|()| sink.flush());
    }

    fn write_error(&self, line: &str) {
        self.write(line);
        self.stream.publish(|| document(&ErrorEvent { message: line.trim_end_matches('\n') }));
    }
}

impl Outcome {
    /// Whether the caller had no right to what it asked for, or did not say who it is: to ask again costs it nothing.
    fn is_refusal(self, subject: Subject<'_>) -> bool {
        self.status == 403 || self.status == 400 && subject.identity.is_empty()
    }
}

impl LeftOut {
    fn line(&self, what: &str) -> String {
        let message = format!("{} more {what} of this caller were left out", self.lines);
        let line = text::Line::new(self.level, &message);
        match &self.caller {
            Caller::Identity(identity) => line.with("req.identity", identity),
            Caller::Network(ip) => line.with("req.ip", ip),
            Caller::Others => line.with("req.identity", "<others>"),
        }
        .finish()
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
        request: RequestPart { ip: subject.ip, path: &text::cut(subject.path), identity: subject.identity },
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

    /// Whatever is logged must come out of this log: the program listens to nothing else.
    #[test]
    fn no_dependency_logs_where_nobody_listens() {
        let manifest = include_str!("../../Cargo.toml");
        let logging = |line: &&str| {
            ["tracing", "log", "slog", "env_logger"]
                .iter()
                .any(|name| line.strip_prefix(name).is_some_and(|rest| rest.starts_with([' ', '.', '-', '='])))
        };
        assert_eq!(manifest.lines().find(logging), None);
    }

    #[test]
    fn what_a_stranger_sends_is_cut() {
        let path = "\u{1}".repeat(1_000_000);
        let subject = Subject { method: "PUT", path: &path, ip: "::1", identity: "" };
        let outcome = Outcome { status: 403, time: Duration::ZERO };
        let line = text::Line::new(Level::DEBUG, &path).subject(subject, "").outcome(outcome).finish();
        assert!(line.len() < 16 << 10, "{} bytes", line.len());
        assert!(event(subject, outcome).len() < 16 << 10);
    }

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
