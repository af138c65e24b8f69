//! The disaster drill: a snapshot of the running stack is exported, the stack is lost and recovered elsewhere, and every
//! version of every object is compared with that of the running stack.
//!
//! [`Place`] is where that happens: a stack of its own in a folder of its own, which is removed at the end, and by the
//! next drill or [`sweep`] if this one is killed. The drill takes a snapshot of the user's stack and reads its objects,
//! and does nothing else to it.

use std::path::PathBuf;
use std::time::Duration;

use jiff::civil::DateTime;
use jiff::{SignedDuration, Timestamp};
use kes_server::keystore::fs;

use crate::data::drive::Inventory;
use crate::error::Error;
use crate::host::interrupt::Interrupt;
use crate::host::lock::Hold;
use crate::operate::copies::{StackCopy, Turn};
use crate::operate::evidence::{Claim, Document, Kind, Loss, Steps, Verdict, Versions, now};
use crate::operate::inventory;
use crate::operate::session::{Intent, Opened, Options, Reached, Session};
use crate::operate::snapshot::{Snapshot, SnapshotName, is_pending, refuse_pending, save};
use crate::resource::apply::Progress;

mod place;
mod recovery;
mod witness;

use place::Place;
use witness::Witnesses;

/// How drills name the snapshots that they take of the running stack, and remove.
const SNAPSHOT: &str = "kestack-drill-%Y%m%dT%H%M%SZ";

/// How these names begin.
const PREFIX: &str = "kestack-drill-";

/// How long the copy is kept if the drill is killed.
const LEASE: SignedDuration = SignedDuration::from_hours(4);

/// How long others who work on the stack may keep a sweep.
const GLANCE: Duration = Duration::from_secs(1);

/// What is asked for.
#[derive(Debug, Default)]
pub(crate) struct Request {
    /// Folder for the copy; next to the stacks if `None`.
    pub(crate) folder: Option<PathBuf>,
    /// The snapshot to recover from; a new one if `None`.
    pub(crate) snapshot: Option<SnapshotName>,
}

/// A drill that takes place.
struct Drill<'a> {
    /// The user's stack, running and not locked.
    source: Session,
    snapshot: Snapshot,
    place: Place,
    interrupt: &'a Interrupt,
    progress: &'a dyn Progress,
    steps: Steps,
    losses: Vec<Loss>,
    claims: Vec<Claim>,
    not_covered: Vec<String>,
}

/// A drill that took place.
#[derive(Debug)]
pub(crate) struct Held {
    /// Its evidence.
    pub(crate) document: Document,
    /// The signal that ended it early.
    pub(crate) interrupted: Option<Error>,
    /// Whether its evidence was written.
    pub(crate) written: Result<(), Error>,
    /// Whether its copy and its snapshot were removed.
    pub(crate) removed: Result<(), Error>,
}

/// Refuses a name by which a drill would take a snapshot for its own, and remove it.
///
/// # Errors
/// [`Error::Usage`] for such a name.
pub(crate) fn refuse_reserved(name: &SnapshotName) -> Result<(), Error> {
    if !name.to_string().starts_with(PREFIX) {
        return Ok(());
    }
    Err(Error::Usage {
        what: format!("'{name}' is like the names that `kestack drill` gives to the snapshots it removes"),
        hint: format!("choose a name that does not begin with '{PREFIX}'"),
    })
}

/// Whether a drill gave that name.
fn is_of_a_drill(name: &SnapshotName) -> bool {
    let name = name.to_string();
    let time = DateTime::strptime(SNAPSHOT, &name);
    time.is_ok_and(|time| time.strftime(SNAPSHOT).to_string() == name)
}

