//! What `up` starts on the process engine. Not for people, so no verb of theirs: neither help nor completion shows it.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Parser;

use crate::engine::process;
use crate::error::Error;
use crate::host::freeze::wake_at_end;

/// A part of a running stack that this program can be.
#[derive(Debug, Parser)]
#[command(name = "kestack")]
#[expect(clippy::enum_variant_names, reason = "the names of the hidden verbs")]
pub(super) enum Part {
    /// Looks after one server.
    ProcessSupervise {
        /// Folder of the server
        folder: PathBuf,
    },
    /// Becomes a server of a stack in the foreground.
    ProcessChild {
        /// Process number of the kestack that serves
        parent: i32,
        /// The server's program
        program: PathBuf,
        /// Its arguments
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Wakes a process that is paused, once the kestack that froze it ends.
    ProcessWake {
        /// Its number
        pid: i32,
    },
    /// Becomes one server.
    ProcessServe {
        /// Process number of the supervisor
        #[arg(long)]
        parent: i32,
        /// Folder of the server
        folder: PathBuf,
    },
}

impl Part {
    /// The part that the arguments ask for; `None` if they are a user's.
    pub(super) fn asked_for(arguments: impl IntoIterator<Item = OsString>) -> Option<Self> {
        Self::try_parse_from(arguments).ok()
    }

    /// Plays the part to its end. The thread that calls must live as long: a server ends with the thread that started
    /// it (prctl(2), `PR_SET_PDEATHSIG`).
    ///
    /// # Errors
    /// Those of the server's folder and of its first start.
    pub(super) async fn run(self) -> Result<(), Error> {
        match self {
            Self::ProcessSupervise { folder } => Ok(process::supervise(folder).await?),
            Self::ProcessChild { parent, program, arguments } => {
                Ok(process::become_child(parent, &program, &arguments)?)
            }
            Self::ProcessWake { pid } => Ok(wake_at_end(pid).map_err(Error::file("wake", format!("/proc/{pid}")))?),
            Self::ProcessServe { parent, folder } => Ok(process::serve(&folder, parent)?),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_users_arguments_are_no_part() {
        let asked = |line: &str| Part::asked_for(line.split(' ').map(OsString::from));
        assert!(matches!(asked("kestack process-supervise /a"), Some(Part::ProcessSupervise { .. })));
        assert!(matches!(asked("kestack process-serve --parent 1 /a"), Some(Part::ProcessServe { parent: 1, .. })));
        for users in ["kestack", "kestack up", "kestack --help", "kestack --version"] {
            assert!(asked(users).is_none(), "{users}");
        }
    }
}
