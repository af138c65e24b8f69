//! The body of a request, as its client sends it.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};

use super::activity::Activity;

/// A body that says when its client is waited for: a connection is not at work meanwhile.
pub(super) struct Upload<'a> {
    body: Incoming,
    activity: &'a Activity,
    is_waited_for: bool,
}

impl<'a> Upload<'a> {
    /// Of a request over this connection.
    pub(super) fn new(body: Incoming, activity: &'a Activity) -> Self {
        Self { body, activity, is_waited_for: false }
    }

    fn set_waited_for(&mut self, is_waited_for: bool) {
        match (self.is_waited_for, is_waited_for) {
            (false, true) => self.activity.waits(),
            (true, false) => self.activity.goes_on(),
            _ => {}
        }
        self.is_waited_for = is_waited_for;
    }
}

impl Drop for Upload<'_> {
    fn drop(&mut self) {
        self.set_waited_for(false);
    }
}

impl Body for Upload<'_> {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        self.set_waited_for(polled.is_pending());
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