/// Runs a drill. `write` keeps its evidence before anything is removed.
///
/// # Errors
/// Every obstacle: [`Error::NotRunning`], [`Error::Environment`] if there is no room for the copy.
/// A recovery that fails is evidence, and not an error.
pub(crate) async fn drill(
    reached: Reached,
    request: &Request,
    interrupt: &Interrupt,
    progress: &dyn Progress,
    write: impl FnOnce(&Document) -> Result<(), Error>,
) -> Result<Held, Error> {
    let options = reached.options.clone();
    let (started, mut steps) = (now(), Steps::default());
    if !options.layout().root().is_dir() {
        return Err(Error::NotRunning(options.manifest.name.to_string()));
    }
    // this lock first: whoever has the stack's must not wait for another drill
    let kind = reached.engine().info().kind;
    let place = interrupt.ends(Place::enter(&options, kind, request.folder.as_deref())).await?;
    let prepared = Box::pin(prepare(reached, request, &place, &mut steps, interrupt, progress)).await;
    let (source, snapshot) = match prepared {
        Ok(prepared) => prepared,
        Err(error) => {
            if let Err(why) = clean(&place, &options, request).await {
                tracing::warn!("{why}");
            }
            return Err(error);
        }
    };
    let versions = Versions::of(&source.stack, &source.context).await;
    let not_covered = limits(&source);
    let mut drill =
        Drill { source, snapshot, place, interrupt, progress, steps, losses: vec![], claims: vec![], not_covered };
    let error = drill.hold().await.err();
    let (place, document, interrupted) = drill.document(started, versions, error);
    let written = write(&document);
    let removed = clean(&place, &options, request).await;
    Ok(Held { document, interrupted, written, removed })
}

/// Removes the copy, and the snapshot also if that fails.
async fn clean(place: &Place, options: &Options, request: &Request) -> Result<(), Error> {
    let left = place.leave().await;
    let removed = remove_taken(options, request).await;
    left.and(removed)
}

/// The running stack, without its lock, and the snapshot to recover from.
async fn prepare(
    reached: Reached,
    request: &Request,
    place: &Place,
    steps: &mut Steps,
    interrupt: &Interrupt,
    progress: &dyn Progress,
) -> Result<(Session, Snapshot), Error> {
    let reached = interrupt.ends(reached.lock(Hold::Change)).await?;
    reached.recover().await?;
    remove_leftovers(&reached.options, request.snapshot.as_ref())?;
    let opening = async { reached.session().await?.require_running().await };
    let source = Box::pin(interrupt.ends(opening)).await?;
    source.stack.check_keystore(source.context.engine.info())?;
    let snapshot = snapshot(&source, request, steps, interrupt, progress).await?;
    place.check(&source.stack, &snapshot, interrupt).await?;
    Ok((source.unlocked(), snapshot))
}

/// The snapshot to recover from. The stack's lock is held.
async fn snapshot(
    source: &Session,
    request: &Request,
    steps: &mut Steps,
    interrupt: &Interrupt,
    progress: &dyn Progress,
) -> Result<Snapshot, Error> {
    let layout = &source.stack.layout;
    if let Some(name) = &request.snapshot {
        return Snapshot::find(layout, name);
    }
    let name = Timestamp::now().strftime(SNAPSHOT).to_string();
    let name = name.parse().map_err(|what| Error::Usage { what, hint: "name one with --snapshot".into() })?;
    let taking = async { Ok(save(&source.stack, &source.context, &name, interrupt, progress).await?.0) };
    steps.take("take a snapshot of the running stack", taking).await
}

/// Removes the snapshots of drills that were killed, but not the one that is asked for, and names them. The stack's lock is
/// held.
fn remove_leftovers(options: &Options, kept: Option<&SnapshotName>) -> Result<Vec<SnapshotName>, Error> {
    let layout = options.layout();
    refuse_pending(&layout)?;
    let names = Snapshot::list(&layout)?.into_iter().map(|snapshot| snapshot.name);
    let names: Vec<_> = names.filter(|name| is_of_a_drill(name) && Some(name) != kept).collect();
    names.iter().try_for_each(|name| Snapshot::remove(&layout, name))?;
    Ok(names)
}

/// Removes the snapshot that this drill took.
async fn remove_taken(options: &Options, request: &Request) -> Result<(), Error> {
    if request.snapshot.is_some() {
        return Ok(());
    }
    let _locked = Opened::new(options.clone(), Intent::Write(Hold::Change)).await?;
    remove_leftovers(options, None).map(drop)
}

/// What killed drills had left, and is removed.
#[derive(Debug, Default)]
pub(crate) struct Swept {
    /// Folders of copies.
    pub(crate) copies: Vec<PathBuf>,
    /// Snapshots of the stack.
    pub(crate) snapshots: Vec<SnapshotName>,
}

