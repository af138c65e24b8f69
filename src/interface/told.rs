//! Events as readers get them, and their description in the OpenAPI document.

use axum::body::Bytes;
use jiff::Timestamp;
use kes_server::client::AuditEvent;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};

use super::surface::Surface;

/// One event.
pub(super) enum Told<'a> {
    /// KES answered a request.
    Audit(AuditEvent),
    /// Something with a name changed.
    Change(Changed<'a>),
    /// The reader was too slow.
    Missed(Missed),
}

/// A change of something with a name.
#[derive(Serialize, JsonSchema)]
pub(super) struct Changed<'a> {
    /// Of what: a key, a bucket, a sandbox, a snapshot, a fault, a proof, or the stack.
    pub(super) kind: &'a str,
    /// What happened to it.
    pub(super) change: &'a str,
    /// Its name.
    pub(super) name: &'a str,
}

/// Events that this reader did not get.
#[derive(Serialize, JsonSchema)]
pub(super) struct Missed {
    /// How many.
    pub(super) events: u64,
}

/// When it was sent, and what it says.
#[derive(Serialize, JsonSchema)]
struct Timed<T> {
    /// When the interface reported it.
    #[schemars(with = "String")]
    at: Timestamp,
    #[serde(flatten)]
    what: T,
}

/// A request that KES answered, as its audit log has it.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "describes AuditEvent, whose crate knows no schemas")]
struct Audit {
    /// When.
    time: String,
    /// The request.
    request: Request,
    /// The answer.
    response: Answer,
}

/// Who asked KES for what.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "describes AuditRequest")]
struct Request {
    /// Address of the client.
    ip: String,
    /// Path with its resource.
    path: String,
    /// Identity of the client.
    identity: String,
}

/// How KES answered.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "describes AuditResponse")]
struct Answer {
    /// HTTP status.
    code: u16,
    /// Nanoseconds.
    time: u64,
}

impl Told<'_> {
    /// The lines of the stream.
    pub(super) fn text(&self) -> Bytes {
        let at = Timestamp::now();
        let (event, data) = match self {
            Self::Audit(what) => ("audit", serde_json::to_string(&Timed { at, what })),
            Self::Change(what) => ("change", serde_json::to_string(&Timed { at, what })),
            Self::Missed(what) => ("missed", serde_json::to_string(what)),
        };
        Bytes::from(format!("event: {event}\ndata: {}\n\n", data.unwrap_or_default()))
    }
}

/// The answer of the stream. OpenAPI 3.1 has no word for the parts of a stream; by the usual reading the schema is that of
/// one event, with its fields.
pub(super) fn described(surface: &mut Surface) -> Value {
    let data = [
        ("audit", surface.part::<Timed<Audit>>()),
        ("change", surface.part::<Timed<Changed<'_>>>()),
        ("missed", surface.part::<Missed>()),
    ];
    let events = data.map(|(event, data)| {
        json!({
            "type": "object",
            "properties": {
                "event": { "const": event },
                "data": { "type": "string", "contentMediaType": "application/json", "contentSchema": data },
            },
            "required": ["event", "data"],
        })
    });
    json!({ "200": { "description": "Server-sent events, until either side ends",
        "content": { "text/event-stream": { "schema": { "oneOf": events } } } } })
}
