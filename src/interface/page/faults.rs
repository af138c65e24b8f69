//! Faults: a switch for each, and what an application sees meanwhile.

use std::time::{Duration, Instant};

use axum::extract::State;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::form::Filled;
use super::frame::{ForPart, Shown};
use crate::error::Error;
use crate::interface::Interface;
use crate::interface::call::Patience;
use crate::interface::faults::{self, Wanted};
use crate::interface::given::Given;
use crate::operate::canary;
use crate::operate::chaos::Fault;
use crate::operate::status::InForce;
use crate::servers::s3::{S3Client, S3Error};

/// How long an application waits for an answer here.
const PATIENCE: Duration = Duration::from_secs(3);
/// Tries that are kept.
const KEPT: usize = 12;

#[derive(Serialize)]
struct View {
    faults: Vec<Switch>,
    in_force: Option<InForce>,
    /// The newest first.
    tries: Vec<Try>,
    /// What the newest one does.
    newest: Option<&'static str>,
}

/// One fault that can be switched on.
#[derive(Serialize)]
struct Switch {
    fault: Fault,
    words: &'static str,
    on: bool,
}

/// What an application saw that stored an object and read it.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Try {
    time: String,
    worked: bool,
    words: String,
}

#[derive(Deserialize)]
pub(super) struct Begun {
    fault: Fault,
    seconds: u64,
}

pub(super) async fn show(State(interface): State<Interface>, part: ForPart) -> Shown {
    let in_force = InForce::of(&interface.0.known.options().await?.layout())?;
    let is_on = |fault: Fault| in_force.as_ref().is_some_and(|known| known.fault == fault);
    let switch = |fault: Fault| Switch { fault, words: words(fault), on: is_on(fault) };
    let faults = Fault::ALL.into_iter().map(switch).collect();
    let tries: Vec<Try> = interface.tries().iter().rev().cloned().collect();
    let newest = tries.first().map(|newest| if newest.worked { "works" } else { "fails" });
    interface.show_for(part, "faults.html", ("Faults", "faults"), &View { faults, in_force, tries, newest }).await
}

pub(super) async fn begin(
    State(interface): State<Interface>,
    patience: Patience,
    Filled(begun): Filled<Begun>,
) -> Shown {
    let Begun { fault, seconds } = begun;
    let wanted = Wanted { fault, seconds, seed: None };
    faults::begin(State(interface.clone()), patience, Given(wanted)).await?;
    Ok(interface.lead_to("/faults", format!("{fault} is in force for {seconds} s.")))
}

pub(super) async fn heal(State(interface): State<Interface>, patience: Patience) -> Shown {
    let report = faults::heal(State(interface.clone()), patience).await?.into_inner();
    let done = match report.fault {
        Some(fault) => format!("{fault} is healed: both servers answer again."),
        None => "There was no fault to heal.".to_owned(),
    };
    Ok(interface.lead_to("/faults", done))
}

/// Does what applications do: stores an object where the stack encrypts, and reads it.
pub(super) async fn attempt(State(interface): State<Interface>, part: ForPart) -> Shown {
    let start = Instant::now();
    let tried = tokio::time::timeout(PATIENCE, interface.store_and_read()).await;
    let milliseconds = start.elapsed().as_millis();
    let (worked, words) = match tried {
        Err(_) => (false, format!("no answer within {} s", PATIENCE.as_secs())),
        Ok(Err(error)) => (false, format!("after {milliseconds} ms: {error}")),
        Ok(Ok(bucket)) => (true, format!("stored in {bucket} and read back in {milliseconds} ms")),
    };
    let time = Timestamp::now().strftime("%H:%M:%S").to_string();
    {
        let mut tries = interface.tries();
        if tries.len() == KEPT {
            tries.pop_front();
        }
        tries.push_back(Try { time, worked, words });
    }
    show(State(interface), part).await
}

impl Interface {
    fn tries(&self) -> std::sync::MutexGuard<'_, std::collections::VecDeque<Try>> {
        self.0.page.tries.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    async fn store_and_read(&self) -> Result<String, Error> {
        let kept = self.0.known.kept().await?;
        let declared = kept.stack().manifest.buckets.iter().find(|bucket| bucket.encrypts());
        let bucket = declared.map(|bucket| bucket.name.to_string()).ok_or_else(|| Error::Usage {
            what: "kestack.yaml declares no bucket that encrypts".into(),
            hint: "declare one below `buckets`".into(),
        })?;
        let (s3, interrupt, busy) = (kept.clients().s3, self.0.interrupt.clone(), self.0.busy.begin());
        // it goes on when nobody waits any more: the object is removed in any case
        let task = tokio::spawn(async move {
            let _busy = busy;
            let name = canary::ready(fastrand::u64(..).to_be_bytes());
            let tried = interrupt.ends(exchange(&s3, &bucket, &name)).await;
            s3.delete_object_versions(&bucket, &name).await?;
            tried.map(|()| bucket)
        });
        task.await.unwrap_or_else(|error| Err(Error::file("finish", "the try")(std::io::Error::other(error))))
    }
}

async fn exchange(s3: &S3Client, bucket: &str, name: &str) -> Result<(), Error> {
    s3.put_object(bucket, name, name.as_bytes()).await?;
    let read = s3.get_object(bucket, name).await?;
    if read == name.as_bytes() {
        return Ok(());
    }
    let (call, cause) = (format!("GET /{bucket}/{name}"), "it has other bytes than were stored".into());
    Err(S3Error::Invalid { call, cause }.into())
}

fn words(fault: Fault) -> &'static str {
    match fault {
        Fault::KesDown => {
            "KES does not run. MinIO can store nothing encrypted, and reads only objects whose key it holds."
        }
        Fault::KesSlow => "KES freezes and continues in turns. Requests take seconds; some run into time limits.",
        Fault::KesDeny => "KES refuses everything that MinIO asks, as after a wrong change of its policies.",
        Fault::KesFlap => "KES goes down and comes back in turns, as a process that crashes again and again.",
        Fault::KeystoreReadonly => "KES reads keys, but can neither make nor remove any.",
        Fault::KeystoreFull => "KES cannot write one more byte of a key, as on a full disk.",
        Fault::CertExpired => "KES shows a certificate that expired yesterday. MinIO refuses to speak to it.",
    }
}
