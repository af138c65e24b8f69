//! The HTTP interface and its page next to S3, if the environment asks for them.

use std::fs::File;
use std::io::Read as _;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use kes_server::listen;
use tokio::net::{TcpListener, TcpSocket};
use zeroize::Zeroizing;

use super::arguments;
use super::children::Foreground;
use super::plan::Plan;
use crate::error::Error;
use crate::host::interrupt::{Caller, Interrupt};
use crate::manifest::{EngineKind, Environment, HostName};
use crate::operate::session::{Options, Session};
use crate::resource::Context;
use crate::stack::{Front, Stack};

/// Bytes of a token: fewer can be guessed, and nobody needs more.
const LENGTH: std::ops::RangeInclusive<usize> = 16..=1024;
/// Connections that wait to be taken.
const BACKLOG: u32 = 128;
/// How long calls may take to give back what they changed. MinIO needs the rest of the time until an engine kills.
const GRACE: Duration = Duration::from_millis(1500);

/// What is asked for.
pub(super) struct Wanted {
    address: SocketAddr,
    /// Names by which browsers call it, in addition to those of the loopback.
    names: Vec<String>,
    token: Option<Zeroizing<String>>,
}

impl std::fmt::Debug for Wanted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Wanted").field("address", &self.address).finish_non_exhaustive()
    }
}

/// A stack in the foreground, for the interface next to it.
pub(crate) struct Offered {
    /// Where it listens.
    pub(crate) listener: TcpListener,
    /// Its URL, as people use it.
    pub(crate) url: String,
    /// Names by which browsers call it, in addition to those of the loopback.
    pub(crate) names: Vec<String>,
    /// The token that its user chose.
    pub(crate) token: Option<Zeroizing<String>>,
    pub(crate) options: Options,
    pub(crate) session: Session,
    /// Whether MinIO writes JSON.
    pub(crate) json: bool,
}

/// An interface that serves, until it fails or is asked to end and its calls have given back what they changed.
pub(crate) type Serving = Pin<Box<dyn Future<Output = Result<(), Error>> + Send>>;

/// Shows the stack in the foreground over HTTP, until the interrupt asks it to end.
pub(crate) type Offer<'a> = &'a dyn Fn(Offered, Interrupt) -> Result<Serving, Error>;

/// The interface while the servers run, if there is one. Whoever drops this asks it to end.
pub(super) struct Page {
    serving: Option<Serving>,
    caller: Caller,
    interrupt: Interrupt,
}

impl Default for Page {
    fn default() -> Self {
        let (caller, interrupt) = Interrupt::of_caller();
        Self { serving: None, caller, interrupt }
    }
}

impl Page {
    /// Begins to serve.
    ///
    /// # Errors
    /// Those of `offer`.
    pub(super) fn begin(&mut self, offered: Offered, offer: Offer<'_>) -> Result<(), Error> {
        self.serving = Some(offer(offered, self.interrupt.clone())?);
        Ok(())
    }

    /// Serves; returns only if that fails.
    pub(super) async fn serve(&mut self) -> Result<(), Error> {
        let Some(serving) = self.serving.as_mut() else { return std::future::pending().await };
        let done = serving.await;
        self.serving = None;
        done
    }

    /// Asks the calls that run to end, and waits until they have, as long as both servers still answer them.
    pub(super) async fn end(self) {
        let Self { serving, caller, .. } = self;
        drop(caller);
        if let Some(serving) = serving
            && tokio::time::timeout(GRACE, serving).await.is_err()
        {
            tracing::warn!("a call of the HTTP interface did not end within {:.1} s", GRACE.as_secs_f64());
        }
    }
}

