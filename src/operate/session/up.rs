//! Bringing a stack up.

use std::sync::Arc;

use jiff::Timestamp;

use super::back::go_back;
use super::keys_folder::check_keys;
use super::round_trip::round_trip;
use super::{Options, environment, keystore_environment};
use crate::data::guard::Verdict;
use crate::engine::{Engine, Obstacle, PodState};
use crate::error::Error;
use crate::manifest::{EngineKind, Manifest, PortChoice, is_off};
use crate::operate::chaos;
use crate::operate::doctor;
use crate::operate::guard;
use crate::operate::minio_change::{Begun, Exchange};
use crate::operate::open_files;
use crate::resource::Context;
use crate::resource::apply::{self, Progress, Stage, Step};
use crate::resource::plan::Decision;
use crate::stack::ports::{Claims, Ports};
use crate::stack::seed::Content;
use crate::stack::{Images, Origin, Stack, check_ours, marker, seal};
use crate::supply;

/// Why a stack did not come up.
pub(super) struct Failure {
    pub(super) cause: Error,
    /// The change of MinIO that had begun, if the new one does not serve the data.
    begun: Option<Begun>,
}

impl Failure {
    /// Only a failure of the new MinIO takes its change back.
    async fn of(cause: Error, begun: Option<Begun>, stack: &Stack, context: &Context) -> Self {
        let Some(begun) = begun else { return cause.into() };
        match begun.judge(cause, &stack.minio_container(), context).await {
            Ok(cause) => cause.into(),
            Err(cause) => Self { cause, begun: Some(begun) },
        }
    }
}

impl From<Error> for Failure {
    fn from(cause: Error) -> Self {
        Self { cause, begun: None }
    }
}

/// Brings the stack up that the manifest wants, until `expires` if its pod is made now and had no lease before. Its lock is
/// held.
///
/// # Errors
/// Whatever keeps it from coming up. If another MinIO does not serve the data, the former one does afterwards.
pub(crate) async fn bring_up(
    options: Options,
    engine: Arc<dyn Engine>,
    mut expires: Option<Timestamp>,
    progress: &dyn Progress,
) -> Result<(Stack, Vec<Step>), Error> {
    match Box::pin(attempt(options.clone(), engine.clone(), &mut expires, progress)).await {
        Ok(brought) => Ok(brought),
        Err(Failure { cause, begun: None }) => Err(cause),
        Err(Failure { cause, begun: Some(begun) }) => {
            Err(Box::pin(go_back(options, engine, expires, &begun, &cause, progress)).await)
        }
    }
}

/// A port that nobody asked for by number may be taken between its choice and the start of the pod, or kept by a Docker
/// whose daemon was killed: the pod gets other ports then, once. `expires` is afterwards the end of the lease that the stack
/// had, if it had one.
pub(super) async fn attempt(
    options: Options,
    engine: Arc<dyn Engine>,
    expires: &mut Option<Timestamp>,
    progress: &dyn Progress,
) -> Result<(Stack, Vec<Step>), Failure> {
    let brought = Box::pin(bring_up_once(options.clone(), engine.clone(), expires, progress)).await;
    let taken = match &brought {
        Err(Failure { cause: Error::Engine(error), .. }) => match error.obstacle() {
            Some(Obstacle::TakenPort(port)) => Some(port).filter(|port| is_automatic(&options.manifest, *port)),
            _ => None,
        },
        _ => None,
    };
    let Some(port) = taken else { return brought };
    tracing::warn!("port {port} was taken meanwhile; kestack chooses other ports");
    engine.remove_pod(options.manifest.name.as_str()).await.map_err(Error::from)?;
    Box::pin(bring_up_once(options, engine, expires, progress)).await
}

/// True if the manifest leaves the choice of this port to kestack.
fn is_automatic(manifest: &Manifest, port: u16) -> bool {
    let all = manifest.kes_ports().chain([manifest.s3_port(), manifest.console_port()]);
    !all.into_iter().any(|choice| choice == PortChoice::Exactly(port))
}

/// True unless the manifest switches MinIO's console off.
fn has_console(manifest: &Manifest) -> bool {
    let switch = manifest.minio.env.get("MINIO_BROWSER");
    switch.is_none_or(|switch| !is_off(&switch.to_lowercase()))
}

