//! Forms: what a browser sends, field by field.

use axum::extract::rejection::FormRejection;
use axum::extract::{Form, FromRequest, Request};
use serde::de::DeserializeOwned;
use serde::{Deserialize as _, Deserializer};

use crate::interface::given::invalid;
use crate::interface::problem::Problem;

/// The fields of a form.
pub(super) struct Filled<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Filled<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let found: Result<Form<T>, FormRejection> = Form::from_request(request, state).await;
        found.map(|Form(fields)| Self(fields)).map_err(|rejection| invalid(rejection.body_text()))
    }
}

/// A field that may be left empty.
pub(super) fn some<'de, D: Deserializer<'de>>(field: D) -> Result<Option<String>, D::Error> {
    let text = String::deserialize(field)?;
    Ok(Some(text.trim().to_owned()).filter(|text| !text.is_empty()))
}
