//! The calls that Podman and Docker share, by bollard over our own exchange (docs/architecture.md §3.6).

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use bollard::container::LogOutput;
use bollard::errors::Error;
use bollard::query_parameters::{
    CreateImageOptionsBuilder, ImportImageOptionsBuilder, KillContainerOptionsBuilder, LogsOptionsBuilder,
    RemoveContainerOptionsBuilder, StopContainerOptionsBuilder, TagImageOptionsBuilder,
};
use bollard::{BollardRequest, ClientVersion, Docker, body_try_stream};
use futures_util::{Stream, StreamExt as _, TryStreamExt as _};
use hyper::{Method, StatusCode};
use serde::Deserialize;
use tokio::io::AsyncWriteExt as _;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::hint::refused;
use super::transport::{Answer, Socket, TransportError, query};
use super::{EngineError, ImageDescription, ImageStore, LABEL_ROLE, LogLine, Signal};
use crate::engine::image::Archive;

/// The least version of the shared API that kestack knows: of Docker 20.10 and Podman 4.
pub(super) const LEAST_API: ClientVersion = ClientVersion { major_version: 1, minor_version: 41 };
/// How long a call may take that only looks or flips a state.
const QUICK: Duration = Duration::from_secs(30);
/// How long loading an image of some 100 MB may take on a busy host.
const LOAD: Duration = Duration::from_secs(300);
/// How long a pull may take.
const PULL: Duration = Duration::from_secs(600);
/// Lines that wait for a slow reader of a log before the engine has to wait.
const LOG_BUFFER: usize = 256;

/// The part of an engine's API that Docker made and Podman copies.
#[derive(Debug)]
pub(super) struct Compat {
    docker: Docker,
    socket: Socket,
    api: ClientVersion,
    /// The engine's own program, for calls as the user can repeat them.
    program: &'static str,
}

/// What is wanted of an image's description.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Image {
    id: String,
    repo_tags: Option<Vec<String>>,
    repo_digests: Option<Vec<String>>,
    size: Option<u64>,
    config: Option<ImageConfig>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct ImageConfig {
    labels: Option<BTreeMap<String, String>>,
    entrypoint: Option<Vec<String>>,
}

/// An image, as `images/json` lists it.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Listed {
    id: String,
    repo_tags: Option<Vec<String>>,
}

impl Listed {
    /// True if kestack composed it from a program for this role, and it has no other name: it can be made again.
    fn is_composed(&self, role: &str) -> bool {
        let is_ours = |tag: &String| {
            let digits = tag.strip_prefix(&format!("localhost/kestack/{role}:"));
            digits.is_some_and(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))
        };
        self.repo_tags.iter().flatten().all(|tag| is_ours(tag) || tag == "<none>:<none>")
    }
}

/// How both engines say what went wrong.
#[derive(Deserialize)]
struct Failure {
    message: String,
}

impl Compat {
    /// `api` is the version of the API to speak, `program` the engine's own command line.
    pub(super) fn new(socket: Socket, program: &'static str, api: ClientVersion) -> Result<Self, EngineError> {
        let exchange = socket.clone();
        let transport = move |request: BollardRequest| {
            let socket = exchange.clone();
            async move {
                let answer = match versioned(request, api) {
                    Ok(request) => socket.exchange(request).await,
                    Err(error) => Err(error.into()),
                };
                answer.map_err(|error| Error::IOError { err: std::io::Error::other(error) })
            }
        };
        // bollard bounds the head of an answer only; every call here has a deadline of its own.
        let docker =
            Docker::connect_with_custom_transport(transport, Some("http://localhost"), PULL.as_secs(), &api)
                .map_err(|source| EngineError::Connection { call: program.to_owned(), source: Box::new(source) })?;
        Ok(Self { docker, socket, api, program })
    }

    async fn inspect_image(&self, reference: &str) -> Result<Option<Image>, EngineError> {
        let call = self.call(&["image", "inspect", reference]);
        // Not by bollard: its types refuse what they do not know, and only the ID is wanted.
        let path = format!("/v{}/images/{reference}/json", self.api);
        let answer = self.request(Method::GET, &path, &call).await?;
        if answer.status == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        if !answer.status.is_success() {
            return Err(refused(call, answer.status.as_u16(), failure_text(&answer)));
        }
        let image = serde_json::from_slice(&answer.body);
        image.map(Some).map_err(|error| EngineError::Answer { call, detail: error.to_string() })
    }

