//! What the file of an interface says: who listens where, and the secret of its callers.

use std::path::Path;
use std::time::Duration;

use http::StatusCode;
use serde::{Deserialize, Serialize};
use zeroize::{ZeroizeOnDrop, Zeroizing};

use crate::engine::process::Identity;
use crate::error::Error;
use crate::host::disk::{self, Outlasts, replace};
use crate::host::random;
use crate::servers::health::{Question, Reply, ask, post};

/// How often a background interface looks whether its record is still there.
const LOOK: Duration = Duration::from_secs(1);
/// Longest time to look whether it answers.
const GLANCE: Duration = Duration::from_secs(2);
/// Longest time until it gives a link.
const ANSWER: Duration = Duration::from_secs(10);

/// What the file of an interface says, while it listens; that of a background one until `down`.
#[derive(Clone, Serialize, Deserialize, ZeroizeOnDrop)]
pub(crate) struct Record {
    /// URL of the interface.
    pub(crate) url: String,
    /// The token that requests carry as `Authorization: Bearer TOKEN`.
    pub(crate) token: String,
    /// Who listens; an older kestack does not say so.
    #[serde(default)]
    #[zeroize(skip)]
    process: Option<Identity>,
    /// Digest of the call by which `up` started it; none of one in a terminal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[zeroize(skip)]
    pub(super) background: Option<String>,
}

/// The answer to a request for a link.
#[derive(Deserialize)]
struct Given {
    link: String,
}

impl std::fmt::Debug for Record {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Record").field("url", &self.url).finish_non_exhaustive()
    }
}

impl Record {
    /// This process, which listens on that port of this machine, with a token of its own.
    ///
    /// # Errors
    /// [`Error::Environment`] if the system gives no random bytes.
    pub(crate) fn new(port: u16) -> Result<Self, Error> {
        let process = Identity::own().map_err(Error::file("look at", "/proc/self"))?;
        let url = format!("http://127.0.0.1:{port}");
        Ok(Self { url, token: secret()?.to_string(), process: Some(process), background: None })
    }

    /// The same in the background, by a call of that digest. Callers of the one before it need no other token.
    pub(crate) fn in_background(mut self, digest: &str, former: Option<&Self>) -> Self {
        if let Some(former) = former {
            self.token.clone_from(&former.token);
        }
        self.background = Some(digest.to_owned());
        self
    }

    /// The one in that file; none if there is no file, or none that is understood.
    ///
    /// # Errors
    /// [`Error::File`] if it cannot be read.
    pub(crate) fn read(path: &Path) -> Result<Option<Self>, Error> {
        let text = disk::read(path)?.map(Zeroizing::new);
        Ok(text.and_then(|text| serde_json::from_slice(&text).ok()))
    }

