//! Calls for credentials: to services of the cloud, and to metadata services next to this machine.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use reqwest::{Request, Url};

use super::{Answer, Failure, Http, KeyStoreError, Retry, Settings, Trust, copy, shown};

/// Longest time for a metadata service, which is near or not there at all.
const LOCAL_DEADLINE: Duration = Duration::from_secs(5);

/// One client for what is far and one for what is near.
#[derive(Debug)]
pub(in crate::keystore) struct Web {
    public: Arc<Http>,
    local: Http,
}

impl Web {
    /// Prepares the client without proxies.
    ///
    /// # Errors
    /// If it cannot be set up.
    pub(in crate::keystore) fn new(public: Arc<Http>) -> Result<Self, KeyStoreError> {
        // what is near speaks plain HTTP, and to load the roots of TLS once more takes as long as all the rest
        let (trust, retry) = (Trust::Nobody, Retry::never());
        let local = Http::new(&Settings { trust, retry, ..Settings::default() })?;
        Ok(Self { public, local })
    }

    /// The client of this URL, to build requests with.
    pub(in crate::keystore) fn client(&self, url: &Url) -> &reqwest::Client {
        if is_local(url) { self.local.client() } else { self.public.client() }
    }

    /// Sends a request: to the cloud with retries and through the proxy, to metadata services once and soon done.
    pub(in crate::keystore) async fn send(&self, request: Request) -> Result<Answer, Failure> {
        if !is_local(request.url()) {
            return self.public.send_each(|| async { Ok(copy(&request)) }).await;
        }
        let call = format!("{} {}", request.method(), shown(request.url()));
        match tokio::time::timeout(LOCAL_DEADLINE, self.local.once(request)).await {
            Ok(result) => result,
            Err(_) => Err(Failure::timeout(&call, LOCAL_DEADLINE)),
        }
    }
}

/// True for this machine and what is next to it, by plain HTTP.
fn is_local(url: &Url) -> bool {
    if url.scheme() != "http" {
        return false;
    }
    let host = url.host_str().unwrap_or_default();
    match host.trim_matches(['[', ']']).parse() {
        Ok(IpAddr::V4(address)) => address.is_loopback() || address.is_link_local(),
        Ok(IpAddr::V6(address)) => {
            address.is_loopback() || address.is_unicast_link_local() || address.is_unique_local()
        }
        Err(_) => matches!(host, "localhost" | "metadata.google.internal"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_services_are_near_and_clouds_are_not() {
        let near = ["169.254.169.254", "169.254.170.2", "127.0.0.1:80", "localhost", "[fd00:ec2::254]", "[::1]:1"];
        assert!(near.iter().all(|host| is_local(&format!("http://{host}/").parse().unwrap())));
        assert!(!is_local(&"https://127.0.0.1/".parse().unwrap()));
        let far = ["sts.amazonaws.com", "10.0.0.1", "[2001:db8::1]", "localhost.example"];
        assert!(!far.iter().any(|host| is_local(&format!("http://{host}/").parse().unwrap())));
    }
}
