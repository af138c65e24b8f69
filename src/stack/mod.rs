//! The recipe: what a manifest means on this host, as stages of resources (docs/architecture.md §3.1).
//!
//! [`Stack`] is the resolved stack: its folder, ports, certificates and credentials, all of it in memory.
//! [`Stack::stages`] is the list that `up` and `plan` walk; the HTTP interface comes after it.

use std::path::{Path, PathBuf};

use jiff::Timestamp;

use crate::data::guard::{Guarded, Verdict};
use crate::engine::{EngineInfo, PodState, PortMapping};
use crate::error::Error;
use crate::manifest::Manifest;
use crate::resource::apply::Stage;
use crate::resource::interface::{InterfaceResource, Launch, Record};
use crate::resource::{DirectoryResource, FileResource, ImageResource, Owner, PodResource, Resource};
use crate::resource::{GuardCheck, GuardRecord};
use crate::supply::ImageSource;
use seed::Content;

mod base;
mod buckets;
pub mod certificates;
mod clients;
mod containers;
mod files;
mod home;
mod layout;
pub(crate) mod marker;
mod material;
mod origin;
mod pod;
pub(crate) mod ports;
mod replicas;
mod running;
pub(crate) mod seal;
pub mod seed;
mod served;
pub(crate) mod units;
mod variables;
mod view;
mod written;

pub use clients::Clients;
pub use files::kes_config;
pub(crate) use files::minio_env_at;
pub use home::Home;
pub use layout::Layout;
use marker::Marker;
pub use material::{Credentials, Material};
pub use origin::Origin;
pub(crate) use pod::{check_ours, own_pod};
pub use ports::Ports;
pub use replicas::Replica;
pub(crate) use variables::{AUTHORITY, STALE, authority_variables, s3_variables, variable_names};
pub(crate) use view::View;
pub(crate) use written::Written;

/// The wanted state of a stack on this host. Nothing is written yet.
#[derive(Debug, Clone)]
pub struct Stack {
    /// What the user asked for.
    pub manifest: Manifest,
    /// Where its files are.
    pub layout: Layout,
    /// Its host ports.
    pub ports: Ports,
    /// Its certificates and credentials.
    pub material: Material,
    /// When it may be removed; said of a pod that is made, never of one that is there.
    pub expires: Option<Timestamp>,
    /// What it is brought up from; `None` where it is not brought up.
    pub origin: Option<Origin>,
    /// Its declared content, if that is made or compared.
    pub seed: Content,
    /// How its HTTP interface is started; `None` where no program is there that could.
    pub(crate) launch: Option<Launch>,
    /// Where clients find it, if that is not at its ports.
    pub(crate) front: Option<Front>,
}

/// Addresses in front of the servers.
#[derive(Debug, Clone)]
pub(crate) struct Front {
    /// URL of S3.
    pub(crate) s3: String,
    /// URL of the console; empty if there is none, or nobody knows where.
    pub(crate) console: String,
}

/// Where the two images come from.
#[derive(Debug, Clone)]
pub struct Images {
    /// Image of KES.
    pub kes: ImageSource,
    /// Image of MinIO.
    pub minio: ImageSource,
}

/// What the containers of the servers are made of.
struct Parts {
    owner: Owner,
    view: View,
    files: Vec<FileResource>,
    marker: Marker,
    pod: PodResource,
}

impl Stack {
    /// Resolves a manifest: what the folder holds is kept, what is missing is made in memory.
    pub fn resolve(manifest: Manifest, base: &Path, ports: Ports) -> Result<Self, Error> {
        let layout = Layout::new(base, manifest.name.as_str());
        Self::resolve_at(manifest, layout, ports)
    }

    /// The same of a stack whose files have other places.
    pub(crate) fn resolve_at(mut manifest: Manifest, layout: Layout, ports: Ports) -> Result<Self, Error> {
        let material = Material::complete(&layout, &manifest)?;
        seal::declare(&mut manifest, &layout, &layout);
        Ok(Self::of(manifest, layout, ports, material))
    }

