//! Every keystore that is reached over the network, for what all of them must do.

use std::sync::Arc;

use kes_server::keystore::{Backend, KeyStore as _};

use super::conformance::VALUE;
use super::fake::Fake;
use super::{aws, azure, entrust, fake, fortanix, gcp, keysecure, vault};

/// A keystore with the key `there`.
pub struct Subject {
    pub name: &'static str,
    pub fake: Fake,
    pub store: Backend,
}

pub async fn all() -> Vec<Subject> {
    let (aws_fake, azure_fake, gcp_fake) = (aws::start().await.0, azure::start().await.0, gcp::start().await.0);
    let (entrust_fake, fortanix_fake) = (entrust::start().await.0, fortanix::start().await.0);
    let (keysecure_fake, v1_fake, v2_fake) =
        (keysecure::start().await.0, vault::start().await.0, vault::start().await.0);
    let stores = [
        ("AWS", aws::store(&aws_fake).await, aws_fake),
        ("Azure", azure::store(&azure_fake).await, azure_fake),
        ("Entrust", entrust::connect(&entrust_fake, "box", "password").await.unwrap(), entrust_fake),
        ("Fortanix", fortanix::connect(&fortanix_fake, "", "YXBwOmtleQ==").await.unwrap(), fortanix_fake),
        ("GCP", gcp::store(&gcp_fake).await, gcp_fake),
        ("Thales", keysecure::connect(&keysecure_fake, "refresh").await.unwrap(), keysecure_fake),
        ("Vault K/V v1", vault::connect(vault::v1(&v1_fake)).await.unwrap(), v1_fake),
        ("Vault K/V v2", vault::connect(vault::v2(&v2_fake)).await.unwrap(), v2_fake),
    ];
    let mut subjects = Vec::new();
    for (name, store, fake) in stores {
        store.create("there", VALUE).await.unwrap();
        subjects.push(Subject { name, fake, store });
    }
    subjects
}

/// Those with a `tls` section, over TLS with this certificate and these CAs.
pub async fn with_tls(
    certificate: impl Fn() -> fake::Certificate,
    ca: impl Fn(&Fake) -> Option<std::path::PathBuf>,
) -> Vec<(&'static str, Result<Backend, kes_server::keystore::KeyStoreError>, Fake)> {
    let entrust = Fake::start_tls_as(Arc::<fake::entrust::Entrust>::default(), certificate()).await;
    let fortanix = Fake::start_tls_as(Arc::<fake::fortanix::Fortanix>::default(), certificate()).await;
    let keysecure = Fake::start_tls_as(Arc::<fake::keysecure::KeySecure>::default(), certificate()).await;
    let vault = Fake::start_tls_as(Arc::<fake::vault::Vault>::default(), certificate()).await;
    vec![
        ("Entrust", entrust::connect_with(&entrust, "box", "password", ca(&entrust)).await, entrust),
        ("Fortanix", fortanix::connect_with(&fortanix, "", "YXBwOmtleQ==", ca(&fortanix)).await, fortanix),
        ("Thales", keysecure::connect_with(&keysecure, "refresh", ca(&keysecure)).await, keysecure),
        ("Vault", vault::connect_with(&vault, ca(&vault)).await, vault),
    ]
}
