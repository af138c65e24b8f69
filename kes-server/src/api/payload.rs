//! The body of a request.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, header};
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};
use tokio::sync::Semaphore;

use crate::json::{self, Fields};

const JSON: &[u8] = b"application/json";

/// How much of a body that nobody wanted is read and thrown away, and for how long: twice the largest that any route
/// takes. A client that is answered before its body has been taken may find the stream reset and never see the answer.
const UNWANTED: (usize, Duration) = (2 << 20, Duration::from_secs(1));

/// Bytes from which on a body is large. What `MinIO` sends is a tenth of it.
const LARGE: usize = 16 << 10;

/// Large bodies that may be in memory at a time; more of them wait, and their clients with them.
static LARGE_BODIES: Semaphore = Semaphore::const_new(64);

/// A body that is still to be read.
#[derive(Debug)]
pub(super) struct Payload<'a> {
    body: &'a mut Incoming,
    limit: usize,
    says_json: bool,
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
    #[error("{0}")]
    Json(#[from] serde_json::Error),
}

impl<'a> Payload<'a> {
    pub(super) fn new(headers: &HeaderMap, body: &'a mut Incoming, limit: usize) -> Self {
        let says_json = headers
            .get(header::CONTENT_TYPE)
            .and_then(|value| value.as_bytes().first_chunk())
            .is_some_and(|start: &[u8; JSON.len()]| start.eq_ignore_ascii_case(JSON));
        Self { body, limit, says_json }
    }

    /// Reads a body that must be there.
    pub(super) async fn required<T: Fields>(self) -> Result<T, PayloadError> {
        let document = read(self.body, self.limit).await?;
        if document.is_empty() { Err(PayloadError::Empty) } else { Ok(json::decode(&document)?) }
    }

    /// Reads a body that may be left out, which stands for all defaults. It is left out only if the request neither
    /// announces a body nor calls it JSON: a client that fails over to a second server may lose the body on the way,
    /// and what it meant to say must not be guessed.
    pub(super) async fn optional<T: Fields>(self) -> Result<T, PayloadError> {
        if self.body.is_end_stream() && !self.says_json { Ok(T::default()) } else { self.required().await }
    }
}

/// Takes what is left of a body.
pub(super) async fn discard(body: &mut Incoming) {
    if body.is_end_stream() {
        return;
    }
    let rest = async {
        let mut taken = 0;
        while let Some(Ok(frame)) = body.frame().await {
            taken += frame.data_ref().map_or(0, Bytes::len);
            if taken > UNWANTED.0 {
                return;
            }
        }
    };
    // Whoever takes longer than that must do without the answer.
    let _: Result<(), tokio::time::error::Elapsed> = tokio::time::timeout(UNWANTED.1, rest).await;
}

async fn read(body: &mut Incoming, limit: usize) -> Result<Bytes, PayloadError> {
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if announced > limit {
        return Err(PayloadError::TooLarge);
    }
    let mut whole = BytesMut::new();
    let mut permit = None;
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| PayloadError::Broken)?.into_data() else { continue };
        if whole.len() + data.len() > limit {
            return Err(PayloadError::TooLarge);
        }
        if whole.is_empty() && body.is_end_stream() {
            return Ok(data);
        }
        if permit.is_none() && whole.len() + data.len() > LARGE {
            // It is never closed; the time that a request has ends the wait.
            permit = LARGE_BODIES.acquire().await.ok();
        }
        let expected = if permit.is_some() { announced } else { announced.min(LARGE) };
        whole.reserve(expected.max(data.len()).saturating_sub(whole.len()));
        whole.extend_from_slice(&data);
    }
    Ok(whole.freeze())
}
