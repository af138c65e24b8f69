//! Who the processes of a stack run as, in their containers.

use rustix::process::{getegid, geteuid};

/// The uid and gid of a stack's processes where kestack may give files to anybody (docs/architecture.md §3.9).
pub(super) const STACK: u32 = 1000;

/// Who they run as, so that they can read the files that kestack makes: files are given to the processes' user, or the
/// processes run as the files' owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum User {
    /// [`STACK`], and files are given to it: kestack runs as root.
    Stack,
    /// Whoever runs kestack, by uid and gid: not root, but allowed to use root's engine.
    Caller { uid: u32, gid: u32 },
    /// One of the engine's own user namespace, which is the caller outside of it: the engine runs rootless.
    Mapped,
}

impl User {
    /// Of this caller's stacks on an engine.
    pub(super) fn on(rootless: bool) -> Self {
        let caller = geteuid();
        match (rootless, caller.is_root()) {
            (true, _) => Self::Mapped,
            (false, true) => Self::Stack,
            (false, false) => Self::Caller { uid: caller.as_raw(), gid: getegid().as_raw() },
        }
    }

    /// As [`super::EngineInfo::owner`].
    pub(super) fn owner(self) -> Option<u32> {
        (self == Self::Stack).then_some(STACK)
    }

    pub(super) fn is_mapped(self) -> bool {
        self == Self::Mapped
    }

    /// Uid and gid, as both engines take them; `mapped` is the number of the caller in the engine's namespace.
    pub(super) fn numbers(self, mapped: u32) -> String {
        match self {
            Self::Stack => format!("{STACK}:{STACK}"),
            Self::Caller { uid, gid } => format!("{uid}:{gid}"),
            Self::Mapped => format!("{mapped}:{mapped}"),
        }
    }
}
