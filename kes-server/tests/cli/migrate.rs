//! `kes migrate`.

use std::{fs, path::Path};

use crate::support::{Folder, stderr, stdout};

#[test]
fn keys_move_to_another_keystore_as_they_are() {
    let folder = Folder::new();
    folder.write("target.yaml", &folder.config("target"));
    let server = folder.serve();
    assert!(folder.kes(&["key", "create", "-k", "a-1", "a-2", "b-1"]).status.success());
    assert_eq!(server.terminate(), Some(0));

    let migrate =
        |more: &[&str]| folder.kes(&[&["migrate", "--from", "config.yaml", "--to", "target.yaml"], more].concat());
    assert_eq!(stdout(&migrate(&["a-*"])), "Migrated 2 keys successfully!\n");
    let key = |keystore: &str, name: &str| fs::read(folder.path(&format!("{keystore}/{name}"))).unwrap();
    assert_eq!(key("target", "a-1"), key("keys", "a-1"));
    assert!(!folder.dir.path().join("target/b-1").exists());

    let dry = migrate(&["--dry-run"]);
    let (keys, target) = (folder.path("keys"), folder.path("target"));
    let copied = format!("b-1: from Filesystem: {keys} to Filesystem: {target}");
    let shown = format!("a-1: there already\na-2: there already\n{copied}\n1 keys would be migrated.\n");
    assert_eq!((stdout(&dry), stderr(&dry)), (shown, "2 keys exist already\n".into()));

    fs::write(folder.path("target/a-1"), "damaged").unwrap();
    fs::write(folder.path("target/a-2"), "damaged").unwrap();
    let refused = migrate(&[]);
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    let text = stderr(&refused);
    assert!(text.contains("has other keys with the names a-1, a-2; nothing was copied; --merge"), "{text}");
    assert!(!folder.dir.path().join("target/b-1").exists());
    assert_eq!(stdout(&migrate(&["--merge"])), "Migrated 1 keys successfully!\n");
    assert_eq!(key("target", "a-1"), b"damaged");
    assert_eq!(stdout(&migrate(&["--merge"])), "Migration succeeded! No keys migrated.\n");
    assert_eq!(stdout(&migrate(&["--force"])), "Migrated 2 keys successfully!\n");
    assert_eq!(key("target", "a-1"), key("keys", "a-1"));
    assert_eq!(stdout(&migrate(&[])), "Migration succeeded! No keys migrated.\n");

    for damage in ["", "CiQKIAAB"] {
        fs::write(folder.path("keys/a-1"), damage).unwrap();
        fs::write(folder.path("keys/c-1"), damage).unwrap();
        let good = key("target", "a-1");
        for more in [&["--force"][..], &["--force", "--dry-run"]] {
            let output = migrate(more);
            assert_eq!(output.status.code(), Some(1), "{output:?}");
            for name in ["a-1", "c-1"] {
                let named = format!("left out: '{name}', which is not a key: ");
                assert_eq!(stderr(&output).matches(&named).count(), 1, "{output:?}");
            }
            assert_eq!(key("target", "a-1"), good, "a good key is not replaced by what is none");
            assert!(!folder.dir.path().join("target/c-1").exists());
        }
    }
}

/// A folder with 12 keys, and with what is not a key if `foreign`; both configurations.
fn to_migrate(foreign: bool) -> Folder {
    let folder = Folder::new();
    folder.write("target.yaml", &folder.config("target"));
    let server = folder.serve();
    let names: Vec<String> = (0..12).map(|number| format!("kk-{number:04}")).collect();
    let create: Vec<&str> = ["key", "create", "-k"].into_iter().chain(names.iter().map(String::as_str)).collect();
    assert!(folder.kes(&create).status.success());
    assert_eq!(server.terminate(), Some(0));
    if foreign {
        std::os::unix::fs::symlink("nowhere", folder.path("keys/kk-dangling")).unwrap();
        fs::create_dir(folder.path("keys/lost+found")).unwrap();
        folder.write("keys/kk-0001.bak", "old");
        fs::create_dir(folder.path("keys/kk-folder")).unwrap();
    }
    folder
}

fn migrate(folder: &Folder, more: &[&str]) -> std::process::Output {
    folder.kes(&[&["migrate", "--from", "config.yaml", "--to", "target.yaml"], more].concat())
}

