//! The rehearsal of an import: whatever could keep a stack from serving a deployment's data is tried before anything is
//! stopped, moved or written.
//!
//! A KES of its own serves the deployment's real keystore ([`TrialKes`]), where it may make and delete nothing, and opens a
//! data key of each key on the drive. The target MinIO starts on a clone of the drive with that KES, and reads the oldest
//! and the newest objects of each key. The deployment may run meanwhile; nothing of it changes.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use kes_server::auth::KeyName;
use schemars::JsonSchema;
use serde::Serialize;
use zeroize::Zeroizing;

use crate::data::drive::Inventory;
use crate::error::Error;
use crate::host::blocking::blocking;
use crate::host::interrupt::Interrupt;
use crate::manifest::Manifest;
use crate::operate::clone::{ClonePlan, CloneServer, Kms, check_apart};
use crate::operate::evidence::{Claim, Step, Steps};
use crate::operate::inventory;
use crate::operate::session::environment;
use crate::operate::snapshot::Method;
use crate::supply;

mod access;
mod copied;
mod kes;
mod keys;
mod place;
mod samples;

pub(crate) use access::{Caller, Rules};
use kes::TrialKes;
pub(crate) use samples::Samples;

/// What would be imported.
#[derive(Debug)]
pub(crate) struct Deployment {
    /// The manifest that an import writes, with the values of its variables; paths are those of this host.
    pub(crate) manifest: Manifest,
    /// The drive.
    pub(crate) drive: PathBuf,
    /// The folder of the deployment, which no clone goes into.
    pub(crate) folder: PathBuf,
    /// Its own policies; `None` if it has no KES.
    pub(crate) rules: Option<Rules>,
    /// The key of a deployment without KES, in the form of a keystore.
    pub(crate) static_key: Option<(KeyName, Zeroizing<Vec<u8>>)>,
    /// Why its keys cannot be used from here, if so.
    pub(crate) keys_elsewhere: Option<String>,
}

/// How it is rehearsed.
#[derive(Debug)]
pub(crate) struct Request {
    /// So many of the oldest and of the newest objects of each key are read.
    pub(crate) sample: usize,
    /// Where the clone is made, if not next to the drive.
    pub(crate) work: Option<PathBuf>,
}

/// What a rehearsal found.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Rehearsed")]
pub(crate) struct Report {
    /// Name that the stack would have.
    pub(crate) name: String,
    /// True if every claim is true: nothing that was tried keeps the import from working.
    pub(crate) go: bool,
    /// Why not.
    pub(crate) reasons: Vec<String>,
    /// Where the keys are, for people.
    pub(crate) keystore: String,
    /// The drive that was cloned.
    pub(crate) drive: PathBuf,
    /// The clone; null if an earlier obstacle made it useless.
    pub(crate) clone: Option<Cloned>,
    /// The claims, in the order in which they were checked.
    pub(crate) claims: Vec<Claim>,
    /// What was read, by key.
    pub(crate) samples: Vec<Samples>,
    /// What was done, in this order.
    pub(crate) steps: Vec<Step>,
    /// Things to know that are not obstacles.
    pub(crate) notes: Vec<String>,
    /// What this cannot show, and why.
    pub(crate) not_covered: Vec<String>,
    /// How long it took.
    pub(crate) milliseconds: u128,
}

/// A clone that was made, and is gone by now.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "RehearsedClone")]
pub(crate) struct Cloned {
    /// The folder in which it was.
    pub(crate) folder: PathBuf,
    /// How it was made.
    pub(crate) method: Method,
    /// Bytes that it took of the disk.
    pub(crate) bytes: u64,
    /// The MinIO that served it.
    pub(crate) minio: PathBuf,
}

/// Rehearses the import of a deployment.
///
/// # Errors
/// What keeps it from being rehearsed at all: a drive that is none, no room for a clone, no MinIO on this machine. What
/// would keep the import from working is in the report.
pub(crate) async fn rehearse(
    deployment: &Deployment,
    request: &Request,
    interrupt: &Interrupt,
) -> Result<Report, Error> {
    let start = Instant::now();
    let drive = place::checked(&deployment.drive)?;
    let manifest = &deployment.manifest;
    let minio = supply::minio_program(manifest.minio.binary.as_deref(), &environment)?;
    let kes = supply::kes_program(manifest.kes.binary.as_deref(), &environment)?;
    let within = request.work.clone().unwrap_or_else(|| place::near(&drive, &deployment.folder));
    check_work(deployment, &drive, &within, request.work.is_some())?;
    let mut steps = Steps::default();
    let plan = steps.take("look for room for a clone of the drive", place::plan(&drive, &within, interrupt)).await?;
    let looking = inventory::of_drive(drive.clone());
    let inventory = steps.take("look which keys the data needs", looking).await?;
    let mut rehearsal =
        Rehearsal { deployment, drive, within, inventory, steps, found: Found::default(), sample: request.sample };
    rehearsal.judge();
    Box::pin(interrupt.ends(rehearsal.tried(&kes, plan, minio))).await?;
    Ok(rehearsal.report(start))
}

