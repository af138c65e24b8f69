//! `kestack serve`: MinIO in the foreground, encrypting from its first byte; and the names by which it stands in for MinIO.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;

use super::Globals;
use super::output::{self, Output};
use crate::error::Error;
use crate::host::interrupt::Interrupt;
use crate::interface::{Entrance, Interface, Source};
use crate::operate::serve::{self, Asked, Checked, Offered, Opened, Serving};
use crate::resource::interface::secret;

/// Names of programs that people start as MinIO.
const NAMES: [&str; 2] = ["minio", "docker-entrypoint.sh"];
/// The verb that is ours.
const SERVER: &str = "server";
/// Verbs that print MinIO's help, of the verb behind them if there is one.
const HELP: [&str; 2] = ["help", "h"];

const VARIABLES: &str = "Variables:
  MINIO_*                  as for MinIO; its root user is minioadmin by default
  KESTACK_BUCKETS          `NAME[:POLICY][?key=KEY&versioning=on]`, with commas
  KESTACK_KEYS             further encryption keys, with commas
  KESTACK_DEFAULT_KEY      key of buckets that name none
  KESTACK_AUTO_ENCRYPTION  whether other buckets encrypt: on or off
  KESTACK_KES_ADDRESS      where KES listens, such as 0.0.0.0:7373
  KESTACK_UI               where the HTTP interface listens, such as :9002
  KESTACK_UI_TOKEN         its token [default: a random one, a link in the log]
  KESTACK_UI_TOKEN_FILE    file with its token
  KESTACK_UI_NAMES         names by which browsers call it, with commas
  KESTACK_SETUP_TIMEOUT    how long the port may stay closed, such as 60s
  KESTACK_FILE             kestack.yaml [default: /etc/kestack/kestack.yaml]
  KESTACK_KEYSTORE         fs, vault, aws, gcp, … [default: fs, on the drive]
  KESTACK_MINIO            the program of MinIO
  KESTACK_KES              the program of KES";

#[derive(Debug, Args)]
#[command(after_long_help = VARIABLES)]
pub(super) struct Serve {
    /// Check whether the stack in the foreground on the named drive can be used, and exit with 0 if so
    #[arg(long)]
    check: bool,
    /// Arguments of MinIO's `server`: the drive, `--address`, `--console-address`, `--certs-dir`, …
    #[arg(value_name = "ARGUMENTS", trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}

/// What a call by one of MinIO's names asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Called {
    /// MinIO's `server` with these arguments.
    Server(Vec<OsString>),
    /// Something else that the real MinIO does.
    Other(Vec<OsString>),
    /// Perhaps `server`: MinIO may read the words before it in another way, and store everything in clear.
    Unclear,
}

impl Called {
    /// What the arguments of this program ask for, if it was started by one of MinIO's names.
    pub(super) fn by(arguments: &[OsString]) -> Option<Self> {
        let (program, rest) = arguments.split_first()?;
        let name = PathBuf::from(program);
        if !NAMES.iter().any(|known| name.file_name().is_some_and(|name| name == *known)) {
            return None;
        }
        // the entry point is called with and without the program's name
        Some(Self::of(rest.strip_prefix(&[OsString::from("minio")]).unwrap_or(rest)))
    }

    fn of(words: &[OsString]) -> Self {
        let (before, rest) = serve::at_verb(words);
        let (verb, behind) = rest.split_first().unzip();
        let behind = behind.unwrap_or_default();
        let is_server = verb.is_some_and(|verb| verb == SERVER);
        let is_help = serve::ask_for_help(before)
            || verb.is_some_and(|verb| HELP.iter().any(|help| verb == help))
            || is_server && serve::ask_for_help(behind);
        if is_help {
            Self::Other(words.to_vec())
        } else if is_server {
            Self::Server(before.iter().filter(|word| *word != "--").chain(behind).cloned().collect())
        } else if words.iter().any(|word| word == SERVER) {
            Self::Unclear
        } else {
            Self::Other(words.to_vec())
        }
    }

    /// The same as arguments of kestack; `None` for what the real MinIO does.
    pub(super) fn as_kestack(&self) -> Option<Vec<OsString>> {
        let Self::Server(arguments) = self else { return None };
        let own = ["kestack", "serve", "--"].map(OsString::from);
        Some(own.into_iter().chain(arguments.iter().cloned()).collect())
    }
}

impl Serve {
    pub(super) async fn run(&self, globals: &Globals, output: &Output, interrupt: &Interrupt) -> Result<(), Error> {
        if self.check {
            let checked = interrupt.ends(serve::check(&self.arguments)).await?;
            return output.result(&checked, described);
        }
        let mut arguments = self.arguments.clone();
        // those that kestack has too are MinIO's here
        arguments.extend(output.json().then(|| OsString::from("--json")));
        arguments.extend(globals.quiet.then(|| OsString::from("--quiet")));
        let asked = Asked { arguments, file: globals.file.clone(), keystore: globals.keystore };
        Box::pin(serve::serve(&asked, interrupt, &say, &offer)).await
    }
}

