//! Builds MinIO from its official Go module with the host's `go`: the last resort, since the project publishes
//! neither images nor binaries any more (docs/minio-kms-client.md §8).

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::engine::Env;
use crate::engine::host::find_program;
use crate::host::disk::create_private;
use crate::host::ending;
use crate::host::scratch::Scratch;

/// The module at its last commit; its release tags are not versions that Go understands.
pub(super) const MODULE: &str = "github.com/minio/minio@v0.0.0-20260212201848-7aac2a2c5b7c";
/// Folder of the finished build in the cache: one per version of the module.
const FOLDER: &str = "minio-20260212201848-7aac2a2c5b7c";
/// How long the build may take: some minutes on two cores, longer where Go fetches a newer toolchain first.
const BUILD: Duration = Duration::from_secs(30 * 60);
/// How long it may take to end once it is killed.
const END: Duration = Duration::from_secs(5);
/// Lines of `go`'s output that are shown if it fails.
const SHOWN: usize = 5;

/// Why the build failed.
#[derive(Debug, thiserror::Error)]
pub enum ModuleError {
    /// The folder or `go` could not be used.
    #[error("cannot build {MODULE}: {0}")]
    Io(#[from] io::Error),
    /// `go` failed.
    #[error("`CGO_ENABLED=0 go install -trimpath -ldflags '-s -w' {MODULE}` failed: {0}")]
    Go(String),
    /// It took too long.
    #[error("building {MODULE} took more than {} minutes", BUILD.as_secs() / 60)]
    Deadline,
}

/// A build to be made, or made before.
#[derive(Debug, Clone)]
pub(super) struct GoBuild {
    go: Option<PathBuf>,
    cache: PathBuf,
}

impl GoBuild {
    /// `None` if it cannot be made: there is no `go`, or no folder for the result.
    pub(super) fn plan(cache: Option<PathBuf>, env: &Env<'_>) -> Option<Self> {
        let build = Self { go: find_program("go", env("PATH").as_deref()), cache: cache? };
        (build.go.is_some() || build.is_done()).then_some(build)
    }

    /// True if the binary is in the cache.
    pub(super) fn is_done(&self) -> bool {
        self.binary().is_file()
    }

    /// Where the program is once it is built.
    pub(super) fn binary(&self) -> PathBuf {
        self.cache.join(FOLDER).join("minio")
    }

    /// Makes the build unless it is there, and returns the path of the binary.
    pub(super) async fn run(&self) -> Result<PathBuf, ModuleError> {
        if self.is_done() {
            return Ok(self.binary());
        }
        let go = self.go.as_deref().ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
        create_private(&self.cache).map_err(io::Error::other)?;
        let scratch = Scratch::new_in(&self.cache, "minio-build-")?;
        let built = scratch.path().join("minio");
        let build = Build::start(go, scratch)?;
        let scratch = timeout(BUILD, build.finish()).await.map_err(|_| ModuleError::Deadline)??;
        create_private(&self.cache.join(FOLDER)).map_err(io::Error::other)?;
        std::fs::rename(built, self.binary())?;
        drop(scratch);
        Ok(self.binary())
    }
}

/// A `go install` under way. Dropping it ends the compilers with it, and then removes the folder they write to.
struct Build(Option<(Child, Scratch)>);

impl Build {
    fn start(go: &Path, scratch: Scratch) -> io::Result<Self> {
        let folder = scratch.path();
        let output = folder.join("output");
        let mut command = Command::new(go);
        command.args(["install", "-trimpath", "-ldflags", "-s -w", MODULE]);
        // Outside of any module, static, for this machine, whatever the user's settings for other projects are.
        command.current_dir(folder).env("GOBIN", folder).env("CGO_ENABLED", "0").env("GOWORK", "off");
        command.env("GOTMPDIR", folder).env_remove("GOFLAGS").env_remove("GOOS").env_remove("GOARCH");
        // a group of its own, so that compilers can be ended with it
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(output)?).process_group(0);
        Ok(Self(Some((command.spawn()?, scratch))))
    }

    async fn finish(mut self) -> Result<Scratch, ModuleError> {
        let gone = || io::Error::from(io::ErrorKind::NotFound);
        let status = self.0.as_mut().ok_or_else(gone)?.0.wait().await?;
        let (_, scratch) = self.0.take().ok_or_else(gone)?;
        if status.success() {
            return Ok(scratch);
        }
        let output = std::fs::read(scratch.path().join("output")).unwrap_or_default();
        Err(ModuleError::Go(last_lines(&output)))
    }
}

impl Drop for Build {
    fn drop(&mut self) {
        let Some((mut child, scratch)) = self.0.take() else { return };
        let group = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        if let Some(Err(error)) = group.map(|group| kill_process_group(group, Signal::KILL)) {
            tracing::debug!(%error, "`go` is gone already");
        }
        ending::begin(async move {
            let _: Result<_, tokio::time::error::Elapsed> = timeout(END, child.wait()).await;
            drop(scratch);
        });
    }
}

fn last_lines(output: &[u8]) -> String {
    let text = String::from_utf8_lossy(output);
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    lines.get(lines.len().saturating_sub(SHOWN)..).unwrap_or_default().join("\n    ")
}
