//! Bodies and headers of responses.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{HeaderValue, Response, header};
use hyper::body::{Body, Frame, SizeHint};
use serde::Serialize;
use tokio::sync::mpsc;
use zeroize::Zeroizing;

use super::{error::ApiError, share::Permit};
use crate::json;

pub(super) const JSON: HeaderValue = HeaderValue::from_static("application/json");
const LINES: HeaderValue = HeaderValue::from_static("application/x-ndjson");

/// What a handler answers.
pub(super) type Reply = Response<ReplyBody>;

/// The body of a response.
#[derive(Debug)]
pub(crate) enum ReplyBody {
    /// Known completely.
    Full(Bytes),
    /// Lines as they come, until the sender goes.
    Lines(mpsc::Receiver<Bytes>),
}

/// 200 without a body.
pub(super) fn empty() -> Reply {
    full(Bytes::new())
}

/// 200 with a JSON document of about `capacity` bytes, which is wiped from memory once it is sent.
pub(super) fn json(value: &impl Serialize, capacity: usize) -> Result<Reply, ApiError> {
    let document = json::encode(value, capacity).map_err(|error| ApiError::internal("failed to encode", error))?;
    Ok(typed(JSON, Bytes::from_owner(Wiped(document))))
}

/// 200 with a text of the given content type.
pub(super) fn typed(content_type: HeaderValue, text: Bytes) -> Reply {
    let mut reply = full(text);
    reply.headers_mut().insert(header::CONTENT_TYPE, content_type);
    reply
}

/// 200 with lines that are still to come.
pub(super) fn lines(lines: mpsc::Receiver<Bytes>) -> Reply {
    let mut reply = Response::new(ReplyBody::Lines(lines));
    reply.headers_mut().insert(header::CONTENT_TYPE, LINES);
    reply
}

/// A response whose length is in the header, also where the body is left out of it (HEAD).
pub(super) fn full(body: Bytes) -> Reply {
    let length = HeaderValue::from(body.len());
    let mut reply = Response::new(ReplyBody::Full(body));
    reply.headers_mut().insert(header::CONTENT_LENGTH, length);
    reply
}

/// A reply that keeps the memory of its request's body until it is sent.
pub(super) fn with_permits(reply: Reply, permits: Vec<Permit>) -> Reply {
    reply.map(|body| match body {
        ReplyBody::Full(bytes) if !bytes.is_empty() => {
            ReplyBody::Full(Bytes::from_owner(Permitted { bytes, _permits: permits }))
        }
        body => body,
    })
}

/// Bytes for which there is memory.
struct Permitted {
    bytes: Bytes,
    _permits: Vec<Permit>,
}

impl AsRef<[u8]> for Permitted {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

struct Wiped(Zeroizing<Vec<u8>>);

impl AsRef<[u8]> for Wiped {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let data = match &mut *self {
            Self::Full(bytes) if bytes.is_empty() => None,
            Self::Full(bytes) => Some(std::mem::take(bytes)),
            Self::Lines(lines) => ready!(lines.poll_recv(context)),
        };
        Poll::Ready(data.map(|data| Ok(Frame::data(data))))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Full(bytes) if bytes.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Lines(_) => SizeHint::default(),
        }
    }
}
