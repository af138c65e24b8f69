//! The stack's own folder.

use super::{Vendor, by_credentials, no_identity, nothing};

/// The stack's own folder.
pub(in crate::keystore) const FS: Vendor = Vendor {
    word: "fs",
    settings: &[],
    files: &[],
    part: None,
    complete: nothing,
    right: |_, _| "read and write access to the folder for the user that KES runs as".into(),
    login: by_credentials,
    identity: no_identity,
    policies: |_| None,
};
