//! The stack on one machine, as templates need it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::{Value, json};

use super::{Export, PUBLIC, file, quoted, refused, unreadable};
use crate::engine::image::Archive;
use crate::engine::{ContainerSpec, Mount, PortMapping};
use crate::error::Error;
use crate::keystore::{self, Login};
use crate::manifest::{BucketEncryption, Manifest, PortRules};
use crate::resource::{DirectoryResource, FileResource, Owner};
use crate::stack::ports;
use crate::stack::seal;
use crate::stack::{Images, Layout, Material, Ports, Replica, Stack, View};
use crate::supply::ImageSource;
use crate::template;

/// The uid and gid that KES and MinIO run as (docs/architecture.md §3.9).
const CONTAINER_ID: u32 = 1000;

/// What the user wants of an export for one machine.
#[derive(Debug, Clone)]
pub struct DeploymentOptions<'a> {
    /// Folder that is written to.
    pub folder: &'a Path,
    /// Where that folder will lie on the machine that runs it.
    pub at: &'a Path,
    /// Folder of the stacks that `up` makes; certificates and credentials are taken from there.
    pub base: &'a Path,
    /// Whether to write the images that are composed here, too.
    pub archives: bool,
    /// User and group number of who exports.
    pub caller: (u32, u32),
}

/// A stack on one machine under another name of its folder.
#[derive(Debug)]
pub struct Deployment {
    pub(super) stack: Stack,
    pub(super) images: Images,
    folder: PathBuf,
    at: PathBuf,
    archives: bool,
    caller: (u32, u32),
}

/// One container as templates see it.
#[derive(Debug, Serialize)]
pub(super) struct Container {
    /// Name on the host.
    name: String,
    /// Name within the deployment.
    service: String,
    image: String,
    /// True if no registry has the image.
    local: bool,
    command: Vec<String>,
    env: BTreeMap<String, String>,
    mounts: Vec<MountView>,
    capabilities: Vec<String>,
    stop_timeout: u32,
    ports: Vec<PortView>,
    /// Command that tells whether KES answers.
    probe: Vec<String>,
}

#[derive(Debug, Serialize)]
struct MountView {
    /// Unique in the deployment, a DNS label.
    name: String,
    /// On the host, absolute.
    source: String,
    /// On the host, from the exported folder.
    relative: String,
    target: String,
    read_only: bool,
    folder: bool,
}

#[derive(Debug, Serialize)]
struct PortView {
    host: String,
    host_port: u16,
    /// Host address and port together.
    bind: String,
    /// Port in the container.
    port: u16,
}

impl PortView {
    fn new(port: &PortMapping) -> Self {
        Self {
            host: port.host_ip.to_string(),
            host_port: port.host_port,
            bind: SocketAddr::new(port.host_ip, port.host_port).to_string(),
            port: port.container_port,
        }
    }
}

impl Deployment {
    /// Resolves a manifest for an exported folder: what that folder holds is kept, else what the stack of `up` has,
    /// else it is made in memory.
    ///
    /// # Errors
    /// [`Error::Usage`] for ports that are not fixed.
    pub fn resolve(mut manifest: Manifest, images: Images, options: &DeploymentOptions<'_>) -> Result<Self, Error> {
        check_ports(&manifest)?;
        check_at(options.at)?;
        // it runs elsewhere: whether a port is free here does not matter
        manifest.ports = PortRules::FIXED;
        let layout = Layout::new(options.folder, manifest.name.as_str());
        let own = Layout::new(options.base, manifest.name.as_str());
        let source = if layout.admin_key().exists() { &layout } else { &own };
        let material = Material::complete(source, &manifest)?;
        seal::declare(&mut manifest, source, &layout);
        let ports = Ports::resolve(&manifest, &[])?;
        let stack = Stack::of(manifest, layout, ports, material);
        Ok(Self {
            stack,
            images,
            folder: options.folder.to_owned(),
            at: options.at.to_owned(),
            archives: options.archives,
            caller: options.caller,
        })
    }

    /// The folder tree that `up` would make, and one file that says what runs it: `verify --dir` reads all of it.
    pub(super) fn export(&self, target: &'static str) -> Result<Export, Error> {
        self.check()?;
        seal::check_in_containers(&self.stack.manifest)?;
        let owner = Owner::Container { id: self.is_root().then_some(CONTAINER_ID) };
        let mut files = self.stack.files(owner, &View::in_containers())?;
        files.push(file(self.stack.layout.exported(), &format!("{}\n", json!({ "target": target })), PUBLIC));
        Ok(Export {
            target,
            folders: self.folders(owner),
            files,
            images: self.archives()?,
            notes: self.notes(),
            next: self.load_commands(target),
        })
    }

    /// The folders to make. Keys that lie elsewhere may be in use, and are left alone.
    fn folders(&self, owner: Owner) -> Vec<DirectoryResource> {
        let mut folders = self.stack.directories(owner);
        folders.retain(|folder| folder.path.starts_with(&self.folder));
        folders
    }

