//! The meaning of Google's refusals (docs/keystores-protocol.md §6.4).

use std::time::Duration;

use reqwest::StatusCode;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::keystore::KeyStoreError;
use crate::keystore::http::{Answer, Failure, Retry, between};

/// Longest pause before the first retry; it doubles with each.
const PAUSE: Duration = Duration::from_secs(2);

/// What helps, by a word of the answer.
const HINTS: [(&str, &str); 5] = [
    ("SERVICE_DISABLED", "enable the Secret Manager API in this project"),
    ("PERMISSION_DENIED", "grant this permission to the account, for example with roles/secretmanager.admin"),
    ("UNAUTHENTICATED", "check the account's key, and this machine's clock"),
    ("FAILED_PRECONDITION", "version 1 is disabled or destroyed: enable it, or delete the secret"),
    ("RESOURCE_EXHAUSTED", "the project's quota is used up: try again later, or raise it"),
];

/// For reading: until there is no time left, when the service is away for a moment or asked too much.
pub(super) fn patient() -> Retry {
    Retry {
        attempts: u32::MAX,
        worthwhile: |outcome| match outcome {
            Ok(answer) => {
                matches!(answer.status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS)
            }
            Err(failure) => failure.is_interrupted(),
        },
        pause: |attempts, _| between(Duration::ZERO, PAUSE * (1 << attempts.saturating_sub(1).min(5))),
    }
}

/// For the rest, which MinIO KES never repeats: once more if the answer was lost.
pub(super) fn lost() -> Retry {
    Retry {
        attempts: 2,
        worthwhile: |outcome| outcome.as_ref().is_err_and(Failure::is_interrupted),
        ..Retry::default()
    }
}

/// What a good answer holds. Only what Google itself says counts, also as *exists* and *not found*: a proxy's 200 or 404
/// says nothing about keys.
pub(super) fn check<T: DeserializeOwned>(answer: &Answer, permission: &str) -> Result<T, KeyStoreError> {
    #[derive(Deserialize)]
    struct Body {
        error: Status,
    }
    #[derive(Deserialize)]
    struct Status {
        status: String,
    }

    if answer.status.is_success() {
        return answer.proof(StatusCode::OK);
    }
    let status = answer.json::<Body>().map_or_else(|_| String::new(), |body| body.error.status);
    match status.as_str() {
        "ALREADY_EXISTS" => return Err(KeyStoreError::Exists),
        "NOT_FOUND" => return Err(KeyStoreError::NotFound),
        _ => {}
    }
    let body = String::from_utf8_lossy(&answer.body);
    let hint = HINTS.iter().find(|(word, _)| body.contains(word));
    let hint = hint.map_or_else(String::new, |(_, hint)| format!("; {hint}"));
    Err(answer.refused().map_text(|text| format!("{permission}: {text}{hint}")))
}
