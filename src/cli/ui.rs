//! `kestack ui`

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use schemars::JsonSchema;
use serde::Serialize;
use tokio::net::TcpListener;

use super::Globals;
use super::hint;
use super::output::{self, Output};
use super::session::{self, Intent, Opened, Options};
use crate::error::Error;
use crate::host::interrupt::Interrupt;
use crate::interface::{Entrance, Interface, Source};
use crate::resource::interface::{Record, detach};

#[derive(Debug, Args)]
pub(super) struct Ui {
    /// Port on 127.0.0.1; 0 for any that is free
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// How long it listens, such as 90s, 30m or 2h [default: until Ctrl-C]
    #[arg(long = "for", value_name = "DURATION", value_parser = session::duration)]
    time: Option<Duration>,
    /// `up` starts it so; the digest of its call
    #[arg(long, hide = true, value_name = "DIGEST")]
    background: Option<String>,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct Listening {
    /// Name of the stack.
    name: String,
    /// URL of the interface.
    url: String,
    /// File with URL and token, which only its owner may read.
    token_file: PathBuf,
    /// Link that lets one browser in, once.
    link: String,
}

impl Ui {
    pub(super) async fn run(&self, globals: &Globals, output: &Output, interrupt: &Interrupt) -> Result<(), Error> {
        let opened = interrupt.ends(Opened::of(globals, Intent::Share)).await?;
        let options = opened.options.clone();
        let file = options.layout().interface();
        let there = Record::read(&file)?;
        let former = there.as_ref().filter(|there| there.is_background());
        if self.background.is_none()
            && let Some(there) = former.filter(|there| there.listens())
        {
            return interrupt.ends(self.join(&options, there, output)).await;
        }
        let running = async { opened.connect().await?.session().await?.require_running().await };
        interrupt.ends(Box::pin(running)).await?;
        let (listener, record) = self.listen(former).await?;
        let (source, entrance) = (load(globals, options.adopt), Entrance::of(&record));
        let interface = Interface::new(source, entrance, |text| hint::complete(text).into_owned());
        record.keep(&file)?;
        if self.background.is_some() {
            detach();
            output::line("it listens")?;
            // it stays on record until `down`, so that the next one can have port and token
            return ended(interface.serve(listener, record.forgotten(&file), interrupt).await);
        }
        let listening = Listening::of(&options, &record, interface.link()?);
        let served = match output.result(&listening, |listening| human(listening, "Ctrl-C ends it")) {
            Ok(()) => interface.serve(listener, over(self.time), interrupt).await,
            Err(error) => Err(error),
        };
        record.give_way(&file, there.as_ref())?;
        ended(served)
    }

    /// Lets people into the interface that `up` started.
    async fn join(&self, options: &Options, there: &Record, output: &Output) -> Result<(), Error> {
        if self.port != 0 || self.time.is_some() {
            return Err(Error::Occupied {
                what: format!("stack '{}' listens at {} already", options.manifest.name, there.url),
                hint: "`kestack ui` without `--port` and `--for` prints a link to it; without `ui: true` in kestack.yaml, \
                       `kestack up` ends it"
                    .into(),
            });
        }
        let listening = Listening::of(options, there, there.link().await?);
        output.result(&listening, |listening| human(listening, "`kestack down` ends it"))
    }

    /// Listens where the former one did, if that is possible.
    async fn listen(&self, former: Option<&Record>) -> Result<(TcpListener, Record), Error> {
        let former = former.filter(|_| self.background.is_some());
        let again = match former.and_then(Record::port) {
            Some(port) => bind(port).await.ok(),
            None => None,
        };
        let listener = match again {
            Some(listener) => listener,
            None => bind(self.port).await?,
        };
        let port = listener.local_addr().map_err(Error::file("read", "the port"))?.port();
        let record = Record::new(port)?;
        Ok((
            listener,
            match &self.background {
                Some(digest) => record.in_background(digest, former),
                None => record,
            },
        ))
    }
}

async fn bind(port: u16) -> Result<TcpListener, Error> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.map_err(|error| Error::Environment {
        what: format!("cannot listen on 127.0.0.1:{port}: {error}"),
        hint: "leave out `--port` for a free one".into(),
    })
}

/// Until that time is over.
async fn over(time: Option<Duration>) {
    match time {
        Some(time) => tokio::time::sleep(time).await,
        None => std::future::pending().await,
    }
}

/// A signal is the usual end.
fn ended(served: Result<(), Error>) -> Result<(), Error> {
    match served {
        Err(Error::Interrupted(_)) => Ok(()),
        served => served,
    }
}

impl Listening {
    /// An interface of that stack, and the link to it.
    pub(super) fn of(options: &Options, record: &Record, link: String) -> Self {
        Self {
            name: options.manifest.name.to_string(),
            url: record.url.clone(),
            token_file: options.layout().interface(),
            link,
        }
    }
}

/// Reads what the command line means again and again: kestack.yaml may change meanwhile.
fn load(globals: &Globals, adopt: bool) -> Source {
    let globals = globals.clone();
    Source::Read(Arc::new(move || {
        let options = Options::load(&globals, Intent::Share)?;
        // it does not start another one of itself
        Options { adopt: adopt || options.adopt, launch: None, ..options }.at_engine()
    }))
}

fn human(listening: &Listening, end: &str) -> String {
    format!(
        "stack '{}' listens at {}\n  token    {}\n  browser  {}\n{end}",
        listening.name,
        listening.url,
        listening.token_file.display(),
        listening.link
    )
}
