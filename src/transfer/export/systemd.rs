//! `export systemd`: KES and MinIO as units on bare metal. Private keys reach them as credentials of systemd, those of
//! the keystore as an environment file that only root reads; locked memory needs one capability and no `setcap`.

use std::net::SocketAddr;
use std::path::Path;

use serde_json::{Value, json};

use super::{Deployment, Export, PUBLIC, SCRIPT, SECRET, file, quoted, refused};
use crate::engine::units::{Exported, KIND};
use crate::error::Error;
use crate::keystore::{self, Credential, MASTER_KEY_FILES};
use crate::resource::{DirectoryResource, FileResource, Owner};
use crate::stack::units::{self, DRIVE, ETC, KEYS};
use crate::stack::{Images, View, minio_env_at, ports};
use crate::template::{self, MinioPaths};

const KES: &str = "export/systemd/kes.service.tera";
const MINIO: &str = "export/systemd/minio.service.tera";
const INSTALL: &str = "export/systemd/install.tera";
const KEYSTORE: &str = "export/systemd/keystore.env.tera";
/// Folders that are empty for KES: `ProtectHome=` and `PrivateTmp=` of its unit.
const HIDDEN: [&str; 5] = ["/home", "/root", "/run/user", "/tmp", "/var/tmp"];
const SYSUSERS: &str = include_str!("../../../templates/export/systemd/kestack.conf");

/// The stack as two units, their files, and a script that puts them in place.
///
/// # Errors
/// Those of the templates, and of files that the keystore section names.
pub fn systemd(deployment: &Deployment) -> Result<Export, Error> {
    deployment.check()?;
    let stack = &deployment.stack;
    stack.manifest.fs_path().map_or(Ok(()), |keys| check_visible(&keys))?;
    let (section, credentials) = units::keystore(stack);
    let values = context(deployment, &section, &credentials);
    let mut files = vec![file(deployment.path("kestack.conf"), SYSUSERS, PUBLIC)];
    let several = stack.ports.kes.len() > 1;
    for (name, template, text, mode) in [
        (
            if several { "kes@.service" } else { "kes.service" },
            KES,
            include_str!("../../../templates/export/systemd/kes.service.tera"),
            PUBLIC,
        ),
        ("minio.service", MINIO, include_str!("../../../templates/export/systemd/minio.service.tera"), PUBLIC),
        ("install", INSTALL, include_str!("../../../templates/export/systemd/install.tera"), SCRIPT),
        ("keystore.env", KEYSTORE, include_str!("../../../templates/export/systemd/keystore.env.tera"), SECRET),
    ] {
        let rendered = template::render(template, text, &template::context(template, &values)?)?;
        files.push(file(deployment.path(name), &rendered, mode));
    }
    files.extend(tree(deployment)?);
    Ok(Export {
        target: KIND,
        folders: folders(deployment),
        files,
        images: vec![],
        notes: notes(deployment),
        next: next(deployment),
    })
}

/// Refuses a folder of keys that the unit hides from KES.
fn check_visible(keys: &Path) -> Result<(), Error> {
    match HIDDEN.iter().find(|hidden| keys.starts_with(hidden)) {
        Some(hidden) => Err(refused(
            format!("keystore.fs.path is '{}', and KES's unit sees nothing below {hidden}", keys.display()),
            "keep the keys elsewhere, such as in /srv/kes/keys, or leave keystore.fs.path out: KES then keeps them in \
             /var/lib/kes",
        )),
        None => Ok(()),
    }
}

fn notes(deployment: &Deployment) -> Vec<String> {
    let mut notes = deployment.content_notes(
        "KES and MinIO start without keys and objects; to take those of a stack along, `kestack down` it, copy its folders \
         keys and minio together to /var/lib/kes and /var/lib/minio, and give them to kes and minio-user, or do nothing of \
         this",
        "`install` makes that folder, or gives it and its keys to user kes if nobody but root owns them",
    );
    if deployment.wants_archives() {
        notes.push(
            "the units run programs: --images writes nothing, and the commands below install KES and MinIO".into(),
        );
    }
    if deployment.stack.manifest.keystore.pointer("/fs/encryption/masterKeyCredential").is_some() {
        notes.push("KES's unit has no such credential: add LoadCredential= for it with `systemctl edit kes`".into());
    }
    notes.push(
        "for a `kes` that runs by hand, without systemd: `setcap cap_ipc_lock=+ep kes` lets it lock more memory than \
         `ulimit -l` says"
            .into(),
    );
    notes
}

