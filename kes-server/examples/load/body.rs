//! The body of a request: at once, or in the pieces in which `MinIO` sends it.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};

/// How a request is sent.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    /// Head and body in one write, with the length of the body.
    AtOnce,
    /// Head, body and the end of the body in three writes, without a length.
    InPieces,
}

/// A body that pauses before each piece: what came before it is written meanwhile.
pub(crate) struct Content {
    data: Option<Bytes>,
    sent: How,
    has_paused: bool,
}

impl Content {
    pub(crate) fn new(data: Bytes, sent: How) -> Self {
        Self { data: Some(data), sent, has_paused: false }
    }
}

impl Body for Content {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.sent == How::InPieces && !self.has_paused {
            self.has_paused = true;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.has_paused = false;
        Poll::Ready(self.data.take().map(|data| Ok(Frame::data(data))))
    }

    fn is_end_stream(&self) -> bool {
        self.sent == How::AtOnce && self.data.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        match &self.data {
            Some(data) if self.sent == How::AtOnce => SizeHint::with_exact(data.len() as u64),
            _ => SizeHint::default(),
        }
    }
}