/// Reads the variables. Every mistake is added to `mistakes`.
pub(super) fn read(env: Environment<'_>, mistakes: &mut Vec<String>) -> Option<Wanted> {
    let others = ["KESTACK_UI_TOKEN", "KESTACK_UI_TOKEN_FILE", "KESTACK_UI_NAMES"];
    let Some(text) = env("KESTACK_UI") else {
        let without = others.into_iter().filter(|name| env(name).is_some());
        mistakes.extend(without.map(|name| format!("{name} has no effect without KESTACK_UI, such as `:9002`")));
        return None;
    };
    let address = arguments::socket(&text);
    if address.is_none() {
        mistakes.push(format!("KESTACK_UI: '{text}' is not an address: write `:9002` or `127.0.0.1:9002`"));
    }
    let (names, token) = (names(env, mistakes), token(env, mistakes));
    address.map(|address| Wanted { address, names, token })
}

fn names(env: Environment<'_>, mistakes: &mut Vec<String>) -> Vec<String> {
    let text = env("KESTACK_UI_NAMES").unwrap_or_default();
    let words = text.split(',').map(str::trim).filter(|word| !word.is_empty());
    let parsed = words.filter_map(|word| match word.parse::<HostName>() {
        // as a URL has it
        Ok(name) => Some(match name.address() {
            Some(address) if address.is_ipv6() => format!("[{address}]"),
            _ => word.to_owned(),
        }),
        Err(why) => {
            mistakes.push(format!("KESTACK_UI_NAMES: {why}"));
            None
        }
    });
    parsed.collect()
}

/// What is wrong with a token is said without it.
fn token(env: Environment<'_>, mistakes: &mut Vec<String>) -> Option<Zeroizing<String>> {
    let (name, token) = match (env("KESTACK_UI_TOKEN"), env("KESTACK_UI_TOKEN_FILE")) {
        (None, None) => return None,
        (Some(_), Some(_)) => {
            mistakes.push("KESTACK_UI_TOKEN and KESTACK_UI_TOKEN_FILE are both set: keep one of them".into());
            return None;
        }
        (Some(token), None) => ("KESTACK_UI_TOKEN", Zeroizing::new(token)),
        (None, Some(path)) => match in_file(Path::new(&path)) {
            Ok(token) => ("KESTACK_UI_TOKEN_FILE", token),
            Err(error) => {
                mistakes.push(format!("KESTACK_UI_TOKEN_FILE: cannot read '{path}': {error}"));
                return None;
            }
        },
    };
    let token = Zeroizing::new(token.trim().to_owned());
    if LENGTH.contains(&token.len()) && token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Some(token);
    }
    let (least, most) = (LENGTH.start(), LENGTH.end());
    mistakes.push(format!("{name}: a token has {least} to {most} letters, digits and signs, and no blanks"));
    None
}

fn in_file(path: &Path) -> std::io::Result<Zeroizing<String>> {
    let mut text = Zeroizing::new(String::new());
    File::open(path)?.take(4096).read_to_string(&mut text)?;
    Ok(text)
}

impl Wanted {
    /// Where it listens.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes the port; nobody can connect yet.
    ///
    /// # Errors
    /// [`Error::Environment`] if it is taken, or the address is not one of this machine.
    pub(super) fn reserve(&self) -> Result<TcpSocket, Error> {
        listen::bind(self.address).map_err(|error| self.refused(&error))
    }

    fn refused(&self, error: &std::io::Error) -> Error {
        Error::Environment {
            what: format!("the HTTP interface cannot listen on {}: {error}", self.address),
            hint: "choose another address with KESTACK_UI".into(),
        }
    }

    /// Opens the port, for the stack that everything is in force of.
    ///
    /// # Errors
    /// [`Error::Environment`] if somebody else listens meanwhile.
    pub(super) fn open(&self, socket: TcpSocket, plan: &Plan, gate: &str) -> Result<Offered, Error> {
        let listener = socket.listen(BACKLOG).map_err(|error| self.refused(&error))?;
        let (host, port) = (self.address.ip(), self.address.port());
        let own = if host.is_unspecified() { format!("127.0.0.1:{port}") } else { self.address.to_string() };
        let url = self.names.first().map_or(own, |name| format!("{name}:{port}"));
        let mut names = self.names.clone();
        if !host.is_unspecified() {
            names.push(if host.is_ipv6() { format!("[{host}]") } else { host.to_string() });
        }
        let (options, session) = plan.session(gate);
        let json = plan.settings.server.json;
        Ok(Offered { listener, url: format!("http://{url}"), names, token: self.token.clone(), options, session, json })
    }
}

