//! `kestack serve`: MinIO in the foreground, encrypting from its first byte (docs/architecture.md §4.3).
//!
//! [`serve`] reads in the order of a start: what the environment asks for ([`settings`]), what that means on this host
//! ([`plan`]), both servers ([`tree`]), what must be in force ([`setup`]), and then the port ([`gate`]).

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use crate::error::Error;
use crate::host::interrupt::Interrupt;
use crate::manifest::KeystoreKind;
use crate::operate::session::environment;
use crate::supply;

mod alone;
mod arguments;
mod bucket_words;
mod check;
pub(in crate::operate) mod child;
mod children;
mod copies;
mod drive;
mod gate;
mod minio_words;
mod page;
mod plan;
mod settings;
mod setup;
mod tree;
mod user;
mod voice;

pub(crate) use arguments::{ask_for_help, at_verb};
pub use check::{Checked, check};
pub(crate) use page::{Offer, Offered, Serving};

use gate::Gate;
use minio_words::MinioWords;
use page::Page;
use plan::Plan;
use tree::Tree;

/// How long MinIO may take to end while nobody can be connected to it.
const SHORT: Duration = Duration::from_millis(400);
/// How long it may take while clients are connected; engines kill after 10 s.
const LONG: Duration = Duration::from_secs(8);

/// What the call asks for.
#[derive(Debug, Clone)]
pub struct Asked {
    /// The arguments of MinIO's `server`.
    pub arguments: Vec<OsString>,
    /// The manifest, if one is named.
    pub file: Option<PathBuf>,
    /// The keystore, if not the manifest's.
    pub keystore: Option<KeystoreKind>,
}

/// What a stack in the foreground says once its port is open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    /// Where S3 is.
    pub endpoint: String,
    /// Buckets that are declared.
    pub buckets: Vec<String>,
    /// Keys that are declared.
    pub keys: Vec<String>,
    /// Where the keys are, for people.
    pub keystore: String,
    /// Whether buckets that clients make are encrypted.
    pub encrypts_all: bool,
    /// Whether MinIO writes JSON.
    pub json: bool,
    /// Whether MinIO says nothing at its start.
    pub quiet: bool,
}

/// Serves until a signal comes or MinIO ends; `said` is called once the port is open, and then `offer`, if an HTTP interface
/// is wanted.
///
/// # Errors
/// Mistakes of the environment, all at once; what is in the way; [`Error::Served`] with the exit code of MinIO.
pub(crate) async fn serve(
    asked: &Asked,
    interrupt: &Interrupt,
    said: &dyn Fn(&Opened),
    offer: Offer<'_>,
) -> Result<(), Error> {
    let (mut tree, mut page) = (Tree::default(), Page::default());
    // that is for MinIO, once it serves
    let done = interrupt.but_hang_up().ends(Box::pin(run(asked, (&mut tree, &mut page), said, offer))).await;
    page.end().await;
    tree.end(if tree.is_open { LONG } else { SHORT }).await;
    match done {
        Err(Error::Interrupted(_)) => Ok(()),
        done => done,
    }
}

/// Becomes the real MinIO, with these arguments.
///
/// # Errors
/// Always: it returns only if that fails.
pub fn pass_through(arguments: &[OsString]) -> Result<(), Error> {
    let program = supply::minio_program(None, &environment)?;
    Err(Error::file("run", &program)(child::become_program(&program, arguments)))
}

async fn run(
    asked: &Asked,
    (tree, shown): (&mut Tree, &mut Page),
    said: &dyn Fn(&Opened),
    offer: Offer<'_>,
) -> Result<(), Error> {
    user::check(&environment)?;
    let words = MinioWords::read(&environment)?;
    if let Some(name) = words.other_kms() {
        tracing::info!(
            "kestack: {name} is set: MinIO uses that KMS; kestack starts none, and makes no keys and buckets"
        );
        return alone::serve(&asked.arguments, &environment, &words).await;
    }
    let settings = settings::read(asked, &environment, &words)?;
    kes_server::process::raise_file_limit();
    let gate = Gate::reserve("--address", &settings.server.address)?;
    let console = settings.console().map(|wanted| Gate::reserve("--console-address", wanted)).transpose()?;
    let page = settings.page.as_ref().map(page::Wanted::reserve).transpose()?;
    let plan = Plan::make(settings, &environment, &words).await?;
    let record = check::Record::of(&plan, &gate);
    tree.bring_up(&plan).await?;
    plan.copies.spread().await;
    let door = gate.open(plan.inner)?;
    tree.is_open = true;
    if let Some((console, inner)) = console.zip(plan.console) {
        door.opens_too(console, inner);
    }
    if plan.settings.auto_encryption {
        tokio::spawn(setup::stay_encrypted(plan.context.s3.clone(), plan.drive.path.clone(), door));
    }
    record.write(plan.place.path())?;
    tree.speak().await;
    let opened = Opened::of(&plan);
    said(&opened);
    if let Some((wanted, socket)) = plan.settings.page.as_ref().zip(page) {
        shown.begin(wanted.open(socket, &plan, &opened.endpoint)?, offer)?;
    }
    tokio::select! {
        done = tree.watch(&plan) => done,
        failed = shown.serve() => failed,
    }
}

impl Opened {
    fn of(plan: &Plan) -> Self {
        let manifest = &plan.stack.manifest;
        let scheme = if plan.has_tls { "https" } else { "http" };
        let keys = plan.stack.served_keys();
        Self {
            endpoint: format!("{scheme}://{}", plan.public_address()),
            buckets: manifest.buckets.iter().map(|bucket| bucket.name.to_string()).collect(),
            keys: manifest.keys.iter().map(ToString::to_string).collect(),
            keystore: keys.map_or_else(|| manifest.keystore_name(), |folder| folder.display().to_string()),
            encrypts_all: plan.settings.auto_encryption,
            json: plan.settings.server.json,
            quiet: plan.settings.server.quiet,
        }
    }
}
