//! Failures as problem details (RFC 9457), with the hint and the exit code of the command line.

use std::sync::OnceLock;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use kes_server::client::ClientError;
use schemars::JsonSchema;
use serde::Serialize;

use crate::error::{Error, ErrorKind};
use crate::servers::s3::S3Error;

/// The media type of problem details.
pub(super) const MEDIA_TYPE: &str = "application/problem+json";

/// Completes the commands that a hint names, so that they work as they are.
static COMPLETE: OnceLock<fn(&str) -> String> = OnceLock::new();

/// Says once how commands in hints are completed.
pub(super) fn complete_hints(complete: fn(&str) -> String) {
    let _ = COMPLETE.set(complete);
}

/// The text with commands that work as they are.
pub(super) fn completed(text: &str) -> String {
    COMPLETE.get().map_or_else(|| text.to_owned(), |complete| complete(text))
}

/// Why a request failed.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct Problem {
    /// What kind of problem it is: `about:blank`, so its title is that of the status.
    #[serde(rename = "type")]
    form: &'static str,
    /// The name of the status.
    title: &'static str,
    /// The HTTP status.
    status: u16,
    /// What happened.
    detail: String,
    /// What it is about, as `kind` of the command line's errors.
    kind: ErrorKind,
    /// What to do next.
    hint: Option<String>,
    /// The exit code that the command line has for it.
    exit_code: u8,
}

impl Problem {
    /// A request that is mistaken or not allowed.
    pub(super) fn refused(status: StatusCode, detail: impl Into<String>, hint: impl Into<String>) -> Self {
        let (detail, hint): (String, String) = (detail.into(), hint.into());
        Self::new(status, ErrorKind::Usage, 2, &detail, Some(&hint))
    }

    fn new(status: StatusCode, kind: ErrorKind, exit_code: u8, detail: &str, hint: Option<&str>) -> Self {
        Self {
            form: "about:blank",
            title: status.canonical_reason().unwrap_or("Error"),
            status: status.as_u16(),
            detail: completed(detail),
            kind,
            hint: hint.map(completed),
            exit_code,
        }
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let (detail, hint) = error.parts();
        Self::new(status_of(&error), error.kind(), error.exit_code(), &detail, hint.as_deref())
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, Json(&self)).into_response();
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
        if status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        // whoever passes the answer on may say the same in another form
        response.extensions_mut().insert(self);
        response
    }
}

fn status_of(error: &Error) -> StatusCode {
    match error {
        Error::Absent { .. } => StatusCode::NOT_FOUND,
        Error::Busy { .. } | Error::Occupied { .. } | Error::Guard(_) | Error::Foreign { .. } => StatusCode::CONFLICT,
        Error::Usage { .. } => StatusCode::BAD_REQUEST,
        Error::Faulty { .. }
        | Error::Interrupted(_)
        | Error::NotReady { .. }
        | Error::NotRunning(_)
        | Error::Unhealthy(_) => StatusCode::SERVICE_UNAVAILABLE,
        Error::Kes(error) if error.is_connection() => StatusCode::SERVICE_UNAVAILABLE,
        Error::Kes(ClientError::Refused { status, .. }) | Error::S3(S3Error::Refused { status, .. }) => {
            passed_on(*status)
        }
        Error::S3(error) if error.is_connection() => StatusCode::SERVICE_UNAVAILABLE,
        Error::Kes(_) | Error::S3(_) | Error::Engine(_) => StatusCode::BAD_GATEWAY,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// What a server refused as the caller's mistake is that; everything else is between it and us.
fn passed_on(status: u16) -> StatusCode {
    match status {
        404 => StatusCode::NOT_FOUND,
        409 => StatusCode::CONFLICT,
        400 | 422 => StatusCode::BAD_REQUEST,
        _ => StatusCode::BAD_GATEWAY,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problems_carry_what_the_command_line_says() {
        let problem = Problem::from(Error::NotRunning("a".into()));
        let said = serde_json::to_value(&problem).unwrap();
        let expected = serde_json::json!({
            "type": "about:blank", "title": "Service Unavailable", "status": 503, "detail": "stack 'a' is not running",
            "kind": "not_running", "hint": "start it with `kestack up`", "exit_code": 3,
        });
        assert_eq!(said, expected);
        let busy = Error::Busy { stack: "a".into(), holder: "`up` (pid 7)".into() };
        let problem = Problem::from(busy);
        assert_eq!((problem.status, problem.exit_code), (409, 6));
        assert!(problem.detail.contains("`up` (pid 7)"), "{}", problem.detail);
        let response = problem.into_response();
        assert_eq!(response.headers()[header::CONTENT_TYPE], MEDIA_TYPE);
    }
}
