//! `tls`: the server's certificate and what it asks of clients (docs/kes-protocol.md §4.3). The files are not opened
//! here.

use std::path::PathBuf;

use zeroize::Zeroizing;

use super::section::Section;
use super::{ConfigError, TlsConfig, invalid};

pub(super) fn read(section: Section<'_>) -> Result<TlsConfig, ConfigError> {
    let (key, cert) = (section.string("key"), section.string("cert"));
    let (ca, password, auth) = (section.string("ca"), section.secret("password"), section.string("auth"));
    if key.is_empty() {
        return Err(invalid("kesconf: invalid tls config: no private key"));
    }
    if cert.is_empty() {
        return Err(invalid("kesconf: invalid tls config: no certificate"));
    }
    let verify_clients = match auth.to_ascii_lowercase().as_str() {
        "" | "off" => false,
        "on" => true,
        // the braces are MinIO KES's
        _ => return Err(invalid(format!("kesconf: invalid tls config: invalid auth '{{ {auth}}}'"))),
    };
    Ok(TlsConfig {
        key: key.into(),
        cert: cert.into(),
        ca: Some(ca).filter(|ca| !ca.is_empty()).map(PathBuf::from),
        password: Some(password)
            .filter(|password| !password.is_empty())
            .map(|it| Zeroizing::new(it.expose().to_owned())),
        verify_clients,
    })
}
