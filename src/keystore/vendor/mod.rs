//! What kestack knows of a vendor's keystore: one file for each. The rules are those of docs/keystores-protocol.md.

use serde_json::Value;

use super::call::Call;
use super::identity::{Fleet, Login, WorkloadIdentity};
use super::policy::{Policy, Subject};

mod aws;
mod azure;
mod entrust;
mod fortanix;
mod fs;
mod gcp;
mod gemalto;
mod vault;

pub(super) use aws::AWS;
pub(super) use azure::AZURE;
pub(super) use entrust::ENTRUST;
pub(super) use fortanix::FORTANIX;
pub(super) use fs::FS;
pub(crate) use fs::{MASTER_KEY_FILES, MASTER_KEYS};
pub(super) use gcp::GCP;
pub(super) use gemalto::GEMALTO;
pub(super) use vault::VAULT;

/// All that differs between vendors. Places in a section are JSON pointers.
pub(crate) struct Vendor {
    /// The name of its section, and of `--keystore`.
    pub(crate) word: &'static str,
    /// Values of the section that the environment can give.
    pub(super) settings: &'static [Setting],
    /// Files of this host that the section can name.
    pub(super) files: &'static [Named],
    /// The part of the section whose credentials the vendor's software takes from the environment if it has none.
    pub(super) part: Option<&'static str>,
    /// Adds what follows from the rest of a section that the environment gave.
    pub(super) complete: fn(&mut Value),
    /// The right that a call needs, by the name that an administrator knows.
    pub(super) right: fn(&Value, Call) -> String,
    /// How KES logs in with this section.
    pub(super) login: fn(&Value) -> Login<'_>,
    /// What a service account needs so that the keystore knows KES by it.
    pub(super) identity: fn(&str, Option<&Fleet>) -> WorkloadIdentity,
    /// The smallest set of permissions, and the commands that put them in force; `None` without accounts.
    pub(super) policies: fn(&Subject<'_>) -> Option<Vec<Policy>>,
}

/// One value of a section.
pub(super) struct Setting {
    /// Its place.
    pub(super) place: &'static str,
    /// Variables of the vendor's own tools that may hold it; the first one that is set counts.
    pub(super) variables: &'static [&'static str],
    /// Whether `--keystore` takes it from them.
    pub(super) use_of: Use,
    /// True if it is a credential: the first variable carries it to KES.
    pub(super) is_credential: bool,
}

/// Whether `--keystore` takes a value from the environment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    /// It does, and there is no keystore without it.
    Required,
    /// It does if it is there.
    Optional,
    /// It does not.
    Never,
}

/// A file that a section can name.
pub(super) struct Named {
    /// Its place.
    pub(super) place: &'static str,
    /// The name that it gets where KES runs.
    pub(super) name: &'static str,
    /// True for a private key.
    pub(super) is_secret: bool,
}

impl Setting {
    const fn required(place: &'static str, variables: &'static [&'static str]) -> Self {
        Self { place, variables, use_of: Use::Required, is_credential: false }
    }

    const fn optional(place: &'static str, variables: &'static [&'static str]) -> Self {
        Self { place, variables, use_of: Use::Optional, is_credential: false }
    }

    const fn credential(use_of: Use, place: &'static str, variables: &'static [&'static str]) -> Self {
        Self { place, variables, use_of, is_credential: true }
    }
}

/// The CA that a keystore's certificate is checked against.
const fn authority(place: &'static str) -> Named {
    Named { place, name: "ca.crt", is_secret: false }
}

fn nothing(_: &mut Value) {}

fn by_credentials(_: &Value) -> Login<'_> {
    Login::Credentials
}

fn no_identity(_: &str, _: Option<&Fleet>) -> WorkloadIdentity {
    WorkloadIdentity::default()
}