async fn bring_up_once(
    options: Options,
    engine: Arc<dyn Engine>,
    expires: &mut Option<Timestamp>,
    progress: &dyn Progress,
) -> Result<(Stack, Vec<Step>), Failure> {
    let broken = chaos::undo_files(&options.layout())?;
    let with_snapshot = !options.without_snapshot;
    let Resolved { mut stack, images, pod, _claims } = resolve(options, engine.as_ref()).await?;
    *expires = lease(pod.as_ref(), *expires, Timestamp::now());
    stack.expires = *expires;
    let context = stack.context(engine.clone())?;
    if let Some(record) = &broken {
        chaos::undo_process(record, engine.as_ref(), &stack).await?;
    }
    let kes_stays = stack.kes_stays(engine.info(), &images, pod.as_ref())?;
    let keys = require_keys(&stack, &context, kes_stays).await?;
    // Downloads come before anything is made: without them there will be no stack.
    for image in [&images.kes, &images.minio].into_iter().filter(|image| !image.is_local()) {
        image.obtain(engine.as_ref(), progress).await.map_err(Error::from)?;
    }
    let (stages, interface) = (stack.stages(engine.info(), &images, keys)?, stack.interface()?);
    let exchange = Exchange::of(&stack.layout, &images.minio, &context).await?;
    let begun = exchange.clone().begin(&stack, &context, with_snapshot, progress).await?;
    let mut steps = match Box::pin(walk(&stack, &context, &stages, pod.as_ref(), begun.as_ref(), progress)).await {
        Ok(steps) => steps,
        Err(cause) => return Err(Failure::of(cause, begun, &stack, &context).await),
    };
    exchange.settled(&context).await?;
    if broken.is_some() {
        chaos::FaultRecord::remove(&stack.layout)?;
    }
    remove_former_images(engine.as_ref(), &images, &steps).await;
    // the servers are proven: one that fails here gives nothing of them back
    steps.extend(apply::up(interface.as_slice(), &context, progress).await?);
    Ok((stack, steps))
}

/// The end of a stack's lease: that of the pod that is there, also if it is made again. One that is over does not count where
/// another one is wanted.
fn lease(pod: Option<&PodState>, wanted: Option<Timestamp>, now: Timestamp) -> Option<Timestamp> {
    let former = pod.and_then(PodState::expires).filter(|end| wanted.is_none() || *end > now);
    former.or(wanted)
}

/// Asks for the keys of the data, and whether the keystore can be used.
async fn require_keys(stack: &Stack, context: &Context, kes_stays: bool) -> Result<Verdict, Error> {
    let keystores = keystore_environment(&stack.manifest);
    // before the keystore is: that makes the stack's key, whoever lost it
    let keys = guard::require(stack, context, kes_stays, &keystores).await?;
    // a KES that stays asks for itself
    if !kes_stays {
        doctor::keystore::require(&stack.manifest, stack.material.admin_identity()?, keystores).await?;
    }
    Ok(keys)
}

/// Makes all that is wanted, and looks whether it can be used.
async fn walk(
    stack: &Stack,
    context: &Context,
    stages: &[Stage],
    pod: Option<&PodState>,
    begun: Option<&Begun>,
    progress: &dyn Progress,
) -> Result<Vec<Step>, Error> {
    let (was_there, was_running) = (pod.is_some(), pod.is_some_and(|pod| pod.running));
    let mut walk = apply::up(stages, context, progress).await;
    // An image that no container uses yet may be removed by another stack's `up`: it is brought in again.
    if matches!(&walk, Err(Error::Engine(error)) if error.obstacle() == Some(Obstacle::MissingImage)) {
        walk = apply::up(stages, context, progress).await;
    }
    // What somebody paused, or an engine that died in the middle left behind, is never repaired (docs/architecture.md
    // §3.8). The same goes for ports that lead nowhere any more, as after the death of rootless Podman's forwarder.
    let is_cut_off = was_running && matches!(&walk, Err(Error::NotReady { .. })) && stack.ports.refuses();
    let is_stuck =
        was_there && matches!(&walk, Err(Error::Engine(error)) if error.obstacle() == Some(Obstacle::StuckContainer));
    if is_cut_off || is_stuck {
        tracing::warn!("a container can neither be used nor started; kestack creates the pod again");
        context.engine.remove_pod(stack.manifest.name.as_str()).await?;
        walk = apply::up(stages, context, progress).await;
    }
    let steps = walk?;
    if let Some(begun) = begun {
        begun.prove(context).await?;
    }
    if steps.iter().any(|step| step.decision != Decision::Keep) {
        require_usable(stack, context).await?;
    }
    Ok(steps)
}

/// Stores and reads an object, and looks whether the console listens.
async fn require_usable(stack: &Stack, context: &Context) -> Result<(), Error> {
    round_trip(stack, context).await?;
    if has_console(&stack.manifest) {
        stack.ports.console_listens().await?;
    }
    Ok(())
}

