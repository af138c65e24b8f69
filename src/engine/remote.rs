//! A Docker behind TCP, as `docker` itself finds it: `DOCKER_HOST=tcp://…`, `DOCKER_TLS_VERIFY` and `DOCKER_CERT_PATH`. Its
//! containers must see the same files, as in a job of GitLab's CI with the service `docker:dind`.

use std::fmt;
use std::io;
use std::net::{IpAddr, ToSocketAddrs as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::service::Env;
use crate::host::home;

/// How long connecting and greeting may take.
const CONNECT: Duration = Duration::from_secs(10);

/// Docker's port without TLS.
const PLAIN_PORT: u16 = 2375;
/// Docker's port with TLS.
const TLS_PORT: u16 = 2376;

/// A Docker behind TCP.
#[derive(Clone)]
pub(super) struct Remote {
    host: String,
    port: u16,
    tls: Option<(TlsConnector, ServerName<'static>)>,
}

/// What a connection is for the exchange.
pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

impl fmt::Display for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = &self.host;
        if host.contains(':') {
            write!(f, "tcp://[{host}]:{}", self.port)
        } else {
            write!(f, "tcp://{host}:{}", self.port)
        }
    }
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Remote {
    /// The Docker that this value of `DOCKER_HOST` names; `None` if it names something else.
    ///
    /// # Errors
    /// Why it cannot be used: the address or one of the certificates.
    pub(super) fn of(value: &str, env: &Env<'_>) -> Result<Option<Self>, String> {
        let Some(rest) = value.strip_prefix("tcp://") else { return Ok(None) };
        let has_tls = env("DOCKER_TLS_VERIFY").is_some_and(|word| !word.is_empty());
        let (host, port) = address(rest.trim_end_matches('/'), if has_tls { TLS_PORT } else { PLAIN_PORT })
            .ok_or_else(|| format!("is '{value}', which is not an address such as tcp://docker:2376"))?;
        let tls = if has_tls { Some((connector(&certificates(env)?)?, server_name(&host)?)) } else { None };
        Ok(Some(Self { host, port, tls }))
    }

    /// True if whoever is between this machine and that Docker can read and change all.
    pub(super) fn is_plain(&self) -> bool {
        self.tls.is_none()
    }

    /// The address that its ports are reached at, if that is another machine's.
    ///
    /// # Errors
    /// If the name has no address.
    pub(super) fn elsewhere(&self) -> io::Result<Option<IpAddr>> {
        let addresses: Vec<_> =
            (self.host.as_str(), self.port).to_socket_addrs()?.map(|address| address.ip()).collect();
        // MinIO and KES take either kind, but most networks of containers have only the older one
        let found = addresses.iter().find(|address| address.is_ipv4()).or(addresses.first()).copied();
        let found = found.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "it has no address"))?;
        Ok((!found.is_loopback()).then_some(found))
    }

    /// Connects within a bounded time.
    pub(super) async fn connect(&self) -> io::Result<Box<dyn Stream>> {
        let connected = timeout(CONNECT, async {
            let stream = TcpStream::connect((self.host.as_str(), self.port)).await?;
            stream.set_nodelay(true)?;
            match &self.tls {
                None => Ok(Box::new(stream) as Box<dyn Stream>),
                Some((connector, name)) => {
                    Ok(Box::new(connector.connect(name.clone(), stream).await?) as Box<dyn Stream>)
                }
            }
        });
        connected.await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
    }
}

/// Host and port of `docker:2376`, `[::1]:2376` or `docker`.
fn address(text: &str, default: u16) -> Option<(String, u16)> {
    let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, "")) => (host, None),
        Some((host, rest)) => (host, Some(rest.strip_prefix(':')?)),
        None => text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
    };
    let port = port.map_or(Some(default), |port| port.parse().ok())?;
    let is_name = !host.is_empty() && !host.contains(['/', '@', '?', '#']) && !host.contains(char::is_whitespace);
    is_name.then(|| (host.to_owned(), port))
}