/// Refuses a folder for the clone that is part of what is rehearsed. Where nobody `named` one, it may be the folder for
/// temporary files, around which a deployment may lie.
fn check_work(deployment: &Deployment, drive: &Path, within: &Path, named: bool) -> Result<(), Error> {
    let keys = deployment.manifest.fs_path();
    let folder = Some(deployment.folder.as_path()).filter(|_| named);
    let hint = "name a folder outside of the drive, the keys and the deployment with --work-dir";
    check_apart(within, [drive].into_iter().chain(keys.as_deref()).chain(folder), hint)
}

/// A rehearsal that takes place.
struct Rehearsal<'a> {
    deployment: &'a Deployment,
    drive: PathBuf,
    within: PathBuf,
    inventory: Inventory,
    sample: usize,
    steps: Steps,
    found: Found,
}

/// What it has found so far.
#[derive(Default)]
struct Found {
    claims: Vec<Claim>,
    notes: Vec<String>,
    not_covered: Vec<String>,
    samples: Vec<Samples>,
    clone: Option<Cloned>,
}

impl Found {
    /// Takes down whether the keystore has a default key that protects nothing yet.
    fn judge_default(&mut self, name: &str, exists: Result<bool, Error>) {
        match exists {
            Ok(true) => {}
            Ok(false) => self
                .notes
                .push(format!("MinIO's default key '{name}' is not in the keystore: `kestack up` makes it there")),
            Err(error) => self.claims.push(Claim {
                about: format!("key '{name}'"),
                claim: "KES can say whether it has MinIO's default key".into(),
                proven: false,
                seen: error.parts().0,
            }),
        }
    }
}

