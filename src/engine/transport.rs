//! One HTTP exchange over an engine's unix socket, for bollard and for libpod alike (docs/architecture.md §3.6).
//!
//! bollard offers no raw requests and libpod needs them; so the exchange is ours and both go through it.
//! Connections are kept alive: an idle one is taken again, one that the server closed meanwhile is replaced
//! without the caller noticing.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bollard::{BollardRequest, body_full};
use bytes::Bytes;
use futures_util::stream::BoxStream;
use http_body_util::{BodyExt, Either, Full, Limited, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{CONTENT_TYPE, HOST, HeaderValue};
use hyper::{Method, Request, Response, StatusCode, Uri, http};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tokio::sync::watch;
use tokio::time::timeout;

use super::remote::{Remote, Stream};

/// How long a connect may take: the socket is on this host.
const CONNECT: Duration = Duration::from_secs(5);
/// Most bytes read of an answer that is held in memory.
const ANSWER_LIMIT: usize = 16 << 20;

/// Why an exchange failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum TransportError {
    /// The socket cannot be reached.
    #[error("cannot connect to {}: {source}", path.display())]
    Connect {
        /// The socket.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The exchange was cut.
    #[error("the connection to the engine broke: {0}")]
    Http(#[from] hyper::Error),
    /// The answer did not come in time.
    #[error("no answer within {} s", .0.as_secs_f32())]
    Deadline(Duration),
    /// The answer could not be read, for example because it is larger than [`ANSWER_LIMIT`].
    #[error("cannot read the answer: {0}")]
    Answer(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The request has no valid form.
    #[error("cannot form the request: {0}")]
    Request(#[from] http::Error),
}

/// The body of bollard's requests: bytes, or a stream of them.
type RequestBody = Either<Full<Bytes>, StreamBody<BoxStream<'static, io::Result<Frame<Bytes>>>>>;
type Sender = SendRequest<RequestBody>;

/// An engine's socket and the idle connections to it.
#[derive(Debug, Clone)]
pub(super) struct Socket(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    place: Place,
    idle: Mutex<Vec<Sender>>,
    /// How many requests the engine works on.
    under_way: watch::Sender<usize>,
}

/// Where an engine listens.
#[derive(Debug)]
enum Place {
    Here(PathBuf),
    Behind(Remote),
}

impl Place {
    /// As messages and `DOCKER_HOST` name it.
    fn address(&self) -> String {
        match self {
            Self::Here(path) => format!("unix://{}", path.display()),
            Self::Behind(remote) => remote.to_string(),
        }
    }
}

/// A request that the engine works on, until this is dropped.
struct UnderWay(Arc<Inner>);

impl UnderWay {
    fn new(inner: &Arc<Inner>) -> Self {
        inner.under_way.send_modify(|count| *count += 1);
        Self(Arc::clone(inner))
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.under_way.send_modify(|count| *count = count.saturating_sub(1));
    }
}

/// An answer read to its end.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: hyper::HeaderMap,
    pub(super) body: Bytes,
}

impl Socket {
    pub(super) fn new(path: impl Into<PathBuf>) -> Self {
        Self::at(Place::Here(path.into()))
    }

    /// A socket behind TCP.
    pub(super) fn remote(remote: Remote) -> Self {
        Self::at(Place::Behind(remote))
    }

    fn at(place: Place) -> Self {
        let under_way = watch::Sender::new(0);
        Self(Arc::new(Inner { place, idle: Mutex::new(Vec::new()), under_way }))
    }

    /// `unix:///path` or `tcp://host:port`.
    pub(super) fn address(&self) -> String {
        self.0.place.address()
    }

    /// Waits until the engine has answered every request, also those whose callers have left.
    pub(super) async fn answered(&self) {
        // The sender lives as long as the socket.
        let _: Result<_, watch::error::RecvError> = self.0.under_way.subscribe().wait_for(|count| *count == 0).await;
    }

    /// Sends a small request and reads the complete answer, both within `deadline`. `path` is path and query.
    pub(super) async fn call(
        &self,
        method: Method,
        path: &str,
        json: Option<&serde_json::Value>,
        deadline: Duration,
    ) -> Result<Answer, TransportError> {
        let body = json.map_or_else(Bytes::new, |json| Bytes::from(json.to_string()));
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(CONTENT_TYPE, "application/json")
            .body(body_full(body))?;
        let answer = async {
            let (head, body) = self.exchange(request).await?.into_parts();
            let body = Limited::new(body, ANSWER_LIMIT).collect().await.map_err(TransportError::Answer)?.to_bytes();
            Ok(Answer { status: head.status, headers: head.headers, body })
        };
        timeout(deadline, answer).await.map_err(|_| TransportError::Deadline(deadline))?
    }

    /// Sends a request and returns when the head of the answer is there. The caller bounds the time; one that leaves
    /// earlier does not cut the request off: an engine that is left in the middle of one may hold its locks on.
    pub(super) async fn exchange(&self, request: BollardRequest) -> Result<Response<Incoming>, TransportError> {
        let (inner, under_way) = (Arc::clone(&self.0), UnderWay::new(&self.0));
        let sent = tokio::spawn(async move {
            let answer = inner.send(request).await;
            drop(under_way);
            answer
        });
        sent.await.unwrap_or_else(|error| Err(TransportError::Answer(error.into())))
    }
}

impl Inner {
    async fn send(&self, request: BollardRequest) -> Result<Response<Incoming>, TransportError> {
        let mut request = origin_form(request);
        while let Some(mut sender) = self.take_idle() {
            match sender.try_send_request(request).await {
                Ok(answer) => {
                    self.keep(sender);
                    return Ok(answer);
                }
                // The server closed this connection before it saw the request: the next one gets it.
                Err(mut error) => match error.take_message() {
                    Some(unsent) => request = unsent,
                    None => return Err(error.into_error().into()),
                },
            }
        }
        let mut sender = self.connect().await?;
        let answer = sender.send_request(request).await?;
        self.keep(sender);
        Ok(answer)
    }

    async fn connect(&self) -> Result<Sender, TransportError> {
        match &self.place {
            Place::Here(path) => {
                let connected = connect(path).await;
                handshake(connected.map_err(|source| TransportError::Connect { path: path.clone(), source })?).await
            }
            Place::Behind(remote) => {
                let path = || PathBuf::from(remote.to_string());
                let connected = remote.connect().await;
                handshake(connected.map_err(|source| TransportError::Connect { path: path(), source })?).await
            }
        }
    }

    fn take_idle(&self) -> Option<Sender> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|sender| !sender.is_closed());
        let ready = idle.iter().position(SendRequest::is_ready)?;
        Some(idle.swap_remove(ready))
    }

    /// Keeps a connection for the next request; it is taken once its present answer is read to the end.
    fn keep(&self, sender: Sender) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(sender);
    }
}

