//! The meaning of AWS's refusals (docs/keystores-protocol.md §5.3).

use std::time::Duration;

use reqwest::StatusCode;
use reqwest::header::RETRY_AFTER;
use serde::Deserialize;

use crate::keystore::KeyStoreError;
use crate::keystore::http::{Answer, Failure, Retry, between};

/// The code of a quota that is used up, also one of requests.
const QUOTA: &str = "LimitExceededException";

/// Codes that ask to come back later.
const THROTTLED: [&str; 9] = [
    "Throttling",
    "ThrottlingException",
    "ThrottledException",
    "RequestThrottled",
    "RequestThrottledException",
    "TooManyRequestsException",
    "RequestLimitExceeded",
    QUOTA,
    "ProvisionedThroughputExceededException",
];

/// Codes of credentials that were good once, or are of somebody else, with what helps.
const CREDENTIALS: [(&str, &str); 8] = [
    ("ExpiredToken", "the session token has expired: get new credentials"),
    ("UnrecognizedClient", "AWS does not know this access key or session token: check them"),
    ("InvalidClientTokenId", "AWS does not know this access key: check it"),
    ("InvalidAccessKeyId", "AWS does not know this access key: check it"),
    ("AuthFailure", "AWS does not know this access key: check it"),
    ("SignatureDoesNotMatch", WRONG_SECRET),
    ("InvalidSignature", WRONG_SECRET),
    ("IncompleteSignature", "check access key, secret key and region"),
];

const WRONG_SECRET: &str = "check the secret key of this access key, the region, and this machine's clock";

/// What helps against the other refusals.
const HINTS: [(&str, &str); 5] = [
    ("AccessDenied", "allow it in the policy of this user or role"),
    (
        "DecryptionFailure",
        "the secret's KMS key cannot be used: enable it, and allow kms:Decrypt on it to this user or role",
    ),
    (
        "EncryptionFailure",
        "the KMS key cannot be used: enable it, and allow kms:GenerateDataKey and kms:Decrypt on it to this user or role",
    ),
    ("InvalidRequest", "if the name is in its recovery window, restore the secret or delete it without recovery"),
    ("LimitExceeded", "the account's quota of secrets is used up"),
];

/// Four attempts, quickly; slower if AWS says that it is too much.
pub(super) fn retry() -> Retry {
    Retry {
        attempts: 4,
        worthwhile: |outcome| match outcome {
            Ok(answer) => answer.status.is_server_error() || is_throttled(answer),
            Err(failure) => failure.is_network(),
        },
        pause,
    }
}

fn pause(attempts: u32, outcome: &Result<Answer, Failure>) -> Duration {
    let factor = 1 << attempts.saturating_sub(1).min(8);
    match outcome {
        Ok(answer) if is_throttled(answer) => {
            let pause = between(Duration::from_millis(500), Duration::from_secs(1)) * factor;
            pause.saturating_add(retry_after(answer))
        }
        _ => between(Duration::from_millis(30), Duration::from_millis(60)) * factor,
    }
}

fn is_throttled(answer: &Answer) -> bool {
    matches!(answer.status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE)
        || (!answer.status.is_success() && THROTTLED.contains(&&*code(answer)))
}

fn retry_after(answer: &Answer) -> Duration {
    let seconds = answer.headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse().ok());
    Duration::from_secs(seconds.unwrap_or_default())
}

/// True if other credentials may be accepted.
pub(super) fn is_of_credentials(answer: &Answer) -> bool {
    answer.status.is_client_error() && find(&CREDENTIALS, answer).is_some()
}

/// The error that an answer stands for.
pub(super) fn error(answer: &Answer, action: &str) -> KeyStoreError {
    match code(answer).as_str() {
        "ResourceExistsException" if answer.status.is_client_error() => return KeyStoreError::Exists,
        "ResourceNotFoundException" if answer.status.is_client_error() => return KeyStoreError::NotFound,
        _ => {}
    }
    let hint = find(&CREDENTIALS, answer).or_else(|| find(&HINTS, answer));
    let hint = hint.map_or_else(String::new, |hint| format!("; {hint}"));
    match answer.refused().map_text(|text| format!("secretsmanager:{action}: {text}{hint}")) {
        // too much for now, with the status of a mistake; a quota is not over some time
        KeyStoreError::Other(text) if is_throttled(answer) && code(answer) != QUOTA => KeyStoreError::Unreachable(text),
        error => error,
    }
}

/// The code of an error. Gateways in front of AWS put a namespace before it.
fn code(answer: &Answer) -> String {
    #[derive(Deserialize)]
    struct Body {
        #[serde(rename = "__type")]
        code: String,
    }

    let body = answer.json::<Body>().map_or_else(|_| String::new(), |body| body.code);
    body.rsplit('#').next().unwrap_or_default().to_owned()
}

/// By words and not by the code alone: errors of authentication also come as XML.
fn find<'a>(table: &[(&str, &'a str)], answer: &Answer) -> Option<&'a str> {
    let body = String::from_utf8_lossy(&answer.body);
    table.iter().find(|(word, _)| body.contains(word)).map(|(_, hint)| *hint)
}
