//! The body of an answer, and how long it counts as held.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};

use super::activity::InFlight;
use crate::api::ReplyBody;

/// Bytes from which on an answer counts until it is written to the connection. Smaller ones count until HTTP has taken
/// them: it holds few of those.
const LARGE: usize = 4 << 10;

/// A body with the request that it answers. One without an end keeps its connection at work.
pub(super) struct Answer {
    body: ReplyBody,
    _in_flight: Option<InFlight>,
}

impl Answer {
    /// The answer to a request.
    pub(super) fn new(body: ReplyBody, mut in_flight: InFlight) -> Self {
        let ReplyBody::Full(bytes) = body else { return Self { body, _in_flight: Some(in_flight) } };
        in_flight.is_answered(bytes.len());
        if bytes.len() < LARGE {
            return Self { body: ReplyBody::Full(bytes), _in_flight: Some(in_flight) };
        }
        let unsent = Bytes::from_owner(Unsent { bytes, _in_flight: in_flight });
        Self { body: ReplyBody::Full(unsent), _in_flight: None }
    }
}

/// Bytes that count until the last reference to them is gone.
struct Unsent {
    bytes: Bytes,
    _in_flight: InFlight,
}

impl AsRef<[u8]> for Unsent {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
