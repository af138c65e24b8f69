//! The folders and files of a stack.

use std::path::PathBuf;

use zeroize::Zeroizing;

use super::view::{View, shown};
use super::{Stack, ports, units};
use crate::engine::EngineInfo;
use crate::error::Error;
use crate::keystore;
use crate::manifest::EngineKind;
use crate::resource::{AbsentFile, DirectoryResource, FileResource, Owner};
use crate::template::{self, KesConfigContext, KesPlace, MinioEnvContext, MinioPaths};

/// Mode of what only its owner may read.
const SECRET: u32 = 0o600;
/// Mode of certificates.
const PUBLIC: u32 = 0o644;

impl Stack {
    /// Every folder of the stack. What a container writes to belongs to its user.
    pub(crate) fn directories(&self, owner: Owner) -> Vec<DirectoryResource> {
        let own = |path| DirectoryResource::new(path, Owner::Caller);
        let layout = &self.layout;
        // the user may have named it, and it holds no folders
        let keys = DirectoryResource { is_flat: true, ..DirectoryResource::new(self.keys_folder(), owner) };
        let drive = DirectoryResource::new(layout.drive(), owner);
        let mut folders = vec![own(layout.certs()), own(layout.config()), keys, drive];
        if !keystore::files(&self.manifest.keystore).is_empty() {
            folders.push(own(layout.keystore_files()));
        }
        if self.manifest.minio.tls {
            folders.push(own(layout.s3_certs()));
        }
        folders
    }

    /// Files of an earlier start that would say of the stack what is not so any more.
    pub(super) fn leftovers(&self) -> Vec<AbsentFile> {
        let of_tls = [self.layout.s3_cert(), self.layout.s3_key()].into_iter();
        let left = of_tls.filter(|path| !self.manifest.minio.tls && path.exists());
        left.map(|path| AbsentFile { path }).collect()
    }

    /// Every file of the stack. What a container reads belongs to its user, the rest to whoever runs kestack.
    pub(crate) fn files(&self, container: Owner, view: &View) -> Result<Vec<FileResource>, Error> {
        self.files_with(container, view, Access { minio: true, read_only: false })
    }

    /// The same with what KES allows.
    pub(super) fn files_with(&self, container: Owner, view: &View, access: Access) -> Result<Vec<FileResource>, Error> {
        let (layout, material) = (&self.layout, &self.material);
        let file = |path: PathBuf, content: &[u8], mode, owner| FileResource {
            path,
            content: Zeroizing::new(content.to_vec()),
            mode,
            owner,
            readers: vec![],
            // whoever watches the folder of its certificates must never see a file that is not complete
            staging: Some(layout.config()),
        };
        let caller = Owner::Caller;
        let readers = self.replicas().into_iter().map(|replica| replica.container).collect();
        let kes_config = config_of_kes(self, view, access)?;
        let kes_config = file(layout.kes_config(), kes_config.as_bytes(), SECRET, container);
        let mut files = vec![
            file(layout.ca_cert(), material.authority.cert_pem.as_bytes(), PUBLIC, container),
            file(layout.ca_key(), material.authority.key_pem.as_bytes(), SECRET, caller),
            file(layout.kes_cert(), material.kes.cert_pem.as_bytes(), PUBLIC, container),
            file(layout.kes_key(), material.kes.key_pem.as_bytes(), SECRET, container),
            file(layout.minio_cert(), material.minio.cert_pem.as_bytes(), PUBLIC, container),
            file(layout.minio_key(), material.minio.key_pem.as_bytes(), SECRET, container),
            file(layout.admin_cert(), material.admin.cert_pem.as_bytes(), PUBLIC, caller),
            file(layout.admin_key(), material.admin.key_pem.as_bytes(), SECRET, caller),
            file(layout.digest_key(), &material.digest_key, SECRET, caller),
            FileResource { readers, ..kes_config },
            file(
                layout.minio_env(),
                minio_env_at(self, &view.kes_endpoints(self), view.minio_paths())?.as_bytes(),
                SECRET,
                container,
            ),
        ];
        if let Some(s3) = &material.s3 {
            files.push(file(layout.s3_cert(), s3.cert_pem.as_bytes(), PUBLIC, container));
            files.push(file(layout.s3_key(), s3.key_pem.as_bytes(), SECRET, container));
        }
        for found in keystore::files(&self.manifest.keystore) {
            let content = match &material.master_key {
                // may still have to be written
                Some(master_key) if found.source == layout.master_key() => master_key.clone(),
                _ => Zeroizing::new(std::fs::read(&found.source).map_err(Error::file("read", &found.source))?),
            };
            let mode = if found.secret { SECRET } else { PUBLIC };
            files.push(file(layout.keystore_files().join(found.name), &content, mode, container));
        }
        Ok(files)
    }

