//! A client of a MinIO that this process started, on the loopback.

use std::sync::Arc;

use kes_server::client;
use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, Error};

use super::{REGION, S3Client, S3Error, signer};

impl S3Client {
    /// A client of `endpoint`, which must be on the loopback: its certificate, if it has one, is for the names that clients
    /// of the network use, so it is not checked. `region` is the one that MinIO is configured with.
    ///
    /// # Errors
    /// [`S3Error::Invalid`] if the endpoint is not a URL.
    pub fn on_loopback(endpoint: &str, user: &str, password: &str, region: Option<&str>) -> Result<Self, S3Error> {
        let tls = any_certificate()
            .map_err(|error| S3Error::Invalid { call: endpoint.to_owned(), cause: error.to_string() })?;
        let client = Self::over(tls, endpoint, user, password)?;
        Ok(Self { signer: Arc::new(signer(user, password, region.unwrap_or(REGION))), ..client })
    }
}

/// What takes every certificate. Only for a server that this process started itself, or whose user said so.
pub(in crate::servers) fn any_certificate() -> Result<ClientConfig, Error> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let tls = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(tls.dangerous().with_custom_certificate_verifier(client::any_certificate()).with_no_client_auth())
}
