//! `export systemd`: KES and MinIO as units on bare metal. Private keys reach them as credentials of systemd, those of
//! the keystore as an environment file that only root reads; locked memory needs one capability and no `setcap`.

use std::net::SocketAddr;

use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::{Deployment, Export, PUBLIC, SCRIPT, SECRET, file, quoted};
use crate::error::Error;
use crate::resource::{FileResource, Owner};
use crate::stack::keystore::{self, Credential};
use crate::stack::{minio_env_at, ports};
use crate::template::{self, CacheTimes, KesConfigContext, KesPlace, MinioPaths};

const KES: &str = "export/systemd/kes.service.tera";
const MINIO: &str = "export/systemd/minio.service.tera";
const INSTALL: &str = "export/systemd/install.tera";
const KEYSTORE: &str = "export/systemd/keystore.env.tera";
const SYSUSERS: &str = include_str!("../../templates/export/systemd/kestack.conf");

/// Folder of the fs keystore.
const KEYS: &str = "/var/lib/kes";
/// MinIO's drive.
const DRIVE: &str = "/var/lib/minio";
/// Configuration of both.
const ETC: &str = "/etc/kes";

/// The stack as two units, their files, and a script that puts them in place.
///
/// # Errors
/// Those of the templates, and of files that the keystore section names.
pub fn systemd(deployment: &Deployment) -> Result<Export, Error> {
    deployment.check()?;
    let stack = &deployment.stack;
    let (section, credentials) = keystore(deployment);
    let values = context(deployment, &section, &credentials);
    let mut files = vec![file(deployment.path("kestack.conf"), SYSUSERS, PUBLIC)];
    let several = stack.ports.kes.len() > 1;
    for (name, template, text, mode) in [
        (
            if several { "kes@.service" } else { "kes.service" },
            KES,
            include_str!("../../templates/export/systemd/kes.service.tera"),
            PUBLIC,
        ),
        ("minio.service", MINIO, include_str!("../../templates/export/systemd/minio.service.tera"), PUBLIC),
        ("install", INSTALL, include_str!("../../templates/export/systemd/install.tera"), SCRIPT),
        ("keystore.env", KEYSTORE, include_str!("../../templates/export/systemd/keystore.env.tera"), SECRET),
    ] {
        let rendered = template::render(template, text, &template::context(template, &values)?)?;
        files.push(file(deployment.path(name), &rendered, mode));
    }
    files.push(file(deployment.path("kes-config.yaml"), &kes_config(deployment, &section)?, PUBLIC));
    let host = ports::reachable(stack.ports.host);
    let kes = stack.ports.kes.iter().map(|port| format!("https://{}", SocketAddr::new(host, *port)));
    let kes = kes.collect::<Vec<_>>().join(",");
    files.push(file(deployment.path("minio.env"), &minio_env_at(stack, &kes, minio_paths())?, SECRET));
    files.extend(certificates(deployment));
    files.extend(keystore_files(deployment)?);
    Ok(Export {
        target: "systemd",
        folders: vec![],
        files,
        images: vec![],
        notes: vec![
            "for a `kes` that runs by hand, without systemd: `setcap cap_ipc_lock=+ep kes` lets it lock more memory than \
             `ulimit -l` says"
                .into(),
        ],
        next: next(deployment),
    })
}

fn next(deployment: &Deployment) -> Vec<String> {
    let images = &deployment.images;
    let binary = |image: &crate::supply::ImageSource, name: &str| {
        image.binary().map_or_else(|| format!("/path/to/{name}"), quoted)
    };
    vec![
        format!(
            "sudo install -m 755 {} {} /usr/local/bin/",
            binary(&images.kes, "kes"),
            binary(&images.minio, "minio")
        ),
        format!("sudo {}", deployment.command_path("install")),
        format!("sudo systemctl enable --now {} minio", units(deployment).join(" ")),
    ]
}

/// The units of KES: one for each replica, by its port.
fn units(deployment: &Deployment) -> Vec<String> {
    match deployment.stack.ports.kes.as_slice() {
        [_] => vec!["kes".into()],
        ports => ports.iter().map(|port| format!("kes@{port}")).collect(),
    }
}