fn described(checked: &Checked) -> String {
    let (endpoint, drive) = (&checked.endpoint, checked.drive.display());
    if checked.has_kes {
        format!("S3 at {endpoint} and its KES answer; the drive is {drive}")
    } else {
        format!("S3 at {endpoint} answers, with a KMS of yours; the drive is {drive}")
    }
}

/// The one line of kestack after MinIO's, and one that MinIO printed until 2024, which some wait for.
fn say(opened: &Opened) {
    if opened.quiet {
        return;
    }
    let others = if opened.encrypts_all { "; every other bucket encrypts too" } else { "" };
    output::foreground(
        opened.json,
        &format!(
            "kestack: encrypting; S3 at {}, buckets {} (SSE-KMS){others}; keys {} in {}",
            opened.endpoint,
            opened.buckets.join(" "),
            opened.keys.join(" "),
            opened.keystore
        ),
    );
    output::foreground(opened.json, "Status:         1 Online, 0 Offline.");
}

/// Serves the HTTP interface until it is asked to end. Without a token of the user's a link is all by which somebody can
/// come in.
fn offer(offered: Offered, interrupt: Interrupt) -> Result<Serving, Error> {
    let Offered { listener, url, names, token, options, session, json } = offered;
    let (is_chosen, token) = (token.is_some(), token.map_or_else(secret, Ok)?);
    let entrance = Entrance::published(url.clone(), names, token);
    let interface = Interface::new(Source::served(options, session), entrance, str::to_owned);
    let said = if is_chosen {
        format!("kestack: the HTTP interface is at {url}")
    } else {
        format!("kestack: the page is at {} (this link works once)", interface.link()?)
    };
    output::foreground(json, &said);
    Ok(Box::pin(async move { interface.serve(listener, std::future::pending(), &interrupt).await }))
}

/// Becomes the real MinIO, for a call that is not kestack's.
///
/// # Errors
/// Why that fails; [`Error::Usage`] for a call that may be kestack's.
pub(super) fn pass_through(called: &Called) -> Result<(), Error> {
    match called {
        Called::Server(arguments) | Called::Other(arguments) => serve::pass_through(arguments),
        Called::Unclear => Err(Error::Usage {
            what: "this call has the word `server`, but not as the verb: MinIO might store everything in clear".into(),
            hint: "write the options behind `server`, such as `minio server --certs-dir FOLDER DRIVE`".into(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn called(line: &str) -> Option<Called> {
        Called::by(&line.split(' ').map(OsString::from).collect::<Vec<_>>())
    }

    #[test]
    fn only_server_is_ours_whoever_calls_it() {
        let words = |line: &str| line.split_whitespace().map(OsString::from).collect::<Vec<_>>();
        for (line, arguments) in [
            ("minio server /data", "/data"),
            ("/usr/bin/minio server /data --console-address :9001", "/data --console-address :9001"),
            ("/usr/bin/docker-entrypoint.sh server /data", "/data"),
            ("/usr/bin/docker-entrypoint.sh minio server /data", "/data"),
            ("minio --json -S /certs server /data", "--json -S /certs /data"),
            ("minio -certs-dir /certs server /data", "-certs-dir /certs /data"),
            ("minio -certs-dir=/certs -json server /data", "-certs-dir=/certs -json /data"),
            ("minio -config-dir /c server /data", "-config-dir /c /data"),
            ("minio -S help server /data", "-S help /data"),
            ("minio -- server /data", "/data"),
            ("minio server /data help", "/data help"),
            ("minio server /data --certs-dir -h", "/data --certs-dir -h"),
            ("minio server -- -h", "-- -h"),
        ] {
            assert_eq!(called(line), Some(Called::Server(words(arguments))), "{line}");
        }
        for (line, arguments) in [
            ("minio", ""),
            ("minio --version", "--version"),
            ("docker-entrypoint.sh minio --help", "--help"),
            ("minio server --help", "server --help"),
            ("minio server /data -help", "server /data -help"),
            ("minio -h server", "-h server"),
            ("minio help server", "help server"),
            ("minio update", "update"),
        ] {
            assert_eq!(called(line), Some(Called::Other(words(arguments))), "{line}");
        }
        for line in ["minio --unknown /x server /data", "minio /usr/bin/minio server /data", "minio update server"] {
            assert_eq!(called(line), Some(Called::Unclear), "{line}");
        }
        assert_eq!(called("kestack server /data"), None);
    }
}
