//! The way back from a MinIO that does not serve the data of the one before.

use std::sync::Arc;

use jiff::Timestamp;

use super::restore::swap;
use super::up::attempt;
use super::{Options, environment};
use crate::engine::Engine;
use crate::engine::image::program_of;
use crate::error::Error;
use crate::host::interrupt::Interrupt;
use crate::manifest::Seed;
use crate::operate::minio_change::Begun;
use crate::resource::apply::Progress;
use crate::supply::{self, Release};

/// Restores the earlier data and the former MinIO; says why, and with which result.
pub(super) async fn go_back(
    options: Options,
    engine: Arc<dyn Engine>,
    expires: Option<Timestamp>,
    begun: &Begun,
    cause: &Error,
    progress: &dyn Progress,
) -> Error {
    let Begun { from, to, snapshot, .. } = begun;
    tracing::warn!("{to} does not serve the data; rolling back to {from}");
    let cause = cause.to_string();
    let cause = cause.strip_prefix("verification failed: ").unwrap_or(&cause);
    match Box::pin(back(options, engine, expires, begun, progress)).await {
        Ok(()) => Error::Verification(format!(
            "{to} does not serve the data of {from}, so {from} runs again{}: {cause}",
            if snapshot.is_some() { ", with the data from before" } else { "" }
        )),
        Err(error) => Error::Environment {
            what: format!("{to} does not serve the data of {from}: {cause}\n  and {from} does not run again: {error}"),
            hint: match snapshot {
                Some(name) => format!(
                    "the data from before is in snapshot '{name}': name the former MinIO (`minio.binary` or `minio.image` \
                     in kestack.yaml), then run `kestack snapshot restore {name}` and `kestack up`"
                ),
                None => {
                    "name the former MinIO (`minio.binary` or `minio.image` in kestack.yaml), then run `kestack up`"
                        .into()
                }
            },
        },
    }
}

async fn back(
    mut options: Options,
    engine: Arc<dyn Engine>,
    mut expires: Option<Timestamp>,
    begun: &Begun,
    progress: &dyn Progress,
) -> Result<(), Error> {
    // the stack is as it was, not as it would be made
    options.manifest.seed = Seed { is_left_alone: true, ..Seed::default() };
    // whoever listens goes on
    options.launch = None;
    if let Some(name) = &begun.snapshot {
        let (_, swapped) = swap(&options, &engine, name, &Interrupt::default()).await?;
        swapped?;
    }
    let former = former(&mut options, engine.as_ref(), &begun.from).await;
    begun.given_up()?;
    former?;
    Box::pin(attempt(options, engine, &mut expires, progress)).await.map_err(|failure| failure.cause)?;
    Ok(())
}

/// Names the former MinIO, if it is still there.
async fn former(options: &mut Options, engine: &dyn Engine, from: &Release) -> Result<(), Error> {
    let minio = &mut options.manifest.minio;
    (minio.binary, minio.image) = if engine.info().has_containers() {
        (None, Some(from.reference.clone()))
    } else {
        (Some(program_of(&from.reference).to_owned()), None)
    };
    let source = supply::minio(minio, engine, &environment).await?;
    if Release::of(&source, engine, Some(from), &environment).await?.identity == from.identity {
        return Ok(());
    }
    Err(Error::Environment {
        what: format!("'{}' is not {from} any more", program_of(&from.reference).display()),
        hint: "put that one back".into(),
    })
}
