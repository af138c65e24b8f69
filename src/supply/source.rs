//! An available image: its name, and the ways to bring it into the engine.

use std::fmt;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::time::{Duration, Instant};

use tokio::time::timeout;

use super::module::{GoBuild, MODULE};
use super::version::{self, Answer};
use super::{MINIO_ADVICE, SupplyError, cache_folder};
use crate::engine::image::{Archive, ImageError, ImageRecipe, compose, identify};
use crate::engine::{Engine, EngineError, Env};

/// How long one registry may take before the next source is tried.
const PULL: Duration = Duration::from_secs(300);

/// How often people hear of work that takes minutes.
const TOLD: Duration = Duration::from_secs(30);

/// The source of an image, and its future name.
#[derive(Debug, Clone)]
pub struct ImageSource {
    pub(super) reference: String,
    pub(super) ways: Vec<Way>,
}

/// One way to bring an image into the engine's store.
#[derive(Debug, Clone)]
pub(super) enum Way {
    /// It is there.
    Present,
    Compose {
        recipe: ImageRecipe,
        cache: Option<PathBuf>,
    },
    Pull(String),
    Build(GoBuild),
    /// A program that is run as it is.
    Program(PathBuf),
    /// The module, built into a program that is run as it is.
    Make(GoBuild),
}

impl ImageSource {
    /// An image that the user named; it is pulled if the engine does not have it.
    pub(super) fn named(reference: &str) -> Self {
        Self { reference: reference.to_owned(), ways: vec![Way::Pull(reference.to_owned())] }
    }

    pub(super) fn composed(name: &'static str, binary: PathBuf, env: &Env<'_>) -> Result<Self, ImageError> {
        let recipe = ImageRecipe { name, binary };
        let cache = cache_folder(env);
        let identity = identify(&recipe, cache.as_deref())?;
        Ok(Self { reference: identity.tag, ways: vec![Way::Compose { recipe, cache }] })
    }

    /// The name that the image has, or will have once it is obtained.
    pub fn reference(&self) -> &str {
        &self.reference
    }

    /// The archive of an image that is composed here; `None` if it comes from elsewhere.
    ///
    /// # Errors
    /// [`ImageError`] if the binary cannot be read.
    pub fn archive(&self) -> Result<Option<Archive>, ImageError> {
        match self.ways.as_slice() {
            [Way::Compose { recipe, cache }] => compose(recipe, None, cache.as_deref()).map(Some),
            _ => Ok(None),
        }
    }

    /// The program that the image is composed from here.
    pub fn binary(&self) -> Option<&Path> {
        match self.ways.as_slice() {
            [Way::Compose { recipe, .. }] => Some(&recipe.binary),
            _ => None,
        }
    }

    /// The program on this host that it is made from, or would be.
    pub fn program(&self) -> Option<PathBuf> {
        match self.ways.as_slice() {
            [Way::Compose { recipe, .. }] => Some(recipe.binary.clone()),
            [Way::Program(path)] => Some(path.clone()),
            [Way::Make(build) | Way::Build(build)] => Some(build.binary()),
            _ => None,
        }
    }

    /// True if another content has another [`ImageSource::reference`].
    pub(super) fn names_content(&self) -> bool {
        matches!(self.ways.as_slice(), [Way::Compose { .. } | Way::Program(_) | Way::Make(_)])
    }

    /// What is known of it before it is here: its name, or that it is built from MinIO's own module.
    pub(super) fn promise(&self) -> Answer {
        match self.ways.as_slice() {
            [Way::Build(_) | Way::Make(_)] => Answer { name: Some("minio".into()), release: None },
            [Way::Pull(from)] => version::of_reference(from),
            _ => version::of_reference(&self.reference),
        }
    }

    /// True if the image is available without the network.
    pub fn is_local(&self) -> bool {
        self.ways.iter().all(|way| match way {
            Way::Present | Way::Compose { .. } | Way::Program(_) => true,
            Way::Pull(_) => false,
            Way::Build(build) | Way::Make(build) => build.is_done(),
        })
    }

