//! Policies: `/v1/policy/*`. They come from the configuration and cannot be changed here.
#![expect(clippy::zero_sized_map_values, reason = "the API shows each pattern with an empty object")]

use std::collections::BTreeMap;

use serde::Serialize;

use super::{
    authorize::Authorized,
    error::{ApiError, What},
    key::pattern,
    reply::{self, Reply},
};
use crate::auth::{Identity, Policy, is_valid_name};

pub(super) fn describe(call: &Authorized<'_>) -> Result<Reply, ApiError> {
    let (name, _) = policy(call)?;
    answer(call, name, BTreeMap::new(), BTreeMap::new())
}

pub(super) fn read(call: &Authorized<'_>) -> Result<Reply, ApiError> {
    let (name, policy) = policy(call)?;
    answer(call, name, rules(&policy.allow), rules(&policy.deny))
}

pub(super) fn list(call: &Authorized<'_>) -> Result<Reply, ApiError> {
    let pattern = pattern(call)?;
    let names = call.access().policies().keys().filter(|name| pattern.matches(name)).map(String::as_str).collect();
    reply::json(&Page { names, continue_at: "" }, 256)
}

fn policy<'a>(call: &Authorized<'a>) -> Result<(&'a str, &'a Policy), ApiError> {
    let name = call.resource();
    if !is_valid_name(name) {
        return Err(ApiError::Invalid { what: What::Policy, value: name.to_owned() });
    }
    Ok((name, call.access().policies().get(name).ok_or(ApiError::NotFound(What::Policy))?))
}

fn answer(call: &Authorized<'_>, name: &str, allow: Rules<'_>, deny: Rules<'_>) -> Result<Reply, ApiError> {
    let (created_at, created_by) = (call.service().started_at.as_str(), call.access().admin());
    reply::json(&Description { name, allow, deny, created_at, created_by }, 512)
}

fn rules(patterns: &[String]) -> Rules<'_> {
    patterns.iter().map(|pattern| (pattern.as_str(), Rule {})).collect()
}

/// Patterns, sorted.
type Rules<'a> = BTreeMap<&'a str, Rule>;

/// There is nothing to say of a rule but its pattern.
#[derive(Serialize)]
struct Rule {}

#[derive(Serialize)]
struct Description<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    allow: Rules<'a>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    deny: Rules<'a>,
    created_at: &'a str,
    created_by: &'a Identity,
}

#[derive(Serialize)]
struct Page<'a> {
    names: Vec<&'a str>,
    continue_at: &'static str,
}
