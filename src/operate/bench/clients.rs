//! Clients that write and read at the same time, each its own objects.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use aws_lc_rs::rand;
use bytes::Bytes;
use futures_util::future::join_all;

use super::Work;
use crate::error::Error;
use crate::host::interrupt::Interrupt;
use crate::servers::s3::S3Client;

/// Some clients with their objects. However they end, nothing that they sent is still under way: a write would make a bucket
/// again that was removed meanwhile.
pub(super) struct Clients<'a> {
    s3: &'a S3Client,
    interrupt: &'a Interrupt,
    count: usize,
    objects: usize,
    content: Bytes,
    has_failed: AtomicBool,
}

/// What clients did in one turn.
#[derive(Debug, Clone)]
pub(super) struct Done {
    /// How long they took together.
    pub(super) time: Duration,
    /// How long each object took, from the shortest to the longest.
    pub(super) each: Vec<Duration>,
}

impl<'a> Clients<'a> {
    /// Clients with so many objects each, of that size.
    ///
    /// # Errors
    /// [`Error::Environment`] if the system gives no random bytes.
    pub(super) fn new(
        s3: &'a S3Client,
        interrupt: &'a Interrupt,
        count: usize,
        objects: usize,
        size: usize,
    ) -> Result<Self, Error> {
        // of random bytes, as MinIO may be set to compress
        let mut content = vec![0; size];
        rand::fill(&mut content).map_err(Error::no_random_bytes)?;
        Ok(Self { s3, interrupt, count, objects, content: content.into(), has_failed: AtomicBool::new(false) })
    }

    /// Writes all objects once.
    ///
    /// # Errors
    /// Those of MinIO; [`Error::Interrupted`] after a signal.
    pub(super) async fn fill(&self, bucket: &str) -> Result<(), Error> {
        let clients = (0..self.count).map(async |client| {
            for number in 0..self.objects {
                self.object(bucket, client, number, true).await?;
            }
            Ok::<_, Error>(())
        });
        join_all(clients).await.into_iter().collect()
    }

    /// Works for that long, and until what was begun is done.
    ///
    /// # Errors
    /// Those of MinIO; [`Error::Interrupted`] after a signal.
    pub(super) async fn run(&self, bucket: &str, work: Work, time: Duration) -> Result<Done, Error> {
        let start = Instant::now();
        let clients = (0..self.count).map(async |client| {
            let mut each = Vec::new();
            while start.elapsed() < time && !self.has_failed.load(Ordering::Relaxed) {
                let (begun, number) = (Instant::now(), each.len());
                // in a mix the object that was written last is read next, and there are others in between
                let writes = work.writes(number);
                let number = if writes { number } else { number * 7 };
                self.object(bucket, client, number % self.objects, writes).await?;
                each.push(begun.elapsed());
            }
            Ok::<_, Error>(each)
        });
        let each: Vec<_> = join_all(clients).await.into_iter().collect::<Result<_, _>>()?;
        let mut each: Vec<_> = each.into_iter().flatten().collect();
        let time = start.elapsed();
        each.sort_unstable();
        Ok(Done { time, each })
    }

    /// Writes or reads one object. Once that failed, the other clients end, too.
    async fn object(&self, bucket: &str, client: usize, number: usize, writes: bool) -> Result<(), Error> {
        self.interrupt.check()?;
        let key = format!("{client}/{number}");
        let done = if writes {
            self.s3.put_unsigned(bucket, &key, self.content.clone()).await
        } else {
            self.s3.get_object_bytes(bucket, &key).await.map(drop)
        };
        done.inspect_err(|_| self.has_failed.store(true, Ordering::Relaxed)).map_err(Error::from)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;
    use tokio::time::sleep;

    use super::*;

    /// How many requests a server took, and how many it answered.
    #[derive(Default)]
    struct Counts {
        taken: AtomicUsize,
        answered: AtomicUsize,
    }

    impl Counts {
        fn now(&self) -> (usize, usize) {
            (self.taken.load(Ordering::SeqCst), self.answered.load(Ordering::SeqCst))
        }
    }

    /// A server that answers each request after a moment.
    async fn slow() -> (S3Client, Arc<Counts>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let s3 = S3Client::new(&format!("http://{}", listener.local_addr().unwrap()), "user", "password").unwrap();
        let counts = Arc::new(Counts::default());
        let counted = Arc::clone(&counts);
        tokio::spawn(async move {
            while let Ok((mut connection, _)) = listener.accept().await {
                let counts = Arc::clone(&counted);
                tokio::spawn(async move {
                    while connection.read(&mut [0; 8192]).await.is_ok_and(|length| length > 0) {
                        counts.taken.fetch_add(1, Ordering::SeqCst);
                        sleep(Duration::from_millis(100)).await;
                        counts.answered.fetch_add(1, Ordering::SeqCst);
                        if connection.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.is_err() {
                            return;
                        }
                    }
                });
            }
        });
        (s3, counts)
    }

    #[tokio::test]
    async fn nothing_is_under_way_when_a_signal_has_ended_them() {
        let (s3, counts) = slow().await;
        let (caller, interrupt) = Interrupt::of_caller();
        let clients = Clients::new(&s3, &interrupt, 3, 10, 0).unwrap();
        let signal = async {
            while counts.now().0 < 3 {
                sleep(Duration::from_millis(1)).await;
            }
            drop(caller);
        };
        let (filled, ()) = tokio::join!(clients.fill("b"), signal);
        assert!(matches!(filled, Err(Error::Interrupted(_))), "{filled:?}");
        assert_eq!(counts.now(), (3, 3));
        assert!(matches!(clients.run("b", Work::Put, Duration::from_secs(9)).await, Err(Error::Interrupted(_))));
        assert_eq!(counts.now(), (3, 3), "nothing is begun any more");
    }
}
