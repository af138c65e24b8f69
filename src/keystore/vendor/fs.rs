//! The stack's own folder.

use super::{Named, Vendor, by_credentials, no_identity, nothing};

/// Place of the file with the master key of a sealed folder.
const CURRENT: &str = "/fs/encryption/masterKeyPath";
/// Place of the file with the master key before.
const PREVIOUS: &str = "/fs/encryption/previous/0/masterKeyPath";

/// Places of the files with master keys.
pub(crate) const MASTER_KEYS: [&str; 2] = [CURRENT, PREVIOUS];

/// Names of these files where KES runs.
pub(crate) const MASTER_KEY_FILES: [&str; 2] = ["master.key", "previous-master.key"];

/// The stack's own folder.
pub(in crate::keystore) const FS: Vendor = Vendor {
    word: "fs",
    settings: &[],
    files: &[
        Named { place: CURRENT, name: "master.key", is_secret: true },
        Named { place: PREVIOUS, name: "previous-master.key", is_secret: true },
    ],
    part: None,
    complete: nothing,
    right: |_, _| "read and write access to the folder for the user that KES runs as".into(),
    login: by_credentials,
    identity: no_identity,
    policies: |_| None,
};
