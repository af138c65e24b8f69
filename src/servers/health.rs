//! One request as health checks make it: no signature, no proxy, bounded in time and size.

use std::sync::Arc;
use std::time::Duration;

use reqwest::{Client, Method, RequestBuilder, Response, StatusCode, Url};
use rustls::{ClientConfig, RootCertStore};

use super::s3::any_certificate;

/// The most that is kept of an answer.
const LIMIT: usize = 1 << 20;

/// What is asked, and how long that may take.
#[derive(Debug, Clone)]
pub struct Question {
    /// `http://` or `https://`.
    pub url: Url,
    /// True if only the head is wanted.
    pub head: bool,
    /// True if any certificate will do; else none does, because no authority is known.
    pub insecure: bool,
    /// Until there is a connection.
    pub connect: Duration,
    /// Until all of it is there.
    pub total: Duration,
}

/// What came back.
#[derive(Debug, Clone)]
pub struct Reply {
    /// Its status.
    pub status: StatusCode,
    /// Its first MiB.
    pub body: Vec<u8>,
}

/// Why nothing came back.
#[derive(Debug, thiserror::Error)]
pub enum Unanswered {
    /// The time was over.
    #[error("it takes too long")]
    Late,
    /// Nobody takes connections there.
    #[error("{0}")]
    Unconnected(String),
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

impl From<reqwest::Error> for Unanswered {
    fn from(error: reqwest::Error) -> Self {
        let deepest = std::iter::successors(Some(&error as &dyn std::error::Error), |error| error.source()).last();
        let cause = deepest.map(ToString::to_string).unwrap_or_default();
        match () {
            () if error.is_timeout() => Self::Late,
            () if error.is_connect() => Self::Unconnected(cause),
            () => Self::Other(cause),
        }
    }
}

/// Asks once. A redirect is an answer.
///
/// # Errors
/// [`Unanswered`] if there is none.
pub async fn ask(question: &Question) -> Result<Reply, Unanswered> {
    let method = if question.head { Method::HEAD } else { Method::GET };
    answer(client(question)?.request(method, question.url.clone())).await
}

/// Posts nothing, with a token.
///
/// # Errors
/// [`Unanswered`] if there is no answer.
pub(crate) async fn post(question: &Question, token: &str) -> Result<Reply, Unanswered> {
    answer(client(question)?.post(question.url.clone()).bearer_auth(token)).await
}

fn client(question: &Question) -> Result<Client, Unanswered> {
    let client = Client::builder()
        .tls_backend_preconfigured(tls(question.insecure).map_err(|error| Unanswered::Other(error.to_string()))?)
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(question.connect)
        .timeout(question.total)
        .build()?;
    Ok(client)
}

async fn answer(request: RequestBuilder) -> Result<Reply, Unanswered> {
    let mut response = request.send().await?;
    let (status, body) = (response.status(), start(&mut response).await?);
    Ok(Reply { status, body })
}

fn tls(insecure: bool) -> Result<ClientConfig, rustls::Error> {
    if insecure {
        return any_certificate();
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(tls.with_root_certificates(RootCertStore::empty()).with_no_client_auth())
}

async fn start(response: &mut Response) -> Result<Vec<u8>, reqwest::Error> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        let room = LIMIT.saturating_sub(body.len());
        body.extend(chunk.iter().take(room));
        if room <= chunk.len() {
            break;
        }
    }
    Ok(body)
}