/// Removes what killed drills left of a stack and its copies. If a drill is under way, nothing is left over; if somebody works
/// on the stack, its snapshots stay.
///
/// # Errors
/// Those of the records and of the file system. A copy that cannot be removed is named, and stays on record.
pub(crate) async fn sweep(options: &Options) -> Result<Swept, Error> {
    let layout = options.layout();
    if !layout.root().is_dir() {
        return Ok(Swept::default());
    }
    let Some(turn) = Turn::if_free(&layout).await? else { return Ok(Swept::default()) };
    let unrecorded = StackCopy::of(options, &options.base, options.manifest.engine)?;
    let copies = turn.clear(Some(unrecorded)).await?;
    let locked = Opened::within(options.clone(), Intent::Write(Hold::Change), Some(GLANCE)).await;
    let snapshots = match locked {
        Err(Error::Busy { .. }) => vec![],
        Ok(_) if is_pending(&layout) => vec![],
        locked => remove_leftovers(&locked?.options, None)?,
    };
    Ok(Swept { copies, snapshots })
}

/// What no drill of this stack can show.
fn limits(source: &Session) -> Vec<String> {
    let mut limits = vec![
        "the copy is on this machine: the time to get another machine, the programs and the exported file there is not \
         part of the recovery time"
            .to_owned(),
        "MinIO's own configuration (`mc admin config set`, batch jobs) was not recovered: with it the copy would send to \
         your targets"
            .to_owned(),
    ];
    let manifest = &source.stack.manifest;
    if !manifest.keystore_is_fs() {
        limits.push(format!(
            "the keys are in {} and not in the snapshot: their loss was not tried, and every recovery used this keystore",
            manifest.keystore_name()
        ));
    }
    if manifest.keystore.pointer("/fs/encryption").is_some()
        && fs::is_sealed(&source.stack.keys_folder()).unwrap_or(false)
    {
        limits.push(
            "the keys are sealed: the recoveries used the master key that kestack.yaml or the snapshot gives".into(),
        );
    }
    limits
}

impl Drill<'_> {
    /// All losses, one after the other.
    async fn hold(&mut self) -> Result<(), Error> {
        let drive = self.snapshot.drive(&self.source.stack.layout);
        let taken = self.snapshot.created.into();
        let reading = Witnesses::of(&self.source, (&drive, taken), self.interrupt);
        let witnesses = self.steps.take("read every version from the running stack", reading).await?;
        self.claims.extend(witnesses.claims());
        self.not_covered.extend(witnesses.limits());
        if let Some(claim) = witnesses.nothing_to_compare() {
            self.claims.push(claim);
            return Ok(());
        }
        self.recover(&witnesses).await
    }

    fn document(
        self,
        started: Timestamp,
        versions: Versions,
        error: Option<Error>,
    ) -> (Place, Document, Option<Error>) {
        let text = error.as_ref().map(ToString::to_string);
        let manifest = &self.source.stack.manifest;
        let document = Document {
            kind: Kind::Drill,
            stack: manifest.name.to_string(),
            keystore: manifest.keystore_name(),
            verdict: Verdict::of(&self.claims, text.as_ref()),
            started,
            ended: now(),
            versions,
            losses: self.losses,
            claims: self.claims,
            steps: self.steps.0,
            not_covered: self.not_covered,
            error: text,
        };
        (self.place, document, error.filter(|error| matches!(error, Error::Interrupted(_))))
    }

    /// Whether the same keys protect the same objects on the drive of the copy.
    async fn compare_keys(&mut self) -> Result<(), Error> {
        let (then, now) = (self.snapshot.drive(&self.source.stack.layout), self.place.layout().drive());
        let (then, now) = (inventory::of_drive(then).await?, inventory::of_drive(now).await?);
        let objects = |inventory: &Inventory| {
            let keys = inventory.keys.iter().map(|(name, used)| (name.clone(), used.buckets.clone()));
            (keys.filter(|(_, buckets)| !buckets.is_empty()).collect::<Vec<_>>(), inventory.unencrypted.clone())
        };
        let count: u64 = now.keys.values().map(|used| used.total().versions).sum();
        self.claims.push(Claim {
            about: "the recovered stack".into(),
            claim: "the same keys protect the same objects as before".into(),
            proven: objects(&then) == objects(&now),
            seen: format!("{count} encrypted versions under {} keys", objects(&now).0.len()),
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drill_takes_only_its_own_snapshots_for_its_own() {
        let name = |name: &str| -> SnapshotName { name.parse().unwrap() };
        let own = name(&Timestamp::now().strftime(SNAPSHOT).to_string());
        assert!(is_of_a_drill(&own) && refuse_reserved(&own).is_err());
        for other in
            ["kestack-drill-before-upgrade", "kestack-drill-20261130", "kestack-drill-20261130T1200Z", "nightly"]
        {
            assert!(!is_of_a_drill(&name(other)), "{other}");
        }
        assert!(refuse_reserved(&name("nightly")).is_ok());
    }
}
