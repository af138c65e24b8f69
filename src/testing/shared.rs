//! The stack that all tests of a test binary share, also where each test is a process of its own.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt as _;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::OnceCell;

use super::{Error, Stack, StackBuilder};
use crate::error;
use crate::host::digest::sha256;
use crate::host::volatile;
use crate::operate::session::{Reached, environment};
use crate::operate::teardown;
use crate::stack::{Layout, own_pod};

/// How long it stays for the next run.
pub(super) const LEASE: Duration = Duration::from_secs(4 * 60 * 60);
/// A run that begins with less than that replaces it: no test may lose its stack.
const ENOUGH: Duration = Duration::from_secs(2 * 60 * 60);

static SHARED: OnceCell<Stack> = OnceCell::const_new();

pub(super) async fn shared() -> Result<&'static Stack, Error> {
    SHARED.get_or_try_init(|| async { StackBuilder::shared()?.up().await }).await
}

/// One name for each test binary, engine and folder.
pub(super) fn name() -> Result<String, error::Error> {
    let program = std::env::current_exe().map_err(error::Error::file("find", "/proc/self/exe"))?;
    let mut whose = program.into_os_string().into_encoded_bytes();
    for variable in ["KESTACK_ENGINE", "KESTACK_HOST", "KESTACK_DIR"] {
        whose.push(0);
        whose.extend(environment(variable).unwrap_or_default().into_bytes());
    }
    Ok(format!("test-{}", sha256(&whose).get(..12).unwrap_or_default()))
}

/// The current users of a shared stack. They hold a shared lock as long as this value lives: until their process ends.
#[derive(Debug)]
pub(super) struct Users {
    _file: File,
    /// A folder of the stack: the file is elsewhere before the user logged in, as root, and in another container.
    _folder: Option<File>,
}

impl Users {
    /// Joins them. A stack whose lease is nearly over, and which nobody uses, is removed before. Its lock is held, so that
    /// nobody else joins or removes meanwhile.
    pub(super) async fn join(reached: &Reached) -> Result<Self, error::Error> {
        let name = reached.options.manifest.name.as_str();
        let path = volatile::folder()?.join(format!("{name}.users"));
        let failed = |error| error::Error::file("lock", &path)(error);
        let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path);
        let file = file.map_err(failed)?;
        let engine = reached.engine().as_ref();
        let pod = own_pod(engine, &reached.options.layout(), name).await?;
        let ends_soon = pod.is_some_and(|pod| teardown::ends_within(&pod, ENOUGH, Timestamp::now()));
        let layout = reached.options.layout();
        let is_unused = || File::open(layout.config()).map_or(true, |folder| folder.try_lock().is_ok());
        if ends_soon && file.try_lock().is_ok() && is_unused() {
            teardown::stack(engine, &layout, name, true).await?;
        }
        file.try_lock_shared().map_err(|error| failed(error.into()))?;
        Ok(Self { _file: file, _folder: None })
    }

    /// The same of the stack that is there now.
    pub(super) fn of(self, layout: &Layout) -> Self {
        // where folders cannot be locked, the file counts alone
        let folder = File::open(layout.config()).ok().filter(|folder| folder.try_lock_shared().is_ok());
        Self { _folder: folder, ..self }
    }
}