    pub(super) async fn start_container(&self, name: &str) -> Result<(), EngineError> {
        let answer = within(QUICK, self.docker.start_container(name, None)).await;
        answer.map_err(|error| failed(self.call(&["start", name]), error).of_start())
    }

    /// Stops a container; an absent or stopped one is fine.
    pub(super) async fn stop_container(&self, name: &str, grace: Duration) -> Result<(), EngineError> {
        let seconds = i32::try_from(grace.as_secs()).unwrap_or(i32::MAX);
        let options = StopContainerOptionsBuilder::new().t(seconds).build();
        let answer = within(grace.saturating_add(QUICK), self.docker.stop_container(name, Some(options))).await;
        absent_is_none(answer).map_err(|error| failed(self.call(&["stop", name]), error)).map(drop)
    }

    /// Removes a container and kills it first if it runs; an absent one is fine.
    pub(super) async fn remove_container(&self, name: &str) -> Result<(), EngineError> {
        let options = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
        let answer = within(QUICK, self.docker.remove_container(name, Some(options))).await;
        absent_is_none(answer).map_err(|error| failed(self.call(&["rm", "--force", name]), error)).map(drop)
    }

    pub(super) async fn signal_container(&self, name: &str, signal: Signal) -> Result<(), EngineError> {
        let signal = signal.name();
        let options = KillContainerOptionsBuilder::new().signal(signal).build();
        let answer = within(QUICK, self.docker.kill_container(name, Some(options))).await;
        answer.map_err(|error| failed(self.call(&["kill", "--signal", signal, name]), error))
    }

    /// Lines of an existing container's log. Podman before 5.3 answers only with the first line: nothing is
    /// awaited here.
    pub(super) fn logs(&self, name: &str, tail: Option<u32>, follow: bool) -> mpsc::Receiver<LogLine> {
        let call = self.call(&["logs", name]);
        let tail = tail.map_or_else(|| "all".to_owned(), |lines| lines.to_string());
        let options = LogsOptionsBuilder::new().stdout(true).stderr(true).follow(follow).tail(&tail).build();
        let chunks = self.docker.logs(name, Some(options));
        let (lines, receiver) = mpsc::channel(LOG_BUFFER);
        tokio::spawn(async move {
            if let Err(error) = forward(chunks, lines).await {
                tracing::debug!(%call, %error, "the log ended early");
            }
        });
        receiver
    }

    /// A request that bollard has no fitting form of. Any answer is fine here.
    async fn request(&self, method: Method, path: &str, call: &str) -> Result<Answer, EngineError> {
        let answer = self.socket.call(method, path, None, QUICK).await;
        answer.map_err(|error| EngineError::Connection { call: call.to_owned(), source: Box::new(error) })
    }

    fn call(&self, arguments: &[&str]) -> String {
        format!("{} {}", self.program, arguments.join(" "))
    }
}

#[async_trait]
impl ImageStore for Compat {
    async fn describe(&self, reference: &str) -> Result<Option<ImageDescription>, EngineError> {
        Ok(self.inspect_image(reference).await?.map(|image| {
            let config = image.config.unwrap_or_default();
            ImageDescription {
                id: bare_id(image.id),
                tags: image.repo_tags.unwrap_or_default(),
                digests: image.repo_digests.unwrap_or_default(),
                labels: config.labels.unwrap_or_default(),
                entrypoint: config.entrypoint.unwrap_or_default(),
                size: image.size.unwrap_or_default(),
            }
        }))
    }

    async fn save(&self, reference: &str, to: &Path) -> Result<(), EngineError> {
        let call = self.call(&["save", "--output", &to.display().to_string(), reference]);
        let mut chunks = std::pin::pin!(self.docker.export_image(reference));
        let write = async {
            let mut file = tokio::fs::File::create(to).await?;
            while let Some(chunk) = chunks.try_next().await? {
                file.write_all(&chunk).await?;
            }
            file.flush().await?;
            Ok(())
        };
        within(LOAD, write).await.map_err(|error| failed(call, error))
    }

    async fn load(&self, archive: Archive) -> Result<(), EngineError> {
        let call = self.call(&["load", "<", archive.reference()]);
        let options = ImportImageOptionsBuilder::new().quiet(true).build();
        let answers = self.docker.import_image(options, body_try_stream(archive.into_stream()), None);
        within(LOAD, drain(answers)).await.map_err(|error| failed(call, error))
    }

