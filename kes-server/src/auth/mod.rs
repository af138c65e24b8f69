//! Who calls, and what they may do: identities, API keys, names, policies (kes-api §1.6, §3).

mod api_key;
mod identity;
mod name;
mod policy;

pub use api_key::{ApiKey, ApiKeyError};
pub use identity::{CertificateError, Identity};
pub use name::{KeyName, ListPattern, NameError, is_valid_name};
pub use policy::{Access, AssignError, Decision, Policy};
