//! The words of the servers. Those of MinIO go on as they are, but not before the S3 port is open: somebody may take them
//! for the sign that it is. Those of KES get a prefix.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio::process::Child;
use tokio::sync::{mpsc, watch};

/// Most bytes of MinIO's words that are kept until the port opens.
const KEPT: usize = 1 << 20;
/// Most bytes of a line of KES.
const LINE: u64 = 16 << 10;
/// How long writing the kept words may take before kestack goes on.
const WRITTEN: Duration = Duration::from_millis(500);

/// What is done with MinIO's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Door {
    Closed,
    Open,
}

/// The words of one MinIO.
#[derive(Debug)]
pub(super) struct Voice {
    door: watch::Sender<Door>,
    written: mpsc::Receiver<()>,
}

/// The address that MinIO listens on, and the one that people should read instead.
#[derive(Debug, Clone)]
pub(super) struct Rename {
    /// As MinIO writes it.
    pub(super) inner: String,
    /// As people should read it.
    pub(super) public: String,
}

/// All of them.
type Renames = Arc<[Rename]>;

impl Voice {
    /// Listens to both outputs of a MinIO.
    pub(super) fn of(child: &mut Child, renames: &Renames) -> Self {
        let (door, watcher) = watch::channel(Door::Closed);
        let (sender, written) = mpsc::channel(2);
        if let Some(output) = child.stdout.take() {
            tokio::spawn(pass(output, own(io::stdout()), watcher.clone(), sender.clone(), Arc::clone(renames)));
        }
        if let Some(output) = child.stderr.take() {
            tokio::spawn(pass(output, own(io::stderr()), watcher, sender, Arc::clone(renames)));
        }
        Self { door, written }
    }

    /// Prints the servers' output; returns when the kept lines are written.
    pub(super) async fn release(&mut self) {
        self.door.send_replace(Door::Open);
        let both = async { while self.written.recv().await.is_some() {} };
        let _ = tokio::time::timeout(WRITTEN, both).await;
    }
}

/// One of this process's own outputs. Whoever reads it slowly keeps nothing else waiting.
fn own(output: impl AsFd) -> Option<tokio::fs::File> {
    output.as_fd().try_clone_to_owned().ok().map(|output| tokio::fs::File::from_std(File::from(output)))
}

async fn pass(
    mut from: impl AsyncRead + Unpin,
    to: Option<impl AsyncWrite + Unpin>,
    mut door: watch::Receiver<Door>,
    written: mpsc::Sender<()>,
    renames: Renames,
) {
    let Some(mut to) = to else { return };
    let mut kept = Vec::new();
    let mut chunk = vec![0; 16 << 10];
    let mut is_open = false;
    while !is_open {
        tokio::select! {
            changed = door.wait_for(|door| *door == Door::Open) => match changed {
                Ok(_) => is_open = true,
                // nobody wants to hear it
                Err(_) => return,
            },
            read = from.read(&mut chunk) => match read {
                Ok(0) | Err(_) => break,
                Ok(count) => kept.extend(chunk.iter().take(count.min(KEPT.saturating_sub(kept.len())))),
            },
        }
    }
    if !is_open && door.wait_for(|door| *door == Door::Open).await.is_err() {
        return;
    }
    let _ = write(&mut to, &renamed(&kept, &renames)).await;
    drop((kept, written));
    while let Ok(count @ 1..) = from.read(&mut chunk).await {
        let said = chunk.get(..count).unwrap_or_default();
        if write(&mut to, &renamed(said, &renames)).await.is_err() {
            // nobody reads any more; MinIO must not wait for anybody
            let _ = tokio::io::copy(&mut from, &mut tokio::io::sink()).await;
            return;
        }
    }
}

async fn write(to: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> io::Result<()> {
    to.write_all(bytes).await?;
    to.flush().await
}

/// MinIO's banner names the addresses that it listens on.
fn renamed(said: &[u8], renames: &[Rename]) -> Vec<u8> {
    renames.iter().fold(said.to_vec(), |said, rename| replaced(&said, rename))
}

fn replaced(said: &[u8], rename: &Rename) -> Vec<u8> {
    let inner = rename.inner.as_bytes();
    let mut text = Vec::with_capacity(said.len());
    let mut rest = said;
    while let Some(at) = rest.windows(inner.len()).position(|window| window == inner) {
        text.extend_from_slice(rest.get(..at).unwrap_or_default());
        text.extend_from_slice(rename.public.as_bytes());
        rest = rest.get(at + inner.len()..).unwrap_or_default();
    }
    text.extend_from_slice(rest);
    text
}

/// Passes on the errors of KES, each line with a prefix.
pub(super) fn of_kes(child: &mut Child) {
    let Some(output) = child.stderr.take() else { return };
    tokio::spawn(async move {
        let Some(mut to) = own(io::stderr()) else { return };
        let (mut reader, mut line) = (BufReader::new(output), Vec::new());
        loop {
            line.clear();
            let read = (&mut reader).take(LINE).read_until(b'\n', &mut line).await;
            if !matches!(read, Ok(1..)) {
                return;
            }
            // some wait for `API:` of MinIO
            let text = String::from_utf8_lossy(&line).replace("API:", "API");
            let _ = write(&mut to, format!("kes: {}\n", text.trim_end()).as_bytes()).await;
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn renames() -> Renames {
        [("127.0.0.1:20001", "127.0.0.1:9000"), ("127.0.0.1:20002", "127.0.0.1:9001")]
            .map(|(inner, public)| Rename { inner: inner.into(), public: public.into() })
            .into()
    }

    #[test]
    fn the_inner_addresses_are_never_shown() {
        let said = b"API: http://127.0.0.1:20001 \nAPI: http://127.0.0.1:20001\nWebUI: http://127.0.0.1:20002";
        let renamed_all = b"API: http://127.0.0.1:9000 \nAPI: http://127.0.0.1:9000\nWebUI: http://127.0.0.1:9001";
        assert_eq!(renamed(said, &renames()), renamed_all);
        assert_eq!(renamed(b"nothing", &renames()), b"nothing");
    }

    #[tokio::test]
    async fn words_wait_for_the_port() {
        let (mut minio, from) = tokio::io::duplex(1024);
        let (to, mut people) = tokio::io::duplex(1024);
        let (door, watcher) = watch::channel(Door::Closed);
        let (sender, written) = mpsc::channel(1);
        tokio::spawn(pass(from, Some(to), watcher, sender, renames()));
        minio.write_all(b"API: http://127.0.0.1:20001\n").await.unwrap();
        let mut heard = [0; 27];
        let early = tokio::time::timeout(Duration::from_millis(30), people.read_exact(&mut heard)).await;
        assert!(early.is_err(), "nothing is heard before");
        Voice { door, written }.release().await;
        people.read_exact(&mut heard).await.unwrap();
        assert_eq!(&heard, b"API: http://127.0.0.1:9000\n");
        minio.write_all(b"later").await.unwrap();
        people.read_exact(&mut heard[..5]).await.unwrap();
        assert_eq!(&heard[..5], b"later");
    }
}
