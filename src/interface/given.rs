//! What requests carry: bodies of bounded size, and names in paths and bodies by the rules of the command line.

use std::fmt::Display;
use std::str::FromStr;

use axum::body::Bytes;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::problem::Problem;

/// Most bytes of a body.
pub(super) const LARGEST: usize = 64 << 10;

/// A JSON body; without one its fields have their defaults.
pub(super) struct Given<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Given<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let form = request.headers().get(header::CONTENT_TYPE).and_then(|form| form.to_str().ok()).map(str::to_owned);
        let body = Bytes::from_request(request, state).await.map_err(|rejection| {
            Problem::refused(rejection.status(), rejection.body_text(), format!("send at most {LARGEST} bytes"))
        })?;
        if body.is_empty() {
            return read(b"{}").map(Self);
        }
        let is_json = form
            .as_deref()
            .and_then(|form| form.split(';').next())
            .is_some_and(|form| form.trim().eq_ignore_ascii_case("application/json"));
        if !is_json {
            let what = "the body is not application/json";
            return Err(Problem::refused(StatusCode::UNSUPPORTED_MEDIA_TYPE, what, "send JSON and say so"));
        }
        read(&body).map(Self)
    }
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    // a list is not an object, although serde would take its elements for fields
    let fields: Result<Map<String, Value>, _> = serde_json::from_slice(body);
    fields.and_then(|fields| serde_json::from_value(fields.into())).map_err(|error| {
        let hint = "`/v1/openapi.json` says what it may hold";
        Problem::refused(StatusCode::BAD_REQUEST, format!("the body is not valid: {error}"), hint)
    })
}

/// The name in a path.
pub(super) struct Named<T>(pub(super) T);

impl<S: Send + Sync, T: FromStr<Err: Display>> FromRequestParts<S> for Named<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let found: Result<Path<String>, PathRejection> = Path::from_request_parts(parts, state).await;
        let Path(name) = found.map_err(|rejection| invalid(rejection.body_text()))?;
        named(&name).map(Self)
    }
}

/// The parameters of a query.
pub(super) struct Asked<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Asked<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let found: Result<Query<T>, QueryRejection> = Query::from_request_parts(parts, state).await;
        found.map(|Query(asked)| Self(asked)).map_err(|rejection| invalid(rejection.body_text()))
    }
}

/// A name by its rules.
pub(super) fn named<T: FromStr<Err: Display>>(name: &str) -> Result<T, Problem> {
    name.parse().map_err(|error: T::Err| invalid(error.to_string()))
}

/// A value that breaks a rule.
pub(super) fn invalid(what: String) -> Problem {
    Problem::refused(StatusCode::BAD_REQUEST, what, "`/v1/openapi.json` says which values are valid")
}