    /// Host folder of the fs keystore: the manifest's, else the stack's own.
    pub(crate) fn keys_folder(&self) -> PathBuf {
        self.manifest.fs_path().unwrap_or_else(|| self.layout.keys())
    }
}

/// `kes-config.yaml` on that engine; without `minio` MinIO's identity is not in the policy, and KES refuses all it asks.
pub fn kes_config(stack: &Stack, engine: &EngineInfo, minio: bool) -> Result<Zeroizing<String>, Error> {
    if engine.kind == EngineKind::Systemd {
        return units::kes_config(stack, minio);
    }
    config_of_kes(stack, &View::of(stack, engine)?, Access { minio, read_only: false })
}

/// What KES allows.
#[derive(Debug, Clone, Copy)]
pub(super) struct Access {
    /// MinIO's identity is in the policy.
    pub(super) minio: bool,
    /// Nobody makes a key, KES itself neither.
    pub(super) read_only: bool,
}

pub(super) fn config_of_kes(stack: &Stack, view: &View, access: Access) -> Result<Zeroizing<String>, Error> {
    let file = |name: &str| shown(&view.keystore_files.join(name));
    let mut keystore = keystore::with_files(&stack.manifest.keystore, file);
    if let Some(fs) = keystore.get_mut("fs").and_then(serde_json::Value::as_object_mut) {
        fs.insert("path".into(), shown(&view.keys).into());
    }
    let values = KesConfigContext {
        // that of the first replica; the others get theirs
        address: stack.replicas().first().map(|replica| view.kes_address(replica).to_string()).unwrap_or_default(),
        admin: stack.material.admin_identity()?.to_string(),
        identities: if access.minio { vec![stack.material.minio_identity()?.to_string()] } else { vec![] },
        monitors: vec![],
        keys: stack.manifest.keys.iter().map(ToString::to_string).collect(),
        read_only: access.read_only,
        keystore,
    };
    let place = KesPlace {
        origin: "kestack: `kestack up` replaces it",
        tls_key: &shown(&view.certs.join("kes-server.key")),
        tls_cert: &shown(&view.certs.join("kes-server.cert")),
        cache: stack.manifest.cache_times(),
    };
    Ok(template::render_kes_config(&values, &place)?)
}

/// MinIO's environment file for servers at those places.
pub(crate) fn minio_env_at(stack: &Stack, kes: &str, paths: MinioPaths) -> Result<Zeroizing<String>, Error> {
    let (manifest, material) = (&stack.manifest, &stack.material);
    Ok(template::render_minio_env(&MinioEnvContext {
        root_user: material.credentials.user.clone(),
        root_password: material.credentials.password.clone(),
        kes_endpoint: kes.to_owned(),
        paths,
        default_key: manifest.default_key.to_string(),
        auto_encryption: material.auto_encryption,
        console_redirect: (stack.ports.console != ports::CONSOLE_PORT).then(|| stack.console_endpoint()),
        env: manifest.minio.env.clone(),
    })?)
}
