//! A client that knows of every key of its own what it must find.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use kes_server::client::{Client, ClientError, Timeouts};

use super::random::Random;
use crate::support::Folder;

/// Names per writer; they are used again and again, so that a key that comes back is in the way of another.
const NAMES: usize = 12;

/// The material of every imported key.
const SECRET: [u8; 32] = [7; 32];

const PLAINTEXT: &[u8] = b"what must not be lost";

const TIMEOUTS: Timeouts = Timeouts { connect: Duration::from_secs(2), request: Duration::from_secs(10) };

/// What is known about a name.
#[derive(Debug, Clone)]
enum Known {
    Absent,
    /// With a ciphertext that it decrypts.
    Present(Vec<u8>),
    /// Made, but a kill came before it encrypted anything.
    Fresh,
    /// A kill came before the answer: absent or, if anything, a key that decrypts this.
    Unknown(Option<Vec<u8>>),
}

/// How many calls had which end.
#[derive(Debug, Default)]
pub(crate) struct Done {
    created: u64,
    imported: u64,
    deleted: u64,
    decrypted: u64,
    pub(crate) interrupted: u64,
}

pub(crate) struct Writer {
    client: Client,
    names: Vec<(String, Known)>,
    random: Random,
    reference: Vec<u8>,
    /// Of all writers.
    acknowledged: Arc<AtomicU64>,
    pub(crate) done: Done,
}

/// A ciphertext that every imported key decrypts.
pub(crate) async fn reference(folder: &Folder) -> Vec<u8> {
    let _server = folder.serve();
    let client = folder.client(TIMEOUTS);
    client.import_key("reference", &SECRET, "AES256").await.unwrap();
    client.encrypt("reference", PLAINTEXT, &[]).await.unwrap()
}

impl Done {
    pub(crate) fn add(&mut self, other: &Self) {
        self.created += other.created;
        self.imported += other.imported;
        self.deleted += other.deleted;
        self.decrypted += other.decrypted;
        self.interrupted += other.interrupted;
    }

    pub(crate) fn acknowledged(&self) -> u64 {
        self.created + self.imported + self.deleted
    }
}

impl Writer {
    pub(crate) fn new(
        folder: &Folder,
        number: u64,
        random: Random,
        reference: &[u8],
        acknowledged: &Arc<AtomicU64>,
    ) -> Self {
        let names = (0..NAMES).map(|index| (format!("writer-{number}-{index}"), Known::Absent)).collect();
        let (reference, acknowledged) = (reference.to_vec(), Arc::clone(acknowledged));
        Self { client: folder.client(TIMEOUTS), names, random, reference, acknowledged, done: Done::default() }
    }

    /// Works until it is stopped.
    pub(crate) async fn run(mut self, stop: Arc<AtomicBool>) -> Self {
        while !stop.load(Ordering::Relaxed) {
            let index = usize::try_from(self.random.below(NAMES as u64)).unwrap();
            self.step(index).await;
        }
        self
    }

    /// With a server that stays: every name is as it was acknowledged, and the listing says the same.
    pub(crate) async fn verify(&mut self) {
        for index in 0..NAMES {
            self.settle(index).await;
        }
        let listed = self.client.list_keys("").await.unwrap();
        assert!(listed.iter().all(|name| name == "reference" || name.starts_with("writer-")), "{listed:?}");
        for (name, known) in &self.names {
            let is_listed = listed.contains(name);
            match known {
                Known::Absent => assert!(!is_listed, "'{name}' was deleted and is listed"),
                Known::Present(_) | Known::Fresh => assert!(is_listed, "'{name}' was made and is not listed"),
                Known::Unknown(_) => panic!("'{name}' is not settled"),
            }
        }
    }