impl Plan {
    /// The stack as clients see it: MinIO's own port is nobody's but kestack's.
    fn session(&self, s3: &str) -> (Options, Session) {
        let scheme = if self.has_tls { "https" } else { "http" };
        let console = self.settings.console().map(|wanted| format!("{scheme}://{}", super::plan::public(wanted)));
        let front = Front { s3: s3.to_owned(), console: console.unwrap_or_default() };
        let stack = Stack { front: Some(front), ..self.stack.clone() };
        let mut manifest = stack.manifest.clone();
        manifest.engine = EngineKind::Process;
        let base = self.place.path().to_owned();
        let options = Options { place: Some(stack.layout.clone()), ..Options::of_existing(manifest, base) };
        let engine = Foreground {
            info: self.engine().clone(),
            running: self.running.clone(),
            kes: stack.replicas().into_iter().map(|replica| replica.container).next().unwrap_or_default(),
            minio: stack.minio_container(),
        };
        let context = Context { engine: Arc::new(engine), ..self.context.clone() };
        (options, Session::served(stack, context))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(all: &[(&str, &str)]) -> (Option<Wanted>, Vec<String>) {
        let mut mistakes = Vec::new();
        let env = |name: &str| all.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        (read(&env, &mut mistakes), mistakes)
    }

    #[test]
    fn it_is_off_unless_an_address_is_named() {
        assert!(asked(&[]).0.is_none());
        let (wanted, mistakes) = asked(&[("KESTACK_UI", ":9002"), ("KESTACK_UI_NAMES", "s3.example.org, ::1")]);
        let wanted = wanted.unwrap();
        assert!(mistakes.is_empty(), "{mistakes:?}");
        assert_eq!((wanted.address.to_string().as_str(), wanted.token.is_none()), ("0.0.0.0:9002", true));
        assert_eq!(wanted.names, ["s3.example.org", "[::1]"]);
    }

    #[test]
    fn mistakes_are_named_and_no_token_is_shown() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "a token of 5 words\n").unwrap();
        let path = file.path().to_str().unwrap();
        let on = ("KESTACK_UI", "127.0.0.1:9002");
        for (all, said) in [
            (&[("KESTACK_UI", "9002")][..], "is not an address"),
            (&[("KESTACK_UI", ":0")][..], "is not an address"),
            (&[("KESTACK_UI_TOKEN", "0123456789abcdef")][..], "no effect without KESTACK_UI"),
            (&[on, ("KESTACK_UI_TOKEN", "s3cret")][..], "a token has 16 to 1024"),
            (&[on, ("KESTACK_UI_TOKEN_FILE", path)][..], "a token has 16 to 1024"),
            (&[on, ("KESTACK_UI_TOKEN_FILE", "/absent")][..], "cannot read '/absent'"),
            (&[on, ("KESTACK_UI_TOKEN", "s3cret"), ("KESTACK_UI_TOKEN_FILE", path)][..], "are both set"),
            (&[on, ("KESTACK_UI_NAMES", "a:1")][..], "neither an IP address nor"),
        ] {
            let (_, mistakes) = asked(all);
            let text = mistakes.join("\n");
            assert!(mistakes.len() == 1 && text.contains(said), "{said}: {mistakes:?}");
            assert!(!text.contains("s3cret") && !text.contains("5 words") && !text.contains("0123"), "{text}");
        }
        std::fs::write(file.path(), "0123456789abcdef\n").unwrap();
        let (wanted, mistakes) = asked(&[on, ("KESTACK_UI_TOKEN_FILE", path)]);
        assert!(mistakes.is_empty(), "{mistakes:?}");
        let wanted = wanted.unwrap();
        assert!(!format!("{wanted:?}").contains("0123"));
        assert_eq!(wanted.token.unwrap().as_str(), "0123456789abcdef");
    }
}