    /// Refuses what no single machine has, and keys that KES would not take.
    pub(super) fn check(&self) -> Result<(), Error> {
        if let Some(folder) = self.stack.manifest.fs_path() {
            seal::check_folder(&self.stack.manifest, &folder)?;
        }
        match keystore::login(&self.stack.manifest.keystore) {
            Login::TokenFile(token) => Err(refused(
                format!("Vault's login by Kubernetes reads '{token}', which only a pod of a cluster has"),
                "use approle for this target, or `kestack export tenant` or `kubernetes`",
            )),
            _ => Ok(()),
        }
    }

    /// Refuses a path with a colon for targets that end it there.
    pub(super) fn check_volumes(&self) -> Result<(), Error> {
        let containers = self.replicas().into_iter().chain([self.minio()]);
        let mut sources = containers.flat_map(|container| container.mounts).map(|mount| mount.source);
        match sources.find(|source| source.contains(':')) {
            Some(source) => Err(refused(
                format!("a unit file of Podman cannot mount '{source}': its path has a colon"),
                "choose another --output-dir or --at, or another keystore.fs.path in kestack.yaml",
            )),
            None => Ok(()),
        }
    }

    /// Everything that a template may use.
    pub(super) fn context(&self, template: &'static str) -> Result<tera::Context, Error> {
        self.context_of(template, None)
    }

    /// The same, for the file of one replica of KES.
    fn context_of(&self, template: &'static str, kes: Option<&Container>) -> Result<tera::Context, Error> {
        let (uid, gid) = self.user();
        let user = json!({ "uid": uid, "gid": gid });
        let values: Value = json!({
            "name": self.stack.manifest.name.as_str(),
            "version": env!("CARGO_PKG_VERSION"),
            "rootless": !self.is_root(),
            "user": user,
            "pod": self.at.join("pod.yaml"),
            "id": CONTAINER_ID,
            "kes": kes,
            "replicas": self.replicas(),
            "minio": self.minio(),
        });
        Ok(template::context(template, &values)?)
    }

    /// User and group that KES and MinIO run as.
    fn user(&self) -> (u32, u32) {
        if self.is_root() { (CONTAINER_ID, CONTAINER_ID) } else { self.caller }
    }

    /// A file next to the stack's folder, rendered from a template.
    pub(super) fn rendered(&self, name: &str, template: &'static str, text: &str) -> Result<FileResource, Error> {
        let content = template::render(template, text, &self.context(template)?)?;
        Ok(file(self.folder.join(name), &content, PUBLIC))
    }

    /// A file for each replica of KES, called after it.
    pub(super) fn for_each_replica(
        &self,
        name: impl Fn(&str) -> String,
        template: &'static str,
        text: &str,
    ) -> Result<Vec<FileResource>, Error> {
        let replicas = self.replicas().into_iter();
        let rendered = replicas.map(|kes| {
            let name = name(&kes.service);
            let content = template::render(template, text, &self.context_of(template, Some(&kes))?)?;
            Ok(file(self.folder.join(name), &content, PUBLIC))
        });
        rendered.collect()
    }

    /// A path in the exported folder, as a command on the target names it.
    pub(super) fn command_path(&self, name: &str) -> String {
        quoted(&self.at.join(name))
    }

    /// Path of a file of the export.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// True if root exports: files then belong to the containers' user, else the containers run as the caller.
    pub(super) fn is_root(&self) -> bool {
        self.caller.0 == 0
    }

    /// The commands that make the manifest's buckets in the exported stack, and prove it.
    pub(super) fn finish_commands(&self) -> Vec<String> {
        let stack = format!("--dir {} --name {}", quoted(&self.at), self.stack.manifest.name);
        let buckets = self.stack.manifest.buckets.iter().filter(|bucket| bucket.encrypts()).map(|bucket| {
            let key = bucket.key.as_ref().unwrap_or(&self.stack.manifest.default_key);
            let encryption = match bucket.encryption {
                BucketEncryption::SseS3 => "--sse-s3".into(),
                _ => format!("--key {key}"),
            };
            format!("kestack bucket create {} {encryption} {stack}", bucket.name)
        });
        buckets.chain([format!("kestack verify {stack}")]).collect()
    }

    fn replicas(&self) -> Vec<Container> {
        let image = &self.images.kes;
        let container = |replica: Replica| {
            let spec = self.stack.kes_spec(&replica, image.reference(), &View::in_containers());
            let port = |mapping: &PortMapping| mapping.container_port == replica.port;
            let mut container = self.container(replica.service, &spec, image, port);
            if replica.is_one_of_several {
                container.probe.push(format!("127.0.0.1:{}", replica.port));
            }
            container
        };
        self.stack.replicas().into_iter().map(container).collect()
    }

    fn minio(&self) -> Container {
        let image = &self.images.minio;
        let spec = self.stack.minio_spec(image.reference(), &View::in_containers());
        let port = |mapping: &PortMapping| [ports::S3_PORT, ports::CONSOLE_PORT].contains(&mapping.container_port);
        self.container("minio-server".into(), &spec, image, port)
    }

