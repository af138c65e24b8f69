//! An upload from a browser, passed on while it comes: a file of any length takes the same memory.

use std::time::Duration;

use axum::extract::multipart::{Field, Multipart, MultipartError, MultipartRejection};
use axum::extract::{FromRequest, Request, State};
use axum::http::StatusCode;
use tokio::time::timeout;

use super::frame::Shown;
use crate::error::Error;
use crate::interface::Interface;
use crate::interface::given::{Named, invalid};
use crate::interface::problem::Problem;
use crate::manifest::BucketName;
use crate::servers::s3::S3Client;
use crate::servers::s3::pieces::Pieces;

/// How long a sender may be silent.
const SILENCE: Duration = Duration::from_secs(60);
/// Most bytes of a name.
const LONGEST: usize = 1024;

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
    let form: Result<Multipart, MultipartRejection> = Multipart::from_request(request, &()).await;
    let mut form = form.map_err(|rejection| invalid(rejection.body_text()))?;
    let reach = interface.0.known.running().await?;
    let (mut prefix, mut stored) = (String::new(), Vec::new());
    while let Some(mut field) = next(form.next_field()).await? {
        if field.name() == Some("prefix") {
            prefix = short_text(&mut field).await?;
            continue;
        }
        let Some(file) = field.file_name().filter(|file| !file.is_empty()) else { continue };
        let name = format!("{prefix}{file}");
        check(&name)?;
        let bytes = pass_on(&reach.context().s3, bucket.as_str(), &name, &mut field).await?;
        interface.tell("object", "stored", &format!("{bucket}/{name}"));
        stored.push((name, bytes));
    }
    match stored.as_slice() {
        [] => Err(invalid("no file was chosen".into())),
        [(name, bytes)] => {
            let query: String = form_urlencoded::byte_serialize(name.as_bytes()).collect();
            let place = format!("/buckets/{bucket}/object?name={query}");
            Ok(interface.lead_to(&place, format!("Stored {bytes} bytes as {name}.")))
        }
        several => {
            let (count, bytes) = (several.len(), several.iter().map(|(_, bytes)| bytes).sum::<u64>());
            Ok(interface.lead_to(&format!("/buckets/{bucket}"), format!("Stored {count} files, {bytes} bytes.")))
        }
    }
}

/// What comes next, if the sender goes on.
async fn next<T>(coming: impl Future<Output = Result<T, MultipartError>>) -> Result<T, Problem> {
    let Ok(come) = timeout(SILENCE, coming).await else {
        let what = format!("nothing came for {} s", SILENCE.as_secs());
        return Err(Problem::refused(StatusCode::REQUEST_TIMEOUT, what, "send the file again"));
    };
    come.map_err(|error| invalid(error.body_text()))
}

async fn short_text(field: &mut Field<'_>) -> Result<String, Problem> {
    let mut text = Vec::new();
    while let Some(chunk) = next(field.chunk()).await? {
        text.extend_from_slice(&chunk);
        if text.len() > LONGEST {
            return Err(invalid(format!("a name has at most {LONGEST} bytes")));
        }
    }
    String::from_utf8(text).map_err(|_| invalid("the name is not UTF-8".into()))
}

fn check(name: &str) -> Result<(), Problem> {
    if name.len() <= LONGEST { Ok(()) } else { Err(invalid(format!("a name has at most {LONGEST} bytes"))) }
}

/// Stores what comes; nothing stays of it if it does not come to its end.
async fn pass_on(s3: &S3Client, bucket: &str, name: &str, field: &mut Field<'_>) -> Result<u64, Problem> {
    let guessed = || mime_guess::from_path(name).first_raw().unwrap_or("application/octet-stream").to_owned();
    let content_type = field.content_type().map_or_else(guessed, str::to_owned);
    let mut pieces = Pieces::new(s3, bucket, name, &content_type);
    let sent = async {
        while let Some(chunk) = next(field.chunk()).await? {
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
