//! Answers: those of the command line's `--output json`, never kept by anybody on the way.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::error::Error;
use crate::operate::versioned::Versioned;

use super::problem::Problem;

/// What a handler gives back.
pub(super) type Answered<T> = Result<Answer<T>, Problem>;

/// A status and a document.
pub(super) struct Answer<T>(StatusCode, T);

impl<T> Answer<T> {
    /// The document alone, for a page.
    pub(super) fn into_inner(self) -> T {
        self.1
    }
}

impl<T: Serialize> IntoResponse for Answer<T> {
    fn into_response(self) -> Response {
        (self.0, Json(Versioned::new(&self.1))).into_response()
    }
}

/// What is there.
pub(super) fn found<T>(done: Result<T, Error>) -> Answered<T> {
    Ok(Answer(StatusCode::OK, done?))
}

/// What is there now.
pub(super) fn made<T>(done: Result<T, Error>) -> Answered<T> {
    Ok(Answer(StatusCode::CREATED, done?))
}
