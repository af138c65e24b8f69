//! What the folder must do whatever is in it.

use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::process::Command;

use super::store::UNFINISHED;
use super::*;

fn is_other(result: &Result<impl fmt::Debug, KeyStoreError>, words: &str) {
    let Err(KeyStoreError::Other(text)) = result else { panic!("{result:?}") };
    assert!(text.contains(words), "{words} in {text}");
}

#[tokio::test]
async fn a_crash_while_writing_leaves_the_name_free() {
    let folder = tempfile::tempdir().unwrap();
    let store = Fs::open(folder.path(), None).await.unwrap();
    std::fs::write(folder.path().join(format!("{UNFINISHED}1-0")), "half").unwrap();
    assert_eq!(store.list("").await.unwrap(), Vec::<String>::new());
    store.create("key", b"value").await.unwrap();
    assert_eq!(store.list("").await.unwrap(), ["key"]);
    let mode = std::fs::metadata(folder.path().join("key")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[tokio::test]
async fn several_kes_in_containers_do_not_take_each_others_files() {
    let folder = tempfile::tempdir().unwrap();
    let store = Fs::open(folder.path(), None).await.unwrap();
    let of_others: Vec<_> =
        (0..64).map(|number| folder.path().join(format!("{UNFINISHED}{}-{number}", std::process::id()))).collect();
    for file in &of_others {
        std::fs::write(file, "half").unwrap();
    }
    store.create("key", b"value").await.unwrap();
    assert_eq!(store.create("key", b"other").await, Err(KeyStoreError::Exists));
    assert_eq!(store.get("key").await.unwrap().as_slice(), b"value");
    assert!(of_others.iter().all(|file| file.exists()));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 65, "nothing is left behind");
}

#[tokio::test]
async fn a_folder_that_is_gone_is_unreachable() {
    let folder = tempfile::tempdir().unwrap();
    let store = Fs::make(&folder.path().join("keys"), None).await.unwrap();
    std::fs::remove_dir(folder.path().join("keys")).unwrap();
    assert!(matches!(store.status().await, Err(KeyStoreError::Unreachable(_))));
    assert!(matches!(store.list("").await, Err(KeyStoreError::Unreachable(_))));
    assert!(matches!(store.get("key").await, Err(KeyStoreError::Unreachable(_))));
    assert!(matches!(store.create("key", b"v").await, Err(KeyStoreError::Unreachable(_))));
    assert!(matches!(store.delete("key").await, Err(KeyStoreError::Unreachable(_))));
    let opened = Fs::open(&folder.path().join("keys"), None).await;
    assert!(matches!(opened, Err(KeyStoreError::Unreachable(_))), "it is not made by opening it");
    assert!(!folder.path().join("keys").exists());
    std::fs::create_dir(folder.path().join("keys")).unwrap();
    assert_eq!(store.get("key").await, Err(KeyStoreError::NotFound));
    assert_eq!(store.delete("key").await, Err(KeyStoreError::NotFound));
}

/// Reading needs threads: none may wait for the right to change the folder.
#[test]
fn who_waits_to_change_the_folder_keeps_no_reader_waiting() {
    let folder = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(2).build().unwrap();
    runtime.block_on(async {
        let store = Fs::open(folder.path(), None).await.unwrap();
        store.create("key", b"value").await.unwrap();
        let sealing = std::fs::File::open(folder.path()).unwrap();
        sealing.lock().unwrap();
        let changes: Vec<_> = (0..20)
            .map(|number| {
                let store = store.clone();
                tokio::spawn(async move { store.create(&format!("key-{number}"), b"value").await })
            })
            .collect();
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert!(changes.iter().all(|change| !change.is_finished()));
        let read = tokio::time::timeout(Duration::from_secs(5), store.get("key")).await;
        assert_eq!(read.expect("it is read at once").unwrap().as_slice(), b"value");
        drop(sealing);
        for change in changes {
            assert_eq!(change.await.unwrap(), Ok(()));
        }
    });
}

#[tokio::test]
async fn only_plain_names_reach_the_folder() {
    let folder = tempfile::tempdir().unwrap();
    let store = Fs::open(folder.path(), None).await.unwrap();
    for name in ["", "../up", "a.b", "a/b", "a\\b", "."] {
        let error = store.create(name, b"v").await.unwrap_err();
        assert_eq!(error.to_string(), "fs: key name contains invalid character");
    }
}

/// None of them may block a thread or fill the memory: whoever asks has long left when the answer comes.
#[tokio::test]
async fn what_is_not_a_key_file_is_refused_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let store = Fs::open(folder.path(), None).await.unwrap();
    let path = |name: &str| folder.path().join(name);
    assert!(Command::new("mkfifo").arg(path("fifo")).status().unwrap().success());
    let _socket = std::os::unix::net::UnixListener::bind(path("socket")).unwrap();
    std::fs::create_dir_all(path("folder/inner")).unwrap();
    std::fs::create_dir(path("empty")).unwrap();
    symlink("/dev/zero", path("device")).unwrap();
    symlink(path("fifo"), path("link-to-fifo")).unwrap();
    std::fs::File::create(path("huge")).unwrap().set_len(1 << 40).unwrap();
    symlink(path("nowhere"), path("dangling")).unwrap();
    let all = async {
        for name in ["fifo", "socket", "folder", "device", "link-to-fifo"] {
            is_other(&store.get(name).await, "not a regular file");
        }
        is_other(&store.get("huge").await, "1099511627776 bytes are more than a key can have");
        assert_eq!(store.get("dangling").await, Err(KeyStoreError::NotFound));
        for name in ["fifo", "socket", "folder", "device", "huge", "dangling"] {
            assert_eq!(store.create(name, b"value").await, Err(KeyStoreError::Exists), "{name}");
        }
        is_other(&store.delete("folder").await, "not empty");
        for name in ["fifo", "socket", "empty", "device", "link-to-fifo", "huge", "dangling"] {
            assert_eq!(store.delete(name).await, Ok(()), "{name}");
            assert_eq!(store.get(name).await, Err(KeyStoreError::NotFound), "{name}");
        }
    };
    tokio::time::timeout(Duration::from_secs(20), all).await.expect("nothing waits for a writer");
}

/// In a mounted Kubernetes Secret every file is a link.
#[tokio::test]
async fn a_link_to_a_key_is_a_key() {
    let folder = tempfile::tempdir().unwrap();
    let store = Fs::open(folder.path(), None).await.unwrap();
    std::fs::create_dir(folder.path().join("..data")).unwrap();
    std::fs::write(folder.path().join("..data/key"), "value").unwrap();
    symlink("..data/key", folder.path().join("key")).unwrap();
    assert_eq!(store.get("key").await.unwrap().as_slice(), b"value");
}

#[tokio::test]
async fn a_folder_that_is_made_is_for_its_owner_alone() {
    let folder = tempfile::tempdir().unwrap();
    Fs::make(&folder.path().join("made/keys"), None).await.unwrap();
    for made in ["made", "made/keys"] {
        let mode = std::fs::metadata(folder.path().join(made)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700, "{made}");
    }
}
