//! The proof that a stack encrypts: nothing of an object in clear on the drive, KES in the path of every read and
//! write, and nothing readable once KES refuses.

use std::collections::HashSet;
use std::io::Read as _;
use std::path::Path;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use futures_util::{Stream, StreamExt as _};
use jiff::Timestamp;
use kes_server::client::{AuditEvent, LogStream};
use kes_server::crypto::SealedValue;
use kes_server::keystore::fs;
use serde::Serialize;

use crate::error::Error;
use crate::host::interrupt::Interrupt;
use crate::operate::access::{Access, set_access};
use crate::operate::canary;
use crate::operate::coverage::Coverage;
use crate::operate::trials::{Trial, Trials};
use crate::resource::Context;
use crate::stack::Stack;

/// Size of the canary: more than MinIO keeps inline in an object's metadata file.
const CANARY_BYTES: usize = 192 * 1024;

/// Length of the byte runs that are looked for on the drive. Sixteen random bytes do not occur by chance.
const RUN: usize = 16;

/// Longest time KES may take to report a call.
const DEADLINE: Duration = Duration::from_secs(10);

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct Evidence {
    /// The claim to prove.
    pub claim: &'static str,
    /// Whether the claim was proven.
    pub proven: bool,
    /// What was seen.
    pub seen: String,
}

/// What `verify` found out about one bucket.
#[derive(Debug, Clone, Serialize, schemars::JsonSchema)]
pub struct Proof {
    /// Bucket the canary was written to.
    pub bucket: String,
    /// When the proof began.
    #[schemars(with = "String")]
    pub started: Timestamp,
    /// How long it took.
    pub milliseconds: u64,
    /// Findings in the order they were made.
    pub evidence: Vec<Evidence>,
}

impl Proof {
    /// True if every claim was proven.
    pub fn proven(&self) -> bool {
        self.evidence.iter().all(|evidence| evidence.proven)
    }

    fn add(&mut self, claim: &'static str, proven: bool, seen: impl Into<String>) {
        self.evidence.push(Evidence { claim, proven, seen: seen.into() });
    }
}

/// The proof of a complete stack.
#[derive(Debug, Clone)]
pub struct Findings {
    /// By bucket that the manifest declares and that encrypts.
    pub proofs: Vec<Proof>,
    /// Buckets that are not encrypted, although the manifest does not allow that.
    pub exposed_buckets: Vec<String>,
}

impl Findings {
    /// True if everything was proven.
    pub fn proven(&self) -> bool {
        self.exposed_buckets.is_empty() && self.proofs.iter().all(Proof::proven)
    }

    /// What was not proven, each with the next step.
    pub fn failures(&self) -> impl Iterator<Item = String> {
        let failed = self.proofs.iter().flat_map(|proof| {
            let failed = proof.evidence.iter().filter(|evidence| !evidence.proven);
            failed.map(|evidence| format!("bucket '{}': not proven: {}", proof.bucket, evidence.claim))
        });
        failed.chain(self.exposed_buckets.iter().map(|bucket| {
            format!(
                "bucket '{bucket}' is not encrypted, and kestack.yaml does not allow that: run \
                 `kestack bucket encrypt {bucket}`, or declare it with `encryption: none`"
            )
        }))
    }
}

/// What `verify` says of a stack.
#[derive(Debug, Clone, Serialize, schemars::JsonSchema)]
#[schemars(rename = "Verified")]
pub(crate) struct Report {
    /// Name of the stack.
    pub(crate) name: String,
    /// True if everything was proven.
    pub(crate) proven: bool,
    /// Findings by bucket.
    pub(crate) verdicts: Vec<Proof>,
    /// Buckets that are not encrypted, although kestack.yaml does not allow that; empty with --bucket.
    pub(crate) exposed_buckets: Vec<String>,
    /// Results of `--faults`; the field has the former name of that option.
    #[serde(rename = "drill", skip_serializing_if = "Option::is_none")]
    pub(crate) faults: Option<Trials>,
}

impl Report {
    /// What was found, with the trials if there were any.
    pub(crate) fn new(name: String, findings: Findings, faults: Option<Trials>) -> Self {
        let held = faults.iter().flat_map(|faults| &faults.trials).all(Trial::held);
        let proven = held && findings.proven();
        let Findings { proofs: verdicts, exposed_buckets } = findings;
        Self { name, proven, verdicts, exposed_buckets, faults }
    }
}

