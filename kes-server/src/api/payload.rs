//! The body of a request.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use hyper::body::Body;

use super::share::{Permit, Share};
use crate::json::{self, Fields};

/// How much of a body that nobody wanted is read and thrown away, and for how long: twice the largest that any route
/// takes. A client that is answered before its body has been taken may find the stream reset and never see the answer.
const UNWANTED: (usize, Duration) = (2 << 20, Duration::from_secs(1));

/// Bytes up to which a body that comes at once needs no memory of its own. What `MinIO` sends is half of it.
const SMALL: usize = 4 << 10;

/// Bytes for which there is memory at first if a body does not say how long it is.
const UNANNOUNCED: usize = 16 << 10;

/// What a body is read from.
pub(super) type Upload<'a> = dyn Body<Data = Bytes, Error = hyper::Error> + Send + Unpin + 'a;

/// The body of a request, and the memory that it has.
pub(super) struct Source<'a> {
    body: &'a mut Upload<'a>,
    share: &'a Share,
    /// They are held until the answer is sent: it may be as large. Also those of a listing.
    permits: Vec<Permit>,
}

/// A body that is still to be read.
pub(super) struct Payload<'a, 'b> {
    source: &'a mut Source<'b>,
    limit: usize,
}

/// A body that is not what the route takes; the text is for the log.
#[derive(Debug, thiserror::Error)]
pub(super) enum PayloadError {
    #[error("http: request body too large")]
    TooLarge,
    #[error("unexpected EOF")]
    Broken,
    #[error("EOF")]
    Empty,
    #[error("too many large bodies at a time over one connection")]
    Busy,
    #[error("the body is {0}")]
    Json(String),
}

impl<'a, 'b> Payload<'a, 'b> {
    pub(super) fn new(source: &'a mut Source<'b>, limit: usize) -> Self {
        Self { source, limit }
    }

    /// Reads a body that must be there.
    pub(super) async fn required<T: Fields>(self) -> Result<T, PayloadError> {
        let document = self.source.read(self.limit).await?;
        if document.is_empty() {
            return Err(PayloadError::Empty);
        }
        json::decode(&document).map_err(|error| PayloadError::Json(json::mistake(&error)))
    }

    /// Reads a body that may be left out, which stands for all defaults. It is left out only if the request announces
    /// none: by a length of 0, by no length at all over HTTP/1, by the end of the stream in the same frame over HTTP/2.
    /// A client that fails over to a second server may lose the body on the way: it has announced one, and what it
    /// meant to say must not be guessed.
    pub(super) async fn optional<T: Fields>(self) -> Result<T, PayloadError> {
        if self.source.body.size_hint().exact() == Some(0) { Ok(T::default()) } else { self.required().await }
    }

    /// Memory for a listing that will need so many bytes; `None` if nobody knows. It is held until the answer is sent.
    pub(super) async fn listing(self, bytes: Option<usize>) -> Option<&'a mut Permit> {
        let permit = self.source.share.listing(bytes).await?;
        self.source.permits.push(permit);
        self.source.permits.last_mut()
    }
}

impl<'a> Source<'a> {
    /// Of a request over a connection that has this share.
    pub(super) fn new(body: &'a mut Upload<'a>, share: &'a Share) -> Self {
        Self { body, share, permits: Vec::new() }
    }

    /// The memory that the request has.
    pub(super) fn into_permits(self) -> Vec<Permit> {
        self.permits
    }

    /// Takes the rest of the body.
    pub(super) async fn discard(&mut self) {
        if self.body.is_end_stream() {
            return;
        }
        let rest = async {
            let mut taken = 0;
            while let Some(Ok(frame)) = self.body.frame().await {
                taken += frame.data_ref().map_or(0, Bytes::len);
                if taken > UNWANTED.0 {
                    return;
                }
            }
        };
        // Whoever takes longer than that must do without the answer.
        let _: Result<(), tokio::time::error::Elapsed> = tokio::time::timeout(UNWANTED.1, rest).await;
    }

    async fn read(&mut self, limit: usize) -> Result<Bytes, PayloadError> {
        let announced = self.body.size_hint().exact().map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
        if announced.is_some_and(|bytes| bytes > limit) {
            return Err(PayloadError::TooLarge);
        }
        let (mut whole, mut room) = (BytesMut::new(), 0);
        while let Some(frame) = self.body.frame().await {
            let Ok(data) = frame.map_err(|_| PayloadError::Broken)?.into_data() else { continue };
            let length = whole.len() + data.len();
            let is_complete = self.body.is_end_stream() || announced == Some(length);
            if length > limit {
                return Err(PayloadError::TooLarge);
            }
            if whole.is_empty() && is_complete && length <= SMALL {
                return Ok(data);
            }
            if length > room {
                let needed = announced.unwrap_or(if length > UNANNOUNCED { limit } else { UNANNOUNCED });
                self.permits.push(self.share.body(needed - room).await.ok_or(PayloadError::Busy)?);
                room = needed;
            }
            // a body in one piece whose end comes later, as MinIO sends it, needs no more than that
            if !whole.is_empty() && !data.is_empty() {
                whole.reserve(room.saturating_sub(whole.len()));
            }
            whole.extend_from_slice(&data);
            if is_complete {
                break;
            }
        }
        Ok(whole.freeze())
    }
}

#[cfg(test)]
mod tests {
    use futures_util::stream;
    use http_body_util::StreamBody;
    use hyper::body::Frame;

    use super::{super::share::Shares, *};

    /// What is read of a body that has these pieces and does not say how long it is, and the bytes that it takes.
    async fn read(pieces: &[Vec<u8>]) -> (Vec<u8>, usize) {
        let frames = pieces.iter().map(|piece| Ok(Frame::data(Bytes::copy_from_slice(piece))));
        let mut body = StreamBody::new(stream::iter(frames.collect::<Vec<_>>()));
        let share = Shares::default().share(None);
        let document = Source::new(&mut body, &share).read(1 << 20).await.unwrap();
        let document = document.try_into_mut().unwrap();
        (document.to_vec(), document.capacity())
    }

    #[tokio::test]
    async fn a_body_takes_the_memory_that_it_needs() {
        let small = vec![b'a'; 166];
        let (document, capacity) = read(&[small.clone(), Vec::new()]).await;
        assert_eq!(document, small);
        assert!(capacity < 1024, "{capacity} bytes");
        let (document, capacity) = read(&vec![vec![b'a'; 1000]; 12]).await;
        assert_eq!(document, vec![b'a'; 12_000]);
        assert!(capacity <= UNANNOUNCED, "{capacity} bytes");
        let (document, _) = read(&vec![vec![b'a'; 10_000]; 9]).await;
        assert_eq!(document, vec![b'a'; 90_000]);
    }
}
