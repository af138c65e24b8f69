//! Passwords are asked for on standard error and read from standard input, without echo on a terminal.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use zeroize::Zeroizing;

use super::{CliError, output};

/// Asks once. A line from a pipe will do too.
pub(super) fn ask(prompt: &str) -> Result<Zeroizing<String>, CliError> {
    drop(write!(io::stderr(), "{prompt}"));
    let silence = Silence::begin();
    let mut line = Zeroizing::new(String::new());
    let read = io::stdin().lock().read_line(&mut line);
    drop(silence);
    output::note("");
    match read {
        Ok(0) => Err(CliError::message("no password: standard input has ended")),
        Ok(_) => Ok(Zeroizing::new(line.trim_end_matches(['\r', '\n']).to_owned())),
        Err(error) => Err(CliError::message(format!("cannot read the password: {error}"))),
    }
}

/// A terminal that does not show what is typed, until this value is gone.
struct Silence(Option<Termios>);

impl Silence {
    fn begin() -> Self {
        if !io::stdin().is_terminal() {
            return Self(None);
        }
        let Ok(before) = tcgetattr(io::stdin()) else { return Self(None) };
        let mut quiet = before.clone();
        quiet.local_modes.remove(LocalModes::ECHO);
        Self(tcsetattr(io::stdin(), OptionalActions::Flush, &quiet).ok().map(|()| before))
    }
}

impl Drop for Silence {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            let _ = tcsetattr(io::stdin(), OptionalActions::Flush, before);
        }
    }
}