/// Proves `bucket`, or every declared bucket that encrypts, and that no other bucket is in clear. The stack's lock is held.
///
/// # Errors
/// [`Error::Usage`] if there is nothing to prove; else as [`bucket`].
pub async fn stack(
    stack: &Stack,
    context: &Context,
    only: Option<&str>,
    interrupt: &Interrupt,
) -> Result<Findings, Error> {
    let buckets = buckets_of(stack, only)?;
    let mut proofs = Vec::new();
    for name in &buckets {
        proofs.push(bucket(stack, context, name, interrupt).await?);
    }
    // whoever names one bucket asks about that one
    let all = if only.is_some() { vec![] } else { Coverage::of(stack, &context.s3).await? };
    let exposed_buckets = all.into_iter().filter(Coverage::is_exposed).map(|found| found.bucket).collect();
    Ok(Findings { proofs, exposed_buckets })
}

fn buckets_of(stack: &Stack, only: Option<&str>) -> Result<Vec<String>, Error> {
    if let Some(bucket) = only {
        return Ok(vec![bucket.to_owned()]);
    }
    let declared = stack.manifest.buckets.iter().filter(|bucket| bucket.encrypts());
    let buckets: Vec<_> = declared.map(|bucket| bucket.name.to_string()).collect();
    if buckets.is_empty() {
        return Err(Error::Usage {
            what: "the manifest declares no bucket that encrypts".into(),
            hint: "declare one, or name one with --bucket".into(),
        });
    }
    Ok(buckets)
}

/// Writes a canary object to `bucket`, gathers the evidence and removes the canary, and those that a killed proof left.
/// The stack's lock is held. Whatever ends it, MinIO's permission is given back and the canary is removed.
///
/// # Errors
/// Those of the calls that must work whatever the encryption; a claim that fails is not an error but evidence.
/// [`Error::Interrupted`] after a signal.
pub async fn bucket(stack: &Stack, context: &Context, bucket: &str, interrupt: &Interrupt) -> Result<Proof, Error> {
    stack.check_keystore(context.engine.info())?;
    let canary = Canary::new()?;
    let permission = Permission::default();
    let work = async {
        canary::sweep(&context.s3, bucket).await?;
        let mut calls = KeyCalls::watch(stack, context).await?;
        examine(stack, context, bucket, &canary, &permission, &mut calls).await
    };
    let result = interrupt.ends(work).await;
    let given_back = permission.give_back(stack, context).await;
    let removed = context.s3.delete_object_versions(bucket, &canary.name).await;
    let proof = result?;
    given_back?;
    removed?;
    Ok(proof)
}

/// Whether MinIO's permission at KES is taken away at the moment. If this process is killed, the next `up` gives it back.
#[derive(Debug, Default)]
struct Permission {
    taken: AtomicBool,
}

impl Permission {
    async fn take(&self, stack: &Stack, context: &Context) -> Result<(), Error> {
        self.taken.store(true, Ordering::Relaxed);
        set_access(stack, context, Access::Denied).await
    }

    async fn give_back(&self, stack: &Stack, context: &Context) -> Result<(), Error> {
        if self.taken.load(Ordering::Relaxed) {
            set_access(stack, context, Access::Allowed).await?;
            self.taken.store(false, Ordering::Relaxed);
        }
        Ok(())
    }
}

async fn examine(
    stack: &Stack,
    context: &Context,
    bucket: &str,
    canary: &Canary,
    permission: &Permission,
    calls: &mut KeyCalls,
) -> Result<Proof, Error> {
    let (s3, begun) = (&context.s3, Instant::now());
    let mut proof =
        Proof { bucket: bucket.to_owned(), started: Timestamp::now(), milliseconds: 0, evidence: Vec::new() };
    s3.put_object(bucket, &canary.name, &canary.bytes).await?;
    let head = s3.head_object(bucket, &canary.name).await?;
    let key = head.kms_key.clone();
    let (claim, seen) = match (head.encryption.as_deref(), &key) {
        (Some("aws:kms"), Some(key)) => (true, format!("aws:kms with key '{key}'")),
        (Some("AES256"), _) => (true, format!("AES256 (SSE-S3) with key '{}'", stack.manifest.default_key)),
        (other, _) => (false, format!("x-amz-server-side-encryption: {}", other.unwrap_or("none"))),
    };
    proof.add("the object's metadata names its encryption", claim, seen);
    let key = key.unwrap_or_else(|| stack.manifest.default_key.to_string());

    let scan = canary.scan(&stack.layout.drive())?;
    proof.add("the drive holds no part of the object in clear", scan.clean(), scan.to_string());

    let path = format!("/v1/key/generate/{key}");
    let seen = calls.wait_for(&path).await;
    proof.add("KES created the object's data key", seen.is_some(), described(&path, seen));

    let read = s3.get_object(bucket, &canary.name).await?;
    let same = read == canary.bytes;
    proof.add("the object reads back unchanged", same, format!("{} bytes", read.len()));
    let path = format!("/v1/key/decrypt/{key}");
    let seen = calls.wait_for(&path).await;
    proof.add("KES decrypted the data key for the read", seen.is_some(), described(&path, seen));

    revoked(stack, context, canary, permission, &mut proof).await?;
    proof.evidence.extend(sealed_keys(&stack.keys_folder()));
    proof.milliseconds = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
    Ok(proof)
}