/// The section as KES reads it there: a private key comes as a credential, whose folder the unit puts into a variable.
fn keystore(deployment: &Deployment) -> (Value, Vec<Credential>) {
    let manifest = &deployment.stack.manifest;
    let keys = keystore::files(&manifest.keystore).into_iter().filter(|file| file.secret);
    let keys: Vec<_> = keys.map(|file| file.name).collect();
    let mut section = keystore::with_files(&manifest.keystore, |name| {
        if keys.contains(&name) { "${KES_KEYSTORE_KEY}".into() } else { format!("{ETC}/{name}") }
    });
    if let Some(fs) = section.get_mut("fs") {
        *fs = json!({ "path": manifest.fs_path().unwrap_or_else(|| KEYS.into()) });
    }
    keystore::without_credentials(&section)
}

fn context(deployment: &Deployment, section: &Value, credentials: &[Credential]) -> Value {
    let stack = &deployment.stack;
    let files = keystore::files(&stack.manifest.keystore);
    json!({
        "name": stack.manifest.name.as_str(),
        "units": units(deployment),
        // any replica's address but for its port
        "listen": SocketAddr::new(stack.ports.host, 0).to_string().trim_end_matches('0'),
        "env": &stack.manifest.kes.env,
        // a folder of systemd's own needs no write access elsewhere
        "keys": keystore::text(section, "/fs/path").filter(|path| *path != KEYS),
        "local": stack.manifest.keystore_is_fs(),
        "loopback": stack.ports.host.is_loopback(),
        "secrets": credentials.iter().map(|(name, value)| json!([name, environment(value)])).collect::<Vec<_>>(),
        "files": files.iter().map(|file| json!({ "name": file.name, "secret": file.secret })).collect::<Vec<_>>(),
        "client_key": files.iter().any(|file| file.secret),
        "s3": SocketAddr::new(stack.ports.host, stack.ports.s3).to_string(),
        "console": SocketAddr::new(stack.ports.host, stack.ports.console).to_string(),
        "stop": { "kes": 10, "minio": 60 },
    })
}

fn keystore_files(deployment: &Deployment) -> Result<Vec<FileResource>, Error> {
    let files = keystore::files(&deployment.stack.manifest.keystore).into_iter();
    let copied = files.map(|found| {
        let content = std::fs::read(&found.source).map_err(Error::file("read", &found.source))?;
        let mode = if found.secret { SECRET } else { PUBLIC };
        Ok(FileResource {
            path: deployment.path(found.name),
            content: content.into(),
            mode,
            owner: Owner::Caller,
            readers: vec![],
            staging: None,
        })
    });
    copied.collect()
}

/// A value of an `EnvironmentFile`: in double quotes, newlines as the two characters that KES reads as one.
fn environment(value: &str) -> String {
    let escaped = value.replace('\n', "\\n").replace('\\', "\\\\").replace('"', "\\\"").replace('$', "\\$");
    format!("\"{}\"", escaped.replace('`', "\\`"))
}

fn kes_config(deployment: &Deployment, section: &Value) -> Result<Zeroizing<String>, Error> {
    let stack = &deployment.stack;
    let values = KesConfigContext {
        // that of the first replica; the others are told theirs
        address: stack
            .ports
            .kes
            .iter()
            .take(1)
            .map(|port| SocketAddr::new(stack.ports.host, *port).to_string())
            .collect(),
        admin: stack.material.admin_identity()?.to_string(),
        identities: vec![stack.material.minio_identity()?.to_string()],
        keys: stack.manifest.keys.iter().map(ToString::to_string).collect(),
        keystore: section.clone(),
    };
    let place = KesPlace {
        origin: "`kestack export systemd`",
        tls_key: "${KES_TLS_KEY}",
        tls_cert: "/etc/kes/kes-server.cert",
        cache: Some(stack.manifest.cache_times().unwrap_or(CacheTimes::DOCUMENTED)),
    };
    Ok(template::render_kes_config(&values, &place)?)
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

fn certificates(deployment: &Deployment) -> Vec<FileResource> {
    let material = &deployment.stack.material;
    let one = |name: &str, pem: &str, mode| file(deployment.path(name), pem, mode);
    vec![
        one("ca.cert", &material.authority.cert_pem, PUBLIC),
        one("ca.key", &material.authority.key_pem, SECRET),
        one("kes-server.cert", &material.kes.cert_pem, PUBLIC),
        one("kes-server.key", &material.kes.key_pem, SECRET),
        one("minio-kes.cert", &material.minio.cert_pem, PUBLIC),
        one("minio-kes.key", &material.minio.key_pem, SECRET),
        one("admin.cert", &material.admin.cert_pem, PUBLIC),
        one("admin.key", &material.admin.key_pem, SECRET),
    ]
}
