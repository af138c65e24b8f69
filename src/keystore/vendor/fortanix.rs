//! Fortanix DSM.

use super::{Setting, Use, Vendor, authority, by_credentials, no_identity, nothing};
use crate::keystore::policy::Policy;

/// Fortanix DSM (docs/keystores-protocol.md).
pub(in crate::keystore) const FORTANIX: Vendor = Vendor {
    word: "fortanix",
    settings: &[
        Setting::required("/fortanix/sdkms/endpoint", &["FORTANIX_ENDPOINT"]),
        Setting::optional("/fortanix/sdkms/group_id", &["FORTANIX_GROUP_ID"]),
        Setting::credential(Use::Required, "/fortanix/sdkms/credentials/key", &["FORTANIX_API_KEY"]),
    ],
    files: &[authority("/fortanix/sdkms/tls/ca")],
    part: None,
    complete: nothing,
    right: |_, _| "create, export, delete and list rights of the app in its group".into(),
    login: by_credentials,
    identity: no_identity,
    policies: |_| {
        Some(vec![Policy::notes(
            "Fortanix DSM: an application with an API key, whose default group is `group_id`, with the permissions of \
             that group: create, get, export, delete secrets and list them.\n",
        )])
    },
};
