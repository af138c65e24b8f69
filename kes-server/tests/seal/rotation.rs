//! Another master key, while a client uses the keys all the time.

use std::{
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use kes_server::client::Timeouts;

use super::{Folder, config, read, refusal, stdout, stored, write_keys};
use crate::support::eventually;

fn reload(folder: &Folder, server: &crate::support::Server, encryption: &str) {
    let reloads = || read(folder.path("stdout").as_ref()).matches("completed.").count();
    let before = reloads();
    folder.write("config.yaml", &config(folder, encryption));
    server.hang_up();
    eventually("the reload", || reloads() > before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_master_key_is_taken_without_an_outage() {
    let folder = Folder::new();
    for file in ["old.key", "new.key"] {
        assert!(folder.kes(&["seal", "--new-master-key", file]).status.success());
    }
    folder.write("config.yaml", &config(&folder, "{ masterKeyPath: old.key }"));
    let server = folder.serve();
    let client = folder.client(Timeouts::default());
    for number in 0..20 {
        client.create_key(&format!("key-{number}")).await.unwrap();
    }
    let (stop, calls) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let user = tokio::spawn(use_keys(client, Arc::clone(&stop), Arc::clone(&calls)));

    tokio::task::block_in_place(|| {
        reload(&folder, &server, "{ masterKeyPath: new.key, previous: [{ masterKeyPath: old.key }] }");
        assert!(folder.kes(&["key", "create", "-k", "made-between"]).status.success());
        let told = stdout(&folder.kes(&["seal", "--config", "config.yaml"]));
        assert!(told.starts_with("Sealed 20 keys ("), "{told}");
        reload(&folder, &server, "{ masterKeyPath: new.key }");
        let before = calls.load(Ordering::Relaxed);
        eventually("more calls", || calls.load(Ordering::Relaxed) > before + 100);
    });
    stop.store(true, Ordering::Relaxed);
    user.await.unwrap();

    assert_eq!(server.terminate(), Some(0));
    let names: Vec<_> = stored(&folder).into_iter().map(|(_, stored)| stored[..30].to_vec()).collect();
    assert!(names.iter().all(|start| *start == names[0]), "all under one master key");
    folder.write("config.yaml", &config(&folder, "{ masterKeyPath: old.key }"));
    assert!(refusal(&folder).contains("is sealed under master key"));
}

/// The change of many keys takes long. Servers make and delete keys meanwhile, and none of them is left under the former
/// master key.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_are_made_and_deleted_while_the_others_are_sealed_again() {
    let folder = Folder::new();
    for file in ["old.key", "new.key"] {
        assert!(folder.kes(&["seal", "--new-master-key", file]).status.success());
    }
    write_keys(&folder, (0..600).map(|number| format!("key-{number}")));
    assert!(folder.kes(&["seal", "keys", "--master-key", "old.key"]).status.success());
    let encryption = "{ masterKeyPath: new.key, previous: [{ masterKeyPath: old.key }] }";
    folder.write("config.yaml", &config(&folder, encryption));
    let server = folder.serve();
    let client = folder.client(Timeouts::default());
    client.create_key("before").await.unwrap();
    let start =
        |name: &str| stored(&folder).into_iter().find(|(found, _)| found == name).map(|(_, key)| key[..30].to_vec());
    let (old, new) = (start("key-0").unwrap(), start("before").unwrap());
    assert_ne!(old, new);

    let mut command = folder.command(&["seal", "--config", "config.yaml"]);
    let mut change = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let is_under_way = || stored(&folder).iter().any(|(name, key)| name.starts_with("key-") && key.starts_with(&new));
    let mut made = 0;
    while change.try_wait().unwrap().is_none() {
        let has_begun = is_under_way();
        client.create_key(&format!("made-{made}")).await.unwrap();
        // the last ones are due last
        let _: Result<(), _> = client.delete_key(&format!("key-{}", 599 - made)).await;
        made += usize::from(has_begun && change.try_wait().unwrap().is_none());
        if !has_begun {
            client.delete_key(&format!("made-{made}")).await.unwrap();
        }
    }
    let ended = change.wait_with_output().unwrap();
    assert!(ended.status.success(), "{ended:?}");
    assert!(made > 0, "{made} keys were made meanwhile");
    assert!(stored(&folder).iter().all(|(_, key)| key.starts_with(&new)), "all are under the new one");
    assert_eq!(server.terminate(), Some(0));
    folder.write("config.yaml", &config(&folder, "{ masterKeyPath: new.key }"));
    drop(folder.serve());
}

/// Uses each key in turn; no call may fail.
async fn use_keys(client: kes_server::client::Client, stop: Arc<AtomicBool>, calls: Arc<AtomicU64>) {
    while !stop.load(Ordering::Relaxed) {
        let number = calls.fetch_add(1, Ordering::Relaxed) % 20;
        client.generate_key(&format!("key-{number}"), b"").await.unwrap();
    }
}

/// A server that was not told of the new master key neither makes keys that the others cannot read, nor loses any.
#[test]
fn a_server_with_the_former_master_key_makes_no_keys() {
    let folder = Folder::new();
    for file in ["old.key", "new.key"] {
        assert!(folder.kes(&["seal", "--new-master-key", file]).status.success());
    }
    folder.write("config.yaml", &config(&folder, "{ masterKeyPath: old.key }"));
    let _server = folder.serve();
    assert!(folder.kes(&["key", "create", "-k", "one"]).status.success());
    let change = ["seal", "keys", "--master-key", "new.key", "--previous-master-key", "old.key"];
    assert!(folder.kes(&change).status.success());
    let before = stored(&folder);
    assert!(!folder.kes(&["key", "create", "-k", "two"]).status.success());
    assert!(!folder.kes(&["key", "rm", "-k", "one"]).status.success());
    assert_eq!(stored(&folder), before);
    let log = read(folder.path("stderr").as_ref());
    assert!(log.contains("is sealed under master key"), "{log}");
}