    fn container(
        &self,
        service: String,
        spec: &ContainerSpec,
        image: &ImageSource,
        publishes: impl Fn(&PortMapping) -> bool,
    ) -> Container {
        let mounts = spec.mounts.iter().enumerate();
        Container {
            name: spec.name.clone(),
            image: spec.image.clone(),
            local: image.binary().is_some(),
            command: spec.command.clone(),
            env: spec.env.clone(),
            mounts: mounts.map(|(index, mount)| self.mount(format!("{service}-{index}"), mount)).collect(),
            capabilities: spec.capabilities.clone(),
            stop_timeout: spec.stop_timeout,
            ports: self.stack.ports.mappings().iter().filter(|port| publishes(port)).map(PortView::new).collect(),
            probe: ["/kes", "probe", "--timeout", "2s"].map(str::to_owned).into(),
            service,
        }
    }

    fn mount(&self, name: String, mount: &Mount) -> MountView {
        let inside = mount.source.strip_prefix(&self.folder).ok();
        let source = inside.map_or_else(|| mount.source.clone(), |inside| self.at.join(inside));
        let relative = inside.map_or_else(|| mount.source.clone(), |inside| Path::new(".").join(inside));
        MountView {
            name,
            source: source.display().to_string(),
            relative: relative.display().to_string(),
            target: mount.target.display().to_string(),
            read_only: mount.read_only,
            // of the files, all are read only; what is written to is a folder
            folder: !mount.read_only || mount.source.is_dir(),
        }
    }

    fn archives(&self) -> Result<Vec<(PathBuf, Archive)>, Error> {
        let mut archives = Vec::new();
        for (name, image) in [("kes", &self.images.kes), ("minio", &self.images.minio)] {
            let archive = if self.archives { image.archive().map_err(unreadable)? } else { None };
            archives.extend(archive.map(|archive| (self.folder.join(format!("{name}-image.tar")), archive)));
        }
        Ok(archives)
    }

    fn load_commands(&self, target: &str) -> Vec<String> {
        let engine = if target == "compose" { "docker" } else { "podman" };
        let archives = self.archives().unwrap_or_default();
        let names = archives.iter().filter_map(|(path, _)| Some(path.file_name()?.display().to_string()));
        names.map(|name| format!("{engine} load -i {}", self.command_path(&name))).collect()
    }

    fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        let local = [&self.images.kes, &self.images.minio].into_iter().filter(|image| image.binary().is_some());
        let local: Vec<_> = local.map(ImageSource::reference).collect();
        if !local.is_empty() && !self.archives {
            notes.push(format!(
                "no registry has {}: `kestack up` has put it into the engine of this machine; for another one export \
                 with --images",
                local.join(" and ")
            ));
        }
        notes.extend(self.content_notes(
            "the exported folder starts without keys and objects; to take those of a stack along, `kestack down` it and copy \
             its folders keys and minio together, or not at all",
            &format!(
                "where the stack runs, that folder must be there with mode 0700, and it and its keys must belong to uid {}",
                self.user().0
            ),
        ));
        notes
    }

    /// True if the user wants the images that are composed here.
    pub(super) fn wants_archives(&self) -> bool {
        self.archives
    }

    /// What the export does not bring along: how keys and objects of a stack would come, and the needs of keys that stay
    /// where they are.
    pub(super) fn content_notes(&self, nothing: &str, keys_need: &str) -> Vec<String> {
        let mut notes = Vec::new();
        if self.stack.manifest.keys_are_own() {
            notes.push(nothing.into());
        }
        if let Some(keys) = self.stack.manifest.fs_path().filter(|keys| !keys.starts_with(&self.folder)) {
            notes.push(format!("keys stay in '{}', which this export does not touch: {keys_need}", keys.display()));
        }
        if !self.stack.manifest.seed.is_empty() {
            notes.push(
                "the content of `seed:` is not a part of the export: only `kestack up` and `reset` make it".into(),
            );
        }
        if self.stack.manifest.buckets.iter().any(|bucket| bucket.versioning || !bucket.encrypts()) {
            notes.push("versioning, and buckets without encryption, are not made by the commands below".into());
        }
        notes
    }
}

/// What is not absolute would be another place for each tool that reads it.
fn check_at(at: &Path) -> Result<(), Error> {
    if at.is_absolute() {
        return Ok(());
    }
    Err(refused(
        format!("--at '{}' is not an absolute path", at.display()),
        "write the path from the root of the machine that runs the stack, such as --at /srv/stack",
    ))
}

fn check_ports(manifest: &Manifest) -> Result<(), Error> {
    let ports = [
        ("kes.port", manifest.kes.port),
        ("minio.port", manifest.minio.port),
        ("minio.console_port", manifest.minio.console_port),
    ];
    match ports.into_iter().find(|(_, port)| *port == 0) {
        Some((name, _)) => Err(refused(
            format!("{name} is 0, any free port: an export needs a fixed one"),
            format!("write a port number for {name} in kestack.yaml"),
        )),
        None => Ok(()),
    }
}
