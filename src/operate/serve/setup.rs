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
use crate::resource::probe;
use crate::servers::s3::{Encryption, S3Client};

/// A bucket without an encryption of its own, in which MinIO shows that it encrypts everything. It is removed again.
pub(super) const PROBE: &str = "kestack-encryption-probe";
/// The object in it.
const OBJECT: &str = "kestack-probe";
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
        let listed = probe::until_ready("MinIO", self.left(), || s3.list_buckets()).await?;
        let (declared, others) = tokio::join!(self.make_declared(listed), self.encrypt_others());
        declared.and(others)
    }

    /// The declared buckets with their content. Those that were there keep their policy.
    async fn make_declared(&self, listed: Vec<String>) -> Result<(), Error> {
        let there: BTreeSet<String> = listed.into_iter().filter(|name| !self.drive.bare.contains(name)).collect();
        apply::up(&self.stack.served_stages(), &self.context, &Silent).await?;
        for (bucket, access) in self.settings.access.iter().filter(|(bucket, _)| !there.contains(bucket)) {
            self.context.s3.put_bucket_policy(bucket, &access.policy(bucket)).await?;
        }
        Ok(())
    }

    /// All other buckets: those that a folder on the drive became get the default key, those that clients make later are
    /// encrypted by MinIO, which reads that setting some moments after it answers.
    async fn encrypt_others(&self) -> Result<(), Error> {
        if !self.settings.auto_encryption {
            return Ok(());
        }
        let default = Encryption::SseKms(self.stack.manifest.default_key.to_string());
        let is_other = |name: &&String| self.stack.manifest.bucket(name).is_none();
        for bucket in self.drive.bare.iter().filter(is_other) {
            self.context.s3.put_bucket_encryption(bucket, &default).await?;
        }
        proven(&self.context.s3, self.deadline).await
    }

    fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }
}

/// Puts an object into a bucket without an encryption of its own until it comes out encrypted.
async fn proven(s3: &S3Client, deadline: Instant) -> Result<(), Error> {
    match s3.create_bucket(PROBE).await {
        Err(error) if error.code() != "BucketAlreadyOwnedByYou" => return Err(error.into()),
        _ => {}
    }
    let left = deadline.saturating_duration_since(Instant::now());
    probe::until_ready("the encryption of buckets that clients make", left, || async {
        s3.put_object(PROBE, OBJECT, b"probe").await.map_err(|error| error.to_string())?;
        let head = s3.head_object(PROBE, OBJECT).await.map_err(|error| error.to_string())?;
        head.encryption.map(drop).ok_or_else(|| "an object was stored in clear".to_owned())
    })
    .await?;
    s3.delete_object_versions(PROBE, OBJECT).await?;
    remove(s3).await
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
        while let Err(error) = again(&s3).await {
            tracing::debug!(%error, "MinIO is not there yet");
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