    /// A stack with these parts and nothing else.
    pub(crate) fn of(manifest: Manifest, layout: Layout, ports: Ports, material: Material) -> Self {
        Self {
            ports,
            material,
            layout,
            manifest,
            expires: None,
            origin: None,
            seed: Content::default(),
            launch: None,
            front: None,
        }
    }

    /// The stack that was brought up before.
    ///
    /// # Errors
    /// [`Error::NotRunning`] if there is none.
    pub fn existing(manifest: Manifest, base: &Path, pod: Option<&PodState>) -> Result<Self, Error> {
        Self::existing_at(manifest, base, held_by(pod))
    }

    /// The stack that was brought up before and holds those ports.
    ///
    /// # Errors
    /// [`Error::NotRunning`] if there is none.
    pub fn existing_at(mut manifest: Manifest, base: &Path, held: &[PortMapping]) -> Result<Self, Error> {
        let layout = Layout::new(base, manifest.name.as_str()).seen_by_servers();
        // as MinIO was started, whatever the manifest says now
        manifest.minio.tls = layout.s3_cert().exists();
        let material = Material::existing(&layout, &manifest)?;
        seal::declare(&mut manifest, &layout, &layout);
        let ports = Ports::existing(&manifest, held)?;
        Ok(Self::of(manifest, layout, ports, material))
    }

    /// Its data, and the keys that it needs.
    pub fn guarded(&self) -> Guarded {
        let guarded = Guarded::at(&self.manifest, self.layout.drive(), self.layout.guard(), self.keys_folder());
        if self.layout.is_served() { guarded.in_foreground() } else { guarded }
    }

    /// The same of each drive: any of them may be the one that was replaced.
    pub(crate) fn all_guarded(&self) -> Vec<Guarded> {
        let mut all = vec![self.guarded()];
        all.extend(self.layout.drives().into_iter().skip(1).map(|drive| {
            let record = Layout::record_on(&drive);
            Guarded::at(&self.manifest, drive, record, self.keys_folder()).in_foreground()
        }));
        all
    }

    /// `http://127.0.0.1:9000`, or with TLS `https://127.0.0.1:9000`
    pub fn s3_endpoint(&self) -> String {
        let own = || format!("{}://{}", self.scheme(), self.ports.reachable(self.ports.s3));
        self.front.as_ref().map_or_else(own, |front| front.s3.clone())
    }

    /// `http://127.0.0.1:9001`, or with TLS `https://127.0.0.1:9001`
    pub fn console_endpoint(&self) -> String {
        let own = || format!("{}://{}", self.scheme(), self.ports.reachable(self.ports.console));
        self.front.as_ref().map_or_else(own, |front| front.console.clone())
    }