#[test]
fn migrations_take_the_patterns_of_go() {
    let folder = to_migrate(false);
    for (pattern, count) in
        [("", 12), ("*", 12), ("kk-0*1", 2), ("[k]k-0001", 1), ("kk-000?", 10), ("kk-00[01]1", 2), ("kk-0003", 1)]
    {
        let output = migrate(&folder, &[pattern]);
        assert_eq!(stdout(&output), format!("Migrated {count} keys successfully!\n"), "{pattern}: {output:?}");
        assert!(output.status.success(), "{pattern}");
        assert_eq!(fs::read_dir(folder.path("target")).unwrap().count(), count, "{pattern}");
        fs::remove_dir_all(folder.path("target")).unwrap();
    }
    let none = migrate(&folder, &["zz-*"]);
    assert_eq!(stdout(&none), "Migration succeeded! No keys migrated.\n");
    assert!(stderr(&none).contains("matches 'zz-*'"), "{none:?}");
    let bad = migrate(&folder, &["[k"]);
    assert_eq!((bad.status.code(), stdout(&bad).as_str()), (Some(1), ""), "{bad:?}");
    assert!(stderr(&bad).starts_with("Error: '[k' is not a valid pattern: "), "{bad:?}");
}

#[test]
fn what_is_not_a_key_is_named_and_the_others_are_migrated() {
    let folder = to_migrate(true);
    let dry = migrate(&folder, &["--dry-run"]);
    assert!(stdout(&dry).ends_with("12 keys would be migrated.\n"), "{dry:?}");
    let copied = migrate(&folder, &[]);
    assert_eq!(stdout(&copied), "Migrated 12 keys successfully!\n");
    for output in [&dry, &copied] {
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let text = stderr(output);
        for name in ["kk-dangling", "lost+found", "kk-0001.bak", "kk-folder"] {
            assert_eq!(text.matches(&format!("left out: '{name}', ")).count(), 1, "{text}");
        }
        assert!(text.ends_with("Error: left out: 4 of 16 names, for the reasons above\n"), "{text}");
    }
    assert_eq!(fs::read_dir(folder.path("target")).unwrap().count(), 12);
    fs::remove_file(folder.path("target/kk-0001")).unwrap();
    assert_eq!(stdout(&migrate(&folder, &["kk-0001", "-q"])), "");
    assert!(folder.dir.path().join("target/kk-0001").exists());
    let again = migrate(&folder, &["kk-0*1"]);
    assert!(again.status.success(), "what is left out by the pattern is nobody's business: {again:?}");
}

#[test]
fn a_dry_run_changes_nothing() {
    let folder = to_migrate(false);
    let sealed =
        |keystore: &str| format!("{}    encryption: {{ masterKeyPath: master.key }}\n", folder.config(keystore));
    assert!(folder.kes(&["seal", "--new-master-key", "master.key"]).status.success());
    folder.write("target.yaml", &sealed("new/target"));
    folder.write("keys/.kes-new-left", "half");
    let dry = migrate(&folder, &["--dry-run"]);
    assert!(dry.status.success() && stdout(&dry).ends_with("12 keys would be migrated.\n"), "{dry:?}");
    assert!(stdout(&dry).contains(&format!(" to Filesystem: {}\n", folder.path("new/target"))), "{dry:?}");
    assert!(!folder.dir.path().join("new").exists());
    fs::create_dir_all(folder.path("new/target")).unwrap();
    let dry = migrate(&folder, &["--dry-run"]);
    assert!(dry.status.success(), "{dry:?}");
    assert_eq!(fs::read_dir(folder.path("new/target")).unwrap().count(), 0, "no marker either");
    assert!(folder.dir.path().join("keys/.kes-new-left").exists());

    // nor does a run change what it only reads
    assert_eq!(stdout(&migrate(&folder, &[])), "Migrated 12 keys successfully!\n");
    let marker = folder.path("new/target/.kes-sealed");
    fs::remove_file(&marker).unwrap();
    folder.write("back.yaml", &folder.config("back"));
    let back = folder.kes(&["migrate", "--from", "target.yaml", "--to", "back.yaml"]);
    assert_eq!(stdout(&back), "Migrated 12 keys successfully!\n", "{back:?}");
    assert!(!Path::new(&marker).exists());
    folder.write("keys/more", &fs::read_to_string(folder.path("keys/kk-0001")).unwrap());
    assert_eq!(stdout(&migrate(&folder, &[])), "Migrated 1 keys successfully!\n");
    assert!(Path::new(&marker).exists(), "before the first key that is sealed");
}

#[test]
fn a_name_that_the_target_has_without_a_key_is_named_and_the_others_are_migrated() {
    let folder = to_migrate(false);
    fs::create_dir(folder.path("target")).unwrap();
    std::os::unix::fs::symlink("nowhere", folder.path("target/kk-0000")).unwrap();
    let copied = migrate(&folder, &[]);
    assert_eq!((copied.status.code(), &*stdout(&copied)), (Some(1), "Migrated 11 keys successfully!\n"), "{copied:?}");
    let place = format!("Filesystem: {}", folder.path("target"));
    let named = format!("left out: 'kk-0000', whose name {place} has without a key: delete that entry there");
    assert!(stderr(&copied).contains(&named), "{copied:?}");
    fs::remove_file(folder.path("target/kk-0000")).unwrap();
    assert_eq!(stdout(&migrate(&folder, &[])), "Migrated 1 keys successfully!\n");
}
