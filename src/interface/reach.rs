//! The stack as requests find it: its clients keep their connections from one request to the next, for as long as the files
//! that name its ports, certificates and credentials stay as they are.

use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::Mutex;

use crate::engine::PodState;
use crate::error::Error;
use crate::operate::session::{Intent, Opened, Options, Session, check_running};
use crate::resource::Context;
use crate::stack::{Clients, Stack, own_pod};

/// Reads what the stack is meant to be: kestack.yaml may have changed since.
pub(super) type Load = Arc<dyn Fn() -> Result<Options, Error> + Send + Sync>;

/// Where an interface has its stack from.
pub(crate) enum Source {
    /// It is read, again whenever a file of it changes.
    Read(Load),
    /// It runs in the foreground, with this very process.
    Served(Box<(Options, Session)>),
}

impl Source {
    /// A stack in the foreground.
    pub(crate) fn served(options: Options, session: Session) -> Self {
        Self::Served(Box::new((options, session)))
    }
}

/// Where the stack is kept between requests.
pub(super) struct Known {
    /// Reads it; none of one that does not change.
    load: Option<Load>,
    kept: Mutex<Option<Arc<Kept>>>,
}

/// The stack, and how its files were when it was read.
pub(super) struct Kept {
    pub(super) options: Options,
    session: Session,
    stamp: Stamp,
}

/// The stack and its pod at the time of a request.
pub(super) struct Reach {
    kept: Arc<Kept>,
    pub(super) pod: Option<PodState>,
}

/// Inode, time and length of each file that says what the stack is.
#[derive(Debug, PartialEq, Eq)]
struct Stamp(Vec<Option<(u64, i64, i64, u64)>>);

impl Stamp {
    fn of(options: &Options) -> Self {
        let layout = options.layout();
        let files: [PathBuf; 7] = [
            layout.engine(),
            layout.origin(),
            layout.ca_cert(),
            layout.admin_cert(),
            layout.s3_cert(),
            layout.minio_env(),
            options.path.clone().unwrap_or_default(),
        ];
        let stamp = |path: &PathBuf| {
            let found = std::fs::metadata(path).ok()?;
            Some((found.ino(), found.mtime(), found.mtime_nsec(), found.len()))
        };
        Self(files.iter().map(stamp).collect())
    }
}

impl Known {
    pub(super) fn new(source: Source) -> Self {
        match source {
            Source::Read(load) => Self { load: Some(load), kept: Mutex::default() },
            Source::Served(served) => {
                let (options, session) = *served;
                let kept = Kept { stamp: Stamp::of(&options), options, session };
                Self { load: None, kept: Mutex::new(Some(Arc::new(kept))) }
            }
        }
    }

    fn load(&self) -> Result<Options, Error> {
        match &self.load {
            Some(load) => load(),
            None => Err(Error::NotRunning("serve".into())),
        }
    }

    /// The stack as it was read, or is read now; whether it runs is not asked.
    ///
    /// # Errors
    /// [`Error::NotRunning`] if it was never brought up.
    pub(super) async fn kept(&self) -> Result<Arc<Kept>, Error> {
        let mut kept = self.kept.lock().await;
        let is_current = |kept: &&Arc<Kept>| self.load.is_none() || kept.stamp == Stamp::of(&kept.options);
        if let Some(kept) = kept.as_ref().filter(is_current) {
            return Ok(Arc::clone(kept));
        }
        *kept = None;
        let options = self.load()?;
        let stamp = Stamp::of(&options);
        let opened = Opened::new(options.clone(), Intent::Read).await?;
        let session = opened.connect().await?.session().await?;
        Ok(Arc::clone(kept.insert(Arc::new(Kept { options, session, stamp }))))
    }

    /// What the stack is meant to be.
    ///
    /// # Errors
    /// Those of the manifest.
    pub(super) async fn options(&self) -> Result<Options, Error> {
        match self.kept().await {
            Ok(kept) => Ok(kept.options.clone()),
            Err(_) => self.load(),
        }
    }

    /// The stack and its pod.
    ///
    /// # Errors
    /// Those of the engine.
    pub(super) async fn reach(&self) -> Result<Reach, Error> {
        let kept = self.kept().await?;
        let engine = &kept.session.context.engine;
        let name = kept.session.stack.manifest.name.as_str();
        let pod = own_pod(engine.as_ref(), &kept.session.stack.layout, name).await;
        if pod.is_err() {
            // an engine that was started again is connected to again by the next request
            self.forget().await;
        }
        Ok(Reach { pod: pod?, kept })
    }

    /// The stack, whose servers run.
    ///
    /// # Errors
    /// [`Error::NotRunning`] otherwise.
    pub(super) async fn running(&self) -> Result<Reach, Error> {
        let reach = self.reach().await?;
        check_running(reach.stack(), reach.context(), reach.pod.as_ref()).await?;
        Ok(reach)
    }

    /// Reads it again at the next request.
    pub(super) async fn forget(&self) {
        if self.load.is_some() {
            *self.kept.lock().await = None;
        }
    }
}

impl Kept {
    pub(super) fn stack(&self) -> &Stack {
        &self.session.stack
    }

    pub(super) fn clients(&self) -> Clients {
        let Context { kes, replicas, s3, .. } = self.session.context.clone();
        Clients { kes, replicas, s3 }
    }
}

impl Reach {
    pub(super) fn kept(&self) -> &Kept {
        &self.kept
    }

    pub(super) fn stack(&self) -> &Stack {
        &self.kept.session.stack
    }

    pub(super) fn context(&self) -> &Context {
        &self.kept.session.context
    }
}
