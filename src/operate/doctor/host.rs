//! The machine, the binaries and the stack's own files.

use std::time::Duration;

use jiff::Timestamp;
use kes_server::keystore::{Environment, fs};

use super::keystore::{self, Depth};
use super::{Finding, State};
use crate::engine::{Engine, EngineInfo, Env, PodState};
use crate::error::Error;
use crate::keystore::open_folder;
use crate::manifest::Manifest;
use crate::operate::coverage::Coverage;
use crate::operate::locked;
use crate::operate::open_files;
use crate::operate::status::InForce;
use crate::stack::certificates::{self, CertificateState, Lifetime};
use crate::stack::ports::Ports;
use crate::stack::{Layout, Stack, check_ours};
use crate::supply::{self, ImageSource};

/// Longest time for MinIO to say how its buckets encrypt.
const GLANCE: Duration = Duration::from_secs(10);

/// What to do if KES may not lock its secrets.
const LOCK_MORE: &str = "raise the limit of locked memory of the user or service that starts the engine (`ulimit -l`, `memlock` in \
                         /etc/security/limits.conf), then `kestack down` and `kestack up`";

/// Looks at everything that a stack needs, without changing anything but for a probe in a remote keystore.
pub async fn examine(
    manifest: &Manifest,
    base: &std::path::Path,
    engine: &dyn Engine,
    env: &Env<'_>,
    keystores: Environment,
) -> Result<Vec<Finding>, Error> {
    let mut findings = vec![engine_finding(engine.info())];
    let layout = Layout::new(base, manifest.name.as_str());
    findings.push(outcome("folder", layout.check_writable(), || layout.root().display().to_string()));
    findings.extend(fault(&layout));
    let kes = supply::kes(&manifest.kes, engine.info(), env).map_err(Error::from);
    findings.push(supplied("KES", kes));
    findings.push(supplied("MinIO", supply::minio(&manifest.minio, engine, env).await.map_err(Error::from)));
    findings.extend(open_files::require(engine.info()).err().map(|error| failure("files", &error)));
    let pod = engine.pod(manifest.name.as_str()).await?;
    let foreign = check_ours(&layout, pod.as_ref(), engine.info()).err();
    findings.extend(foreign.as_ref().map(|error| failure("pod", error)));
    let pod = pod.filter(|_| foreign.is_none());
    findings.extend(pod_findings(pod.as_ref()));
    findings.extend(stack_findings(manifest, base, pod.as_ref()));
    findings.extend(bucket_findings(manifest, base, pod.as_ref()).await);
    findings.extend(sealed_keys(manifest, &layout, &keystores).await);
    let found = keystore::examine(manifest, Depth::Everything, keystores).await;
    findings.extend(found.unwrap_or_else(|error| vec![failure("keystore", &error)]));
    Ok(findings)
}

/// A fault that somebody asked for.
fn fault(layout: &Layout) -> Option<Finding> {
    match InForce::of(layout) {
        Ok(None) => None,
        Ok(Some(fault)) => Some(Finding::warning("fault", fault.fault.to_string(), fault.advice)),
        Err(error) => Some(failure("fault", &error)),
    }
}

fn engine_finding(info: &EngineInfo) -> Finding {
    let rootless = if info.rootless { ", rootless" } else { "" };
    Finding::good("engine", format!("{} {}{rootless} at {}", info.kind, info.version, info.address))
}

fn supplied(what: &str, source: Result<ImageSource, Error>) -> Finding {
    match source {
        Ok(source) if source.is_local() => Finding::good(what, source.reference()),
        Ok(source) => Finding::warning(
            what,
            format!("{} is not on this machine yet", source.reference()),
            "`kestack up` fetches or builds it, which takes a while",
        ),
        Err(error) => failure(what, &error),
    }
}

fn pod_findings(pod: Option<&PodState>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for container in pod.iter().flat_map(|pod| &pod.containers).filter(|container| !container.running) {
        let code = container.exit_code.map(|code| format!(", exit code {code}")).unwrap_or_default();
        let seen = format!("{} is {}{code}", container.name, container.status);
        findings.push(Finding::warning("container", seen, "`kestack logs` shows why; `kestack up` starts it"));
    }
    findings.extend(pod.and_then(locked::of_kes).map(|kib| match kib {
        0 => Finding::warning("memory", locked::text(kib), LOCK_MORE),
        _ => Finding::good("memory", locked::text(kib)),
    }));
    let too_few = pod.map(open_files::too_few).unwrap_or_default();
    findings.extend(too_few.iter().map(|found| Finding::bad("files", found.to_string(), open_files::RAISE)));
    findings
}