    async fn pull(&self, reference: &str) -> Result<(), EngineError> {
        let call = self.call(&["pull", reference]);
        let mut options = CreateImageOptionsBuilder::new().from_image(reference);
        // without one, Docker pulls every tag of the repository
        if !names_one(reference) {
            options = options.tag("latest");
        }
        let options = options.build();
        let answers = self.docker.create_image(Some(options), None, None);
        within(PULL, drain(answers)).await.map_err(|error| failed(call.clone(), error))?;
        match self.describe(reference).await? {
            Some(_) => Ok(()),
            None => Err(EngineError::Answer { call, detail: "the image is not there after the pull".to_owned() }),
        }
    }

    async fn tag(&self, reference: &str, name: &str) -> Result<(), EngineError> {
        let (repository, tag) = name.rsplit_once(':').unwrap_or((name, "latest"));
        let options = TagImageOptionsBuilder::new().repo(repository).tag(tag).build();
        let answer = within(QUICK, self.docker.tag_image(reference, Some(options))).await;
        answer.map_err(|error| failed(self.call(&["tag", reference, name]), error))
    }

    async fn remove_former(&self, role: &str, keep: &str) -> Result<(), EngineError> {
        let kept = self.describe(keep).await?.map(|image| image.id);
        let filters = serde_json::json!({ "label": [format!("{LABEL_ROLE}={role}")] }).to_string();
        let call = self.call(&["images", "--filter", &format!("label={LABEL_ROLE}={role}")]);
        let path = format!("/v{}/images/json?filters={}", self.api, query(&filters));
        let answer = self.request(Method::GET, &path, &call).await?;
        let listed: Vec<Listed> = serde_json::from_slice(&answer.body)
            .map_err(|error| EngineError::Answer { call, detail: error.to_string() })?;
        for image in listed.into_iter().filter(|image| image.is_composed(role)) {
            let id = bare_id(image.id);
            if kept.as_ref() != Some(&id) {
                let call = self.call(&["rmi", &id]);
                let answer = self.request(Method::DELETE, &format!("/v{}/images/{id}", self.api), &call).await?;
                tracing::debug!(image = id, status = %answer.status, "former image");
            }
        }
        Ok(())
    }
}

impl Signal {
    /// As `kill` names it.
    fn name(self) -> &'static str {
        match self {
            Self::Hup => "SIGHUP",
            Self::Kill => "SIGKILL",
            Self::Stop => "SIGSTOP",
            Self::Cont => "SIGCONT",
        }
    }
}

/// Cuts what the streams carry into lines and hands them on, until the log or its reader ends.
async fn forward(
    chunks: impl Stream<Item = Result<LogOutput, Error>>,
    lines: mpsc::Sender<LogLine>,
) -> Result<(), Error> {
    let mut chunks = std::pin::pin!(chunks);
    let (mut out, mut err) = (Cutter::default(), Cutter::default());
    loop {
        let chunk = tokio::select! {
            chunk = chunks.next() => chunk,
            () = lines.closed() => return Ok(()),
        };
        let Some(chunk) = chunk.transpose()? else { break };
        let stderr = matches!(chunk, LogOutput::StdErr { .. });
        let cutter = if stderr { &mut err } else { &mut out };
        for text in cutter.cut(chunk.as_ref()) {
            if lines.send(LogLine { stderr, text }).await.is_err() {
                return Ok(());
            }
        }
    }
    for (stderr, rest) in [(false, out), (true, err)] {
        if let Some(text) = rest.rest() {
            // If nobody is left to read it, that is not a failure.
            let _gone = lines.send(LogLine { stderr, text }).await;
        }
    }
    Ok(())
}

/// Bytes of one stream that wait for their newline.
#[derive(Debug, Default)]
struct Cutter(Vec<u8>);

impl Cutter {
    fn cut(&mut self, chunk: &[u8]) -> Vec<String> {
        self.0.extend_from_slice(chunk);
        let Some(end) = self.0.iter().rposition(|byte| *byte == b'\n') else { return Vec::new() };
        let rest = self.0.split_off(end + 1);
        let whole = std::mem::replace(&mut self.0, rest);
        String::from_utf8_lossy(&whole).lines().map(str::to_owned).collect()
    }

