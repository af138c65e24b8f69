//! Where units of systemd have the files of a stack, and KES's configuration as it is there: private keys come as
//! credentials of systemd, those of the keystore from an environment file.

use std::net::SocketAddr;

use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::Stack;
use crate::error::Error;
use crate::keystore::{self, Credential, MASTER_KEY_FILES, MASTER_KEYS};
use crate::manifest::CacheTimes;
use crate::template::{self, KesConfigContext, KesPlace};

/// Folder of the fs keystore.
pub(crate) const KEYS: &str = "/var/lib/kes";
/// MinIO's drive.
pub(crate) const DRIVE: &str = "/var/lib/minio";
/// Configuration of both.
pub(crate) const ETC: &str = "/etc/kes";
/// KES's configuration.
pub(super) const CONFIG: &str = "/etc/kes/kes-config.yaml";
/// KES's certificate.
pub(super) const KES_CERT: &str = "/etc/kes/kes-server.cert";

/// The section as KES reads it there: a private key comes as a credential, whose folder the unit puts into a variable.
pub(crate) fn keystore(stack: &Stack) -> (Value, Vec<Credential>) {
    let manifest = &stack.manifest;
    let keys = keystore::files(&manifest.keystore).into_iter().filter(|file| file.secret);
    let keys: Vec<_> = keys.map(|file| file.name).collect();
    let mut section = keystore::with_files(&manifest.keystore, |name| {
        if keys.contains(&name) { "${KES_KEYSTORE_KEY}".into() } else { format!("{ETC}/{name}") }
    });
    if let Some(fs) = section.get_mut("fs").and_then(Value::as_object_mut) {
        fs.insert("path".into(), json!(manifest.fs_path().unwrap_or_else(|| KEYS.into())));
    }
    // master keys are credentials of systemd, which KES finds by their names
    for (place, name) in MASTER_KEYS.into_iter().zip(MASTER_KEY_FILES) {
        let (above, _) = place.rsplit_once('/').unwrap_or_default();
        if let Some(key) = section.pointer_mut(above).and_then(Value::as_object_mut)
            && key.remove("masterKeyPath").is_some()
        {
            key.insert("masterKeyCredential".into(), name.into());
        }
    }
    keystore::without_credentials(&section)
}

/// `kes-config.yaml`; without `minio` MinIO's identity is not in the policy, and KES refuses all it asks.
pub(crate) fn kes_config(stack: &Stack, minio: bool) -> Result<Zeroizing<String>, Error> {
    let values = KesConfigContext {
        // that of the first replica; the others get theirs
        address: stack
            .ports
            .kes
            .iter()
            .take(1)
            .map(|port| SocketAddr::new(stack.ports.host, *port).to_string())
            .collect(),
        admin: stack.material.admin_identity()?.to_string(),
        identities: if minio { vec![stack.material.minio_identity()?.to_string()] } else { vec![] },
        monitors: vec![],
        keys: stack.manifest.keys.iter().map(ToString::to_string).collect(),
        read_only: false,
        keystore: keystore(stack).0,
    };
    let place = KesPlace {
        origin: "`kestack export systemd`",
        tls_key: "${KES_TLS_KEY}",
        tls_cert: KES_CERT,
        cache: Some(stack.manifest.cache_times().unwrap_or(CacheTimes::DOCUMENTED)),
    };
    Ok(template::render_kes_config(&values, &place)?)
}