fn stack_findings(manifest: &Manifest, base: &std::path::Path, pod: Option<&PodState>) -> Vec<Finding> {
    let layout = Layout::new(base, manifest.name.as_str());
    // one that others run holds its ports without a pod of ours
    let ports = if layout.is_exported() { Ports::existing } else { Ports::resolve };
    let held = pod.map(|pod| pod.ports.as_slice()).unwrap_or_default();
    let stack = match ports(manifest, held).and_then(|ports| Stack::resolve(manifest.clone(), base, ports)) {
        Ok(stack) => stack,
        Err(error) => return vec![failure("files", &error)],
    };
    let held = pod.filter(|pod| pod.running).map(|pod| pod.ports.clone()).unwrap_or_default();
    // the servers of an exported stack have them, whoever runs those
    let is_known_elsewhere = stack.layout.is_exported() || manifest.ports.elsewhere;
    let free = if is_known_elsewhere { Ok(()) } else { stack.ports.check_free(&held) };
    let ports = outcome("ports", free, || {
        format!("{} {} {}", stack.s3_endpoint(), stack.console_endpoint(), stack.kes_endpoints())
    });
    let certificates = certificates::on_disk(&stack.layout, Timestamp::now());
    let certificates = match certificates {
        Ok(certificates) => certificates.iter().map(|found| certificate(found, &stack.layout)).collect(),
        Err(error) => vec![failure("certificate", &error)],
    };
    [ports].into_iter().chain(unreachable(manifest)).chain(certificates).collect()
}

/// Buckets that lie in clear and may not. A stack that does not answer has findings enough.
async fn bucket_findings(manifest: &Manifest, base: &std::path::Path, pod: Option<&PodState>) -> Vec<Finding> {
    let Ok(stack) = Stack::existing(manifest.clone(), base, pod) else { return vec![] };
    let Ok(clients) = stack.clients() else { return vec![] };
    let asked = tokio::time::timeout(GLANCE, Coverage::of(&stack, &clients.s3)).await;
    let Ok(Ok(buckets)) = asked else { return vec![] };
    let exposed = buckets.iter().filter(|found| found.is_exposed());
    let warned = |found: &Coverage| {
        let seen = format!("'{}' is not encrypted, and kestack.yaml does not allow that", found.bucket);
        Finding::warning("bucket", seen, found.advice())
    };
    exposed.map(warned).collect()
}

/// Whether the master key of sealed keys is there, and is theirs.
async fn sealed_keys(manifest: &Manifest, layout: &Layout, keystores: &Environment) -> Option<Finding> {
    let folder = manifest.fs_path().unwrap_or_else(|| layout.keys());
    if !manifest.keystore_is_fs() || !fs::is_sealed(&folder).unwrap_or(false) {
        return None;
    }
    let opened = Box::pin(open_folder(&manifest.keystore, &folder, &layout.master_key(), keystores)).await;
    Some(match opened {
        Ok(keystore) => Finding::good("keys", keystore.to_string()),
        Err(why) => Finding::bad("keys", why, "docs/sealed-keys.md says how keys are sealed and opened"),
    })
}

fn certificate(found: &CertificateState, layout: &Layout) -> Finding {
    let text = found.to_string();
    let again = if layout.is_exported() { "export the stack again" } else { "run `kestack up`" };
    match found.state {
        Lifetime::Good => Finding::good("certificate", text),
        Lifetime::Due => Finding::warning("certificate", text, again),
        Lifetime::Expired | Lifetime::Broken => Finding::bad("certificate", text, again),
    }
}

/// KES for other machines, whose names its certificate does not know.
fn unreachable(manifest: &Manifest) -> Option<Finding> {
    let anywhere = manifest.host.is_unspecified() && manifest.kes.names.is_empty();
    anywhere.then(|| {
        Finding::warning(
            "certificate",
            format!("KES listens on {}, but its certificate is only for this machine", manifest.host),
            "list the names and addresses by which others reach it in `kes.names` of kestack.yaml",
        )
    })
}

fn outcome(what: &str, result: Result<(), Error>, seen: impl FnOnce() -> String) -> Finding {
    match result {
        Ok(()) => Finding::good(what, seen()),
        Err(error) => failure(what, &error),
    }
}

/// An error's first line is what was seen, the rest what to do.
fn failure(what: &str, error: &Error) -> Finding {
    let text = error.to_string();
    let (seen, advice) = text.split_once('\n').unwrap_or((&text, ""));
    let advice = (!advice.is_empty()).then(|| advice.trim().to_owned());
    Finding { what: what.into(), state: State::Bad, seen: seen.to_owned(), advice }
}
