//! A socket in front of an engine's that is slow, or hangs up in the middle of an answer.

use std::io::{Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

/// The socket; it goes with the folder.
pub(crate) struct Proxy {
    folder: tempfile::TempDir,
}

/// How it spoils what passes.
#[derive(Clone)]
struct Spoiled {
    engine: PathBuf,
    delay: Duration,
    /// Bytes of answers that still get through, of all connections together.
    left: Arc<AtomicI64>,
}

impl Proxy {
    /// Every read of an answer comes `delay` late; after `bytes` of answers nothing passes any more.
    pub(crate) fn start(engine: &Path, delay: Duration, bytes: i64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(folder.path().join("proxy.sock")).unwrap();
        let spoiled = Spoiled { engine: engine.to_owned(), delay, left: Arc::new(AtomicI64::new(bytes)) };
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                spoiled.clone().serve(client);
            }
        });
        Self { folder }
    }

    /// As `--host` wants it.
    pub(crate) fn host(&self) -> String {
        format!("unix://{}", self.folder.path().join("proxy.sock").display())
    }
}

impl Spoiled {
    fn serve(self, client: UnixStream) {
        if self.left.load(Ordering::SeqCst) <= 0 {
            return;
        }
        let engine = UnixStream::connect(&self.engine).unwrap();
        let (mut asks, mut hears) = (client.try_clone().unwrap(), engine.try_clone().unwrap());
        std::thread::spawn(move || {
            let _ = std::io::copy(&mut asks, &mut hears);
            let _ = hears.shutdown(Shutdown::Write);
        });
        std::thread::spawn(move || self.answer(engine, client));
    }

    fn answer(self, mut engine: UnixStream, mut client: UnixStream) {
        let mut buffer = [0; 512];
        while let Ok(count @ 1..) = engine.read(&mut buffer) {
            std::thread::sleep(self.delay);
            let left = self.left.fetch_sub(i64::try_from(count).unwrap(), Ordering::SeqCst);
            let passes = usize::try_from(left.max(0)).unwrap().min(count);
            if client.write_all(&buffer[..passes]).is_err() || passes < count {
                break;
            }
        }
        let _ = client.shutdown(Shutdown::Both);
        let _ = engine.shutdown(Shutdown::Both);
    }
}
