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
use super::output::Output;
use super::session::{self, Intent, Opened, Options};
use crate::error::Error;
use crate::host::interrupt::Interrupt;
use crate::interface::{Interface, Load, Record};

#[derive(Debug, Args)]
pub(super) struct Ui {
    /// Port on 127.0.0.1; 0 for any that is free
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// How long it listens, such as 90s, 30m or 2h [default: until Ctrl-C]
    #[arg(long = "for", value_name = "DURATION", value_parser = session::duration)]
    time: Option<Duration>,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct Listening {
    /// Name of the stack.
    name: String,
    /// URL of the interface.
    url: String,
    /// File with URL and token, which only its owner may read.
    token_file: PathBuf,
    /// Link by which one browser comes in, once.
    link: String,
}

impl Ui {
    pub(super) async fn run(&self, globals: &Globals, output: &Output, interrupt: &Interrupt) -> Result<(), Error> {
        let opened = interrupt.ends(Opened::of(globals, Intent::Share)).await?;
        let options = opened.options.clone();
        let running = async { opened.connect().await?.session().await?.require_running().await };
        interrupt.ends(Box::pin(running)).await?;
        let listener = self.listen().await?;
        let port = listener.local_addr().map_err(Error::file("read", "the port"))?.port();
        let (record, layout) = (Record::new(port)?, options.layout());
        let interface = Interface::new(load(globals, options.adopt), &record, |text| hint::complete(text).into_owned());
        record.keep(&layout)?;
        let listening = Listening {
            name: options.manifest.name.to_string(),
            url: record.url.clone(),
            token_file: layout.interface(),
            link: interface.link(&record)?,
        };
        let served = match output.result(&listening, human) {
            Ok(()) => interface.serve(listener, self.time, interrupt).await,
            Err(error) => Err(error),
        };
        record.remove(&layout)?;
        match served {
            // that is how it ends
            Err(Error::Interrupted(_)) => Ok(()),
            served => served,
        }
    }

    async fn listen(&self) -> Result<TcpListener, Error> {
        TcpListener::bind((Ipv4Addr::LOCALHOST, self.port)).await.map_err(|error| Error::Environment {
            what: format!("cannot listen on 127.0.0.1:{}: {error}", self.port),
            hint: "leave `--port` away for one that is free".into(),
        })
    }
}

/// Reads what the command line means again and again: kestack.yaml may change meanwhile.
fn load(globals: &Globals, adopt: bool) -> Load {
    let globals = globals.clone();
    Arc::new(move || {
        let options = Options::load(&globals, Intent::Share)?;
        Options { adopt: adopt || options.adopt, ..options }.at_engine()
    })
}

fn human(listening: &Listening) -> String {
    format!(
        "stack '{}' listens at {}\n  token    {}\n  browser  {}\nCtrl-C ends it",
        listening.name,
        listening.url,
        listening.token_file.display(),
        listening.link
    )
}