    /// Keeps it in the stack's folder, for nobody else to read.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(crate) fn keep(&self, path: &Path) -> Result<(), Error> {
        let text = Zeroizing::new(serde_json::to_vec_pretty(self).unwrap_or_default());
        replace(path, &text, Outlasts::Process).map_err(Error::file("write", path))
    }

    /// Gives its file back to the one before it, or removes it if that has ended; unless another interface has written its
    /// own meanwhile.
    ///
    /// # Errors
    /// If it cannot be written or removed.
    pub(crate) fn give_way(&self, path: &Path, former: Option<&Self>) -> Result<(), Error> {
        match former.filter(|former| former.listens()) {
            _ if !self.is_in(path)? => Ok(()),
            Some(former) => former.keep(path),
            None => Ok(disk::remove(path)?),
        }
    }

    fn is_in(&self, path: &Path) -> Result<bool, Error> {
        Ok(Self::read(path)?.is_some_and(|there| there.token == self.token && there.process == self.process))
    }

    /// Waits until the file does not name this process any more: then nobody finds it who could end it.
    pub(crate) async fn forgotten(&self, path: &Path) {
        let mut looks = tokio::time::interval(LOOK);
        // a file that cannot be read just now says nothing
        while self.is_in(path).unwrap_or(true) {
            looks.tick().await;
        }
    }

    /// True if `up` started it.
    pub(crate) fn is_background(&self) -> bool {
        self.background.is_some()
    }

    /// True if its process lives.
    pub(crate) fn listens(&self) -> bool {
        self.process.as_ref().is_some_and(Identity::alive)
    }

    /// The port that it listened on.
    pub(crate) fn port(&self) -> Option<u16> {
        self.url.rsplit(':').next()?.parse().ok()
    }

    /// True if it answers, which one that hangs does not.
    pub(super) async fn answers(&self) -> bool {
        let Ok(question) = self.question("/page/icon.svg", GLANCE) else { return false };
        ask(&question).await.is_ok_and(|reply| reply.status == StatusCode::OK)
    }

    /// A new link by which one browser comes in.
    ///
    /// # Errors
    /// [`Error::Environment`] if it gives none.
    pub(crate) async fn link(&self) -> Result<String, Error> {
        let answer = post(&self.question("/v1/link", ANSWER)?, &self.token).await;
        let refused = |why: String| self.gives_no_link(&why);
        let Reply { status, body } = answer.map_err(|error| refused(error.to_string()))?;
        let given: Result<Given, _> = serde_json::from_slice(&body);
        given.map(|given| given.link).map_err(|_| refused(status.to_string()))
    }

    fn gives_no_link(&self, why: &str) -> Error {
        Error::Environment {
            what: format!("the interface at {} gives no link: {why}", self.url),
            hint: "`kestack up` starts it again".into(),
        }
    }

    fn question(&self, path: &str, total: Duration) -> Result<Question, Error> {
        let url = format!("{}{path}", self.url).parse().map_err(|_| self.gives_no_link("that is not a URL"))?;
        Ok(Question { url, head: false, insecure: false, connect: GLANCE, total })
    }

    /// Ends its process: SIGTERM, then SIGKILL after `grace`.
    ///
    /// # Errors
    /// [`Error::Environment`] if it does not end.
    pub(super) async fn end(&self, grace: Duration) -> Result<(), Error> {
        let Some(process) = self.process.as_ref().filter(|process| process.alive()) else { return Ok(()) };
        crate::engine::process::end(process, grace).await.map_err(|error| Error::Environment {
            what: format!("the interface at {} does not end: {error}", self.url),
            hint: format!("end its process: `kill -9 {}`", process.pid),
        })
    }
}

/// 256 random bits in hex.
///
/// # Errors
/// [`Error::Environment`] if the system gives no random bytes.
pub(crate) fn secret() -> Result<Zeroizing<String>, Error> {
    random::hex::<32>().map_err(Error::no_random_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn whoever_is_not_on_record_any_more_is_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("interface.json");
        let first = Record::new(1).unwrap().in_background("call", None);
        first.keep(&path).unwrap();
        assert!(first.listens() && first.is_background() && first.port() == Some(1));
        let wait = tokio::time::timeout(Duration::from_millis(50), first.forgotten(&path)).await;
        assert!(wait.is_err());
        let second = Record::new(2).unwrap();
        second.keep(&path).unwrap();
        first.forgotten(&path).await;
        first.give_way(&path, None).unwrap();
        assert_eq!(Record::read(&path).unwrap().unwrap().url, second.url, "another one's record stays");
        second.give_way(&path, Some(&first)).unwrap();
        assert!(first.is_in(&path).unwrap(), "it listens still");
        let mut gone = second.clone();
        gone.process = None;
        first.give_way(&path, Some(&gone)).unwrap();
        assert!(Record::read(&path).unwrap().is_none());
        second.forgotten(&path).await;
    }

    #[test]
    fn a_record_of_an_older_kestack_is_nobodys() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("interface.json");
        std::fs::write(&path, r#"{"url":"http://127.0.0.1:7","token":"t"}"#).unwrap();
        let former = Record::read(&path).unwrap().unwrap();
        assert!(!former.listens() && !former.is_background());
        let next = Record::new(8).unwrap().in_background("call", Some(&former));
        assert_eq!(next.token, "t", "its callers need no other token");
        std::fs::write(&path, "{").unwrap();
        assert!(Record::read(&path).unwrap().is_none());
    }
}