    /// One call about a name, according to what is known about it.
    async fn step(&mut self, index: usize) {
        let (name, known) = self.names[index].clone();
        let next = match known {
            Known::Absent if self.random.below(2) == 0 => self.create(&name).await,
            Known::Absent => self.import(&name).await,
            Known::Present(ciphertext) if self.random.below(3) > 0 => self.delete(&name, ciphertext).await,
            Known::Present(ciphertext) => self.decrypt(&name, ciphertext, true).await,
            Known::Unknown(Some(ciphertext)) => self.decrypt(&name, ciphertext, false).await,
            Known::Fresh => self.encrypt(&name, true).await,
            Known::Unknown(None) => self.encrypt(&name, false).await,
        };
        self.names[index].1 = next;
    }

    /// Finds out what is not known.
    async fn settle(&mut self, index: usize) {
        let (name, known) = self.names[index].clone();
        self.names[index].1 = match known {
            Known::Absent => match self.client.describe_key(&name).await {
                Err(error) if error.is_key_not_found() => Known::Absent,
                other => panic!("'{name}' was deleted: {other:?}"),
            },
            Known::Present(ciphertext) => self.decrypt(&name, ciphertext, true).await,
            Known::Unknown(Some(ciphertext)) => self.decrypt(&name, ciphertext, false).await,
            Known::Fresh => self.encrypt(&name, true).await,
            Known::Unknown(None) => self.encrypt(&name, false).await,
        };
    }

    async fn create(&mut self, name: &str) -> Known {
        match self.client.create_key(name).await {
            Ok(()) => {
                self.done.created += 1;
                self.acknowledged.fetch_add(1, Ordering::Relaxed);
                Known::Fresh
            }
            Err(error) => self.interrupted(name, &error, Known::Absent, Known::Unknown(None)),
        }
    }

    async fn import(&mut self, name: &str) -> Known {
        match self.client.import_key(name, &SECRET, "AES256").await {
            Ok(()) => {
                self.done.imported += 1;
                self.acknowledged.fetch_add(1, Ordering::Relaxed);
                Known::Present(self.reference.clone())
            }
            Err(error) => {
                let unknown = Known::Unknown(Some(self.reference.clone()));
                self.interrupted(name, &error, Known::Absent, unknown)
            }
        }
    }

    async fn delete(&mut self, name: &str, ciphertext: Vec<u8>) -> Known {
        match self.client.delete_key(name).await {
            Ok(()) => {
                self.done.deleted += 1;
                self.acknowledged.fetch_add(1, Ordering::Relaxed);
                Known::Absent
            }
            Err(error) => {
                let unknown = Known::Unknown(Some(ciphertext.clone()));
                self.interrupted(name, &error, Known::Present(ciphertext), unknown)
            }
        }
    }

    async fn decrypt(&mut self, name: &str, ciphertext: Vec<u8>, must_be_there: bool) -> Known {
        match self.client.decrypt(name, &ciphertext, &[]).await {
            Ok(plaintext) => {
                assert_eq!(plaintext.as_slice(), PLAINTEXT, "'{name}'");
                self.done.decrypted += 1;
                Known::Present(ciphertext)
            }
            Err(error) if error.is_key_not_found() && !must_be_there => Known::Absent,
            Err(error) => {
                let before = if must_be_there { Known::Present(ciphertext) } else { Known::Unknown(Some(ciphertext)) };
                self.interrupted(name, &error, before.clone(), before)
            }
        }
    }

    async fn encrypt(&mut self, name: &str, must_be_there: bool) -> Known {
        match self.client.encrypt(name, PLAINTEXT, &[]).await {
            Ok(ciphertext) => Known::Present(ciphertext),
            Err(error) if error.is_key_not_found() && !must_be_there => Known::Absent,
            Err(error) => {
                let before = if must_be_there { Known::Fresh } else { Known::Unknown(None) };
                self.interrupted(name, &error, before.clone(), before)
            }
        }
    }

    /// Only a kill may come between a call and its answer. One that could not even be sent changed nothing.
    fn interrupted(&mut self, name: &str, error: &ClientError, before: Known, after: Known) -> Known {
        assert!(error.is_connection(), "'{name}', of which is known {before:?}: {error}");
        if error.to_string().contains("connection refused") {
            return before;
        }
        self.done.interrupted += 1;
        after
    }
}
