//! The pod: one network namespace, its published ports.

use std::net::TcpListener;
use std::time::Duration;

use async_trait::async_trait;

use super::{Context, Resource};
use crate::engine::{LABEL_DIGEST, LABEL_FOLDER, LABEL_ID, PodSpec, PodState};
use crate::error::Error;
use crate::resource::plan::Observed;
use crate::resource::probe;

/// Longest time until the ports of a pod that was removed are free.
const RELEASE: Duration = Duration::from_secs(3);

/// A pod that runs exactly as specified, or is made again: a half-started pod is never repaired
/// (docs/architecture.md §3.8).
#[derive(Debug)]
pub struct PodResource {
    /// Its wanted state; carries its digest as a label.
    pub spec: PodSpec,
}

#[async_trait]
impl Resource for PodResource {
    fn kind(&self) -> &'static str {
        "pod"
    }

    fn name(&self) -> String {
        self.spec.name.clone()
    }

    fn wanted(&self) -> String {
        self.spec.labels.get(LABEL_DIGEST).cloned().unwrap_or_default()
    }

    async fn observe(&self, context: &Context) -> Result<Observed, Error> {
        Ok(match context.engine.pod(&self.spec.name).await? {
            None => Observed::Absent,
            Some(pod) if self.is_anothers(&pod) => {
                return Err(Error::Environment {
                    what: format!("another kestack made pod '{}' meanwhile, for a stack in another folder", pod.name),
                    hint: "give this stack another name: `--name`, or `name:` in kestack.yaml".into(),
                });
            }
            Some(pod) => Observed::Present {
                digest: pod.labels.get(LABEL_DIGEST).cloned().unwrap_or_default(),
                usable: pod.running,
            },
        })
    }

    async fn create(&self, context: &Context) -> Result<(), Error> {
        Ok(context.engine.create_pod(&self.spec).await?)
    }

    async fn remove(&self, context: &Context) -> Result<(), Error> {
        Ok(context.engine.remove_pod(&self.spec.name).await?)
    }

    async fn replace(&self, context: &Context) -> Result<(), Error> {
        self.remove(context).await?;
        self.until_free().await;
        self.create(context).await
    }
}

impl PodResource {
    /// True of a pod that neither the stack's random number nor its folder shows to be the stack's. A stack that came up in
    /// another folder after this one was looked at has the name.
    fn is_anothers(&self, pod: &PodState) -> bool {
        let differs = |label: &str| match (pod.labels.get(label), self.spec.labels.get(label)) {
            (Some(found), Some(own)) => found != own,
            _ => false,
        };
        differs(LABEL_ID) && differs(LABEL_FOLDER)
    }

    /// Waits a moment for the ports: what an engine that died left of the old pod may hold them until it ends by itself.
    /// If it is somebody else who does, the engine says so.
    async fn until_free(&self) {
        let bind = || async {
            self.spec.ports.iter().try_for_each(|port| TcpListener::bind((port.host_ip, port.host_port)).map(drop))
        };
        if let Err(error) = probe::until_ready("the pod's ports", RELEASE, bind).await {
            tracing::debug!(%error, "ports are still held");
        }
    }
}
