//! `/v1/faults`: a fault lasts on after the request that began it, until its time is over, somebody heals it or the program
//! ends.

use std::time::Duration;

use axum::extract::State;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Interface;
use super::answer::{Answered, found, made};
use super::call::Patience;
use super::given::{Given, invalid};
use super::reach::Reach;
use crate::error::Error;
use crate::host::interrupt::Interrupt;
use crate::host::lock::Hold;
use crate::operate::chaos::{self, Fault, Report};
use crate::operate::session::Opened;
use crate::operate::status;

/// The longest that a fault may last.
const LONGEST: u64 = 24 * 60 * 60;

/// A fault to begin.
#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    /// Which one.
    pub(super) fault: Fault,
    /// How many seconds it lasts, unless it is healed earlier.
    #[serde(default = "ten")]
    #[schemars(range(min = 1, max = LONGEST))]
    pub(super) seconds: u64,
    /// Seed for the moments of a fault that changes over time, to repeat an earlier run; without one a random one.
    pub(super) seed: Option<u32>,
}

fn ten() -> u64 {
    10
}

/// The fault in force.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Fault")]
pub(super) struct InForce {
    /// Which one, and until when; null if all is well.
    fault: Option<status::InForce>,
}

/// A fault that is in force now.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "FaultBegun")]
pub(super) struct Begun {
    #[serde(flatten)]
    fault: status::InForce,
    /// The seed that repeats it.
    seed: u32,
}

pub(super) async fn list(State(interface): State<Interface>) -> Answered<InForce> {
    let layout = interface.0.known.options().await?.layout();
    found(status::InForce::of(&layout).map(|fault| InForce { fault }))
}

pub(super) async fn begin(
    State(interface): State<Interface>,
    patience: Patience,
    Given(wanted): Given<Wanted>,
) -> Answered<Begun> {
    if !(1..=LONGEST).contains(&wanted.seconds) {
        return Err(invalid(format!("a fault lasts 1 to {LONGEST} seconds")));
    }
    interface.0.known.options().await?.refuse_served()?;
    let this = interface.clone();
    made(interface.run(move |interrupt| this.break_it(wanted, patience, interrupt)).await)
}

pub(super) async fn heal(State(interface): State<Interface>, Patience(patience): Patience) -> Answered<Report> {
    let options = interface.0.known.options().await?;
    options.refuse_served()?;
    let healed =
        interface.run(move |interrupt| async move { interrupt.ends(chaos::end_any(options, Some(patience))).await });
    found(healed.await)
}

impl Interface {
    /// Begins a fault, and goes on playing it after this returns.
    async fn break_it(self, wanted: Wanted, patience: Patience, interrupt: Interrupt) -> Result<Begun, Error> {
        let opened = interrupt.ends(self.open(Hold::Fault, patience)).await?;
        let reach = interrupt.ends(self.0.known.running()).await?;
        let (stack, context) = (reach.stack(), reach.context());
        let time = Duration::from_secs(wanted.seconds);
        if let Err(error) = interrupt.ends(chaos::begin(stack, context, wanted.fault, Some(time))).await {
            chaos::heal(stack, context).await?;
            return Err(error);
        }
        let seed = wanted.seed.unwrap_or_else(|| fastrand::u32(..));
        let layout = stack.layout.clone();
        self.tell("fault", "begun", &wanted.fault.to_string());
        let busy = self.0.busy.begin();
        tokio::spawn(async move {
            self.play(wanted, seed, &reach, opened).await;
            drop(busy);
        });
        let record = status::InForce::of(&layout)?;
        record.map(|fault| Begun { fault, seed }).ok_or_else(|| Error::Usage {
            what: "the fault was healed before this request was answered".into(),
            hint: "begin it again".into(),
        })
    }

    /// Plays a fault until its end, and heals it. The lock is held.
    async fn play(&self, wanted: Wanted, seed: u32, reach: &Reach, _lock: Opened) {
        let (stack, context) = (reach.stack(), reach.context());
        let time = Duration::from_secs(wanted.seconds);
        let lasts = chaos::last(stack, context, wanted.fault, seed.into(), time);
        if let Err(error) = self.0.interrupt.ends(lasts).await {
            tracing::debug!(%error, "a fault ended early");
        }
        match chaos::heal(stack, context).await {
            Ok(_) => self.tell("fault", "healed", &wanted.fault.to_string()),
            Err(error) => tracing::warn!("{} is not healed: {error}", wanted.fault),
        }
    }
}