    fn scheme(&self) -> &'static str {
        if self.manifest.minio.tls { "https" } else { "http" }
    }

    /// Certificate of the authority that clients of S3 must trust; `None` without TLS.
    pub fn s3_authority(&self) -> Option<PathBuf> {
        self.manifest.minio.tls.then(|| self.layout.ca_cert())
    }

    /// Name of MinIO's container.
    pub fn minio_container(&self) -> String {
        format!("{}-minio-server", self.manifest.name)
    }

    /// Everything that makes up the stack, in the order in which it can be made. What is known of the keys decides
    /// when MinIO may start.
    pub fn stages(&self, engine: &EngineInfo, images: &Images, keys: Verdict) -> Result<Vec<Stage>, Error> {
        let Parts { owner, view, files, marker, pod } = self.parts(engine)?;
        let containers = self.containers(&pod, &files, images, &view);
        let mut records = vec![Home::of(engine).file(&self.layout, &self.ports)];
        records.extend(self.origin.as_ref().map(|origin| origin.file(&self.layout)).transpose()?);
        let mut side_by_side: Vec<Box<dyn Resource>> = vec![Box::new(pod)];
        side_by_side.push(Box::new(ImageResource { role: "kes", source: images.kes.clone() }));
        side_by_side.push(Box::new(ImageResource { role: "minio", source: images.minio.clone() }));
        let seals = self.seal_stages(&files);
        let is_made_before = |file: &FileResource| !seals.is_empty() && file.path == self.layout.master_key();
        side_by_side.extend(
            files.into_iter().filter(|file| !is_made_before(file)).map(|file| Box::new(file) as Box<dyn Resource>),
        );
        side_by_side.extend(self.leftovers().into_iter().map(|file| Box::new(file) as Box<dyn Resource>));
        let root = DirectoryResource::new(self.layout.root().to_owned(), Owner::Caller);
        let mut stages = vec![
            // nobody else sees what is made in it, and it shows whose it is before there is more to remove
            Stage(vec![Box::new(root)]),
            Stage(vec![Box::new(marker.file(&self.layout)?)]),
            Stage(self.directories(owner).into_iter().map(|folder| Box::new(folder) as Box<dyn Resource>).collect()),
            Stage(records.into_iter().map(|record| Box::new(record) as Box<dyn Resource>).collect()),
        ];
        stages.extend(seals);
        // the pod's network takes longest: files are written and images loaded meanwhile
        stages.push(Stage(side_by_side));
        stages.extend(self.servers(containers, keys)?);
        stages.extend(self.data_stages());
        Ok(stages)
    }

    /// What the servers read and live in, of which their containers are made.
    fn parts(&self, engine: &EngineInfo) -> Result<Parts, Error> {
        let owner = Owner::Container { id: engine.owner };
        let view = View::of(self, engine)?;
        let files = self.files(owner, &view)?;
        let marker = Marker::of(&self.layout, self.manifest.name.as_str(), engine)?;
        let pod = self.pod(&marker);
        Ok(Parts { owner, view, files, marker, pod })
    }

    /// The HTTP interface, if it is wanted or has to go. No stage of the stack: one that fails says nothing of the servers
    /// and the data, and undoes nothing there.
    ///
    /// # Errors
    /// If the file that says who listens cannot be read.
    pub(crate) fn interface(&self) -> Result<Option<Stage>, Error> {
        let Some(launch) = &self.launch else { return Ok(None) };
        let record = self.layout.interface();
        let there = Record::read(&record)?.is_some_and(|record| record.is_background());
        let launch = self.manifest.ui.then(|| launch.clone());
        let is_settled = launch.is_none() && !there;
        Ok((!is_settled).then(|| Stage(vec![Box::new(InterfaceResource { record, launch })])))
    }

    /// The servers, made and started. Replicas come one after the other: each serves before the next one is replaced.
    fn servers(&self, mut containers: Vec<Box<dyn Resource>>, keys: Verdict) -> Result<Vec<Stage>, Error> {
        let mut others = containers.split_off(1).into_iter();
        containers.extend(others.next_back());
        let mut services = self.kes_services()?.into_iter();
        let mut first: Vec<_> = services.by_ref().take(1).collect();
        let mut stages = vec![Stage(containers)];
        match keys {
            // MinIO needs a while before it asks KES for the first time, and asks again; should KES take longer than
            // that, MinIO ends and is started again once the keys are there
            Verdict::Good => {
                first.push(self.minio_started());
                stages.push(Stage(first));
            }
            Verdict::Unknown => {
                stages.push(Stage(first));
                stages.push(Stage(vec![Box::new(GuardCheck::new(self.guarded()))]));
            }
        }
        stages.extend(others.zip(services).flat_map(|(made, serves)| [Stage(vec![made]), Stage(vec![serves])]));
        Ok(stages)
    }

    /// The stages that a running stack must be brought through again once its drive was emptied.
    pub fn data_stages(&self) -> Vec<Stage> {
        let mut stages = vec![
            Stage(self.key_resources()),
            Stage(vec![self.minio_service(), Box::new(GuardRecord::new(self.guarded(), &self.manifest))]),
            Stage(self.bucket_resources()),
        ];
        stages.extend(seed::stages(self));
        stages
    }
}

fn held_by(pod: Option<&PodState>) -> &[PortMapping] {
    pod.map(|pod| pod.ports.as_slice()).unwrap_or_default()
}
