//! Buckets, their encryption and content, made in a MinIO that nobody else reaches yet; and the proof that every other
//! bucket encrypts, too.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::Instant;

use super::gate::Door;
use super::plan::Plan;
use crate::error::Error;
use crate::resource::apply::{self, Silent};
use crate::resource::plan::Decision;
use crate::resource::probe;
use crate::servers::s3::{Encryption, S3Client, S3Error};

/// A bucket without an encryption of its own, in which MinIO shows that it encrypts everything. It is removed again.
pub(super) const PROBE: &str = "kestack-encryption-probe";
/// The object in it.
const OBJECT: &str = "kestack-probe";
/// The code by which it refuses a user at all.
const BARRED: &str = "InvalidAccessKeyId";
/// How long MinIO may take from its first answer until it is complete.
const COMPLETE: Duration = Duration::from_secs(20);
/// How often the drive is looked at meanwhile.
const LOOK: Duration = Duration::from_millis(2);

impl Plan {
    /// Waits until KES answers and knows MinIO.
    pub(super) async fn kes_answers(&self) -> Result<(), Error> {
        let minio = self.stack.material.minio_identity()?;
        let (kes, minio) = (&self.context.kes, minio.as_str());
        probe::until_ready("KES", self.left(), || async move {
            kes.ready().await?;
            kes.describe_identity(minio).await
        })
        .await
        .map(drop)
    }

    /// Brings everything into force that must be when the port opens.
    pub(super) async fn set_up(&self) -> Result<(), Error> {
        let s3 = &self.context.s3;
        let listed = probe::until_ready("MinIO", self.left(), || async { unless_barred(s3.list_buckets().await) });
        let listed = listed.await??;
        let (declared, others) = tokio::join!(self.make_declared(listed), self.encrypt_others());
        // MinIO reads the settings of its buckets some moments after it answers, and may put older ones in the place of ours
        let settled = match declared.and_then(|has_made| others.map(|()| has_made)) {
            Ok(true) => self.settle_declared().await.map(drop),
            done => done.map(drop),
        };
        settled.map_err(|error| match error {
            Error::S3(error) if error.code() == BARRED => barred(&error),
            error => error,
        })
    }

    /// The declared buckets with their content. Those that were there keep their policy. True if any of it had to be made.
    async fn make_declared(&self, listed: Vec<String>) -> Result<bool, Error> {
        let there: BTreeSet<String> = listed.into_iter().filter(|name| !self.drive.bare.contains(name)).collect();
        let has_made = self.settle_declared().await?;
        for (bucket, access) in self.settings.access.iter().filter(|(bucket, _)| !there.contains(bucket)) {
            match self.context.s3.put_bucket_policy(bucket, &access.policy(bucket)).await {
                // said before: the drive is full, so the bucket may not have been made
                Err(error) if error.is_full() || error.is_no_bucket() => {
                    tracing::warn!("bucket '{bucket}' has no policy: {error}");
                }
                done => done?,
            }
        }
        Ok(has_made)
    }

    /// True if any of it was not as declared.
    async fn settle_declared(&self) -> Result<bool, Error> {
        let stages = self.stack.served_stages(self.settings.auto_encryption);
        let steps = apply::up(&stages, &self.context, &Silent).await?;
        Ok(steps.iter().any(|step| step.decision != Decision::Keep))
    }

    /// All other buckets: those that a folder on the drive became get the default key, those that clients make later are
    /// encrypted by MinIO, which reads that setting some moments after it answers.
    async fn encrypt_others(&self) -> Result<(), Error> {
        let default = Encryption::SseKms(self.stack.manifest.default_key.to_string());
        let is_other = |name: &&String| self.stack.manifest.bucket(name).is_none();
        for bucket in self.drive.bare.iter().filter(is_other) {
            self.context.s3.put_bucket_encryption(bucket, &default).await?;
        }
        if self.settings.auto_encryption { proven(&self.context.s3, self.deadline).await } else { Ok(()) }
    }

    fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }
}

