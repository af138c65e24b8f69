//! Faults on demand, for tests of what applications do when keys are out of reach: begun, played for a time and
//! always undone.
//!
//! Before anything is broken, a [`FaultRecord`] of it is written into the stack's folder; it goes once all is well again.
//! So whatever ends this process, `kestack chaos heal` and the next `up` know what to repair.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use crate::engine::{Engine, Signal};
use crate::error::Error;
use crate::operate::access::{Access, set_access};
use crate::resource::Context;
use crate::resource::probe;
use crate::stack::{Layout, Stack};

mod certificate;
mod keystore;
mod record;
mod report;
mod schedule;
mod system;

pub use record::FaultRecord;
pub(crate) use report::{Report, end_any};
pub use schedule::{Act, Schedule};

/// How long servers may take to be well again.
const DEADLINE: Duration = Duration::from_secs(60);

/// How long KES may take to end in good order.
const GRACE: Duration = Duration::from_secs(5);

/// What can be broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Fault {
    /// KES does not run.
    KesDown,
    /// KES is paused most of the time: it is frozen and thawed in turns.
    KesSlow,
    /// KES refuses all that MinIO asks.
    KesDeny,
    /// KES goes down and comes up in turns.
    KesFlap,
    /// KES can read keys, but neither make nor remove any.
    KeystoreReadonly,
    /// KES can write no byte of a key: what it writes is refused as too large, as on a full disk or quota.
    KeystoreFull,
    /// KES shows a certificate that expired yesterday.
    CertExpired,
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::KesDown,
        Self::KesSlow,
        Self::KesDeny,
        Self::KesFlap,
        Self::KeystoreReadonly,
        Self::KeystoreFull,
        Self::CertExpired,
    ];

    /// True if MinIO gets no data key while it lasts, so that nothing encrypted can be read.
    pub fn cuts_off_keys(self) -> bool {
        matches!(self, Self::KesDown | Self::KesDeny | Self::CertExpired)
    }

    /// True if it breaks the keystore, for writing alone.
    pub fn breaks_keystore(self) -> bool {
        matches!(self, Self::KeystoreReadonly | Self::KeystoreFull)
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.serialize(f)
    }
}

/// Breaks it, and keeps a record, which says for how long if that is known. Faults that change over time have not begun
/// yet: see [`Player`].
///
/// # Errors
/// [`Error::Usage`] or [`Error::Environment`] if this fault is impossible here; nothing is broken then.
pub async fn begin(stack: &Stack, context: &Context, fault: Fault, time: Option<Duration>) -> Result<(), Error> {
    check(stack, fault)?;
    stack.check_keystore(context.engine.info())?;
    heal(stack, context).await?;
    // somebody may have asked for the end of an earlier one
    FaultRecord::remove(&stack.layout)?;
    let until = time.and_then(|time| Timestamp::now().checked_add(SignedDuration::try_from(time).ok()?).ok());
    let mut record = FaultRecord::new(fault, until);
    record.write(&stack.layout)?;
    let begun = match fault {
        Fault::KesSlow | Fault::KesFlap => Ok(()),
        Fault::KesDown => context.engine.stop_container(&kes_of(stack), GRACE).await.map_err(Error::from),
        Fault::KesDeny => set_access(stack, context, Access::Denied).await,
        Fault::KeystoreReadonly => keystore::protect(stack, context, &mut record).await,
        Fault::KeystoreFull => keystore::fill(stack, context, &mut record).await,
        Fault::CertExpired => certificate::expire(stack, context, &mut record).await,
    };
    if begun.is_err() {
        heal(stack, context).await?;
    }
    begun
}

/// Refuses a fault that is impossible with this stack, or would reach further than it.
fn check(stack: &Stack, fault: Fault) -> Result<(), Error> {
    if fault.breaks_keystore() && !stack.manifest.keystore_is_fs() {
        return Err(Error::Usage {
            what: format!("{fault} needs the fs keystore, and this stack has another one"),
            hint: "kes-deny and kes-down work with every keystore".into(),
        });
    }
    if let Some(folder) = stack.manifest.fs_path().filter(|_| fault == Fault::KeystoreReadonly) {
        return Err(Error::Usage {
            what: format!(
                "{fault} changes the permissions of the folder of keys, and kestack.yaml names '{}', which others may use",
                folder.display()
            ),
            hint: "keystore-full breaks only this stack's KES".into(),
        });
    }
    if stack.replicas().len() > 1 {
        return Err(Error::Usage {
            what: "faults need a stack with one KES; this stack has several, so a fault of one would have no effect"
                .into(),
            hint: "set `kes.replicas: 1`, or end one replica yourself".into(),
        });
    }
    Ok(())
}

/// Breaks it for that long. Whatever comes of it, also if this is dropped before its end, [`heal`] repairs it.
///
/// # Errors
/// As [`begin`], and those of the engine.
pub async fn play(stack: &Stack, context: &Context, fault: Fault, seed: u64, time: Duration) -> Result<(), Error> {
    begin(stack, context, fault, Some(time)).await?;
    last(stack, context, fault, seed, time).await
}

