//! Trials: every fault that is possible here, under reads and writes, with a report of the results.

use std::pin::pin;
use std::time::Duration;

use serde::Serialize;

use crate::error::Error;
use crate::host::interrupt::Interrupt;
use crate::operate::canary;
use crate::operate::chaos::{self, Fault, Player, Schedule};
use crate::operate::verify::Evidence;
use crate::resource::Context;
use crate::stack::Stack;

/// How long the faults that come in turns are played.
const TURNS: Duration = Duration::from_secs(5);

/// All faults of one run.
#[derive(Debug, Clone, Serialize, schemars::JsonSchema)]
pub(crate) struct Trials {
    /// The seed that repeats it.
    pub(crate) seed: u64,
    /// Findings by fault.
    pub(crate) trials: Vec<Trial>,
}

/// What one fault showed.
#[derive(Debug, Clone, Serialize, schemars::JsonSchema)]
pub struct Trial {
    /// Which fault.
    pub fault: Fault,
    /// Findings; none if the fault is impossible here.
    pub evidence: Vec<Evidence>,
    /// Why the fault is impossible here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_here: Option<String>,
}

impl Trial {
    /// True if everything held.
    pub fn held(&self) -> bool {
        self.evidence.iter().all(|evidence| evidence.proven)
    }

    fn add(&mut self, claim: &'static str, proven: bool, seen: String) {
        self.evidence.push(Evidence { claim, proven, seen });
    }
}

/// Tries all faults against objects of its own in `bucket`. Whatever ends it, the fault in force is undone and the objects
/// are removed.
///
/// # Errors
/// Those of calls outside of a fault; what does not hold under one is not an error but evidence.
/// [`Error::Interrupted`] after a signal.
pub async fn all(
    stack: &Stack,
    context: &Context,
    bucket: &str,
    seed: u64,
    interrupt: &Interrupt,
) -> Result<Vec<Trial>, Error> {
    let mut trials = Vec::new();
    for fault in Fault::ALL {
        let mut trial = Trial { fault, evidence: vec![], not_here: None };
        let mut written = Written { bucket, seed, fault, acknowledged: 0 };
        let done = interrupt.ends(try_out(stack, context, &mut written, &mut trial)).await;
        chaos::heal(stack, context).await?;
        let removed = written.remove(context).await;
        done?;
        removed?;
        trials.push(trial);
    }
    Ok(trials)
}

/// One fault: begun, used, undone, and what was written read again.
async fn try_out(stack: &Stack, context: &Context, written: &mut Written<'_>, trial: &mut Trial) -> Result<(), Error> {
    written.put(context).await?;
    match chaos::begin(stack, context, trial.fault, None).await {
        Err(error @ (Error::Environment { .. } | Error::Usage { .. })) => {
            trial.not_here = Some(error.to_string());
            return Ok(());
        }
        begun => begun?,
    }
    under(stack, context, written, trial).await?;
    chaos::heal(stack, context).await?;
    let (proven, seen) = match written.read_all(context).await {
        Ok(()) => (true, format!("{} objects read", written.acknowledged)),
        Err(why) => (false, why),
    };
    trial.add("every acknowledged write is readable afterwards", proven, seen);
    Ok(())
}

/// Reads and writes while the fault is in force.
async fn under(stack: &Stack, context: &Context, written: &mut Written<'_>, trial: &mut Trial) -> Result<(), Error> {
    if trial.fault.cuts_off_keys() {
        let read = context.s3.get_object(written.bucket, &written.name(0)).await;
        let (proven, seen) = match read {
            Ok(bytes) => (false, format!("{} bytes were read", bytes.len())),
            Err(error) => (true, error.to_string()),
        };
        trial.add("encrypted objects cannot be read during the fault", proven, seen);
        // whether or not it is taken: if it is, it must be there afterwards
        let taken = written.put(context).await.is_ok();
        trial.add("writes are refused during the fault", !taken, format!("acknowledged: {taken}"));
    } else if trial.fault.breaks_keystore() {
        let read = written.read_all(context).await;
        trial.add("objects can be read", read.is_ok(), read.err().unwrap_or_else(|| "read".into()));
        let wrote = written.put(context).await;
        trial.add("objects can be written", wrote.is_ok(), wrote.err().map_or("written".into(), |e| e.to_string()));
    } else {
        let player = Player::new(stack, context);
        let mut playing = pin!(player.play(Schedule::new(trial.fault, written.seed), TURNS));
        loop {
            tokio::select! {
                played = &mut playing => break played?,
                // one that is refused, or cut off at the end, is not acknowledged
                _ = written.put(context) => {}
            }
        }
    }
    Ok(())
}

/// Objects of which MinIO said that they are stored.
struct Written<'a> {
    bucket: &'a str,
    seed: u64,
    fault: Fault,
    acknowledged: usize,
}

impl Written<'_> {
    fn name(&self, number: usize) -> String {
        canary::trial(self.seed, self.fault, number)
    }

    /// Writes one more; it counts once it is acknowledged.
    async fn put(&mut self, context: &Context) -> Result<(), Error> {
        let name = self.name(self.acknowledged);
        context.s3.put_object(self.bucket, &name, name.as_bytes()).await?;
        self.acknowledged += 1;
        Ok(())
    }

    async fn read_all(&self, context: &Context) -> Result<(), String> {
        for name in (0..self.acknowledged).map(|number| self.name(number)) {
            let read = context.s3.get_object(self.bucket, &name).await.map_err(|error| error.to_string())?;
            if read != name.as_bytes() {
                return Err(format!("'{name}' differs from what was written"));
            }
        }
        Ok(())
    }

    /// Also the one more that was written without an answer.
    async fn remove(&self, context: &Context) -> Result<(), Error> {
        for number in 0..=self.acknowledged {
            context.s3.delete_object_versions(self.bucket, &self.name(number)).await?;
        }
        Ok(())
    }
}