/// The stack's folder as `up` would make it, without drive and keys, and one file that says which units run it:
/// `install` takes from it what the units read, `verify --dir` what it must know.
fn tree(deployment: &Deployment) -> Result<Vec<FileResource>, Error> {
    let stack = &deployment.stack;
    let host = ports::reachable(stack.ports.host);
    let kes = stack.ports.kes.iter().map(|port| format!("https://{}", SocketAddr::new(host, *port)));
    let kes = kes.collect::<Vec<_>>().join(",");
    let contents = [
        (stack.layout.kes_config(), units::kes_config(stack, true)?),
        (stack.layout.minio_env(), minio_env_at(stack, &kes, minio_paths())?),
    ];
    let mut files = stack.files(Owner::Caller, &View::in_containers())?;
    for (path, text) in contents {
        for file in files.iter_mut().filter(|file| file.path == path) {
            file.content = text.as_bytes().to_vec().into();
        }
    }
    let servers = stack.replicas().into_iter().map(|replica| replica.container).zip(unit_names(deployment));
    let minio = (stack.minio_container(), "minio".to_owned());
    let exported = Exported { target: KIND.into(), units: servers.chain([minio]).collect() };
    files.push(file(stack.layout.exported(), &format!("{}\n", json!(exported)), PUBLIC));
    Ok(files)
}

fn folders(deployment: &Deployment) -> Vec<DirectoryResource> {
    let layout = &deployment.stack.layout;
    let held = |folder: &DirectoryResource| folder.path.starts_with(layout.certs()) || folder.path == layout.config();
    deployment.stack.directories(Owner::Caller).into_iter().filter(held).collect()
}

fn next(deployment: &Deployment) -> Vec<String> {
    let mut commands: Vec<_> = installs(&deployment.images).collect();
    commands.push(format!("sudo {}", deployment.command_path("install")));
    commands.push(format!("sudo systemctl enable --now {} minio", unit_names(deployment).join(" ")));
    commands.extend(deployment.finish_commands().iter().map(|command| format!("sudo {command}")));
    commands
}

/// Commands that put the programs where the units start them, whatever they are called here; none for one that is there.
fn installs(images: &Images) -> impl Iterator<Item = String> {
    [("kes", &images.kes), ("minio", &images.minio)].into_iter().filter_map(|(name, image)| {
        let place = Path::new("/usr/local/bin").join(name);
        let source = image.binary().map_or_else(|| Path::new("/path/to").join(name), Path::to_owned);
        (source != place).then(|| format!("sudo install -m 755 -T {} {}", quoted(&source), place.display()))
    })
}

/// The units of KES: one for each replica, by its port.
fn unit_names(deployment: &Deployment) -> Vec<String> {
    match deployment.stack.ports.kes.as_slice() {
        [_] => vec!["kes".into()],
        ports => ports.iter().map(|port| format!("kes@{port}")).collect(),
    }
}

fn context(deployment: &Deployment, section: &Value, credentials: &[Credential]) -> Value {
    let stack = &deployment.stack;
    let files = keystore::files(&stack.manifest.keystore);
    json!({
        "name": stack.manifest.name.as_str(),
        "units": unit_names(deployment),
        // any replica's address but for its port
        "listen": SocketAddr::new(stack.ports.host, 0).to_string().trim_end_matches('0'),
        "env": &stack.manifest.kes.env,
        // a folder of systemd's own needs no write access elsewhere
        "keys": keystore::text(section, "/fs/path").filter(|path| *path != KEYS),
        "local": stack.manifest.keystore_is_fs(),
        "loopback": stack.ports.host.is_loopback(),
        "secrets": credentials.iter().map(|(name, value)| json!([name, environment(value)])).collect::<Vec<_>>(),
        "files": files.iter().map(|file| json!({ "name": file.name, "secret": file.secret })).collect::<Vec<_>>(),
        "client_key": files.iter().any(|file| file.secret && !MASTER_KEY_FILES.contains(&file.name)),
        "master_keys": files.iter().map(|file| file.name).filter(|name| MASTER_KEY_FILES.contains(name)).collect::<Vec<_>>(),
        "s3": SocketAddr::new(stack.ports.host, stack.ports.s3).to_string(),
        "tls": stack.manifest.minio.tls,
        "console": SocketAddr::new(stack.ports.host, stack.ports.console).to_string(),
        "stop": { "kes": 10, "minio": 60 },
    })
}

/// A value of an `EnvironmentFile`: in double quotes, newlines as the two characters that KES reads as one.
fn environment(value: &str) -> String {
    let escaped = value.replace('\n', "\\n").replace('\\', "\\\\").replace('"', "\\\"").replace('$', "\\$");
    format!("\"{}\"", escaped.replace('`', "\\`"))
}

fn minio_paths() -> MinioPaths {
    MinioPaths {
        drive: Some(DRIVE.into()),
        cert: format!("{ETC}/minio-kes.cert"),
        // a credential, whose folder only the unit knows
        key: None,
        ca: format!("{ETC}/ca.cert"),
    }
}