/// That no key of a sealed folder is there in clear; `None` for a folder in clear, and for one that may not be read.
fn sealed_keys(folder: &Path) -> Option<Evidence> {
    if !fs::is_sealed(folder).unwrap_or(false) {
        return None;
    }
    let (mut sealed, mut in_clear) = (0_usize, Vec::new());
    for entry in std::fs::read_dir(folder).ok()?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with('.') {
            continue;
        }
        match std::fs::read(entry.path()) {
            Ok(stored) if SealedValue::is_one(&stored) => sealed += 1,
            _ => in_clear.push(name),
        }
    }
    let seen = match in_clear.as_slice() {
        [] => format!("{sealed} in '{}'", folder.display()),
        names => format!("in clear, or not readable: {}; `kestack up` says more", names.join(", ")),
    };
    Some(Evidence { claim: "the keys on this disk are sealed", proven: in_clear.is_empty(), seen })
}

/// Takes MinIO's permission away, reads, gives it back, reads again.
async fn revoked(
    stack: &Stack,
    context: &Context,
    canary: &Canary,
    permission: &Permission,
    proof: &mut Proof,
) -> Result<(), Error> {
    let bucket = proof.bucket.clone();
    permission.take(stack, context).await?;
    let between = context.s3.get_object(&bucket, &canary.name).await;
    permission.give_back(stack, context).await?;
    let (proven, seen) = match between {
        Err(error) => (true, error.to_string()),
        Ok(bytes) => (false, format!("{} bytes were read", bytes.len())),
    };
    proof.add("without permission at KES the object cannot be read", proven, seen);
    let after = context.s3.get_object(&bucket, &canary.name).await;
    let (proven, seen) = match after {
        Ok(bytes) => (bytes == canary.bytes, format!("{} bytes", bytes.len())),
        Err(error) => (false, error.to_string()),
    };
    proof.add("with the permission again, the object can be read", proven, seen);
    Ok(())
}

fn described(path: &str, seen: Option<String>) -> String {
    seen.unwrap_or_else(|| format!("no {path} by MinIO within {} s", DEADLINE.as_secs()))
}

/// The calls that MinIO makes to KES, as the audit logs of all replicas tell them.
struct KeyCalls {
    minio: String,
    events: Pin<Box<dyn Stream<Item = AuditEvent> + Send>>,
}

impl KeyCalls {
    async fn watch(stack: &Stack, context: &Context) -> Result<Self, Error> {
        let minio = stack.material.minio_identity()?.to_string();
        let mut logs: Vec<Pin<Box<dyn Stream<Item = AuditEvent> + Send>>> = Vec::new();
        for replica in stack.replicas() {
            logs.push(Box::pin(told(context.replicas.at(&replica.endpoint)?.audit_log().await?)));
        }
        Ok(Self { minio, events: Box::pin(futures_util::stream::select_all(logs)) })
    }

    /// The next successful call of that path by MinIO.
    async fn wait_for(&mut self, path: &str) -> Option<String> {
        let found = async {
            while let Some(event) = self.events.next().await {
                if event.request.path == path && event.request.identity == self.minio && event.response.code == 200 {
                    return Some(format!("{path} by {:.12}… at {}", self.minio, to_the_second(&event.time)));
                }
            }
            None
        };
        tokio::time::timeout(DEADLINE, found).await.ok().flatten()
    }
}

/// A time of KES's log, which has nanoseconds, for people.
fn to_the_second(time: &str) -> String {
    time.parse().map_or_else(|_| time.to_owned(), |time: Timestamp| format!("{time:.0}"))
}

