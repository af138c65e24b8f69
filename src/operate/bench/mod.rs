//! What encryption costs: objects are written and read in three buckets of its own, not encrypted, SSE-S3 and SSE-KMS, in
//! turns, so that whatever else the machine does meets all of them alike.

use serde::{Deserialize, Serialize};

use crate::engine::PodState;
use crate::error::Error;
use crate::host::interrupt::Interrupt;
use crate::resource::Context;
use crate::servers::s3::{Encryption, S3Client};
use crate::stack::Stack;

mod clients;
mod figures;
mod last;
mod leftovers;
mod plan;
mod processor;
mod report;

use clients::Clients;
#[cfg(test)]
pub(crate) use figures::Figure;
use figures::Slices;
pub(crate) use last::Measured;
use leftovers::{BenchRecord, drop_buckets};
pub(crate) use leftovers::{sweep, sweep_of};
pub(crate) use plan::{CLIENTS, Plan, size, time};
use processor::Processors;
pub(crate) use report::{Figures, Report, bytes};

/// How often each kind of bucket has its turn.
const ROUNDS: u32 = 5;
/// Most bytes that lie in one bucket, unless a single object for each client is more.
const STORED: usize = 64 << 20;
/// Most objects of one client in one bucket.
const OBJECTS: usize = 64;

/// What the clients do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Work {
    /// They write objects.
    Put,
    /// They read objects.
    Get,
    /// They write and read in turns.
    Mix,
}

/// How objects lie in a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Scheme {
    /// In clear.
    None,
    /// SSE-S3.
    SseS3,
    /// SSE-KMS with the stack's default key.
    SseKms,
}

/// A bucket of the measurement.
struct Bucket {
    scheme: Scheme,
    name: String,
}

impl Work {
    const ALL: [Self; 3] = [Self::Put, Self::Get, Self::Mix];

    /// Whether the operation of that number is a write.
    fn writes(self, number: usize) -> bool {
        match self {
            Self::Put => true,
            Self::Get => false,
            Self::Mix => number.is_multiple_of(2),
        }
    }
}

impl std::fmt::Display for Work {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.serialize(f)
    }
}

impl std::fmt::Display for Scheme {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.serialize(f)
    }
}

impl Scheme {
    /// Those that this stack can store: with `auto_encryption` nothing is in clear.
    fn of(stack: &Stack) -> Vec<Self> {
        let clear = (!stack.material.auto_encryption).then_some(Self::None);
        clear.into_iter().chain([Self::SseS3, Self::SseKms]).collect()
    }

    fn encryption(self, stack: &Stack) -> Option<Encryption> {
        match self {
            Self::None => None,
            Self::SseS3 => Some(Encryption::SseS3),
            Self::SseKms => Some(Encryption::SseKms(stack.manifest.default_key.to_string())),
        }
    }
}

/// Measures. Whatever ends it, its buckets are removed; those that a killed one left go first. The stack's lock is held.
///
/// # Errors
/// Those of MinIO; [`Error::Interrupted`] after a signal.
pub(crate) async fn bench(
    stack: &Stack,
    context: &Context,
    pod: Option<&PodState>,
    plan: &Plan,
    interrupt: &Interrupt,
) -> Result<Report, Error> {
    let former = interrupt.ends(sweep(&stack.layout, &context.s3)).await?;
    let buckets = Scheme::of(stack).into_iter().map(|scheme| Ok(Bucket { scheme, name: leftovers::name(scheme)? }));
    let buckets: Vec<_> = buckets.collect::<Result<_, Error>>()?;
    let record = BenchRecord::of(&buckets, former);
    record.keep(&stack.layout)?;
    let work = async {
        let processors = Processors::of(pod);
        let mut slices = Slices::default();
        for &size in &plan.sizes {
            // not given up halfway: MinIO must have made a bucket before it is removed
            for bucket in &buckets {
                interrupt.check()?;
                make(stack, &context.s3, bucket).await?;
            }
            measure(&context.s3, interrupt, &buckets, plan, size, &processors, &mut slices).await?;
            for bucket in &buckets {
                context.s3.remove_for_good(&bucket.name).await?;
            }
        }
        Ok::<_, Error>(slices)
    };
    let measured = work.await;
    drop_buckets(&stack.layout, &context.s3, record.names()).await?;
    let measured = Measured::now(Report::new(stack, plan, &measured?));
    measured.keep(&stack.layout);
    Ok(measured.report)
}

async fn make(stack: &Stack, s3: &S3Client, Bucket { scheme, name }: &Bucket) -> Result<(), Error> {
    s3.create_bucket(name).await?;
    if let Some(encryption) = scheme.encryption(stack) {
        s3.put_bucket_encryption(name, &encryption).await?;
    }
    Ok(())
}

/// One size: all buckets are filled, which warms them up, then each kind of work has its turn in each bucket, once without
/// being counted.
async fn measure(
    s3: &S3Client,
    interrupt: &Interrupt,
    buckets: &[Bucket],
    plan: &Plan,
    size: usize,
    processors: &Processors,
    slices: &mut Slices,
) -> Result<(), Error> {
    let objects = (STORED / size.max(1) / plan.clients).clamp(1, OBJECTS);
    let clients = Clients::new(s3, interrupt, plan.clients, objects, size)?;
    tracing::info!("{}: warm-up", bytes(size));
    for bucket in buckets {
        clients.fill(&bucket.name).await?;
    }
    let turns = u32::try_from(Work::ALL.len() * buckets.len()).unwrap_or(u32::MAX);
    let time = plan.time / (ROUNDS * turns);
    for round in 0..=ROUNDS {
        if round > 0 {
            tracing::info!("{}: round {round} of {ROUNDS}", bytes(size));
        }
        for work in Work::ALL {
            // who is first changes, as the first one may find the machine in another state
            let first = usize::try_from(round).unwrap_or_default();
            for Bucket { scheme, name } in buckets.iter().cycle().skip(first % buckets.len()).take(buckets.len()) {
                let before = processors.read();
                let done = clients.run(name, work, time).await?;
                if round > 0 {
                    slices.add((size, work, *scheme), &done, processors.since(&before));
                }
            }
        }
    }
    Ok(())
}