/// Plays a fault that was begun, for that long or until somebody asks for its end.
///
/// # Errors
/// Those of the engine.
pub(crate) async fn last(
    stack: &Stack,
    context: &Context,
    fault: Fault,
    seed: u64,
    time: Duration,
) -> Result<(), Error> {
    let player = Player::new(stack, context);
    tokio::select! {
        played = player.play(Schedule::new(fault, seed), time) => played,
        () = asked_to_end(&stack.layout) => Ok(()),
    }
}

/// Waits until somebody asks for the end of the fault in force.
async fn asked_to_end(layout: &Layout) {
    let mut looks = tokio::time::interval(Duration::from_millis(100));
    while !layout.fault_end().exists() {
        looks.tick().await;
    }
}

/// Undoes whatever fault is on record, and returns when both servers answer again. Without a record there is nothing
/// to do: `None`.
pub async fn heal(stack: &Stack, context: &Context) -> Result<Option<Fault>, Error> {
    let Some(record) = undo_files(&stack.layout)? else { return Ok(None) };
    let kes = kes_of(stack);
    undo_process(&record, context.engine.as_ref(), stack).await?;
    if record.fault == Fault::CertExpired {
        // earlier connections of MinIO and KES are useless now
        context.engine.stop_container(&kes, GRACE).await?;
    }
    // a signal that comes before KES has its handlers would end it; and a stop that was on its way may be done only now
    let started = || async {
        let ready = context.kes.ready().await;
        if ready.is_err() {
            context.engine.start_container(&kes).await?;
        }
        ready.map_err(Error::from)
    };
    probe::until_ready("KES after a fault", DEADLINE, started).await?;
    set_access(stack, context, Access::Allowed).await?;
    probe::until_ready("MinIO with KES back", DEADLINE, || context.s3.health("ready")).await?;
    FaultRecord::remove(&stack.layout)?;
    Ok(Some(record.fault))
}

/// Puts the files back that the fault on record changed; needs no server. The record stays until all is well.
pub fn undo_files(layout: &Layout) -> Result<Option<FaultRecord>, Error> {
    let Some(record) = FaultRecord::read(layout)? else { return Ok(None) };
    keystore::release(&record)?;
    certificate::restore(layout, &record)?;
    Ok(Some(record))
}

/// Frees KES's process from what a fault did to it alone; one that does not run needs nothing.
pub async fn undo_process(record: &FaultRecord, engine: &dyn Engine, stack: &Stack) -> Result<(), Error> {
    let Some(pid) = process_of_kes(stack, engine).await? else { return Ok(()) };
    if record.fault == Fault::KesSlow {
        engine.signal_container(&kes_of(stack), Signal::Cont).await?;
    }
    keystore::empty(pid, record)
}

/// The process of that KES, if it runs on this host.
async fn process_of_kes(stack: &Stack, engine: &dyn Engine) -> Result<Option<i32>, Error> {
    let kes = kes_of(stack);
    let pod = engine.pod(stack.manifest.name.as_str()).await?;
    Ok(pod.and_then(|pod| pod.containers.into_iter().find(|container| container.name == kes)?.pid))
}

/// Container of the one KES that faults are about.
pub(crate) fn kes_of(stack: &Stack) -> String {
    stack.replicas().into_iter().next().map(|replica| replica.container).unwrap_or_default()
}

/// Plays a schedule against KES: what a fault does over time.
#[derive(Debug, Clone)]
pub struct Player {
    engine: Arc<dyn Engine>,
    kes: String,
}

impl Player {
    /// A player against the KES of `stack`.
    pub fn new(stack: &Stack, context: &Context) -> Self {
        Self { engine: Arc::clone(&context.engine), kes: kes_of(stack) }
    }

    /// Plays until the schedule ends, at the latest after `time`. May be dropped at any moment; [`heal`] then undoes
    /// what it left.
    pub async fn play(&self, schedule: Schedule, time: Duration) -> Result<(), Error> {
        let start = tokio::time::Instant::now();
        for (act, lasts) in schedule {
            // begun is done: an engine goes on stopping a container whose caller has left, also after it was started again
            self.act(act).await?;
            let left = time.saturating_sub(start.elapsed());
            tokio::time::sleep(lasts.min(left)).await;
            if lasts >= left {
                break;
            }
        }
        Ok(())
    }

    async fn act(&self, act: Act) -> Result<(), Error> {
        tracing::debug!(?act, "chaos");
        match act {
            Act::Nothing => {}
            Act::Freeze => self.engine.signal_container(&self.kes, Signal::Stop).await?,
            Act::Thaw => self.engine.signal_container(&self.kes, Signal::Cont).await?,
            Act::Stop => self.engine.stop_container(&self.kes, GRACE).await?,
            Act::Start => self.engine.start_container(&self.kes).await?,
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_have_the_names_of_their_commands() {
        let names: Vec<_> = Fault::ALL.iter().map(ToString::to_string).collect();
        let expected =
            ["kes-down", "kes-slow", "kes-deny", "kes-flap", "keystore-readonly", "keystore-full", "cert-expired"];
        assert_eq!(names, expected);
    }
}
