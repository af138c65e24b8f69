//! Connections to others, the same for every client in this program: which addresses a name has ([`Names`]), which
//! proxy leads to a URL ([`Proxies`]), whose certificate is trusted ([`Roots`]), and why one is not.

mod hosts;
mod names;
mod proxy;
mod search;
mod trust;

pub(crate) use names::Names;
pub use proxy::Proxies;
pub(crate) use trust::{Roots, TLS_ALERT, tls_error};