/// The folder that `docker` looks for its certificates in.
fn certificates(env: &Env<'_>) -> Result<PathBuf, String> {
    let named = env("DOCKER_CERT_PATH").filter(|path| !path.is_empty()).map(PathBuf::from);
    let own = || home::folder(env).map(|home| home.join(".docker"));
    named.or_else(own).ok_or_else(|| "wants TLS, but DOCKER_CERT_PATH names no folder of certificates".into())
}

fn server_name(host: &str) -> Result<ServerName<'static>, String> {
    ServerName::try_from(host.to_owned())
        .map_err(|error| format!("names '{host}', which no certificate is for: {error}"))
}

/// TLS with the client's certificate, for servers of that authority.
fn connector(folder: &Path) -> Result<TlsConnector, String> {
    let read = |name: &str| {
        let path = folder.join(name);
        std::fs::read(&path).map_err(|error| format!("wants TLS, but '{}' cannot be read: {error}", path.display()))
    };
    let bad = |name: &str, error: &dyn fmt::Display| {
        format!("wants TLS, but '{}' cannot be used: {error}", folder.join(name).display())
    };
    let all = |name: &str| {
        let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&read(name)?).collect();
        found.map_err(|error| bad(name, &error))
    };
    let mut roots = RootCertStore::empty();
    for certificate in all("ca.pem")? {
        roots.add(certificate).map_err(|error| bad("ca.pem", &error))?;
    }
    let key = PrivateKeyDer::from_pem_slice(&read("key.pem")?).map_err(|error| bad("key.pem", &error))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| bad("ca.pem", &error))?
        .with_root_certificates(roots)
        .with_client_auth_cert(all("cert.pem")?, key)
        .map_err(|error| bad("cert.pem", &error))?;
    Ok(TlsConnector::from(Arc::new(config)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn remote(value: &str, variables: &[(&str, &str)]) -> Result<Option<String>, String> {
        let env = |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        Remote::of(value, &env).map(|found| found.map(|remote| remote.to_string()))
    }

    #[test]
    fn addresses_are_taken_as_docker_takes_them() {
        for (value, shown) in [
            ("tcp://docker:2375", "tcp://docker:2375"),
            ("tcp://docker", "tcp://docker:2375"),
            ("tcp://10.0.0.1:1/", "tcp://10.0.0.1:1"),
            ("tcp://[::1]:7", "tcp://[::1]:7"),
        ] {
            assert_eq!(remote(value, &[]).unwrap().unwrap(), shown);
        }
        for other in ["unix:///a", "ssh://host", "/a"] {
            assert_eq!(remote(other, &[]).unwrap(), None);
        }
        for wrong in ["tcp://", "tcp://a:b", "tcp://a/b:1", "tcp://u@h:1", "tcp://[::1]7"] {
            assert!(remote(wrong, &[]).unwrap_err().contains("is not an address"), "{wrong}");
        }
    }

    #[test]
    fn tls_needs_certificates_that_can_be_used() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_str().unwrap();
        let with_tls = [("DOCKER_TLS_VERIFY", "1"), ("DOCKER_CERT_PATH", path)];
        let error = remote("tcp://docker", &with_tls).unwrap_err();
        assert!(error.contains("ca.pem' cannot be read"), "{error}");
        let authority = crate::pki::Authority::generate("test", jiff::Timestamp::now()).unwrap();
        std::fs::write(folder.path().join("ca.pem"), &authority.cert_pem).unwrap();
        std::fs::write(folder.path().join("cert.pem"), &authority.cert_pem).unwrap();
        std::fs::write(folder.path().join("key.pem"), "not a key").unwrap();
        let error = remote("tcp://docker", &with_tls).unwrap_err();
        assert!(error.contains("key.pem' cannot be used"), "{error}");
        std::fs::write(folder.path().join("key.pem"), authority.key_pem.as_bytes()).unwrap();
        assert_eq!(remote("tcp://docker", &with_tls).unwrap().unwrap(), "tcp://docker:2376");
    }
}
