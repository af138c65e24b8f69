//! TLS connections of which every byte is the test's.

use std::{
    io::{self, Read as _, Write as _},
    net::TcpStream,
    sync::Arc,
    time::Duration,
};

use kes_server::auth::ApiKey;
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme, StreamOwned, SupportedProtocolVersion,
    client::{
        ResolvesClientCert,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, aws_lc_rs},
    sign::CertifiedKey,
    version::{TLS12, TLS13},
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};

use crate::support::{ADMIN_API_KEY, Folder};

pub(crate) type Tls = StreamOwned<ClientConnection, TcpStream>;

pub(crate) const VERSIONS: [&SupportedProtocolVersion; 2] = [&TLS13, &TLS12];

/// Longer than anything a server may wait for.
const PATIENCE: Duration = Duration::from_secs(40);

/// Makes connections of one kind.
#[derive(Clone)]
pub(crate) struct Dialer {
    pub(crate) address: String,
    pub(crate) config: Arc<ClientConfig>,
}

/// What a client shows: a chain and a key, which need not belong together.
#[derive(Debug)]
struct Shown(Option<Arc<CertifiedKey>>);

impl Dialer {
    /// As the admin of the folder's server.
    pub(crate) fn admin(folder: &Folder, protocol: &str) -> Self {
        Self::with_key(folder, &ADMIN_API_KEY.parse().unwrap(), protocol)
    }

    /// As somebody whom no configuration knows.
    pub(crate) fn stranger(folder: &Folder, protocol: &str) -> Self {
        Self::with_key(folder, &ApiKey::generate().unwrap(), protocol)
    }

    /// As the identity of this key.
    pub(crate) fn with_key(folder: &Folder, key: &ApiKey, protocol: &str) -> Self {
        Self::new(folder, Some((vec![key.certificate().unwrap()], key.private_key())), &VERSIONS, protocol)
    }

    pub(crate) fn new(
        folder: &Folder,
        shown: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
        versions: &[&'static SupportedProtocolVersion],
        protocol: &str,
    ) -> Self {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let shown = shown.map(|(chain, key)| {
            Arc::new(CertifiedKey::new(chain, provider.key_provider.load_private_key(key).unwrap()))
        });
        let mut config = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(versions)
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyServer(provider)))
            .with_client_cert_resolver(Arc::new(Shown(shown)));
        config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
        Self { address: folder.address.clone(), config: Arc::new(config) }
    }

    pub(crate) fn tcp(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// A connection after its handshake. With TLS 1.3 the server may still refuse the client's certificate.
    pub(crate) fn connect(&self) -> io::Result<Tls> {
        let name = ServerName::try_from("127.0.0.1").unwrap();
        let mut connection = ClientConnection::new(Arc::clone(&self.config), name).map_err(io::Error::other)?;
        let mut stream = self.tcp();
        while connection.is_handshaking() {
            connection.complete_io(&mut stream)?;
        }
        Ok(StreamOwned::new(connection, stream))
    }

    /// The answer to a GET over HTTP/1.1.
    pub(crate) fn get(&self, path: &str) -> io::Result<String> {
        let request = format!("GET {path} HTTP/1.1\r\nHost: kes\r\nConnection: close\r\n\r\n");
        self.say(request.as_bytes())
    }

    /// All that the server answers to these bytes until it closes the connection.
    pub(crate) fn say(&self, bytes: &[u8]) -> io::Result<String> {
        let mut connection = self.connect()?;
        connection.write_all(bytes)?;
        Ok(rest(&mut connection)?.0)
    }
}

/// What is still to come, and how it ended.
pub(crate) fn rest(connection: &mut Tls) -> io::Result<(String, &'static str)> {
    let mut answer = Vec::new();
    let end = match connection.read_to_end(&mut answer) {
        Ok(_) => "closed",
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => "cut",
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => "reset",
        Err(error) => return Err(error),
    };
    Ok((String::from_utf8_lossy(&answer).into_owned(), end))
}

impl ResolvesClientCert for Shown {
    fn resolve(&self, _issuers: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.0.clone()
    }

    fn has_certs(&self) -> bool {
        self.0.is_some()
    }
}

#[derive(Debug)]
struct AnyServer(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