/// Removes what was composed from earlier programs, once a new one was. Another stack may need it again: it is made
/// again then. A file that cannot be removed is not worth a failure.
async fn remove_former_images(engine: &dyn Engine, images: &Images, steps: &[Step]) {
    let Ok(store) = engine.images() else { return };
    for (role, image) in [("kes", &images.kes), ("minio", &images.minio)] {
        let is_new = |step: &Step| {
            step.kind == "image" && step.decision != Decision::Keep && step.name.split(' ').next() == Some(role)
        };
        if !steps.iter().any(is_new) {
            continue;
        }
        if let Err(error) = store.remove_former(role, image.reference()).await {
            tracing::warn!(%error, "old images could not be removed");
        }
    }
}

/// The wanted state, and what was learned on the way to it. Nothing is made yet.
pub(crate) struct Resolved {
    pub(crate) stack: Stack,
    pub(crate) images: Images,
    /// The stack's pod, if it is there.
    pub(crate) pod: Option<PodState>,
    /// Its ports, kept from others until the pod has them.
    _claims: Claims,
}

/// Everything that can be wrong is looked at here, before anything is made.
pub(crate) async fn resolve(options: Options, engine: &dyn Engine) -> Result<Resolved, Error> {
    let pod = check_place(&options, engine).await?;
    let images = Images {
        kes: supply::kes(&options.manifest.kes, engine.info(), &environment)?,
        minio: supply::minio(&options.manifest.minio, engine, &environment).await?,
    };
    let seed = Content::load(&options.manifest.seed)?;
    let origin = origin(&options)?;
    // one that does not run holds them as well, if its engine died while it started the pod
    let held = pod.as_ref().map(|pod| pod.ports.as_slice()).unwrap_or_default();
    let (ports, claims) = Ports::claim(&options.manifest, held, ports_of_others(engine, pod.as_ref()).await)?;
    let mut stack = Stack::resolve(options.manifest, &options.base, ports)?;
    stack.origin = Some(origin);
    stack.launch = options.launch;
    stack.seed = seed;
    if engine.info().has_containers() {
        seal::check_in_containers(&stack.manifest)?;
    }
    if let Some(folder) = stack.manifest.fs_path() {
        check_keys(&stack, &folder, engine.info().owner)?;
        engine.check_mount(&folder)?;
        engine.check_shared(&folder).await?;
    }
    if !stack.manifest.ports.elsewhere {
        stack.ports.check_free(held)?;
    }
    Ok(Resolved { stack, images, pod, _claims: claims })
}

/// Makes sure that this engine can have the stack in its folder, on its address; the pod that is there already.
async fn check_place(options: &Options, engine: &dyn Engine) -> Result<Option<PodState>, Error> {
    if engine.info().kind == EngineKind::Systemd {
        return Err(Error::Usage {
            what: format!("systemd runs the stack in '{}'", options.layout().root().display()),
            hint: "start it with `systemctl`; to change it, export it again and run its `install`".into(),
        });
    }
    open_files::require(engine.info())?;
    let name = options.manifest.name.as_str();
    let pod = engine.pod(name).await?;
    check_ours(&options.layout(), pod.as_ref(), engine.info())?;
    marker::check_usable(&options.layout())?;
    options.layout().check_writable()?;
    engine.check_address(options.manifest.host).await?;
    engine.check_mount(options.layout().root())?;
    engine.check_shared(options.layout().root()).await?;
    Ok(pod)
}

/// The ports of other stacks, if this one has none yet: those of stopped ones are kept for them. An engine that does not
/// list them refuses a taken port by itself.
async fn ports_of_others(engine: &dyn Engine, pod: Option<&PodState>) -> Vec<u16> {
    let others = if pod.is_none() { engine.pods().await.unwrap_or_default() } else { vec![] };
    others.iter().flat_map(|pod| &pod.ports).map(|port| port.host_port).collect()
}

/// What the stack must remember: since when it is there, and what it is brought up from now.
fn origin(options: &Options) -> Result<Origin, Error> {
    let mut origin = Origin::new(options.path.clone(), options.manifest.ports.any);
    if let Some(former) = Origin::load(&options.layout())? {
        origin.created = former.created;
    }
    Ok(origin)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::LABEL_EXPIRES;

    #[test]
    fn a_stack_keeps_its_lease() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let pod = |lease: Option<i64>| PodState {
            name: "a".into(),
            labels: lease.map(|end| (LABEL_EXPIRES.to_owned(), at(end).to_string())).into_iter().collect(),
            running: true,
            ports: vec![],
            containers: vec![],
        };
        let now = at(100);
        for (former, wanted, kept) in [
            (Some(200), None, Some(200)),
            (Some(50), None, Some(50)),
            (Some(200), Some(300), Some(200)),
            (Some(50), Some(300), Some(300)),
            (None, Some(300), Some(300)),
            (None, None, None),
        ] {
            assert_eq!(lease(Some(&pod(former)), wanted.map(at), now), kept.map(at), "{former:?} {wanted:?}");
        }
        assert_eq!(lease(None, Some(at(300)), now), Some(at(300)));
    }
}
