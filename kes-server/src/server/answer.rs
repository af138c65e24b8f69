//! The body of an answer, and how long it counts as held.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use hyper::body::{Body, Frame, SizeHint};

use super::activity::InFlight;
use crate::api::ReplyBody;

/// A body with the request that it answers. One without an end keeps its connection at work.
pub(super) struct Answer {
    body: ReplyBody,
    in_flight: Option<InFlight>,
}

/// Bytes of a body. The request counts until the last of them is written to the connection: HTTP/2 would hold hundreds
/// of answers for a client that reads nothing.
pub(super) struct Piece {
    bytes: Bytes,
    _in_flight: Option<InFlight>,
}

impl Answer {
    /// The answer to a request.
    pub(super) fn new(body: ReplyBody, mut in_flight: InFlight) -> Self {
        if let ReplyBody::Full(bytes) = &body {
            in_flight.is_answered(bytes.len());
        }
        Self { body, in_flight: Some(in_flight) }
    }
}

impl Body for Answer {
    type Data = Piece;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Piece>, Infallible>>> {
        let Some(Ok(frame)) = ready!(Pin::new(&mut self.body).poll_frame(context)) else { return Poll::Ready(None) };
        // a complete body is one piece
        let in_flight = if self.body.is_end_stream() { self.in_flight.take() } else { None };
        Poll::Ready(Some(Ok(frame.map_data(|bytes| Piece { bytes, _in_flight: in_flight }))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Buf for Piece {
    fn remaining(&self) -> usize {
        self.bytes.remaining()
    }

    fn chunk(&self) -> &[u8] {
        self.bytes.chunk()
    }

    fn advance(&mut self, count: usize) {
        self.bytes.advance(count);
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;
    use crate::server::{activity::Activity, connections::Connections};

    #[tokio::test]
    async fn an_answer_counts_until_its_bytes_are_written() {
        let activity = Activity::new(Connections::within(1024));
        let mut answer = Answer::new(ReplyBody::Full(Bytes::from_static(b"small")), activity.request(0));
        let piece = answer.frame().await.unwrap().unwrap().into_data().ok().unwrap();
        assert!(answer.is_end_stream());
        drop(answer);
        assert!(activity.holding().is_stalled(2), "HTTP has taken it, but not written it");
        drop(piece);
        assert!(!activity.holding().is_stalled(2));
    }
}
