//! The keystores of this machine: a folder and memory.

use kes_server::keystore::{Fs, Memory};

use super::conformance::{self, Missing};

#[tokio::test]
async fn a_folder_conforms() {
    let folder = tempfile::tempdir().unwrap();
    conformance::all(&Fs::make(&folder.path().join("new/keys"), None).await.unwrap(), Missing::IsTold).await;
}

#[tokio::test]
async fn memory_conforms() {
    conformance::all(&Memory::default(), Missing::IsTold).await;
}
