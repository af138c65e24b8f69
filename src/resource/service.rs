//! A server: its container runs and it answers.

use std::time::Duration;

use async_trait::async_trait;
use kes_server::auth::Identity;

use super::{Context, Resource};
use crate::engine::{Obstacle, Signal};
use crate::error::Error;
use crate::resource::plan::Observed;
use crate::resource::probe;

/// Longest time a server may take from start to its first answer. Busy machines were seen to take 3.4 s
/// (docs/minio-kms-client.md §5).
const DEADLINE: Duration = Duration::from_secs(60);

/// Longest time to look whether a server answers at all.
const GLANCE: Duration = Duration::from_secs(2);

/// Longest time that a server which runs without answering is taken for one that is starting.
const PATIENCE: Duration = Duration::from_secs(15);

/// The probe of a server.
#[derive(Debug, Clone)]
pub enum Probe {
    /// This replica answers `/v1/ready` to the stack's admin and knows this identity, MinIO's: a `verify` that was killed
    /// may have left it revoked in KES's memory alone.
    Kes {
        /// What people call it.
        name: String,
        /// Its URL on this host.
        endpoint: String,
        /// The identity.
        minio: Identity,
    },
    /// MinIO answers `ready`, which makes one data key through KES, and `cluster`, which needs its drive, bucket
    /// metadata and IAM (docs/minio-kms-client.md §5).
    Minio,
    /// Not at all: its process has been started, that is enough for now.
    Started,
}

/// A running, answering server.
#[derive(Debug)]
pub struct ServiceResource {
    /// Name of the container.
    pub container: String,
    /// Name of the pod it is in.
    pub pod: String,
    /// Its probe.
    pub probe: Probe,
}

#[async_trait]
impl Resource for ServiceResource {
    fn kind(&self) -> &'static str {
        match &self.probe {
            Probe::Started => "start",
            Probe::Kes { .. } | Probe::Minio => "service",
        }
    }

    fn name(&self) -> String {
        match &self.probe {
            Probe::Kes { name, .. } => name.replace("kes", "KES"),
            Probe::Minio => "MinIO".into(),
            Probe::Started => self.container.clone(),
        }
    }

    fn wanted(&self) -> String {
        "ready".into()
    }

    fn within(&self) -> Option<&str> {
        Some(&self.container)
    }

    async fn observe(&self, context: &Context) -> Result<Observed, Error> {
        let pod = context.engine.pod(&self.pod).await?;
        let found = pod.iter().flat_map(|pod| &pod.containers).find(|container| container.name == self.container);
        if !found.is_some_and(|container| container.running) {
            return Ok(Observed::Absent);
        }
        let usable = matches!(tokio::time::timeout(GLANCE, self.ask(context)).await, Ok(Ok(())));
        Ok(Observed::Present { digest: self.wanted(), usable })
    }

    async fn create(&self, context: &Context) -> Result<(), Error> {
        context.engine.start_container(&self.container).await?;
        let name = self.name();
        tokio::select! {
            ready = probe::until_ready(&name, DEADLINE, || self.ask(context)) => ready,
            ended = self.ended(context) => Err(ended?),
        }
    }

    async fn remove(&self, context: &Context) -> Result<(), Error> {
        Ok(context.engine.stop_container(&self.container, Duration::from_secs(5)).await?)
    }

    /// A server that runs but does not answer is first waited for (it may be starting), then started again, at once if
    /// it ends meanwhile: Docker lists a container as running for a moment after it has stopped.
    /// KES first reads its configuration again. One that has just ended cannot do that, and is started: an engine goes
    /// on stopping a container although the `down` that told it to was killed. One that is stuck cannot be stopped either.
    async fn replace(&self, context: &Context) -> Result<(), Error> {
        let told = match self.probe {
            Probe::Kes { .. } => context.engine.signal_container(&self.container, Signal::Hup).await,
            _ => Ok(()),
        };
        match told {
            Err(error) if error.obstacle() == Some(Obstacle::StuckContainer) => return Err(error.into()),
            Err(error) => tracing::debug!(%error, "{} does not read its configuration again", self.name()),
            Ok(()) if self.recovers_in_time(context).await? => return Ok(()),
            Ok(()) => {}
        }
        self.remove(context).await?;
        self.create(context).await
    }
}

impl ServiceResource {
    /// True if a server that runs answers in time.
    async fn recovers_in_time(&self, context: &Context) -> Result<bool, Error> {
        let name = self.name();
        tokio::select! {
            ready = probe::until_ready(&name, PATIENCE, || self.ask(context)) => Ok(ready.is_ok()),
            ended = self.ended(context) => {
                tracing::debug!("{name} ended while it was waited for: {}", ended?);
                Ok(false)
            }
        }
    }

    /// Waits until the server's process is gone for good, and returns the error that says so: nobody should wait
    /// out the deadline for a server that has given up.
    async fn ended(&self, context: &Context) -> Result<Error, Error> {
        let mut looks = tokio::time::interval(Duration::from_millis(500));
        loop {
            looks.tick().await;
            let pod = context.engine.pod(&self.pod).await?;
            let found = pod.iter().flat_map(|pod| &pod.containers).find(|container| container.name == self.container);
            let Some(code) = found.filter(|container| !container.running).and_then(|found| found.exit_code) else {
                continue;
            };
            return Ok(Error::Ended { what: self.name(), code, said: self.last_words(context).await? });
        }
    }

    async fn last_words(&self, context: &Context) -> Result<String, Error> {
        let mut log = context.engine.logs(&self.container, Some(5), false).await?;
        let mut lines = Vec::new();
        while let Some(line) = log.recv().await {
            lines.push(line.text);
        }
        Ok(lines.join("\n  "))
    }

    async fn ask(&self, context: &Context) -> Result<(), Error> {
        match &self.probe {
            Probe::Kes { endpoint, minio, .. } => {
                let kes = context.replicas.at(endpoint)?;
                kes.ready().await?;
                kes.describe_identity(minio.as_str()).await?;
                Ok(())
            }
            Probe::Minio => {
                context.s3.health("cluster").await?;
                Ok(context.s3.health("ready").await?)
            }
            Probe::Started => Ok(()),
        }
    }
}
