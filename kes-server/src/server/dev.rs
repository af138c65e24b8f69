//! A server for a try: nothing is stored, and certificate and admin are made for it, unless the command line names them.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime},
};

use rcgen::{CertificateParams, DnType, KeyPair, SanType};
use rustls::crypto::aws_lc_rs;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::{
    material::{Material, MaterialError},
    tls::{self, Settings},
    trust::Terms,
    verify,
};
use crate::{
    auth::{Access, ApiKey, Identity},
    config::{Config, Expiry, FsConfig, KeyStoreConfig, Level, TlsConfig},
    keystore::{Backend, Memory},
};

const DEFAULT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 7373);

const LIFE: Duration = Duration::from_secs(90 * 24 * 3600);

/// Everything such a server needs, and the key of its admin.
pub(super) fn material(address: Option<SocketAddr>) -> Result<(Material, ApiKey), MaterialError> {
    let api_key = ApiKey::generate()?;
    let address = address.unwrap_or(DEFAULT);
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = verify::any_certificate(&provider, true);
    let (certificate, key) = certificate(address.ip())?;
    let handshake = Arc::new(tls::handshake(provider, verifier, vec![certificate], key)?);
    let tls = Terms { handshake, issuers: None, end: None, settings: None };
    let files =
        TlsConfig { key: PathBuf::new(), cert: PathBuf::new(), ca: None, password: None, verify_clients: false };
    let config = config(address, api_key.identity().clone(), files)?;
    Ok((Material { config, tls, keystore: Backend::Memory(Memory::default()).into(), unreached: None }, api_key))
}

/// The same with a certificate and an admin that somebody else made.
pub(super) fn volatile(
    address: Option<SocketAddr>,
    admin: Identity,
    files: TlsConfig,
) -> Result<Material, MaterialError> {
    let config = config(address.unwrap_or(DEFAULT), admin, files)?;
    let tls = tls::terms(Settings::of(&config))?;
    Ok(Material { config, tls, keystore: Backend::Memory(Memory::default()).into(), unreached: None })
}

fn config(address: SocketAddr, admin: Identity, tls: TlsConfig) -> Result<Config, MaterialError> {
    Ok(Config {
        address,
        access: Access::new(admin, [])?,
        tls,
        cache: Expiry::default(),
        error_level: Level::INFO,
        audit_level: Level::INFO,
        api: BTreeMap::new(),
        keys: Vec::new(),
        keystore: KeyStoreConfig::Fs(FsConfig::plain("")),
        warnings: Vec::new(),
    })
}

/// A self-signed certificate for this host.
fn certificate(address: IpAddr) -> Result<(CertificateDer<'static>, PrivateKeyDer<'static>), rcgen::Error> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(["localhost".to_owned()])?;
    params.distinguished_name.push(DnType::CommonName, "localhost");
    params.subject_alt_names.extend(
        [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into(), address]
            .into_iter()
            .filter(|address| !address.is_unspecified())
            .map(SanType::IpAddress),
    );
    params.not_before = SystemTime::now().into();
    params.not_after = (SystemTime::now() + LIFE).into();
    let certificate = params.self_signed(&key)?;
    Ok((certificate.der().clone(), PrivateKeyDer::Pkcs8(key.serialize_der().into())))
}
