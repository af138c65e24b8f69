//! Where a master key may come from.

use super::{Folder, config, refusal, write_keys};
use crate::support::eventually;

fn sealed() -> Folder {
    let folder = Folder::new();
    write_keys(&folder, ["one".to_owned()].into_iter());
    assert!(folder.kes(&["seal", "keys", "--new-master-key", "master.key"]).status.success());
    folder
}

#[test]
fn the_output_of_a_program_is_a_master_key() {
    let folder = sealed();
    folder.write("config.yaml", &config(&folder, "{ masterKeyCommand: [/bin/cat, master.key] }"));
    let server = folder.serve();
    assert!(folder.kes(&["key", "dek", "-k", "one"]).status.success());
    assert_eq!(server.terminate(), Some(0));
    // no shell reads it
    for (command, words) in [
        ("[/bin/sh, -c, \"echo it is locked >&2; exit 3\"]", "exit status: 3: it is locked"),
        ("[/bin/echo, \"$(cat master.key)\"]", "the output of masterKeyCommand '/bin/echo' is not a master key"),
        ("[/bin/dd, if=/dev/zero, bs=4097, count=1]", "writes more than 4096 bytes"),
        ("[/nowhere/age]", "masterKeyCommand '/nowhere/age': No such file"),
        ("[/bin/true]", "is not a master key"),
    ] {
        folder.write("config.yaml", &config(&folder, &format!("{{ masterKeyCommand: {command} }}")));
        let told = refusal(&folder);
        assert!(told.contains("fs: no master key: ") && told.contains(words), "{command}: {told}");
    }
}

#[test]
fn a_program_that_hangs_is_ended_with_its_children() {
    let folder = sealed();
    let command = "[/bin/sh, -c, \"echo $$ > pid; sleep 300 & sleep 300\"]";
    folder.write("config.yaml", &config(&folder, &format!("{{ masterKeyCommand: {command} }}")));
    let told = refusal(&folder);
    assert!(told.contains("no answer within 10 s"), "{told}");
    let group = super::read(folder.path("pid").as_ref()).trim().to_owned();
    eventually("its group is gone", || !runs(&group));
}

/// True if a process of that group runs; one that nobody has waited for does not.
fn runs(group: &str) -> bool {
    let stats = std::fs::read_dir("/proc").unwrap().map(|entry| super::read(&entry.unwrap().path().join("stat")));
    // state, parent and group stand behind the name in brackets
    stats.filter_map(|stat| Some(stat.rsplit_once(") ")?.1.to_owned())).any(|stat| {
        let fields: Vec<_> = stat.split(' ').collect();
        fields[0] != "Z" && fields[2] == group
    })
}

#[test]
fn a_credential_of_systemd_is_a_master_key() {
    let folder = sealed();
    folder.write("config.yaml", &config(&folder, "{ masterKeyCredential: master.key }"));
    let told = refusal(&folder);
    assert!(told.contains("CREDENTIALS_DIRECTORY is not set; add LoadCredential="), "{told}");
    let mut command = folder.command(&["unseal", "--config", "config.yaml"]);
    let unsealed = command.env("CREDENTIALS_DIRECTORY", folder.dir.path()).output().unwrap();
    assert!(unsealed.status.success(), "{unsealed:?}");
}

/// The section that was proposed to MinIO KES in 2024: 32 bytes as they are.
#[test]
fn the_section_that_was_proposed_is_read() {
    let folder = Folder::new();
    std::fs::write(folder.path("master.key"), [7; 32]).unwrap();
    let text = folder
        .config("keys")
        .replace("  fs:\n", "  encryptedfs:\n    masterKeyCipher: AES256\n    masterKeyPath: master.key\n");
    folder.write("config.yaml", &text);
    let server = folder.serve();
    assert!(folder.kes(&["key", "create", "-k", "one"]).status.success());
    assert!(super::read(folder.path("keys/one").as_ref()).starts_with("kes-sealed:v1:"));
    assert_eq!(server.terminate(), Some(0));
}