    fn rest(self) -> Option<String> {
        (!self.0.is_empty()).then(|| String::from_utf8_lossy(&self.0).into_owned())
    }
}

async fn drain<T>(answers: impl Stream<Item = Result<T, Error>>) -> Result<(), Error> {
    answers.try_for_each(|_| async { Ok(()) }).await
}

async fn within<T>(deadline: Duration, call: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let late = || Error::IOError { err: std::io::Error::other(TransportError::Deadline(deadline)) };
    timeout(deadline, call).await.map_err(|_| late())?
}

fn absent_is_none<T>(answer: Result<T, Error>) -> Result<Option<T>, Error> {
    match answer {
        Ok(found) => Ok(Some(found)),
        Err(Error::DockerResponseServerError { status_code: 404, .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

fn failed(call: String, error: Error) -> EngineError {
    match error {
        Error::DockerResponseServerError { status_code, message } => refused(call, status_code, message),
        // Docker reports failures of load and pull inside a successful answer.
        Error::DockerStreamError { error } => refused(call, 200, error),
        Error::JsonDataError { message, .. } => EngineError::Answer { call, detail: message },
        other => EngineError::Connection { call, source: Box::new(other) },
    }
}

/// Names the version of the API in the path of one of bollard's requests, which loses the one that it is given.
fn versioned(mut request: BollardRequest, api: ClientVersion) -> Result<BollardRequest, http::Error> {
    let path = request.uri().path_and_query().map(http::uri::PathAndQuery::as_str).unwrap_or_default();
    if !path.starts_with("/v1.") {
        *request.uri_mut() = http::Uri::try_from(format!("/v{api}{path}"))?;
    }
    Ok(request)
}

/// True if the name of an image ends with a tag or a digest. A registry may have a port.
fn names_one(reference: &str) -> bool {
    reference.rsplit('/').next().is_some_and(|last| last.contains([':', '@']))
}

/// What an engine says of a failure; Docker's oldest answers are plain text.
pub(super) fn failure_text(answer: &Answer) -> String {
    match serde_json::from_slice::<Failure>(&answer.body) {
        Ok(failure) => failure.message,
        Err(_) => String::from_utf8_lossy(&answer.body).trim().to_owned(),
    }
}

/// Image IDs as kestack knows them: 64 hex digits without `sha256:`.
pub(super) fn bare_id(id: String) -> String {
    id.strip_prefix("sha256:").map(str::to_owned).unwrap_or(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_whole_even_if_chunks_are_not() {
        let mut cutter = Cutter::default();
        assert_eq!(cutter.cut(b"one\ntw"), ["one"]);
        assert!(cutter.cut(b"o").is_empty());
        assert_eq!(cutter.cut(b"\n\nthree\nfo"), ["two", "", "three"]);
        assert_eq!(cutter.rest().as_deref(), Some("fo"));
    }

    #[tokio::test]
    async fn the_end_of_a_log_without_newline_is_not_lost() {
        let chunk = |text: &'static str| Ok(LogOutput::StdErr { message: text.into() });
        let chunks = futures_util::stream::iter([chunk("a\nb"), Ok(LogOutput::StdOut { message: "x\n".into() })]);
        let (sender, mut receiver) = mpsc::channel(8);
        forward(chunks, sender).await.unwrap();
        let mut lines = Vec::new();
        while let Some(line) = receiver.recv().await {
            lines.push((line.stderr, line.text));
        }
        assert_eq!(lines, [(true, "a".to_owned()), (false, "x".to_owned()), (true, "b".to_owned())]);
    }

    #[test]
    fn only_images_that_can_be_made_again_are_composed() {
        let image = |tags: &[&str]| Listed {
            id: String::new(),
            repo_tags: Some(tags.iter().map(ToString::to_string).collect()),
        };
        assert!(image(&["localhost/kestack/kes:00ff"]).is_composed("kes"));
        assert!(image(&["<none>:<none>"]).is_composed("kes"));
        assert!(image(&[]).is_composed("kes"));
        assert!(!image(&["localhost/kestack/minio:supplied"]).is_composed("minio"));
        assert!(!image(&["localhost/kestack/kes:00ff", "example.org/kes:1"]).is_composed("kes"));
    }

    #[test]
    fn ids_are_bare_hex() {
        assert_eq!(bare_id("sha256:ab".into()), "ab");
        assert_eq!(bare_id("ab".into()), "ab");
    }
}
