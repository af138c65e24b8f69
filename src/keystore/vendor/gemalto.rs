//! Thales `CipherTrust` Manager, which KES knows by its former name.

use super::{Setting, Use, Vendor, authority, by_credentials, no_identity, nothing};
use crate::keystore::policy::Policy;

/// Thales `CipherTrust` Manager (docs/keystores-protocol.md).
pub(in crate::keystore) const GEMALTO: Vendor = Vendor {
    word: "gemalto",
    settings: &[
        Setting::required("/gemalto/keysecure/endpoint", &["KEYSECURE_ENDPOINT"]),
        Setting::credential(Use::Required, "/gemalto/keysecure/credentials/token", &["KEYSECURE_TOKEN"]),
        Setting::optional("/gemalto/keysecure/credentials/domain", &["KEYSECURE_DOMAIN"]),
    ],
    files: &[authority("/gemalto/keysecure/tls/ca")],
    part: None,
    complete: nothing,
    right: |_, call| {
        call.choose([
            "CreateKey on kylo:kylo:vault:secrets:*",
            "ReadKey and ExportKey on kylo:kylo:vault:secrets:*",
            "ReadKey on kylo:kylo:vault:secrets:*",
            "DeleteKey on kylo:kylo:vault:secrets:*",
        ])
    },
    login: by_credentials,
    identity: no_identity,
    policies: |_| {
        Some(vec![Policy::notes(
            "Thales CipherTrust: a user (of the token) in the group Key Users of the domain, allowed to create, read, \
             export and delete secrets of type opaque; refresh tokens of it must not expire.\n",
        )])
    },
};