/// Connects to a unix socket within a bounded time.
pub(super) async fn connect(path: &Path) -> io::Result<UnixStream> {
    timeout(CONNECT, UnixStream::connect(path)).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
}

async fn handshake(stream: impl Stream + 'static) -> Result<Sender, TransportError> {
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a connection to the engine ended");
        }
    });
    Ok(sender)
}

/// A request as it goes over the wire: only path and query in its first line, and a `Host`.
fn origin_form<B>(request: Request<B>) -> Request<B> {
    let (mut head, body) = request.into_parts();
    let path = head.uri.path_and_query().cloned().unwrap_or(http::uri::PathAndQuery::from_static("/"));
    head.uri = Uri::from(path);
    head.headers.insert(HOST, HeaderValue::from_static("localhost"));
    Request::from_parts(head, body)
}

/// Text as a query parameter carries it.
pub(super) fn query(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt as _;

    use super::super::fake::{FakeEngine, Reply};
    use super::*;

    const SHORT: Duration = Duration::from_millis(100);
    const LONG: Duration = Duration::from_secs(20);

    async fn ping(socket: &Socket, deadline: Duration) -> Result<Answer, TransportError> {
        socket.call(Method::GET, "/_ping", None, deadline).await
    }

    #[tokio::test]
    async fn connections_are_used_again() {
        let engine = FakeEngine::start(|_| Reply::Answer(200, "OK"));
        let socket = Socket::new(engine.socket());
        for _ in 0..3 {
            assert_eq!(ping(&socket, LONG).await.unwrap().body, "OK");
        }
        assert_eq!(engine.connections(), 1);
    }

    #[tokio::test]
    async fn a_connection_that_the_engine_closed_is_replaced() {
        let engine = FakeEngine::start(|_| Reply::Cut("HTTP/1.1 200 X\r\nContent-Length: 2\r\n\r\nOK"));
        let socket = Socket::new(engine.socket());
        for _ in 0..3 {
            assert_eq!(ping(&socket, LONG).await.unwrap().body, "OK");
        }
        assert_eq!(engine.connections(), 3);
    }

    #[tokio::test]
    async fn requests_side_by_side_do_not_wait_for_each_other() {
        let engine = FakeEngine::start(|line| match line {
            "GET /_ping" => Reply::Answer(200, "OK"),
            _ => Reply::Silence,
        });
        let socket = Socket::new(engine.socket());
        let silent = socket.call(Method::GET, "/silent", None, SHORT);
        let (silent, answered) = tokio::join!(silent, ping(&socket, LONG));
        assert!(matches!(silent, Err(TransportError::Deadline(SHORT))));
        assert_eq!(answered.unwrap().status, 200);
    }

    #[tokio::test]
    async fn a_request_whose_caller_left_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let listener = tokio::net::UnixListener::bind(&path).unwrap();
        let socket = Socket::new(&path);
        let left = timeout(SHORT, ping(&socket, LONG)).await;
        assert!(left.is_err());
        let (mut engine, _) = listener.accept().await.unwrap();
        assert!(timeout(SHORT, socket.answered()).await.is_err(), "the engine still works on it");
        engine.write_all(b"HTTP/1.1 200 X\r\nContent-Length: 0\r\n\r\n").await.unwrap();
        timeout(LONG, socket.answered()).await.unwrap();
    }

    #[tokio::test]
    async fn an_answer_that_is_cut_is_an_error() {
        for cut in ["", "HTTP/1.1 200 X\r\nContent-", "HTTP/1.1 200 X\r\nContent-Length: 20\r\n\r\nhalf"] {
            let engine = FakeEngine::start(move |_| Reply::Cut(cut));
            let error = ping(&Socket::new(engine.socket()), LONG).await.unwrap_err();
            assert!(matches!(error, TransportError::Http(_) | TransportError::Answer(_)), "{cut:?}: {error}");
        }
    }

    #[tokio::test]
    async fn an_answer_without_end_is_not_held() {
        let engine = FakeEngine::start(|_| Reply::Cut("HTTP/1.1 200 X\r\nContent-Length: 99999999\r\n\r\n"));
        assert!(ping(&Socket::new(engine.socket()), LONG).await.is_err());
    }

    #[tokio::test]
    async fn a_socket_that_nobody_serves_names_its_path() {
        let folder = tempfile::tempdir().unwrap();
        let stale = folder.path().join("stale");
        drop(std::os::unix::net::UnixListener::bind(&stale).unwrap());
        let error = ping(&Socket::new(&stale), LONG).await.unwrap_err().to_string();
        assert!(error.contains(stale.to_str().unwrap()) && error.contains("Connection refused"), "{error}");
    }
}
