//! The login host that a vault names to a client without a token, and whether to trust it.

use reqwest::Url;
use reqwest::header::WWW_AUTHENTICATE;

use super::super::KeyStoreError;
use super::super::http::Answer;

/// What a vault asks for: `WWW-Authenticate: Bearer authorization="…/<tenant>", resource="…"`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Challenge {
    /// Directory that the vault belongs to.
    pub(super) tenant: String,
    /// What the token is for: scheme and host of an HTTPS URL, without `/.default`.
    pub(super) resource: String,
}

impl Challenge {
    /// The challenge of an answer.
    ///
    /// # Errors
    /// If there is none that can be read.
    pub(super) fn of(answer: &Answer) -> Result<Self, KeyStoreError> {
        let mut headers = answer.headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok());
        headers
            .find_map(Self::parse)
            .ok_or_else(|| answer.unexpected("it does not say where to log in; is this an Azure Key Vault?"))
    }

    fn parse(header: &str) -> Option<Self> {
        let (scheme, parameters) = header.trim().split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let value = |wanted: &str| {
            let mut pairs = parameters.split(',').filter_map(|pair| pair.trim().split_once('='));
            let value = pairs.find(|(name, _)| name.eq_ignore_ascii_case(wanted))?.1;
            Some(value.trim_matches('"')).filter(|value| !value.is_empty())
        };
        let authority = Url::parse(value("authorization").or_else(|| value("authorization_uri"))?).ok()?;
        let tenant = authority.path_segments()?.next()?.to_owned();
        let resource = resource(value("scope").or_else(|| value("resource"))?)?;
        // both become parts of requests, and arguments of `az`
        let plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-".contains(&byte));
        (!tenant.is_empty() && !tenant.starts_with('-') && plain(&tenant)).then_some(Self { tenant, resource })
    }

    /// Fails unless `vault` may ask for this: its host must be below that of the resource. Else whoever answers for the
    /// vault could ask for a token that opens something else.
    ///
    /// # Errors
    /// If not.
    pub(super) fn check_domain(&self, vault: &Url) -> Result<(), KeyStoreError> {
        let resource = Url::parse(&self.resource).ok();
        let domain = resource.as_ref().and_then(Url::host_str).map(|host| format!(".{host}"));
        let host = vault.host_str().unwrap_or_default();
        if domain.is_some_and(|domain| host.ends_with(&domain)) {
            return Ok(());
        }
        Err(KeyStoreError::Other(format!(
            "'{host}' asks for a token for '{}', which it does not belong to: no token is sent; check the endpoint",
            self.resource
        )))
    }

    /// Whether the application of `tenant` may be asked for a token.
    ///
    /// # Errors
    /// If the vault belongs to another tenant.
    pub(super) fn check_tenant(&self, tenant: &str) -> Result<(), KeyStoreError> {
        if self.tenant.eq_ignore_ascii_case(tenant) {
            return Ok(());
        }
        Err(KeyStoreError::Other(format!(
            "the vault belongs to tenant '{}' and not to '{tenant}': check endpoint and tenant ID",
            self.tenant
        )))
    }
}

/// A token is for a service, and a service is an HTTPS URL without anything else: whatever follows the host
/// would become part of what is asked for.
fn resource(text: &str) -> Option<String> {
    let text = text.strip_suffix("/.default").unwrap_or(text);
    let url = Url::parse(text).ok().filter(|url| url.scheme() == "https" && url.has_host())?;
    let origin = url.origin().ascii_serialization();
    // the text itself is compared: a user, a path, a query, or a character that the parser drops is more than that
    (text.trim_end_matches('/').eq_ignore_ascii_case(&origin)).then_some(origin)
}

#[cfg(test)]
mod tests {
    use super::*;

    const REAL: &str =
        r#"Bearer authorization="https://login.microsoftonline.com/72f988bf", resource="https://vault.azure.net""#;

    #[test]
    fn a_challenge_names_tenant_and_resource() {
        let challenge = Challenge::parse(REAL).unwrap();
        assert_eq!((&*challenge.tenant, &*challenge.resource), ("72f988bf", "https://vault.azure.net"));
        let scoped = r#"bearer authorization="https://l/t",resource="https://other",scope="https://v/.default""#;
        assert_eq!(Challenge::parse(scoped).unwrap().resource, "https://v");
        for bad in [
            "Basic realm=x",
            "Bearer",
            r#"Bearer resource="https://vault.azure.net""#,
            r#"Bearer authorization="https://l/t""#,
            r#"Bearer authorization="https://l/", resource="https://v""#,
            r#"Bearer authorization="https://l/--x", resource="https://v""#,
            r#"Bearer authorization="https://l/a%2Fb", resource="https://v""#,
            r#"Bearer authorization="https://l/t", resource="https://vault.azure.net --resource https://x""#,
            r#"Bearer authorization="https://l/t", resource="https://vault.azure.net/ --resource https://x""#,
            "Bearer authorization=\"https://l/t\", resource=\"https://vault.azure.net\t--resource\"",
            r#"Bearer authorization="https://l/t", resource="https://vault.azure.net/a""#,
            r#"Bearer authorization="https://l/t", resource="https://vault.azure.net?a""#,
            r#"Bearer authorization="https://l/t", resource="https://vault.azure.net#a""#,
            r#"Bearer authorization="https://l/t", resource="https://user@vault.azure.net""#,
            r#"Bearer authorization="https://l/t", resource="http://vault.azure.net""#,
            r#"Bearer authorization="https://l/t", resource="--resource""#,
            r#"Bearer authorization="https://l/t", scope="https://v/.default https://x/.default""#,
        ] {
            assert_eq!(Challenge::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_vault_may_ask_for_tokens_of_its_domain_alone() {
        let challenge = Challenge::parse(REAL).unwrap();
        let check = |vault: &str| challenge.check_domain(&Url::parse(vault).unwrap());
        assert!(check("https://my.vault.azure.net").is_ok());
        assert!(check("https://MY.Vault.Azure.net:443/").is_ok());
        for foreign in
            ["https://vault.azure.net", "https://evilvault.azure.net", "https://vault.azure.net.evil.example"]
        {
            assert!(check(foreign).is_err(), "{foreign}");
        }
        assert!(challenge.check_tenant("72F988BF").is_ok());
        assert!(challenge.check_tenant("other").is_err());
    }
}
