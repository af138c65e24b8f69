//! A folder of keys that is gone for a while, as when its disk is not mounted: nothing takes its place.

use std::{fs, path::Path};

use super::{
    run, signal,
    support::{Folder, Server, eventually, read},
};

fn folder() -> Folder {
    let folder = Folder::new();
    configure(&folder, "keys");
    folder
}

/// A key that the configuration lists, in this folder.
fn configure(folder: &Folder, keystore: &str) {
    folder.write("config.yaml", &format!("{}keys: [{{ name: listed }}]\n", folder.config(keystore)));
}

fn exists(folder: &Folder, name: &str) -> bool {
    Path::new(&folder.path(name)).exists()
}

fn said(folder: &Folder) -> String {
    read(folder.path("stderr").as_ref())
}

fn reload(folder: &Folder, server: &Server) {
    let reloads = || read(folder.path("stdout").as_ref()).matches("SIGHUP signal completed").count();
    let before = reloads();
    server.hang_up();
    eventually("the server has reloaded", || reloads() > before);
}

#[test]
fn a_reload_makes_no_missing_folder_and_no_lost_key_again() {
    let folder = folder();
    let server = folder.serve();
    let (keys, aside) = (folder.path("keys"), folder.path("aside"));
    let former = fs::read(folder.path("keys/listed")).unwrap();
    fs::rename(&keys, &aside).unwrap();
    reload(&folder, &server);
    assert!(!exists(&folder, "keys"), "the folder was made again: {}", said(&folder));
    assert!(
        said(&folder).contains("The former connection to the keystore stays: kes: keystore unreachable: fs: "),
        "{}",
        said(&folder)
    );
    // what a disk leaves behind that was mounted there
    fs::create_dir(&keys).unwrap();
    reload(&folder, &server);
    eventually("the loss is named", || said(&folder).contains("key 'listed' is gone and was not made again"));
    assert!(!exists(&folder, "keys/listed"));
    fs::remove_dir(&keys).unwrap();
    fs::rename(&aside, &keys).unwrap();
    assert!(folder.kes(&["key", "info", "-k", "listed"]).status.success());
    assert_eq!(fs::read(folder.path("keys/listed")).unwrap(), former);
    configure(&folder, "other");
    eventually("another folder is made", || exists(&folder, "other/listed"));
}

#[test]
fn a_server_that_is_started_again_waits_for_its_folder() {
    let folder = folder();
    let supervisor = run(&folder, &["supervise", "--", "server", "--config", "config.yaml"]);
    eventually("the first start makes the key", || exists(&folder, "keys/listed"));
    eventually("the server answers", || folder.kes(&["probe", "--timeout", "1s"]).status.success());
    fs::rename(folder.path("keys"), folder.path("aside")).unwrap();
    let id = supervisor.0.id();
    let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap();
    signal("-KILL", children.trim().parse().unwrap());
    eventually("it waits", || said(&folder).contains("cannot be reached"));
    assert!(!exists(&folder, "keys"), "{}", said(&folder));
    fs::rename(folder.path("aside"), folder.path("keys")).unwrap();
    eventually("it is ready", || folder.kes(&["probe", "--ready", "--timeout", "2s"]).status.success());
}

#[test]
fn a_migration_makes_no_folder_that_it_reads() {
    let folder = folder();
    folder.write("target.yaml", &folder.config("target"));
    let refused = folder.kes(&["migrate", "--from", "config.yaml", "--to", "target.yaml"]);
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    assert!(!exists(&folder, "keys") && !exists(&folder, "target"), "{refused:?}");
}
