//! Identities: `/v1/identity/*`. They come from the configuration and cannot be changed here.

use serde::Serialize;

use super::{
    authorize::Authorized,
    error::{ApiError, What},
    key::pattern,
    reply::{self, Reply},
};
use crate::auth::{Identity, is_valid_name};

pub(super) fn describe(call: &Authorized<'_>) -> Result<Reply, ApiError> {
    if !is_valid_name(call.resource()) {
        return Err(ApiError::Invalid { what: What::Identity, value: call.resource().to_owned() });
    }
    let identity = Identity::new(call.resource());
    if identity == *call.access().admin() {
        return admin(call, None);
    }
    let policy = call.access().assigned().get(&identity).ok_or(ApiError::NotFound(What::Identity))?;
    let (created_at, created_by) = (call.service().started_at.as_str(), call.access().admin());
    reply::json(&User { policy, created_at, created_by }, 256)
}

/// Only the admin gets an answer: MinIO KES does the same, and its clients can decode nothing else
/// (docs/kes-protocol.md §11, Q3).
pub(super) fn describe_self(call: &Authorized<'_>) -> Result<Reply, ApiError> {
    match call.identity() {
        Some(identity) if identity == call.access().admin() => admin(call, Some(identity)),
        _ => Err(ApiError::NotFound(What::Identity)),
    }
}

pub(super) fn list(call: &Authorized<'_>) -> Result<Reply, ApiError> {
    let pattern = pattern(call)?;
    let everybody = call.access().assigned().keys().chain([call.access().admin()]);
    let mut identities: Vec<_> = everybody.filter(|identity| pattern.matches(identity.as_str())).collect();
    identities.sort_unstable();
    let length = identities.len() * 68;
    reply::json(&Page { identities, continue_at: "" }, length + 48)
}

fn admin(call: &Authorized<'_>, identity: Option<&Identity>) -> Result<Reply, ApiError> {
    reply::json(&Admin { identity, admin: true, created_at: &call.service().started_at }, 256)
}

#[derive(Serialize)]
#[expect(clippy::struct_field_names, reason = "the API's own name")]
struct Admin<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    identity: Option<&'a Identity>,
    admin: bool,
    created_at: &'a str,
}

#[derive(Serialize)]
struct User<'a> {
    policy: &'a str,
    created_at: &'a str,
    created_by: &'a Identity,
}

#[derive(Serialize)]
struct Page<'a> {
    identities: Vec<&'a Identity>,
    continue_at: &'static str,
}
