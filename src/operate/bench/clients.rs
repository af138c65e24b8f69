//! Clients that write and read at the same time, each its own objects.

use std::time::{Duration, Instant};

use aws_lc_rs::rand;
use bytes::Bytes;
use futures_util::future::try_join_all;

use super::Work;
use crate::error::Error;
use crate::servers::s3::{S3Client, S3Error};

/// Some clients with their objects.
pub(super) struct Clients<'a> {
    s3: &'a S3Client,
    count: usize,
    objects: usize,
    content: Bytes,
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
    pub(super) fn new(s3: &'a S3Client, count: usize, objects: usize, size: usize) -> Result<Self, Error> {
        // of random bytes, as MinIO may be set to compress
        let mut content = vec![0; size];
        rand::fill(&mut content).map_err(Error::no_random_bytes)?;
        Ok(Self { s3, count, objects, content: content.into() })
    }

    /// Writes all objects once.
    ///
    /// # Errors
    /// Those of MinIO.
    pub(super) async fn fill(&self, bucket: &str) -> Result<(), S3Error> {
        let clients = (0..self.count).map(async |client| {
            for number in 0..self.objects {
                self.put(bucket, client, number).await?;
            }
            Ok::<_, S3Error>(())
        });
        try_join_all(clients).await.map(drop)
    }

    /// Works for that long, and until what was begun is done.
    ///
    /// # Errors
    /// Those of MinIO.
    pub(super) async fn run(&self, bucket: &str, work: Work, time: Duration) -> Result<Done, S3Error> {
        let start = Instant::now();
        let clients = (0..self.count).map(async |client| {
            let mut each = Vec::new();
            while start.elapsed() < time {
                let (begun, number) = (Instant::now(), each.len());
                // in a mix the object that was written last is read next, and there are others in between
                if work.writes(number) {
                    self.put(bucket, client, number % self.objects).await?;
                } else {
                    self.s3.get_object_bytes(bucket, &key(client, number * 7 % self.objects)).await?;
                }
                each.push(begun.elapsed());
            }
            Ok::<_, S3Error>(each)
        });
        let mut each: Vec<_> = try_join_all(clients).await?.into_iter().flatten().collect();
        let time = start.elapsed();
        each.sort_unstable();
        Ok(Done { time, each })
    }

    async fn put(&self, bucket: &str, client: usize, number: usize) -> Result<(), S3Error> {
        self.s3.put_unsigned(bucket, &key(client, number), self.content.clone()).await
    }
}

fn key(client: usize, number: usize) -> String {
    format!("{client}/{number}")
}
