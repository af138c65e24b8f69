//! Several kes over one fs keystore: who makes a key is decided once, and everybody sees it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "test")]

mod support;

use std::sync::Arc;

use kes_server::client::{Client, Timeouts};
use support::{Folder, Server};

/// Three servers with one folder of keys, and a client for each.
fn replicas() -> (Vec<Folder>, Vec<Server>, Vec<Arc<Client>>) {
    let folders: Vec<_> = (0..3).map(|_| Folder::new()).collect();
    let keys = folders[0].path("keys");
    for folder in &folders {
        folder.write("config.yaml", &folder.config(&keys));
    }
    let servers = folders.iter().map(Folder::serve).collect();
    let clients = folders.iter().map(|folder| Arc::new(folder.client(Timeouts::default()))).collect();
    (folders, servers, clients)
}

#[tokio::test]
async fn one_of_nine_makes_a_key_and_all_use_it() {
    let (_folders, _servers, clients) = replicas();
    for number in 0..30 {
        let name = format!("race-{number}");
        let calls: Vec<_> = (0..9)
            .map(|call| {
                let (client, name) = (Arc::clone(&clients[call % 3]), name.clone());
                tokio::spawn(async move { client.create_key(&name).await })
            })
            .collect();
        let mut made = 0;
        for call in calls {
            match call.await.unwrap() {
                Ok(()) => made += 1,
                Err(error) => assert!(error.is_key_exists(), "{error}"),
            }
        }
        assert_eq!(made, 1, "{name}");
        let ciphertext = clients[number % 3].encrypt(&name, b"one key", &[]).await.unwrap();
        for client in &clients {
            assert_eq!(client.decrypt(&name, &ciphertext, &[]).await.unwrap().as_slice(), b"one key", "{name}");
        }
    }
    assert_eq!(clients[0].list_keys("race").await.unwrap().len(), 30);
}
