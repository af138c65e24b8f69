//! An upload from a browser, passed on while it comes: a file of any length takes the same memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::multipart::{Field, Multipart, MultipartError, MultipartRejection};
use axum::extract::{FromRequest, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use futures_util::stream::{self, Stream, StreamExt as _};
use tokio::time::timeout;

use super::frame::Shown;
use crate::error::Error;
use crate::host::error::HostError;
use crate::host::interrupt::Interrupt;
use crate::interface::Interface;
use crate::interface::given::{Named, invalid};
use crate::interface::problem::Problem;
use crate::manifest::BucketName;
use crate::servers::s3::S3Client;
use crate::servers::s3::pieces::{Pieces, piece_of};

/// How long a sender may be silent.
const SILENCE: Duration = Duration::from_secs(60);
/// Most bytes of a name.
const LONGEST: usize = 1024;
/// Most bytes that the form's parser may hold without giving anything of them.
const MOST_HELD: usize = 16 << 20;

/// Stores the files of a form. This goes on when the browser hangs up: what MinIO has of a file is removed then.
pub(super) async fn store(
    State(interface): State<Interface>,
    Named(bucket): Named<BucketName>,
    request: Request,
) -> Shown {
    let busy = interface.0.busy.begin();
    let task = tokio::spawn(async move {
        let _busy = busy;
        files(interface, bucket, request).await
    });
    task.await.unwrap_or_else(|error| Err(Error::file("finish", "the upload")(std::io::Error::other(error)).into()))
}

async fn files(interface: Interface, bucket: BucketName, request: Request) -> Shown {
    let piece = piece_for(request.headers())?;
    let (request, sender) = Sender::of(request, interface.0.interrupt.clone());
    let form: Result<Multipart, MultipartRejection> = Multipart::from_request(request, &()).await;
    let mut form = form.map_err(|rejection| invalid(rejection.body_text()))?;
    let reach = interface.0.known.running().await?;
    let (mut prefix, mut stored) = (String::new(), Vec::new());
    while let Some(mut field) = sender.next(form.next_field()).await? {
        if field.name() == Some("prefix") {
            prefix = short_text(&sender, &mut field).await?;
            continue;
        }
        let unreadable = || invalid("a part of the form is neither a prefix nor a file with a readable name".into());
        let file = field.file_name().ok_or_else(unreadable)?;
        if file.is_empty() {
            // a form of which no file was chosen
            continue;
        }
        let name = format!("{prefix}{file}");
        check(&name)?;
        let bytes = pass_on(&reach.context().s3, (bucket.as_str(), &name), piece, &sender, &mut field).await?;
        interface.tell("object", "stored", &format!("{bucket}/{name}"));
        stored.push((name, bytes));
    }
    interface.answer(&bucket, &stored)
}

/// How long a piece has to be, so that there are not too many of them at the end of a form of the announced length.
fn piece_for(headers: &HeaderMap) -> Result<usize, Problem> {
    let length = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    piece_of(length).ok_or_else(|| {
        let what = "a form has at most 156 GiB";
        Problem::refused(StatusCode::PAYLOAD_TOO_LARGE, what, "store larger files with mc or an SDK")
    })
}

impl Interface {
    /// Leads on to what was stored.
    fn answer(&self, bucket: &BucketName, stored: &[(String, u64)]) -> Shown {
        match stored {
            [] => Err(invalid("no file was chosen".into())),
            [(name, bytes)] => {
                let query: String = form_urlencoded::byte_serialize(name.as_bytes()).collect();
                let place = format!("/buckets/{bucket}/object?name={query}");
                Ok(self.lead_to(&place, format!("Stored {bytes} bytes as {name}.")))
            }
            several => {
                let (count, bytes) = (several.len(), several.iter().map(|(_, bytes)| bytes).sum::<u64>());
                Ok(self.lead_to(&format!("/buckets/{bucket}"), format!("Stored {count} files, {bytes} bytes.")))
            }
        }
    }
}

/// Whoever sends the form.
struct Sender {
    /// Bytes that came since the form's parser last gave something.
    held: Arc<AtomicUsize>,
    interrupt: Interrupt,
}

impl Sender {
    /// The sender of a request, whose body ends with an error where the parser would have to hold too much.
    fn of(request: Request, interrupt: Interrupt) -> (Request, Self) {
        let held = Arc::new(AtomicUsize::new(0));
        let sender = Self { held: Arc::clone(&held), interrupt };
        (request.map(|body| Body::from_stream(metered(body.into_data_stream(), held))), sender)
    }

    /// What comes next, if the sender goes on and the program does.
    async fn next<T>(&self, coming: impl Future<Output = Result<T, MultipartError>>) -> Result<T, Problem> {
        let come = tokio::select! {
            biased;
            cause = self.interrupt.asked() => return Err(Error::from(HostError::Interrupted(cause)).into()),
            come = timeout(SILENCE, coming) => come,
        };
        let Ok(come) = come else {
            let what = format!("nothing came for {} s", SILENCE.as_secs());
            return Err(Problem::refused(StatusCode::REQUEST_TIMEOUT, what, "send the file again"));
        };
        let held = self.held.swap(0, Ordering::Relaxed);
        come.map_err(|error| match held {
            0..=MOST_HELD => invalid(error.body_text()),
            _ => invalid(format!("a part of the form does not begin within {MOST_HELD} bytes")),
        })
    }
}

/// A body that fails once so much of it came that the parser has made nothing of.
fn metered(
    mut body: impl Stream<Item = Result<Bytes, axum::Error>> + Unpin,
    held: Arc<AtomicUsize>,
) -> impl Stream<Item = Result<Bytes, axum::Error>> {
    let mut gave = false;
    stream::poll_fn(move |context| {
        // the parser takes what there is before it looks at any of it: one piece at a time
        if std::mem::take(&mut gave) {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let come = std::task::ready!(body.poll_next_unpin(context));
        gave = come.is_some();
        Poll::Ready(come.map(|piece| {
            let piece = piece?;
            let all = held.fetch_add(piece.len(), Ordering::Relaxed).saturating_add(piece.len());
            if all > MOST_HELD { Err(axum::Error::new("too much at once")) } else { Ok(piece) }
        }))
    })
}

async fn short_text(sender: &Sender, field: &mut Field<'_>) -> Result<String, Problem> {
    let mut text = Vec::new();
    while let Some(chunk) = sender.next(field.chunk()).await? {
        text.extend_from_slice(&chunk);
        if text.len() > LONGEST {
            return Err(invalid(format!("a name has at most {LONGEST} bytes")));
        }
    }
    String::from_utf8(text).map_err(|_| invalid("the name is not UTF-8".into()))
}

/// Checks the name of an object.
pub(super) fn check(name: &str) -> Result<(), Problem> {
    if name.is_empty() || name.len() > LONGEST {
        return Err(invalid(format!("the name of an object has 1 to {LONGEST} bytes")));
    }
    if name.split(['/', '\\']).any(|part| part == "." || part == "..") {
        return Err(invalid("the name of an object has no part '.' or '..'".into()));
    }
    Ok(())
}

/// Stores what comes; nothing stays of it if it does not come to its end.
async fn pass_on(
    s3: &S3Client,
    (bucket, name): (&str, &str),
    piece: usize,
    sender: &Sender,
    field: &mut Field<'_>,
) -> Result<u64, Problem> {
    let guessed = || mime_guess::from_path(name).first_raw().unwrap_or("application/octet-stream").to_owned();
    let content_type = field.content_type().map_or_else(guessed, str::to_owned);
    let mut pieces = Pieces::new(s3, (bucket, name), &content_type, piece);
    let sent = async {
        while let Some(chunk) = sender.next(field.chunk()).await? {
            pieces.add(chunk).await.map_err(Error::from)?;
        }
        Ok(pieces.finish().await.map_err(Error::from)?)
    };
    let sent: Result<u64, Problem> = sent.await;
    if sent.is_err() {
        pieces.abort().await;
    }
    sent
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A form of so many pieces of a MiB, which begins like this.
    fn sent(start: &'static str, pieces: usize) -> Request {
        let first = stream::iter([Ok::<_, std::io::Error>(Bytes::from(start))]);
        let body = first.chain(stream::iter((0..pieces).map(|_| Ok(Bytes::from(vec![b'a'; 1 << 20])))));
        let form = http::Request::post("/").header("content-type", "multipart/form-data; boundary=edge");
        let mut form = form.body(Body::from_stream(body)).unwrap();
        // as on its route
        axum::extract::DefaultBodyLimit::disable().apply(&mut form);
        form
    }

    async fn read(request: Request, interrupt: Interrupt) -> Result<usize, Problem> {
        let (request, sender) = Sender::of(request, interrupt);
        let mut form = Multipart::from_request(request, &()).await.unwrap();
        let mut length = 0;
        while let Some(mut field) = sender.next(form.next_field()).await? {
            while let Some(chunk) = sender.next(field.chunk()).await? {
                assert!(chunk.len() <= 2 << 20, "{} bytes at once", chunk.len());
                length += chunk.len();
                if length >= 40 << 20 {
                    return Ok(length);
                }
            }
        }
        Ok(length)
    }

    #[tokio::test]
    async fn a_sender_cannot_fill_the_memory() {
        let file = "--edge\r\ncontent-disposition: form-data; name=file; filename=a\r\n\r\n";
        assert!(read(sent(file, 41), Interrupt::default()).await.is_ok_and(|length| length >= 40 << 20));
        for endless in ["", "--edge\r\ncontent-disposition: form-data; name=", "--edge\r\nx-a: "] {
            let problem = read(sent(endless, 64), Interrupt::default()).await.unwrap_err();
            assert!(format!("{problem:?}").contains("does not begin within"), "{problem:?}");
        }
        let ended = read(sent(file, 41), Interrupt::asking(crate::host::interrupt::Cause::Interrupt)).await;
        assert!(format!("{:?}", ended.unwrap_err()).contains("SIGINT"));
    }

    #[test]
    fn a_form_that_is_too_long_is_refused_before_it_comes() {
        let piece =
            |length: &str| piece_for(&[(header::CONTENT_LENGTH, length.parse().unwrap())].into_iter().collect());
        assert_eq!(piece_for(&HeaderMap::new()).unwrap(), 8 << 20);
        assert_eq!(piece("83886080000").unwrap(), 8 << 20);
        assert_eq!(piece("83886080001").unwrap(), (8 << 20) + 1);
        assert_eq!(piece("167772160000").unwrap(), 16 << 20);
        let refused = piece("167772160001").unwrap_err();
        assert!(format!("{refused:?}").contains("at most 156 GiB"), "{refused:?}");
    }

    #[test]
    fn names_of_objects_stay_in_their_bucket() {
        for name in ["a", "a/b", "...", "a..b", "a/.b"] {
            assert!(check(name).is_ok(), "{name}");
        }
        for name in ["", "..", "../open/x", "a/./b", "a/..", "a\\..\\b", "a".repeat(1025).as_str()] {
            assert!(check(name).is_err(), "{name}");
        }
    }
}
