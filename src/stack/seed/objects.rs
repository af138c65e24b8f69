//! The files of a folder as objects of a bucket.

use async_trait::async_trait;
use futures_util::future::try_join_all;

use super::content::{Entry, Folder, open};
use super::record::{Item, SeedRecord};
use crate::error::Error;
use crate::host::digest;
use crate::resource::plan::Observed;
use crate::resource::{Context, Resource};
use crate::servers::s3::{S3Client, S3Error, Upload};
use crate::stack::{Layout, Stack};

/// How many objects are asked about, or stored, at once.
const AT_ONCE: usize = 16;

/// Objects that hold what the files hold. Each carries the digest of its file as metadata.
#[derive(Debug)]
pub(super) struct ObjectsResource {
    layout: Layout,
    folder: Folder,
}

impl ObjectsResource {
    pub(super) fn new(stack: &Stack, folder: &Folder) -> Self {
        Self { layout: stack.layout.clone(), folder: folder.clone() }
    }

    fn bucket(&self) -> &str {
        self.folder.declared.bucket.as_str()
    }

    /// The files whose objects are absent or have another content, and whether all are absent.
    async fn differing(&self, s3: &S3Client) -> Result<(Vec<&Entry>, bool), S3Error> {
        let (mut differing, mut none) = (Vec::new(), true);
        for some in self.folder.files.chunks(AT_ONCE) {
            let states = try_join_all(some.iter().map(|entry| self.state(s3, entry))).await?;
            none &= states.iter().all(|state| *state == State::Absent);
            let found = some.iter().zip(states).filter(|(_, state)| *state != State::Same);
            differing.extend(found.map(|(entry, _)| entry));
        }
        Ok((differing, none))
    }

    async fn state(&self, s3: &S3Client, entry: &Entry) -> Result<State, S3Error> {
        match s3.head_object(self.bucket(), &entry.key).await {
            Ok(head) if head.length == entry.size && head.seeded.as_ref() == Some(&entry.sha256) => Ok(State::Same),
            Ok(_) => Ok(State::Other),
            Err(error) if error.is_not_found() => Ok(State::Absent),
            Err(error) => Err(error),
        }
    }

    async fn settle(&self, s3: &S3Client) -> Result<(), Error> {
        let (differing, _) = self.differing(s3).await?;
        for some in differing.chunks(AT_ONCE) {
            try_join_all(some.iter().map(|entry| self.store(s3, entry))).await?;
        }
        let item = |entry: &Entry| {
            (
                format!("object {}/{}", self.bucket(), entry.key),
                Item { declared: entry.sha256.clone(), ..Item::default() },
            )
        };
        SeedRecord::add(&self.layout, self.folder.files.iter().map(item))
    }

    async fn store(&self, s3: &S3Client, entry: &Entry) -> Result<(), Error> {
        let file = open(&entry.path).map_err(Error::file("read", &entry.path))?;
        let upload = Upload {
            key: &entry.key,
            size: entry.size,
            sha256: &entry.sha256,
            content_type: mime_guess::from_path(&entry.path).first_raw(),
        };
        Ok(s3.upload(self.bucket(), &upload, file).await?)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Same,
    Other,
    Absent,
}

#[async_trait]
impl Resource for ObjectsResource {
    fn kind(&self) -> &'static str {
        "objects"
    }

    fn name(&self) -> String {
        let declared = &self.folder.declared;
        format!(
            "{}/{} from {} ({})",
            declared.bucket,
            declared.prefix,
            declared.from.display(),
            self.folder.files.len()
        )
    }

    fn wanted(&self) -> String {
        let all: Vec<_> = self.folder.files.iter().map(|entry| (&entry.key, &entry.sha256)).collect();
        digest::of(&all)
    }

    async fn observe(&self, context: &Context) -> Result<Observed, Error> {
        match self.differing(&context.s3).await {
            Ok((differing, _)) if differing.is_empty() => Ok(Observed::ready(self.wanted())),
            Ok((_, true)) => Ok(Observed::Absent),
            Ok((_, false)) => Ok(Observed::ready("other content")),
            Err(error) if error.is_connection() => Ok(Observed::Unknown),
            Err(error) => Err(error.into()),
        }
    }

    async fn create(&self, context: &Context) -> Result<(), Error> {
        self.settle(&context.s3).await
    }

    /// Objects live and die with the drive.
    async fn remove(&self, _: &Context) -> Result<(), Error> {
        Ok(())
    }

    async fn replace(&self, context: &Context) -> Result<(), Error> {
        self.settle(&context.s3).await
    }
}
