//! Entrust `KeyControl`.

use super::{Setting, Use, Vendor, authority, by_credentials, no_identity, nothing};
use crate::keystore::policy::Policy;

/// Entrust `KeyControl` (docs/keystores-protocol.md).
pub(in crate::keystore) const ENTRUST: Vendor = Vendor {
    word: "entrust",
    settings: &[
        Setting::required("/entrust/keycontrol/endpoint", &["ENTRUST_ENDPOINT"]),
        Setting::required("/entrust/keycontrol/vault_id", &["ENTRUST_VAULT_ID"]),
        Setting::required("/entrust/keycontrol/box_id", &["ENTRUST_BOX_ID"]),
        Setting::credential(Use::Required, "/entrust/keycontrol/credentials/username", &["ENTRUST_USERNAME"]),
        Setting::credential(Use::Required, "/entrust/keycontrol/credentials/password", &["ENTRUST_PASSWORD"]),
    ],
    files: &[authority("/entrust/keycontrol/tls/ca")],
    part: None,
    complete: nothing,
    right: |_, _| "the role Vault User for all secrets of the box".into(),
    login: by_credentials,
    identity: no_identity,
    policies: |_| {
        Some(vec![Policy::notes(
            "Entrust KeyControl: a user of the vault whose policy on the box of `box_id` allows: check out, create, \
             delete and list secrets.\n",
        )])
    },
};
