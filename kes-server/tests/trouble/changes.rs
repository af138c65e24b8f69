//! Changes of the configuration that come at a bad moment: while it is being read, and while the keystore is down.

use std::{
    fs,
    net::TcpListener,
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use kes_server::{config::Config, server::Reload};

use super::{
    inside, keysecure, run,
    support::{Folder, eventually, read, stdout},
};

fn has_policy(folder: &Folder, name: &str) -> bool {
    stdout(&folder.kes(&["policy", "ls", "-k"])).contains(name)
}

#[test]
fn a_configuration_that_changes_while_it_is_read_is_read_again() {
    let folder = Folder::new();
    let mut text = folder.config("keys");
    for file in ["server.key", "server.crt"] {
        text = text.replace(file, &folder.path(file));
    }
    folder.write("config.yaml", &text);
    let file = PathBuf::from(folder.path("config.yaml"));
    // the first change comes during the start, the second one during a reload
    let later = ["third-ops:", "second-ops:"].map(|name| text.replace("my-ops:", name));
    let later = Mutex::new(Vec::from(later));
    let reload = Reload::new(file.clone(), move || {
        let config = Config::load(&file, &|_| None);
        if let Some(text) = later.lock().unwrap().pop() {
            fs::write(&file, text).unwrap();
        }
        config
    });
    let config = reload.config().unwrap();
    let server = inside(config, reload);
    eventually("both changes are in force", || has_policy(&folder, "third-ops"));
    server.stop();
}

/// The configuration comes before the file that it names, as when somebody copies both: no part of it is served without
/// the rest, and all of it when the file is there.
#[test]
fn a_configuration_whose_files_come_later_is_served_completely() {
    let folder = Folder::new();
    let _server = run(&folder, &["server", "--config", "config.yaml"]);
    eventually("the server answers", || folder.kes(&["probe", "--timeout", "1s"]).status.success());
    let text = folder.config("keys").replace("my-ops:", "our-ops:");
    let refused = |count: usize| {
        let said = || read(folder.path("stderr").as_ref());
        eventually("the file is missed", || said().matches("Failed to update server configuration").count() == count);
    };
    folder.write("config.yaml", &text.replace("tls:\n", "tls:\n  ca: ca.crt\n"));
    refused(1);
    assert!(has_policy(&folder, "my-ops"));
    fs::copy(folder.path("server.crt"), folder.path("ca.crt")).unwrap();
    eventually("the policies are the new ones", || has_policy(&folder, "our-ops"));

    folder.write("config.yaml", &text.replace("tls:\n", "tls:\n  ca: ac.crt\n"));
    refused(2);
    // a certificate that is in force is renewed all the same
    let renew = ["identity", "new", "--force", "--key", "server.key", "--cert", "server.crt", "--ip", "127.0.0.1"];
    assert!(folder.kes(&renew).status.success());
    let trusts_new = || {
        let mut command = folder.command(&["ls"]);
        command.env("SSL_CERT_FILE", folder.path("server.crt")).output().unwrap().status.success()
    };
    eventually("the new certificate is shown", trusts_new);
    // a wrong name is corrected
    folder.write("config.yaml", &text.replace("our-ops:", "their-ops:"));
    eventually("the policies are those of the corrected file", || has_policy(&folder, "their-ops"));
}

/// Somebody loses a right while the keystore is down: the right must not last as long as the outage.
#[test]
fn a_change_of_policies_does_not_wait_for_the_keystore() {
    let folder = Folder::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let is_on = Arc::new(AtomicBool::new(true));
    let switch = Arc::clone(&is_on);
    thread::spawn(move || keysecure(&listener, &switch));
    let (head, _) = folder.config("keys").rsplit_once("keystore:").map(|(h, t)| (h.to_owned(), t.to_owned())).unwrap();
    let text = format!(
        "{head}keystore: {{ gemalto: {{ keysecure: {{ endpoint: \"{endpoint}\", credentials: {{ token: t }} }} }} }}\n"
    );
    folder.write("config.yaml", &text);
    let _server = run(&folder, &["server", "--config", "config.yaml"]);
    eventually("the server is ready", || folder.kes(&["probe", "--ready", "--timeout", "2s"]).status.success());
    is_on.store(false, Ordering::SeqCst);
    folder.write("config.yaml", &text.replace("my-ops:", "our-ops:"));
    eventually("the policies are the new ones", || has_policy(&folder, "our-ops"));
    // too late to be noticed before the next attempt at the keystore, which comes 10 s after the last one
    thread::sleep(Duration::from_millis(7500));
    folder.write("config.yaml", &text.replace("my-ops:", "their-ops:"));
    eventually("so are those of a change just before an attempt", || has_policy(&folder, "their-ops"));
    is_on.store(true, Ordering::SeqCst);
    let said = || read(folder.path("stdout").as_ref());
    eventually("the keystore is reached again", || said().contains("after another attempt completed"));
}
