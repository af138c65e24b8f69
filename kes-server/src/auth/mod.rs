//! Callers and their rights: identities, API keys, names, policies (docs/kes-protocol.md §1.6, §3).

mod api_key;
mod identity;
mod name;
mod policy;
mod rule;
pub(crate) mod spelling;

pub use api_key::{ApiKey, ApiKeyError};
pub use identity::{CertificateError, Identity};
pub use name::{KeyName, ListPattern, NameError, is_valid_name};
pub use policy::{Access, AssignError, Decision, Policy};
pub use rule::DeadRule;
#[cfg(test)]
pub(crate) use rule::ROUTES;
pub(crate) use rule::{asked, is_call, is_open, is_route, nearest_route, route_of};