/// What a log tells until it ends or fails.
fn told(log: LogStream<AuditEvent>) -> impl Stream<Item = AuditEvent> + Send {
    futures_util::stream::unfold(log, async |mut log| {
        let event = log.next().await.ok().flatten()?;
        Some((event, log))
    })
}

/// Random bytes that can be recognised anywhere.
struct Canary {
    name: String,
    bytes: Vec<u8>,
    runs: HashSet<[u8; RUN]>,
    made: SystemTime,
}

/// What a look at the drive gave.
struct Scan {
    files: usize,
    bytes: u64,
    hits: Vec<String>,
}

impl Canary {
    fn new() -> Result<Self, Error> {
        let mut bytes = vec![0; CANARY_BYTES];
        let mut id = [0; 8];
        let filled = aws_lc_rs::rand::fill(&mut bytes).and_then(|()| aws_lc_rs::rand::fill(&mut id));
        filled.map_err(|_| Error::Verification("the system gives no random bytes".into()))?;
        // Every run of 31 bytes holds one of these aligned ones.
        let runs = bytes.as_chunks::<RUN>().0.iter().copied().collect();
        // file systems keep times coarser than the clock
        let made = SystemTime::now() - Duration::from_secs(2);
        Ok(Self { name: canary::proof(id), bytes, runs, made })
    }

    /// Looks through every file below `folder` that was written since the canary was made.
    fn scan(&self, folder: &Path) -> Result<Scan, Error> {
        let mut scan = Scan { files: 0, bytes: 0, hits: Vec::new() };
        self.scan_folder(folder, &mut scan).map_err(Error::file("read", folder))?;
        Ok(scan)
    }

    fn scan_folder(&self, folder: &Path, scan: &mut Scan) -> std::io::Result<()> {
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?;
            let kind = entry.file_type()?;
            let done = if kind.is_dir() {
                self.scan_folder(&entry.path(), scan)
            } else if kind.is_file() {
                self.scan_file(&entry.path(), scan)
            } else {
                Ok(())
            };
            match done {
                // MinIO's temporary files come and go.
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    fn scan_file(&self, path: &Path, scan: &mut Scan) -> std::io::Result<()> {
        let mut file = std::fs::File::open(path)?;
        if file.metadata()?.modified()? < self.made {
            return Ok(());
        }
        let mut buffer = vec![0; 1 << 20];
        let mut kept = 0;
        scan.files += 1;
        loop {
            let read = file.read(buffer.get_mut(kept..).unwrap_or_default())?;
            if read == 0 {
                return Ok(());
            }
            scan.bytes += read as u64;
            let filled = kept + read;
            let held = buffer.get(..filled).unwrap_or_default();
            if held.array_windows::<RUN>().any(|run| self.runs.contains(run)) {
                scan.hits.push(path.display().to_string());
                return Ok(());
            }
            kept = filled.min(RUN - 1);
            buffer.copy_within(filled - kept..filled, 0);
        }
    }
}

impl Scan {
    /// Something was read and nothing was found: an empty drive proves nothing.
    fn clean(&self) -> bool {
        self.hits.is_empty() && self.bytes >= CANARY_BYTES as u64
    }
}

impl std::fmt::Display for Scan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} files, {} bytes searched for runs of {RUN}", self.files, self.bytes)?;
        match self.hits.first() {
            None => f.write_str(", none found"),
            Some(hit) => write!(f, ", found in {hit}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scan_finds_a_piece_of_the_canary_wherever_it_lies() {
        let canary = Canary::new().unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("deep")).unwrap();
        std::fs::write(folder.path().join("noise"), vec![7; CANARY_BYTES]).unwrap();
        assert!(canary.scan(folder.path()).unwrap().clean());
        // across the border of two reads, at an odd offset
        let mut data = vec![0; (1 << 20) - 11];
        data.extend_from_slice(&canary.bytes[1000..1031]);
        std::fs::write(folder.path().join("deep/part.1"), data).unwrap();
        let scan = canary.scan(folder.path()).unwrap();
        assert!(!scan.clean());
        assert!(scan.hits[0].ends_with("deep/part.1"));
    }

    #[test]
    fn an_empty_drive_is_no_proof() {
        let folder = tempfile::tempdir().unwrap();
        assert!(!Canary::new().unwrap().scan(folder.path()).unwrap().clean());
    }
}
