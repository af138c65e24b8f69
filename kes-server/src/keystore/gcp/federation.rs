//! Tokens for identities of others that Google trusts, and for service accounts that they may stand for.

use std::time::Duration;

use jiff::Timestamp;
use reqwest::Url;
use reqwest::header::AUTHORIZATION;
use serde::Deserialize;
use serde_json::json;

use super::login::{SCOPE, built, form, granted};
use super::source::{ExternalAccount, SubjectToken, content};
use crate::config::Secret;
use crate::keystore::KeyStoreError;
use crate::keystore::http::{Web, endpoint};
use crate::keystore::session::Token;

/// Exchanges the token of the other identity for one of Google, and that for one of a service account if it names one.
pub(super) async fn exchange(web: &Web, account: &ExternalAccount, scopes: &[String]) -> Result<Token, KeyStoreError> {
    let subject = subject(web, &account.credential_source).await?;
    let wanted = scopes.join(" ");
    // with impersonation it is only good for that
    let scope = if account.service_account_impersonation_url.is_some() { SCOPE } else { &wanted };
    let mut pairs = vec![
        ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
        ("audience", account.audience.as_str()),
        ("scope", scope),
        ("requested_token_type", "urn:ietf:params:oauth:token-type:access_token"),
        ("subject_token", subject.expose()),
        ("subject_token_type", &account.subject_token_type),
    ];
    let options = account.workforce_pool_user_project.as_ref().map(|it| json!({ "userProject": it }).to_string());
    if let (Some(options), None) = (&options, &account.client_id) {
        pairs.push(("options", options));
    }
    let mut request = form(web, endpoint(&account.token_url)?, &pairs)?;
    if let (Some(id), Some(secret)) = (&account.client_id, &account.client_secret) {
        let basic = web.client(request.url()).get(request.url().clone()).basic_auth(id, Some(secret.expose()));
        if let Some(value) = built(basic)?.headers_mut().remove(AUTHORIZATION) {
            request.headers_mut().insert(AUTHORIZATION, value);
        }
    }
    let token = granted(&web.send(request).await?)?;
    match &account.service_account_impersonation_url {
        Some(url) => impersonate(web, url, &[], scopes, &token).await,
        None => Ok(token),
    }
}

/// A token of a service account, for the holder of another token that may have it.
pub(super) async fn impersonate(
    web: &Web,
    url: &str,
    delegates: &[String],
    scopes: &[String],
    caller: &Token,
) -> Result<Token, KeyStoreError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Impersonated {
        access_token: Secret,
        expire_time: Timestamp,
    }

    let url = endpoint(url)?;
    let body = json!({ "delegates": delegates, "scope": scopes, "lifetime": "3600s" });
    let request = web.client(&url).post(url).bearer_auth(caller.secret.expose()).json(&body);
    let answer = web.send(built(request)?).await?;
    if !answer.status.is_success() {
        return Err(answer.refused().map_text(|text| format!("GCP credentials: impersonation: {text}")));
    }
    let token: Impersonated = answer.json()?;
    let life = token.expire_time.as_second().saturating_sub(Timestamp::now().as_second());
    let life = Some(Duration::from_secs(u64::try_from(life).unwrap_or_default()));
    Ok(Token { secret: token.access_token, life, renewable: false })
}

async fn subject(web: &Web, source: &SubjectToken) -> Result<Secret, KeyStoreError> {
    let (origin, content) = match (source, &source.file, &source.url) {
        (SubjectToken { environment_id: None, .. }, Some(path), _) => {
            (path.display().to_string(), content(path).await?)
        }
        (SubjectToken { environment_id: None, .. }, None, Some(url)) => {
            let url: Url = endpoint(url)?;
            let mut request = web.client(&url).get(url.clone());
            for (name, value) in &source.headers {
                request = request.header(name, value);
            }
            let answer = web.send(built(request)?).await?;
            if !answer.status.is_success() {
                return Err(answer.refused().map_text(|text| format!("GCP credentials: {text}")));
            }
            (url.origin().ascii_serialization(), answer.body)
        }
        _ => {
            let text = "GCP credentials: of the sources of an external account, 'file' and 'url' are supported; \
                        identities of AWS, programs and certificates are not";
            return Err(KeyStoreError::Other(text.into()));
        }
    };
    source.token(&content).ok_or_else(|| {
        KeyStoreError::Other(format!("GCP credentials: '{origin}' has no token in the format of the external account"))
    })
}