    /// Brings the image into the engine's store under [`ImageSource::reference`], unless it is there. `waiting` hears
    /// of work that takes minutes.
    ///
    /// # Errors
    /// [`SupplyError`], with every source that was tried if there are several.
    pub async fn obtain(&self, engine: &dyn Engine, waiting: &dyn Waiting) -> Result<(), SupplyError> {
        if engine.image(&self.reference).await?.is_some() {
            return Ok(());
        }
        let mut tried = Vec::new();
        for way in &self.ways {
            let work = self.by(way, engine);
            let done = match way.takes_minutes(!tried.is_empty()) {
                Some(what) => told(waiting, &what, work).await,
                None => work.await,
            };
            match done {
                Ok(()) => return Ok(()),
                Err(error) if self.ways.len() == 1 => return Err(error),
                Err(error) => {
                    tracing::debug!(%error, "{way} failed");
                    tried.push(format!("{way}: {error}"));
                }
            }
        }
        Err(SupplyError::Exhausted { what: "MinIO", tried, advice: MINIO_ADVICE })
    }

    /// The program on this host, which is built first if it has to be. `waiting` hears of that.
    ///
    /// # Errors
    /// [`SupplyError`] if there is none, or it cannot be built.
    pub async fn made(&self, waiting: &dyn Waiting) -> Result<PathBuf, SupplyError> {
        match self.ways.as_slice() {
            [Way::Program(path)] => Ok(path.clone()),
            [way @ (Way::Make(build) | Way::Build(build))] => match way.takes_minutes(false) {
                Some(what) => Ok(told(waiting, &what, build.run()).await?),
                None => Ok(build.binary()),
            },
            _ => Err(SupplyError::Gone(self.reference.clone().into())),
        }
    }

    async fn by(&self, way: &Way, engine: &dyn Engine) -> Result<(), SupplyError> {
        match way {
            Way::Present => Ok(()),
            Way::Program(path) => Err(SupplyError::Gone(path.clone())),
            Way::Make(build) => Ok(build.run().await.map(drop)?),
            Way::Compose { recipe, cache } => {
                Ok(engine.images()?.load(compose(recipe, None, cache.as_deref())?).await?)
            }
            Way::Pull(from) => self.pull(from, engine).await,
            Way::Build(build) => {
                let recipe = ImageRecipe { name: "minio", binary: build.run().await? };
                Ok(engine.images()?.load(compose(&recipe, Some(&self.reference), None)?).await?)
            }
        }
    }

    async fn pull(&self, from: &str, engine: &dyn Engine) -> Result<(), SupplyError> {
        let late = |_| EngineError::Connection {
            call: format!("{} pull {from}", engine.info().kind),
            source: format!("not done within {} s", PULL.as_secs()).into(),
        };
        timeout(PULL, engine.images()?.pull(from)).await.map_err(late)??;
        if from != self.reference {
            engine.images()?.tag(from, &self.reference).await?;
        }
        Ok(())
    }
}

impl Way {
    /// What people wait for, if it takes long; `is_last_resort` if no registry gave the image.
    fn takes_minutes(&self, is_last_resort: bool) -> Option<String> {
        match self {
            Self::Pull(from) => Some(format!("pulling {from}")),
            Self::Build(build) | Self::Make(build) if !build.is_done() => {
                let why = if is_last_resort { "no registry reachable, " } else { "" };
                Some(format!("{why}building MinIO from source, once, about 4 minutes"))
            }
            _ => None,
        }
    }
}

/// Told of work that takes minutes, while it goes on.
pub trait Waiting: Sync {
    /// It begins, or goes on since `elapsed`.
    fn waits(&self, what: &str, elapsed: Duration);
    /// It is over.
    fn waited(&self, what: &str);
}

/// Does the work, and tells of it when it begins and every [`TOLD`].
async fn told<T>(waiting: &dyn Waiting, what: &str, work: impl Future<Output = T>) -> T {
    let start = Instant::now();
    let mut work = pin!(work);
    loop {
        waiting.waits(what, start.elapsed());
        if let Ok(done) = timeout(TOLD, &mut work).await {
            waiting.waited(what);
            return done;
        }
    }
}

impl fmt::Display for ImageSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, way) in self.ways.iter().enumerate() {
            if index > 0 {
                f.write_str(", or ")?;
            }
            match way {
                Way::Present => write!(f, "{}", self.reference)?,
                other => write!(f, "{other}")?,
            }
        }
        Ok(())
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Present => f.write_str("present"),
            Self::Program(path) => write!(f, "{}", path.display()),
            Self::Compose { recipe, .. } => write!(f, "composed from {}", recipe.binary.display()),
            Self::Pull(from) => write!(f, "pulled from {from}"),
            Self::Build(_) | Self::Make(_) => write!(f, "built from the Go module {MODULE}"),
        }
    }
}
