//! Keys that are sealed on disk under a master key: a stack that is made so, one that is sealed later, and snapshots.

use std::path::{Path, PathBuf};

use crate::sandbox::Sandbox;

const KEY: &str = "minio-backend-key";
const SEALED: &str = "kes: { port: 0, seal: true }\n";

fn stored(stack: &Sandbox) -> String {
    std::fs::read_to_string(stack.root().join("keys").join(KEY)).unwrap()
}

fn master_key(stack: &Sandbox) -> PathBuf {
    stack.root().join("certs/keystore/master.key")
}

fn is_sealed(stack: &Sandbox) -> bool {
    stored(stack).starts_with("kes-sealed:v1:")
}

fn is_proven(stack: &Sandbox) -> bool {
    let proof = stack.json(&["verify"]);
    let claims = proof.to_string();
    claims.contains("the keys on this disk are sealed")
}

#[test]
#[ignore = "needs an engine"]
fn a_stack_seals_its_keys_and_opens_them_again() {
    let stack = Sandbox::new("");
    stack.ok(&["up"]);
    stack.put("/encrypted/kept", b"precious");
    let clear = stored(&stack);
    assert!(!is_proven(&stack), "a folder in clear claims nothing");

    stack.manifest(SEALED);
    stack.ok(&["up"]);
    assert!(is_sealed(&stack));
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(master_key(&stack)).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(stack.read("/encrypted/kept"), b"precious");
    assert_eq!(stack.json(&["up"])["changed"], 0);
    stack.ok(&["key", "create", "later"]);
    assert!(is_proven(&stack));
    assert!(stack.run(&["doctor"]).status.code().is_some_and(|code| code != 7));

    // without the setting it stays as it is
    stack.manifest("");
    assert_eq!(stack.json(&["up"])["changed"], 0);
    stack.ok(&["down"]);
    let key = std::fs::read(master_key(&stack)).unwrap();
    std::fs::remove_file(master_key(&stack)).unwrap();
    let error = stack.fails(&["up"], 7);
    assert!(error.contains("their master key") && error.contains("is gone"), "{error}");
    std::fs::write(master_key(&stack), key).unwrap();
    stack.ok(&["up"]);
    assert_eq!(stack.read("/encrypted/kept"), b"precious");

    stack.manifest("kes: { port: 0, seal: false }\n");
    stack.ok(&["up"]);
    assert_eq!(stored(&stack), clear, "to the byte");
    assert_eq!(stack.read("/encrypted/kept"), b"precious");
}

#[test]
#[ignore = "needs an engine"]
fn snapshots_keep_keys_sealed_and_give_the_master_key_to_nobody() {
    let (stack, other) = (Sandbox::new(SEALED), Sandbox::new(""));
    stack.ok(&["up"]);
    assert!(is_sealed(&stack));
    stack.put("/encrypted/kept", b"precious");
    assert_eq!(stack.json(&["snapshot", "save", "one"])["keys"], 1);
    stack.put("/encrypted/kept", b"replaced");
    stack.ok(&["snapshot", "restore", "one"]);
    assert_eq!(stack.read("/encrypted/kept"), b"precious");

    let text = |name: &str| stack.folder().join(name).to_str().unwrap().to_owned();
    let [clear, closed, passphrase] = ["one.tar", "one.age", "passphrase"].map(text);
    std::fs::write(&passphrase, "correct horse\n").unwrap();
    stack.ok(&["snapshot", "export", "one", &clear, "--plain"]);
    stack.ok(&["snapshot", "export", "one", &closed, "--passphrase-file", &passphrase]);
    let master = std::fs::read_to_string(master_key(&stack)).unwrap();
    let exported = std::fs::read(&clear).unwrap();
    assert!(!exported.windows(16).any(|run| run == &master.as_bytes()[..16]), "the master key is not in it");
    stack.ok(&["down", "--data"]);

    other.ok(&["snapshot", "import", &clear, "clear", "--plain"]);
    let error = other.fails(&["snapshot", "restore", "clear"], 7);
    assert!(error.contains("it holds no master key"), "{error}");
    other.ok(&["snapshot", "import", &closed, "closed", "--passphrase-file", &passphrase]);
    other.ok(&["snapshot", "restore", "closed"]);
    other.ok(&["up"]);
    assert_eq!(other.read("/encrypted/kept"), b"precious");
    assert!(is_sealed(&other) && Path::new(&master_key(&other)).exists());
}
