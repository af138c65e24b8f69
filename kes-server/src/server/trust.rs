//! Decides who may stay connected. With `tls.auth: on` somebody must vouch for a client, and not only during the
//! handshake: a connection ends when its certificate ends, and when the configuration no longer names its issuer.
//! Sessions are not resumed then, since that would pass over the certificate.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rustls::{RootCertStore, ServerConfig, ServerConnection, server::danger::ClientCertVerifier};
use rustls_pki_types::{CertificateDer, TrustAnchor, UnixTime};
use tokio::{sync::watch, time::sleep};

use super::{key_pair, tls::Settings};

/// How long a certificate is believed without another look: the system's clock may be set.
const LOOK_AGAIN: Duration = Duration::from_secs(60 * 60);

/// Connections look at new issuers one after the other within this time: signatures of thousands of chains at once would
/// keep requests waiting.
const SPREAD: Duration = Duration::from_secs(1);

/// The terms on which clients are taken, until a reload replaces them.
#[derive(Debug, Clone)]
pub(super) struct Terms {
    /// For handshakes to come.
    pub(super) handshake: Arc<ServerConfig>,
    /// Who must vouch for clients; `None` if nobody must.
    pub(super) issuers: Option<Issuers>,
    /// Last second of the server's certificate, since 1970.
    pub(super) end: Option<Duration>,
    /// Where they are from; `None` if the server made its certificate itself.
    pub(super) settings: Option<Settings>,
}

/// Whoever vouches for clients.
#[derive(Debug, Clone)]
pub(super) struct Issuers {
    pub(super) roots: Arc<RootCertStore>,
    pub(super) verifier: Arc<dyn ClientCertVerifier>,
    /// Last second of the first CA to end of those that the configuration names, since 1970.
    pub(super) end: Option<Duration>,
}

impl Terms {
    /// Puts others in force. Open connections are woken only if the issuers are others, too.
    pub(super) fn replace(current: &watch::Sender<Self>, new: Self) {
        current.send_if_modified(|current| {
            let is_other = current.roots() != new.roots();
            *current = new;
            is_other
        });
    }

    /// When the first CA ends that the configuration names and that vouches for clients.
    pub(super) fn authority_end(&self) -> Option<Duration> {
        self.issuers.as_ref()?.end
    }

    fn roots(&self) -> Option<&[TrustAnchor<'static>]> {
        self.issuers.as_ref().map(|issuers| issuers.roots.roots.as_slice())
    }
}

impl Issuers {
    fn vouch_for(&self, chain: &[CertificateDer<'_>]) -> Result<(), rustls::Error> {
        let (client, intermediates) = chain.split_first().ok_or(rustls::Error::NoCertificatesPresented)?;
        self.verifier.verify_client_cert(client, intermediates, UnixTime::now()).map(drop)
    }
}

/// What one client was taken for.
#[derive(Debug)]
pub(super) struct Admission {
    pub(super) address: SocketAddr,
    terms: watch::Receiver<Terms>,
    shown: Shown,
}

#[derive(Debug)]
enum Shown {
    Nothing,
    /// A certificate that nobody had to vouch for.
    Unverified,
    Verified(Vec<CertificateDer<'static>>),
}

impl Admission {
    /// After a handshake on terms that `terms` has seen.
    pub(super) fn new(address: SocketAddr, terms: watch::Receiver<Terms>, tls: &ServerConnection) -> Self {
        let is_verified = terms.borrow().issuers.is_some();
        let shown = match tls.peer_certificates() {
            None => Shown::Nothing,
            Some(chain) if is_verified => Shown::Verified(chain.iter().map(|der| der.clone().into_owned()).collect()),
            Some(_) => Shown::Unverified,
        };
        Self { address, terms, shown }
    }

    /// Last second in which the client is taken, since 1970; `None` if nobody vouches for it.
    pub(super) fn last_second(&self) -> Option<Duration> {
        let Shown::Verified(chain) = &self.shown else { return None };
        key_pair::last_seconds(chain).min()
    }

    /// Waits until the client would not be taken again; why not.
    pub(super) async fn over(&self) -> String {
        let mut terms = self.terms.clone();
        loop {
            tokio::select! {
                changed = terms.changed() => match changed {
                    Ok(()) => sleep(self.turn()).await,
                    // The server ends, and its connections with it.
                    Err(_) => std::future::pending().await,
                },
                () = self.end() => {}
            }
            let issuers = terms.borrow_and_update().issuers.clone();
            match (issuers, &self.shown) {
                (None, _) | (_, Shown::Nothing) => {}
                (Some(_), Shown::Unverified) => return "nobody had to vouch for it".into(),
                (Some(issuers), Shown::Verified(chain)) => {
                    if let Err(refusal) = issuers.vouch_for(chain) {
                        return refusal.to_string();
                    }
                }
            }
        }
    }

    /// This connection's moment within [`SPREAD`].
    fn turn(&self) -> Duration {
        SPREAD * u32::from(self.address.port()) / u32::from(u16::MAX)
    }

    /// Waits until a certificate of the chain has ended, or it is time for another look.
    async fn end(&self) {
        let Shown::Verified(chain) = &self.shown else { return std::future::pending().await };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        // a certificate is valid to the end of its last second
        let ends = key_pair::last_seconds(chain).map(|last| last + Duration::from_secs(1));
        let left = ends.filter_map(|end| end.checked_sub(now)).filter(|left| !left.is_zero()).min();
        sleep(left.unwrap_or(LOOK_AGAIN).min(LOOK_AGAIN)).await;
    }
}
