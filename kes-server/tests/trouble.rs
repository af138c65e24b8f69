//! A server in trouble: its keystore out of reach at start, its files replaced, its process stopped.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "test")]

#[path = "trouble/changes.rs"]
mod changes;
#[path = "trouble/disk.rs"]
mod disk;
#[path = "trouble/folder.rs"]
mod folder;
mod support;

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    os::unix::{fs::symlink, net::UnixDatagram},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use kes_server::{
    client::Timeouts,
    config::Config,
    keystore::{Environment, Patience},
    server::{self, Reload, ServeOptions},
};
use tokio::sync::{mpsc, oneshot};

use support::{ADMIN, Folder, eventually, stderr, stdout};

fn run(folder: &Folder, arguments: &[&str]) -> Ended {
    let mut command = folder.command(arguments);
    let log = |name: &str| Stdio::from(fs::File::create(folder.path(name)).unwrap());
    Ended(command.stdout(log("stdout")).stderr(log("stderr")).spawn().unwrap())
}

/// A process that does not outlive the test.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let ended = |child: &mut Child| !matches!(child.try_wait(), Ok(None));
        if ended(&mut self.0) {
            return;
        }
        signal("-TERM", self.0.id());
        let start = Instant::now();
        while !ended(&mut self.0) && start.elapsed() < Duration::from_secs(10) {
            thread::sleep(Duration::from_millis(20));
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A server within this process.
struct Inside {
    commands: mpsc::Sender<server::Command>,
    thread: thread::JoinHandle<()>,
}

impl Inside {
    fn stop(self) {
        self.commands.blocking_send(server::Command::Stop).unwrap();
        self.thread.join().unwrap();
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// One that listens, and reads its configuration again by `reload`.
fn inside(config: Config, reload: Reload) -> Inside {
    let (listening, is_listening) = oneshot::channel();
    let options = ServeOptions {
        stdout: Box::new(std::io::sink()),
        stderr: Box::new(std::io::sink()),
        version: "",
        commit: "",
        environment: Environment::empty(),
        patience: Patience::Fail,
        reload: Some(reload),
        listening: Some(listening),
    };
    let (commands, receiver) = mpsc::channel(2);
    let thread = thread::spawn(move || runtime().block_on(server::run(config, options, receiver)).unwrap());
    is_listening.blocking_recv().unwrap();
    Inside { commands, thread }
}

fn signal(signal: &str, id: u32) {
    assert!(Command::new("kill").args([signal, &id.to_string()]).status().unwrap().success());
}

/// A keystore that gives out tokens, has one secret, and can be switched on late: just enough of a `CipherTrust` Manager.
fn keysecure(listener: &TcpListener, is_on: &AtomicBool) {
    for stream in listener.incoming() {
        let mut stream: TcpStream = stream.unwrap();
        let mut request = [0; 4096];
        let length = stream.read(&mut request).unwrap_or_default();
        if !is_on.load(Ordering::SeqCst) {
            continue;
        }
        let request = String::from_utf8_lossy(&request[..length]).into_owned();
        let (status, body) = if request.starts_with("POST /api/v1/auth/tokens") {
            ("200 OK", r#"{"token_type":"Bearer","jwt":"j","duration":300}"#.to_owned())
        } else if request.starts_with("POST /api/v1/vault/secrets ") {
            let name = request.split("\"name\":\"").nth(1).and_then(|rest| rest.split('"').next());
            ("201 Created", format!(r#"{{"name":"{}"}}"#, name.unwrap_or_default()))
        } else {
            ("404 Not Found", "{}".to_owned())
        };
        let _ = write!(
            stream,
            "HTTP/1.1 {status}\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
    }
}

#[test]
fn a_server_starts_without_its_keystore_and_serves_when_it_is_there() {
    let folder = Folder::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let is_on = Arc::new(AtomicBool::new(false));
    let switch = is_on.clone();
    thread::spawn(move || keysecure(&listener, &switch));
    let (head, _) = folder.config("keys").rsplit_once("keystore:").map(|(h, t)| (h.to_owned(), t.to_owned())).unwrap();
    let keystore =
        format!("keystore: {{ gemalto: {{ keysecure: {{ endpoint: {endpoint}, credentials: {{ token: t }} }} }} }}");
    folder.write("config.yaml", &format!("{head}keys: [{{ name: wanted }}]\n{keystore}\n"));

    let refused = folder.kes(&["server", "--config", "config.yaml", "--fail-fast"]);
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");

    let _server = run(&folder, &["server", "--config", "config.yaml"]);
    eventually("the server answers", || folder.kes(&["probe", "--timeout", "1s"]).status.success());
    assert!(!folder.kes(&["probe", "--ready", "--timeout", "2s"]).status.success());
    let status = stdout(&folder.kes(&["status", "-k", "--json"]));
    assert!(status.contains("keystore_unreachable\":true"), "{status}");
    // a request waits for the keystore
    let waiting = folder.command(&["key", "create", "-k", "late"]).stderr(Stdio::piped()).spawn().unwrap();
    thread::sleep(Duration::from_millis(300));
    is_on.store(true, Ordering::SeqCst);
    let created = waiting.wait_with_output().unwrap();
    assert!(created.status.success(), "{created:?}");
    eventually("it is ready", || folder.kes(&["probe", "--ready", "--timeout", "2s"]).status.success());
    let log = support::read(folder.path("stderr").as_ref());
    assert!(log.contains("cannot be reached") && log.contains("is connected"), "{log}");
}

/// Behind a firewall that drops what it does not like, an answer never comes.
#[test]
fn a_server_that_waits_for_its_keystore_ends_when_it_is_told_to() {
    let folder = Folder::new();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", silent.local_addr().unwrap());
    let (head, _) = folder.config("keys").rsplit_once("keystore:").map(|(h, t)| (h.to_owned(), t.to_owned())).unwrap();
    let keystore = format!(
        "keystore: {{ gemalto: {{ keysecure: {{ endpoint: \"{endpoint}\", credentials: {{ token: t }} }} }} }}"
    );
    folder.write("config.yaml", &format!("{head}{keystore}\n"));
    let mut waiting = run(&folder, &["server", "--config", "config.yaml", "--fail-fast"]);
    let called = silent.accept().unwrap();
    let told = Instant::now();
    signal("-TERM", waiting.0.id());
    assert_eq!(waiting.0.wait().unwrap().code(), Some(0));
    assert!(told.elapsed() < Duration::from_secs(5), "{:?}", told.elapsed());
    drop(called);

    let server = run(&folder, &["server", "--config", "config.yaml"]);
    let began = Instant::now();
    eventually("the server answers", || folder.kes(&["probe", "--timeout", "1s"]).status.success());
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
    let log = support::read(folder.path("stderr").as_ref());
    assert!(log.contains("cannot be reached: no answer within 1s"), "{log}");
    drop(server);
}

/// Clouds are not asked at start, so that they are out of reach is seen when the first key is made.
#[test]
fn a_server_starts_without_a_cloud_that_shall_have_keys() {
    let folder = Folder::new();
    let (head, _) = folder.config("keys").rsplit_once("keystore:").map(|(h, t)| (h.to_owned(), t.to_owned())).unwrap();
    let client = "{ tenant_id: t, client_id: c, client_secret: s }";
    let vault = format!("{{ endpoint: \"http://127.0.0.1:1\", credentials: {client} }}");
    let keystore = format!("keystore: {{ azure: {{ keyvault: {vault} }} }}");
    folder.write("config.yaml", &format!("{head}keys: [{{ name: wanted }}]\n{keystore}\n"));

    let refused = folder.kes(&["server", "--config", "config.yaml", "--fail-fast"]);
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    let server = folder.serve();
    assert_eq!(server.terminate(), Some(0));
}

#[test]
fn replaced_files_are_taken_up_without_a_signal() {
    let folder = Folder::new();
    let config = folder.config("keys");
    for data in ["one", "two"] {
        fs::create_dir(folder.path(data)).unwrap();
        let (key, cert) = (format!("{data}/server.key"), format!("{data}/server.crt"));
        let made = folder.kes(&["identity", "new", "--key", &key, "--cert", &cert, "--ip", "127.0.0.1"]);
        assert!(made.status.success());
        let config = config.replace("server.key", "mounted/server.key").replace("server.crt", "mounted/server.crt");
        let config = if data == "two" { config.replace("my-ops:", "our-ops:") } else { config };
        folder.write(&format!("{data}/config.yaml"), &config);
    }
    symlink("one", folder.path("mounted")).unwrap();
    let _server = run(&folder, &["server", "--config", "mounted/config.yaml"]);
    eventually("the server answers", || folder.kes(&["probe", "--timeout", "1s"]).status.success());
    let trusts = |certificate: &str| {
        let mut command = folder.command(&["policy", "ls"]);
        stdout(&command.env("SSL_CERT_FILE", folder.path(certificate)).output().unwrap())
    };
    assert!(trusts("one/server.crt").contains("my-ops"));
    symlink("two", folder.path("next")).unwrap();
    fs::rename(folder.path("next"), folder.path("mounted")).unwrap();
    eventually("certificate and policies are the new ones", || trusts("two/server.crt").contains("our-ops"));

    // nothing half: a broken file changes nothing
    folder.write("two/config.yaml", "admin: [");
    eventually("the mistake is reported", || {
        support::read(folder.path("stderr").as_ref()).contains("Failed to reload server config")
    });
    assert!(trusts("two/server.crt").contains("our-ops"));
}

/// A death is noticed at once, for the watchdog of that one sleeps for an hour; a stopped server only by its watchdog.
#[test]
fn a_supervised_server_is_replaced_when_it_is_killed_or_stopped() {
    let folder = Folder::new();
    let children = |supervisor: u32| {
        let children = fs::read_to_string(format!("/proc/{supervisor}/task/{supervisor}/children")).unwrap();
        children.trim().parse::<u32>().unwrap_or_default()
    };
    let answers = || folder.kes(&["probe", "--timeout", "1s"]).status.success();
    let replaced = |fault: &str, watchdog: &str| {
        let supervisor =
            run(&folder, &["supervise", "--watchdog", watchdog, "--", "server", "--config", "config.yaml"]);
        let server = || children(supervisor.0.id());
        eventually("the server answers", answers);
        let before = server();
        signal(fault, before);
        eventually("another server answers", || server() != before && answers());
        supervisor
    };
    drop(replaced("-KILL", "1h"));
    let supervisor = replaced("-STOP", "2s");
    let server = || children(supervisor.0.id());
    signal("-HUP", supervisor.0.id());
    eventually("it reloads", || support::read(folder.path("stderr").as_ref()).contains("SIGHUP signal received"));
    let last = server();
    drop(supervisor);
    assert!(!std::path::Path::new(&format!("/proc/{last}")).exists(), "the server ends with its supervisor");

    folder.write("broken.yaml", &format!("admin: {{ identity: {ADMIN} }}"));
    let failed = folder.kes(&["supervise", "--", "server", "--config", "broken.yaml"]);
    assert_eq!(failed.status.code(), Some(1));
    assert_eq!(stderr(&failed), "Error: kesconf: invalid tls config: no private key\n");
    assert_eq!(folder.kes(&["supervise", "--", "server", "--help"]).status.code(), Some(2));
}

/// A key that its configuration lists and that was lost while the server was down must not get a successor: whoever has
/// data under it would take the new one for it.
#[test]
fn a_server_that_is_started_again_makes_no_lost_key_again() {
    let folder = Folder::new();
    folder.write("config.yaml", &format!("{}keys: [{{ name: listed }}]\n", folder.config("keys")));
    let supervisor = run(&folder, &["supervise", "--", "server", "--config", "config.yaml"]);
    let (id, key) = (supervisor.0.id(), folder.path("keys/listed"));
    let exists = || std::path::Path::new(&key).exists();
    eventually("the first start makes the key", exists);
    eventually("the server answers", || folder.kes(&["probe", "--timeout", "1s"]).status.success());
    fs::remove_file(&key).unwrap();
    let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap();
    signal("-KILL", children.trim().parse().unwrap());
    let said = || support::read(folder.path("stderr").as_ref());
    eventually("the loss is named", || said().contains("the configured key 'listed' is gone and was not made again"));
    assert!(!exists(), "{}", said());
    drop(supervisor);
    let supervisor = run(&folder, &["supervise", "--", "server", "--config", "config.yaml"]);
    eventually("somebody who starts it by hand gets the key", exists);
    drop(supervisor);
}

/// What the first process of a container must do: children of others, signals before the server is there, the exit
/// code, and the messages to a supervisor above.
#[test]
fn supervise_is_a_good_first_process() {
    let folder = Folder::new();
    let above = UnixDatagram::bind(folder.path("notify")).unwrap();
    above.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let heard = |what: &str| {
        let start = Instant::now();
        let mut message = [0; 256];
        while !message.starts_with(what.as_bytes()) {
            assert!(start.elapsed() < Duration::from_secs(30), "never: {what}");
            message = [0; 256];
            above.recv(&mut message).unwrap();
        }
    };

    // `sleep` is a child of the process that becomes `kes supervise`, which did not start it
    let kes = env!("CARGO_BIN_EXE_kes");
    let script = "sleep 0.5 & exec \"$0\" supervise -- server --config config.yaml";
    let mut command = Command::new("sh");
    command.args(["-c", script, kes]).current_dir(folder.dir.path());
    command.env("NOTIFY_SOCKET", folder.path("notify")).env("WATCHDOG_USEC", "2000000");
    let log = |name: &str| Stdio::from(fs::File::create(folder.path(name)).unwrap());
    let mut supervisor = Ended(command.stdout(log("stdout")).stderr(log("stderr")).spawn().unwrap());
    let id = supervisor.0.id();
    eventually("sh has become kes", || {
        fs::read_to_string(format!("/proc/{id}/cmdline")).is_ok_and(|line| line.contains("\0supervise\0"))
    });
    let catches_hang_up = || {
        let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap();
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap().trim();
        u64::from_str_radix(caught, 16).unwrap() & 1 == 1
    };
    eventually("it knows the signal", catches_hang_up);
    signal("-HUP", id);
    heard("READY=1");
    eventually("it reloads", || support::read(folder.path("stdout").as_ref()).contains("SIGHUP signal completed"));
    heard("RELOADING=1");
    heard("WATCHDOG=1");
    eventually("one child is left", || {
        let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap();
        children.split_whitespace().count() == 1
    });
    signal("-TERM", id);
    heard("STOPPING=1");
    assert_eq!(supervisor.0.wait().unwrap().code(), Some(0));
    assert!(support::read(folder.path("stdout").as_ref()).ends_with("Goodbye.\n"));
}

/// The reader of the log is paused, and with the log, the server: it must not hang forever.
#[test]
fn a_server_whose_log_nobody_reads_ends() {
    let folder = Folder::new();
    folder.write("config.yaml", &format!("{}log:\n  audit: DEBUG\n", folder.config("keys")));
    let mut command = folder.command(&["server", "--config", "config.yaml"]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut server = Ended(child);
    eventually("the server answers", || folder.kes(&["probe", "--timeout", "1s"]).status.success());
    // each is a line in the log: a pipe takes 64 KiB
    let client = folder.client(Timeouts { connect: Duration::from_secs(2), request: Duration::from_secs(2) });
    let flood = thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(client.create_key("used")).unwrap();
        for _ in 0..2_000 {
            if runtime.block_on(client.generate_key("used", b"")).is_err() {
                return;
            }
        }
    });
    let start = Instant::now();
    while server.0.try_wait().unwrap().is_none() {
        assert!(start.elapsed() < Duration::from_secs(60), "it hangs");
        thread::sleep(Duration::from_millis(100));
    }
    flood.join().unwrap();
}

/// A reload reads files, decrypts a key, prepares TLS: whoever connects meanwhile does not wait for that.
#[test]
fn a_reload_that_takes_long_keeps_nobody_waiting() {
    let (folder, slow) = (Folder::new(), Duration::from_secs(8));
    let mut text = folder.config("keys");
    for file in ["server.key", "server.crt"] {
        text = text.replace(file, &folder.path(file));
    }
    folder.write("config.yaml", &text);
    let file = PathBuf::from(folder.path("config.yaml"));
    let config = Config::load(&file, &|_| None).unwrap();
    let (begun, begins) = std::sync::mpsc::channel();
    let reload = Reload::new(file.clone(), move || {
        begun.send(()).unwrap();
        thread::sleep(slow);
        Config::load(&file, &|_| None)
    });
    let server = inside(config, reload);
    server.commands.blocking_send(server::Command::Reload).unwrap();
    begins.recv().unwrap();
    let began = Instant::now();
    let client = folder.client(Timeouts { connect: slow * 4, request: slow * 4 });
    runtime().block_on(client.version()).unwrap();
    let took = began.elapsed();
    assert!(took < slow / 2, "a new connection waited {took:?}");
    server.stop();
}