impl Rehearsal<'_> {
    /// What can be said without starting anything.
    fn judge(&mut self) {
        let default = self.deployment.manifest.default_key.as_str();
        if let Some(rules) = &self.deployment.rules {
            let judged = access::judge(rules, &self.inventory, default);
            self.found.claims.extend(judged.claims);
            self.found.notes.extend(judged.notes);
        }
        if self.inventory.not_understood > 0 {
            let count = self.inventory.not_understood;
            self.found
                .not_covered
                .push(format!("{count} versions on the drive are of a form that kestack does not know"));
        }
        if !self.inventory.client_keys.is_empty() {
            self.found.not_covered.push("objects under keys of clients (SSE-C): they need no KES".into());
        }
    }

    /// Tries keystore, keys and MinIO, as far as each of them allows the next.
    async fn tried(&mut self, kes: &Path, plan: ClonePlan, minio: PathBuf) -> Result<(), Error> {
        if let Some(why) = self.deployment.keys_elsewhere.clone() {
            self.claim_keystore(false, why);
            return Ok(());
        }
        let starting = TrialKes::start(self.deployment, kes);
        let kes = match self.steps.take("start KES on the keystore, to read only", starting).await? {
            Ok(kes) => kes,
            Err(why) => {
                self.claim_keystore(false, format!("it cannot be used from here: {why}"));
                return Ok(());
            }
        };
        self.claim_keystore(true, "KES is ready".into());
        let done = self.with_kes(&kes, plan, minio).await;
        kes.end().await;
        done
    }

    fn claim_keystore(&mut self, proven: bool, seen: String) {
        let about = format!("the keystore ({})", self.keystore());
        self.found.claims.push(Claim { about, claim: "KES serves it from this machine".into(), proven, seen });
        if !proven {
            self.found.not_covered.push("keys and objects: without the keystore none could be opened".into());
        }
    }

    async fn with_kes(&mut self, kes: &TrialKes, plan: ClonePlan, minio: PathBuf) -> Result<(), Error> {
        let opening = keys::open(&kes.client, &self.drive, &self.inventory);
        let keys::Found { claims, notes, good } = self.steps.take("open a data key of each key", opening).await?;
        self.found.claims.extend(claims);
        self.found.notes.extend(notes);
        let default = self.deployment.manifest.default_key.as_str();
        let mut has_default = good.iter().any(|name| name == default);
        if !has_default && !self.inventory.keys.contains_key(default) {
            let exists = keys::exists(&kes.client, default).await;
            has_default = matches!(exists, Ok(true));
            self.found.judge_default(default, exists);
        }
        // MinIO does not start without its key, and here it may make none
        let key = if has_default { Some(default) } else { good.first().map(String::as_str) };
        let kms = key.map_or(Kms::None, |key| Kms::Kes(kes.variables(key)));
        self.leave_out(&good);
        self.on_clone(plan, minio, &kms, &good).await
    }

    /// Names keys whose objects no MinIO could read: that is said of the key already.
    fn leave_out(&mut self, good: &[String]) {
        let left = self.inventory.keys.keys().filter(|name| !good.contains(name));
        let left = left.map(|name| format!("objects under key '{name}': KES does not open their data keys"));
        self.found.not_covered.extend(left);
    }

    async fn on_clone(&mut self, plan: ClonePlan, minio: PathBuf, kms: &Kms, good: &[String]) -> Result<(), Error> {
        let bytes = plan.bytes;
        let cloning = blocking("clone", &self.drive, move || plan.fill_live());
        let clone = self.steps.take("clone the drive", cloning).await?;
        let (folder, method) = (self.within.clone(), clone.method);
        self.found.clone = Some(Cloned { folder, method, bytes, minio: minio.clone() });
        let starting = CloneServer::start(Arc::new(clone), &minio, kms);
        let started = match self.steps.take("start the target MinIO on the clone", starting).await {
            Ok(server) => Ok(server),
            Err(error @ (Error::Ended { .. } | Error::NotReady { .. })) => Err(error.parts().0),
            Err(error) => return Err(error),
        };
        self.found.claims.push(Claim {
            about: "the target MinIO".into(),
            claim: "it starts on a clone of the drive with this KES".into(),
            proven: started.is_ok(),
            seen: started.as_ref().map_or_else(Clone::clone, |_| minio.display().to_string()),
        });
        let Ok(mut server) = started else { return Ok(()) };
        let reading = samples::read(&mut server, &self.drive, self.sample, good);
        let samples = self.steps.take("read the oldest and the newest objects of each key", reading).await?;
        for claim in samples.iter().map(Samples::claim) {
            match claim {
                Ok(claim) => self.found.claims.push(claim),
                Err(why) => self.found.not_covered.push(why),
            }
        }
        self.found.samples = samples;
        Ok(())
    }

    fn keystore(&self) -> String {
        if self.deployment.static_key.is_some() {
            return "a folder with the key of MinIO's environment".into();
        }
        self.deployment.manifest.keystore_name()
    }

    fn report(self, start: Instant) -> Report {
        let keystore = self.keystore();
        let Found { claims, notes, mut not_covered, samples, clone } = self.found;
        let wrong = claims.iter().filter(|claim| !claim.proven);
        let reasons: Vec<_> = wrong.map(|claim| format!("{}: {}", claim.about, claim.seen)).collect();
        if clone.is_some() {
            not_covered.push("objects that were not read: each key was tried with its oldest and newest ones".into());
            let live = "what clients changed since the clone was begun: a MinIO that serves the drive was not paused";
            not_covered.push(live.into());
            not_covered.push("MinIO's own configuration, users and policies: the clone does not hold them".into());
        }
        Report {
            name: self.deployment.manifest.name.to_string(),
            go: reasons.is_empty(),
            reasons,
            keystore,
            drive: self.drive,
            clone,
            claims,
            samples,
            steps: self.steps.0,
            notes,
            not_covered,
            milliseconds: start.elapsed().as_millis(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_keystore_that_refuses_to_look_for_the_default_key_is_a_no_go() {
        let mut found = Found::default();
        found.judge_default("main", Ok(true));
        assert!(found.claims.is_empty() && found.notes.is_empty());
        found.judge_default("main", Ok(false));
        assert!(found.claims.is_empty() && found.notes[0].contains("'main' is not in the keystore"));
        let refusal = Error::Environment { what: "permission denied".into(), hint: "ask for it".into() };
        found.judge_default("main", Err(refusal));
        let claim = &found.claims[0];
        assert!(!claim.proven && claim.about == "key 'main'" && claim.seen == "permission denied", "{claim:?}");
    }
}
