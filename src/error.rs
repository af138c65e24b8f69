//! The one error of the crate: what happened, then what to do about it.

use std::path::PathBuf;
use std::time::Duration;

use kes_server::client::ClientError;
use schemars::JsonSchema;
use serde::Serialize;

use crate::engine::EngineError;
use crate::engine::discover::ADVICE;
use crate::engine::image::ImageError;
use crate::host::error::HostError;
use crate::host::interrupt::Cause;
use crate::manifest::ManifestError;
use crate::pki::PkiError;
use crate::servers::s3::S3Error;
use crate::supply::SupplyError;
use crate::template::TemplateError;

/// Why a verb failed. The text is for people: the failing call, the cause, and what to do next.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nothing in the stack has that name.
    #[error("{what}\n  {hint}")]
    Absent {
        /// What is not there.
        what: String,
        /// Where to look for it.
        hint: String,
    },
    /// Somebody else works on the stack, for longer than the caller wants to wait.
    #[error("{holder} works on stack '{stack}'\n  try again once it is done, or wait for it longer")]
    Busy {
        /// Which stack.
        stack: String,
        /// Who holds its lock.
        holder: String,
    },
    /// A server ended instead of becoming ready.
    #[error("{what} ended with exit code {code}; its last lines:\n  {said}")]
    Ended {
        /// Which server.
        what: String,
        /// Its exit code.
        code: i64,
        /// The end of its log.
        said: String,
    },
    /// The user was asked, and did not want it.
    #[error("nothing was changed")]
    Declined,
    /// The engine is missing or refused a call.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// Standard output cannot be written to.
    #[error("cannot write to standard output: {0}")]
    Output(#[source] std::io::Error),
    /// Something of this host is in the way: a taken port, a folder that cannot be written.
    #[error("{what}\n  {hint}")]
    Environment {
        /// What is wrong.
        what: String,
        /// What to do about it.
        hint: String,
    },
    /// A part of the stack does not answer, because of a fault that was asked for.
    #[error("stack '{stack}' is not healthy\n  {fault}")]
    Faulty {
        /// Which stack.
        stack: String,
        /// The fault in force, and how to end it.
        fault: String,
    },
    /// A file or folder could not be read or written.
    #[error("cannot {action} '{}': {source}", path.display())]
    File {
        /// What was tried: `read`, `write`, `create`, …
        action: &'static str,
        /// Which file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// The stack was brought up from another manifest, or none.
    #[error("stack '{stack}' {what}\n  {hint}")]
    Foreign {
        /// Which stack.
        stack: String,
        /// The manifest that the stack belongs to, and the one that was used now.
        what: String,
        /// What to do about it.
        hint: String,
    },
    /// The keystore does not hold the keys that the stack's data was written under.
    #[error("{0}")]
    Guard(String),
    /// An image could not be composed.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// A signal ended the verb; its temporary changes are undone.
    #[error("interrupted by {0}")]
    Interrupted(Cause),
    /// A signal ended a verb that leaves a stack behind which is not complete.
    #[error("interrupted by {0}\n  `kestack up` completes the stack, `kestack down` removes it")]
    Unfinished(Cause),
    /// KES refused a call or did not answer.
    #[error("{}{}", .0, kes_hint(.0))]
    Kes(#[from] ClientError),
    /// kestack.yaml has mistakes.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// The stack is not there, or does not run.
    #[error("stack '{0}' is not running\n  start it with `kestack up`")]
    NotRunning(String),
    /// A server did not become ready in time.
    #[error("{what} was not ready after {:.1} s: {last}\n  `kestack logs` shows its log", after.as_secs_f64())]
    NotReady {
        /// Which server.
        what: String,
        /// The deadline.
        after: Duration,
        /// The last answer of the probe.
        last: String,
    },
    /// What is there does not allow it: a name that is taken, a bucket that is not empty.
    #[error("{what}\n  {hint}")]
    Occupied {
        /// What is in the way.
        what: String,
        /// What to do about it.
        hint: String,
    },
    /// Certificates could not be made or read.
    #[error(transparent)]
    Pki(#[from] PkiError),
    /// An S3 call failed.
    #[error(transparent)]
    S3(#[from] S3Error),
    /// No MinIO or no `kes` is available.
    #[error(transparent)]
    Supply(#[from] SupplyError),
    /// A stack in the foreground ended, or cannot be used.
    #[error("{what}\n  {hint}")]
    Served {
        /// What happened.
        what: String,
        /// What to do about it.
        hint: String,
        /// The exit code, which may be MinIO's.
        code: u8,
    },
    /// The system does not let us wait for signals.
    #[error("cannot wait for signals: {0}")]
    Signals(#[source] std::io::Error),
    /// A template could not be rendered.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// A part of the stack does not answer.
    #[error(
        "stack '{0}' is not healthy\n  `kestack up` repairs what it can; `kestack logs` shows the logs of the servers"
    )]
    Unhealthy(String),
    /// A request that makes no sense for this stack.
    #[error("{what}\n  {hint}")]
    Usage {
        /// What is wrong with it.
        what: String,
        /// What would be right.
        hint: String,
    },
    /// `verify` found a stack that does not protect its data.
    #[error("verification failed: {0}")]
    Verification(String),
}

/// What a failure is about. Its word in JSON, such as `not_running`, does not change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Somebody else works on the stack.
    Busy,
    /// Certificates could not be made or read.
    Certificates,
    /// The user was asked, and did not want it.
    Declined,
    /// The engine is missing or refused a call.
    Engine,
    /// Something of this host is in the way.
    Environment,
    /// A fault that was asked for is in force.
    FaultInForce,
    /// A file or folder could not be read or written.
    File,
    /// The stack was brought up from another manifest, or none.
    ForeignStack,
    /// An image could not be composed.
    Image,
    /// A signal ended the work.
    Interrupted,
    /// KES refused a call or did not answer.
    Kes,
    /// The keystore does not hold the keys that the stack's data was written under.
    KeysMissing,
    /// kestack.yaml, or what stands for it, has mistakes.
    Manifest,
    /// `verify` found a stack that does not protect its data.
    NotProven,
    /// A server did not become ready in time.
    NotReady,
    /// The stack is not there, or does not run.
    NotRunning,
    /// Standard output cannot be written to.
    Output,
    /// MinIO refused a call or did not answer.
    S3,
    /// A stack in the foreground could not be served any longer.
    Served,
    /// A server ended instead of becoming ready.
    ServerEnded,
    /// The system does not let us wait for signals.
    Signals,
    /// No MinIO or no `kes` is available.
    Supply,
    /// A template could not be rendered.
    Template,
    /// A part of the stack does not answer.
    Unhealthy,
    /// A request that makes no sense for this stack.
    Usage,
}

/// KES tells clients no more than the protocol allows; its log has the reason of a failure on its side.
fn kes_hint(error: &ClientError) -> &'static str {
    match error {
        ClientError::Refused { status: 500.., .. } => "\n  `kestack logs kes` shows why",
        _ => "",
    }
}

impl From<HostError> for Error {
    fn from(error: HostError) -> Self {
        match error {
            HostError::Environment { what, hint } => Self::Environment { what, hint },
            HostError::File { action, path, source } => Self::File { action, path, source },
            HostError::Interrupted(cause) => Self::Interrupted(cause),
            HostError::Signals(source) => Self::Signals(source),
            HostError::Untrusted { what, hint } => Self::Usage { what, hint },
        }
    }
}

impl Error {
    /// Every exit code of the program, and when it is used.
    pub const EXIT_CODES: [(u8, &str); 11] = [
        (0, "success"),
        (1, "a call failed: a server, the engine or a file refused"),
        (2, "usage: the command line or kestack.yaml has a mistake"),
        (3, "the stack is not running"),
        (4, "the stack is unhealthy, or was not ready in time"),
        (5, "a proof failed: of encryption, of a recovery, of a rehearsed import"),
        (6, "environment: something on this machine is missing or in the way"),
        (7, "keys that data needs are missing, or would be removed"),
        (129, "interrupted by SIGHUP"),
        (130, "interrupted by SIGINT (Ctrl-C)"),
        (143, "interrupted by SIGTERM"),
    ];

    /// The exit code of the process, one of [`Error::EXIT_CODES`].
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Absent { .. } | Self::Manifest(_) | Self::Occupied { .. } | Self::Usage { .. } => 2,
            Self::NotRunning(_) => 3,
            Self::Ended { .. } | Self::Faulty { .. } | Self::NotReady { .. } | Self::Unhealthy(_) => 4,
            Self::Verification(_) => 5,
            Self::Busy { .. }
            | Self::Environment { .. }
            | Self::Foreign { .. }
            | Self::Supply(_)
            | Self::Engine(EngineError::NotFound(_)) => 6,
            Self::Guard(_) => 7,
            Self::Served { code, .. } => *code,
            Self::Interrupted(cause) | Self::Unfinished(cause) => cause.exit_code(),
            _ => 1,
        }
    }

    /// True if the bucket or the key that was asked for is not there.
    pub(crate) fn is_gone(&self) -> bool {
        match self {
            Self::Kes(error) => error.is_key_not_found(),
            Self::S3(error) => error.is_no_bucket(),
            _ => false,
        }
    }

    /// What it is about.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Busy { .. } => ErrorKind::Busy,
            Self::Declined => ErrorKind::Declined,
            Self::Ended { .. } => ErrorKind::ServerEnded,
            Self::Engine(_) => ErrorKind::Engine,
            Self::Environment { .. } => ErrorKind::Environment,
            Self::Faulty { .. } => ErrorKind::FaultInForce,
            Self::File { .. } => ErrorKind::File,
            Self::Foreign { .. } => ErrorKind::ForeignStack,
            Self::Guard(_) => ErrorKind::KeysMissing,
            Self::Image(_) => ErrorKind::Image,
            Self::Interrupted(_) | Self::Unfinished(_) => ErrorKind::Interrupted,
            Self::Kes(_) => ErrorKind::Kes,
            Self::Manifest(_) => ErrorKind::Manifest,
            Self::NotReady { .. } => ErrorKind::NotReady,
            Self::NotRunning(_) => ErrorKind::NotRunning,
            Self::Output(_) => ErrorKind::Output,
            Self::Pki(_) => ErrorKind::Certificates,
            Self::S3(_) => ErrorKind::S3,
            Self::Served { .. } => ErrorKind::Served,
            Self::Signals(_) => ErrorKind::Signals,
            Self::Supply(_) => ErrorKind::Supply,
            Self::Template(_) => ErrorKind::Template,
            Self::Unhealthy(_) => ErrorKind::Unhealthy,
            Self::Absent { .. } | Self::Occupied { .. } | Self::Usage { .. } => ErrorKind::Usage,
            Self::Verification(_) => ErrorKind::NotProven,
        }
    }

    /// What happened, and what to do. Where an error does not say where its hint begins, that is the last indented line.
    pub fn parts(&self) -> (String, Option<String>) {
        let text = self.to_string();
        let hint = match self {
            Self::Ended { .. } => None,
            Self::Absent { hint, .. }
            | Self::Environment { hint, .. }
            | Self::Foreign { hint, .. }
            | Self::Occupied { hint, .. }
            | Self::Served { hint, .. }
            | Self::Usage { hint, .. } => Some(hint.clone()),
            Self::Faulty { fault, .. } => Some(fault.clone()),
            Self::Supply(SupplyError::Exhausted { advice, .. }) => Some((*advice).to_owned()),
            Self::Engine(EngineError::NotFound(_)) if text.contains(ADVICE) => {
                text.split_once(ADVICE).map(|(_, ways)| format!("{ADVICE}{ways}"))
            }
            _ => text.rsplit_once("\n  ").map(|(_, hint)| hint.to_owned()),
        };
        let message = hint.as_deref().and_then(|hint| text.strip_suffix(hint)).unwrap_or(&text);
        (message.trim_end().to_owned(), hint)
    }

    /// The error of a call for random bytes.
    pub(crate) fn no_random_bytes(_: aws_lc_rs::error::Unspecified) -> Self {
        Self::Environment { what: "the system gives no random bytes".into(), hint: "the kernel log may say why".into() }
    }

    /// Shorthand for [`Error::File`].
    pub(crate) fn file(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { action, path, source }
    }
}