/// Puts an object into a bucket without an encryption of its own until it comes out encrypted.
async fn proven(s3: &S3Client, deadline: Instant) -> Result<(), Error> {
    match s3.create_bucket(PROBE).await {
        Err(error) if error.is_full() => return complete_and_full(s3, deadline).await,
        Err(error) if error.code() != "BucketAlreadyOwnedByYou" => return Err(error.into()),
        _ => {}
    }
    let left = deadline.saturating_duration_since(Instant::now());
    let is_stored = probe::until_ready("the encryption of buckets that clients make", left, || async {
        match unless_barred(s3.put_object(PROBE, OBJECT, b"probe").await) {
            Ok(Err(error)) => return Ok(Err(error)),
            Err(error) if error.is_full() => return Ok(Ok(false)),
            Err(error) => return Err(error.to_string()),
            Ok(Ok(())) => {}
        }
        let head = s3.head_object(PROBE, OBJECT).await.map_err(|error| error.to_string())?;
        head.encryption.map(|_| Ok(true)).ok_or_else(|| "an object was stored in clear".to_owned())
    });
    if !is_stored.await?? {
        let removed = remove(s3).await;
        tracing::debug!(?removed, "the bucket of the proof is empty");
        return complete_and_full(s3, deadline).await;
    }
    s3.delete_object_versions(PROBE, OBJECT).await?;
    remove(s3).await
}

/// On a full drive nothing can be stored, in clear or not. Once MinIO is complete it has read all of its settings.
async fn complete_and_full(s3: &S3Client, deadline: Instant) -> Result<(), Error> {
    let left = deadline.saturating_duration_since(Instant::now());
    probe::until_ready("MinIO", left, || s3.health("cluster")).await?;
    tracing::warn!("the drive is full: MinIO serves existing objects, and stores nothing until there is room");
    Ok(())
}

/// A refusal that stays is an answer: nobody needs to ask again.
fn unless_barred<T>(answer: Result<T, S3Error>) -> Result<Result<T, Error>, S3Error> {
    match answer {
        Err(error) if error.code() == BARRED => Ok(Err(barred(&error))),
        answer => answer.map(Ok),
    }
}

/// MinIO knows the root user and does not let him use S3: its variable or its stored configuration says so.
fn barred(error: &S3Error) -> Error {
    Error::Environment {
        what: format!("MinIO refuses its own root user, who makes buckets and proves that they encrypt: {error}"),
        hint: "allow it: remove MINIO_API_ROOT_ACCESS, or run MinIO alone once and `mc admin config set ALIAS api root_access=on`"
            .into(),
    }
}

async fn remove(s3: &S3Client) -> Result<(), Error> {
    match s3.delete_bucket(PROBE).await {
        // somebody else's, of this name
        Err(error) if !["BucketNotEmpty", "NoSuchBucket"].contains(&error.code()) => Err(error.into()),
        _ => Ok(()),
    }
}

/// Keeps what was proven in force as long as the program runs: whenever MinIO starts itself again, nobody gets in before
/// it is proven again.
pub(super) async fn stay_encrypted(s3: S3Client, drive: PathBuf, door: Door) {
    loop {
        tokio::join!(door.lost(), keep_away(&s3, &drive));
        let mut was_said = false;
        while let Err(error) = again(&s3).await {
            if !was_said {
                tracing::warn!("MinIO started itself again; connections are refused until it encrypts: {error}");
                was_said = true;
            }
        }
        door.found();
        tracing::warn!("MinIO started itself again; connections were refused until it encrypted");
    }
}

async fn again(s3: &S3Client) -> Result<(), Error> {
    probe::until_ready("MinIO", COMPLETE, || s3.list_buckets()).await?;
    proven(s3, Instant::now() + COMPLETE).await
}

/// MinIO makes buckets again that it had listed at its start, until it says that it is complete: this removes the empty
/// bucket of the proof as often as it comes back.
async fn keep_away(s3: &S3Client, drive: &Path) {
    let folder = drive.join(PROBE);
    let complete = async {
        // not before: half a second later than S3 where there are buckets
        let _ = probe::until_ready("MinIO", COMPLETE, || s3.health("cluster")).await;
    };
    let mut complete = std::pin::pin!(complete);
    let mut looks = tokio::time::interval(LOOK);
    loop {
        let is_last = tokio::select! {
            () = &mut complete => true,
            _ = looks.tick() => false,
        };
        if folder.exists() {
            let removed = remove(s3).await;
            tracing::debug!(?removed, "the bucket of the proof came back");
        }
        if is_last {
            return;
        }
    }
}
