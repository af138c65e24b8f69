//! The vault's answers about secrets.

use std::time::{SystemTime, UNIX_EPOCH};

use reqwest::StatusCode;
use serde::Deserialize;

use super::super::KeyStoreError;
use super::super::http::{Answer, Entries};

/// A page of secrets or of versions of one.
#[derive(Deserialize)]
struct Page {
    value: Entries<Item>,
    #[serde(rename = "nextLink")]
    next_link: Option<String>,
}

#[derive(Deserialize)]
struct Item {
    /// `https://<vault>/secrets/<name>`, for a version followed by `/<version>`.
    id: String,
    #[serde(default)]
    attributes: Attributes,
}

/// Times in seconds since 1970.
#[derive(Default, Deserialize)]
struct Attributes {
    enabled: Option<bool>,
    created: Option<i64>,
    nbf: Option<i64>,
    exp: Option<i64>,
}

/// The names of a page, and the link to the next.
///
/// # Errors
/// If it is not a page.
pub(super) fn page(answer: &Answer) -> Result<(Vec<String>, Option<String>), KeyStoreError> {
    let page: Page = answer.proof(StatusCode::OK)?;
    let names = page.value.0.iter().filter_map(|item| part(&item.id, 1)).collect();
    Ok((names, page.next_link.filter(|link| !link.is_empty())))
}

/// The oldest of a page of versions, the first of several that were created in the same second. `None` if there is no
/// such secret.
///
/// # Errors
/// If the answer is none, there are too many versions to know the oldest, or it cannot be read now.
pub(super) fn oldest(name: &str, answer: &Answer) -> Result<Option<String>, KeyStoreError> {
    if is_missing(answer) {
        return Ok(None);
    }
    let page: Page = answer.proof(StatusCode::OK)?;
    if page.next_link.is_some_and(|link| !link.is_empty()) {
        return Err(answer.unexpected(&format!("'{name}' has too many versions to be a key: keys have one")));
    }
    let Some(item) = page.value.0.into_iter().min_by_key(|item| item.attributes.created.unwrap_or_default()) else {
        return Ok(None);
    };
    if let Some(why) = item.attributes.unreadable() {
        return Err(answer.unexpected(&format!("the oldest version of '{name}' {why}; change that in the vault")));
    }
    let version = part(&item.id, 2);
    version.map(Some).ok_or_else(|| answer.unexpected("a version without an ID"))
}

impl Attributes {
    /// Why a version cannot be read now.
    fn unreadable(&self) -> Option<&'static str> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let now = i64::try_from(now).unwrap_or(i64::MAX);
        match self {
            Self { enabled: Some(false), .. } => Some("is disabled"),
            Self { nbf: Some(from), .. } if *from > now => Some("is not yet valid"),
            Self { exp: Some(end), .. } if *end <= now => Some("has expired"),
            _ => None,
        }
    }
}

/// True if the name belongs to an entry that was deleted, finally or not.
pub(super) fn is_deleted(answer: &Answer) -> bool {
    is_being_deleted(answer) || conflict(answer, "ObjectIsDeletedButRecoverable")
}

/// True if a deletion of the name goes on.
pub(super) fn is_being_deleted(answer: &Answer) -> bool {
    conflict(answer, "ObjectIsBeingDeleted")
}

fn conflict(answer: &Answer, inner: &str) -> bool {
    answer.status == StatusCode::CONFLICT && code(answer).is_some_and(|(_, code)| code == inner)
}

/// Code and inner code of an error.
fn code(answer: &Answer) -> Option<(String, String)> {
    #[derive(Deserialize)]
    struct Body {
        error: Code,
    }
    #[derive(Deserialize)]
    struct Code {
        #[serde(default)]
        code: String,
        innererror: Option<Box<Self>>,
    }

    let error = answer.json::<Body>().ok()?.error;
    Some((error.code, error.innererror.map(|inner| inner.code).unwrap_or_default()))
}

/// True if the vault itself says that it has no such secret.
pub(super) fn is_missing(answer: &Answer) -> bool {
    answer.status == StatusCode::NOT_FOUND && code(answer).is_some_and(|(code, _)| code == "SecretNotFound")
}

/// Fails unless the vault answers with a secret of that name, which it compares without case.
///
/// # Errors
/// If it answers with something else.
pub(super) fn check(answer: &Answer, name: &str) -> Result<(), KeyStoreError> {
    let item: Item = answer.proof(StatusCode::OK)?;
    let is_it = part(&item.id, 1).is_some_and(|own| own.eq_ignore_ascii_case(name));
    if is_it { Ok(()) } else { Err(answer.foreign()) }
}

/// A segment of the path of an ID: 1 is the name, 2 the version.
fn part(id: &str, number: usize) -> Option<String> {
    let (_, path) = id.split_once("/secrets/")?;
    path.split('/').nth(number - 1).filter(|part| !part.is_empty()).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_has_a_name_and_maybe_a_version() {
        assert_eq!(part("https://v.vault.azure.net/secrets/my-key/abc", 1), Some("my-key".into()));
        assert_eq!(part("https://v.vault.azure.net/secrets/my-key/abc", 2), Some("abc".into()));
        assert_eq!(part("https://v.vault.azure.net/secrets/my-key", 2), None);
        assert_eq!(part("https://v.vault.azure.net/keys/my-key", 1), None);
    }

    #[test]
    fn a_version_is_readable_in_its_time() {
        let readable = |attributes: Attributes| attributes.unreadable().is_none();
        assert!(readable(Attributes::default()));
        assert!(readable(Attributes { enabled: Some(true), nbf: Some(1), exp: Some(i64::MAX), created: None }));
        assert!(!readable(Attributes { enabled: Some(false), ..Attributes::default() }));
        assert!(!readable(Attributes { nbf: Some(i64::MAX), ..Attributes::default() }));
        assert!(!readable(Attributes { exp: Some(1), ..Attributes::default() }));
    }
}
