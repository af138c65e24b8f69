//! `kes` as a user runs it: a server with an fs keystore, keys, files of identities, moving to another keystore.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "test")]

#[path = "cli/identity.rs"]
mod identity;
#[path = "cli/migrate.rs"]
mod migrate;
mod support;
#[path = "cli/trust.rs"]
mod trust;

use std::{fs, io::Write as _, os::unix::fs::PermissionsExt as _, path::Path};

use support::{ADMIN, Folder, stderr, stdout};

/// An API key that no policy names.
const STRANGER: &str = "kes:v1:AB8eHRwbGhkYFxYVFBMSERAPDg0MCwoJCAcGBQQDAgEA";

#[test]
fn a_server_serves_until_it_is_told_to_stop() {
    let folder = Folder::new();
    let server = folder.serve();

    let created = folder.kes(&["key", "create", "-k", "my-key"]);
    assert_eq!((stdout(&created), stderr(&created)), (String::new(), String::new()));
    assert!(folder.dir.path().join("keys/my-key").exists());
    let status = stdout(&folder.kes(&["status", "-k"]));
    assert!(status.starts_with(&format!("● {}\n  Version", folder.address)), "{status}");
    let routes = stdout(&folder.kes(&["status", "-k", "--api"]));
    assert!(routes.lines().any(|line| line.split_whitespace().eq(["GET", "/v1/log/audit", "Inf"])), "{routes}");

    assert_eq!(server.terminate(), Some(0));
    assert!(!folder.kes(&["probe"]).status.success());
}

#[test]
fn a_server_without_a_host_has_all_addresses_of_both_families() {
    let folder = Folder::new();
    let (_, port) = folder.address.rsplit_once(':').unwrap();
    for any in [format!(":{port}"), format!("0.0.0.0:{port}"), format!("'[::]:{port}'")] {
        folder.write("config.yaml", &folder.config("keys").replace(&folder.address, &any));
        let server = folder.serve();
        for host in ["127.0.0.1", "[::1]"] {
            let probed = folder.kes(&["probe", &format!("{host}:{port}")]);
            assert!(probed.status.success(), "{any}: {probed:?}");
        }
        std::net::TcpStream::connect(&folder.address).and_then(|mut client| client.write_all(b"GET / ")).unwrap();
        let told = || support::read(folder.path("stderr").as_ref());
        support::eventually("the log has an address of IPv4", || {
            told().contains("http: TLS handshake error from 127.0.0.1:")
        });
        let second = folder.kes(&["server", "--config", "config.yaml"]);
        let taken = format!("listen tcp {}: bind: address already in use", any.trim_matches('\''));
        let taken = taken.replace("tcp :", "tcp 0.0.0.0:");
        assert!(stderr(&second).contains(&taken), "{second:?}");
        assert_eq!(server.terminate(), Some(0));
    }
}

#[test]
fn keys_are_listed_by_any_beginning_of_their_names() {
    let folder = Folder::new();
    let _server = folder.serve();
    assert!(folder.kes(&["key", "create", "-k", "my-a", "my-b", "my", "_c"]).status.success());
    for (prefix, names) in [
        ("my-*", "Key\nmy-a\nmy-b\n"),
        ("my-", "Key\nmy-a\nmy-b\n"),
        ("my*", "Key\nmy\nmy-a\nmy-b\n"),
        ("_*", "Key\n_c\n"),
        ("*", "Key\n_c\nmy\nmy-a\nmy-b\n"),
        ("your-*", ""),
    ] {
        for verb in [&["key", "ls"][..], &["ls"]] {
            let listed = folder.kes(&[verb, &["-k", prefix]].concat());
            assert_eq!((stdout(&listed).as_str(), listed.status.code()), (names, Some(0)), "{listed:?}");
        }
    }
}

#[test]
fn the_status_of_several_servers_names_those_that_do_not_answer() {
    let folder = Folder::new();
    let _server = folder.serve();
    let (here, nowhere) = (&folder.address, "127.0.0.1:1");
    for servers in [format!("{here},{nowhere}"), format!("{nowhere},{here}")] {
        for arguments in [&["status", "-k"][..], &["status", "-k", "-s"]] {
            let status = folder.command(arguments).env("MINIO_KES_SERVER", &servers).output().unwrap();
            let shown = stdout(&status);
            assert_eq!(
                (status.status.code(), stderr(&status)),
                (Some(1), "Error: no status from 1 of 2 servers\n".into())
            );
            assert!(shown.contains(&format!("● {here}\n")), "{shown}");
            assert!(shown.contains(&format!("○ {nowhere}: kes: connection error: ")), "{shown}");
            assert_eq!(shown.contains("Version"), arguments.len() == 2, "{shown}");
        }
    }
    let both = folder.command(&["status", "-k", "-s"]).env("MINIO_KES_SERVER", format!("{here},{here}")).output();
    assert_eq!(stdout(&both.unwrap()), format!("● {here}\n● {here}\n"));
}

#[test]
fn an_upgraded_configuration_stays_the_file_that_it_was() {
    let folder = Folder::new();
    fs::create_dir(folder.path("real")).unwrap();
    let older = folder.config("keys").replace("admin:\n  identity: ", "root: ");
    std::os::unix::fs::symlink("real/config.yaml", folder.path("link.yaml")).unwrap();
    for round in ["config.yaml.old", "config.yaml.old.2"] {
        folder.write("real/config.yaml", &older);
        fs::set_permissions(folder.path("real/config.yaml"), fs::Permissions::from_mode(0o640)).unwrap();
        let upgraded = folder.kes(&["config", "upgrade", "-w", "link.yaml"]);
        assert!(upgraded.status.success() && stdout(&upgraded).trim_end().ends_with(round), "{upgraded:?}");
        assert!(fs::symlink_metadata(folder.path("link.yaml")).unwrap().is_symlink());
        assert!(!support::read(folder.path("real/config.yaml").as_ref()).contains("root:"));
        assert_eq!(support::read(folder.path(&format!("real/{round}")).as_ref()), older);
        for file in ["config.yaml", round] {
            let mode = fs::metadata(folder.path(&format!("real/{file}"))).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o640, "{file}");
        }
    }
}

#[test]
fn the_certificate_of_the_server_is_verified_by_ssl_cert_file() {
    let folder = Folder::new();
    let _server = folder.serve();

    let trusted = folder.command(&["ls"]).env("SSL_CERT_FILE", folder.path("server.crt")).output().unwrap();
    assert!(trusted.status.success(), "{trusted:?}");
    let made = folder.kes(&["identity", "new", "--key", "other.key", "--cert", "other.crt"]);
    assert!(made.status.success());
    let refused = folder.command(&["ls"]).env("SSL_CERT_FILE", folder.path("other.crt")).output().unwrap();
    assert_eq!(refused.status.code(), Some(1));
    assert!(stderr(&refused).contains("tls: failed to verify certificate"), "{refused:?}");
}

#[test]
fn flags_of_older_servers_are_taken() {
    let folder = Folder::new();
    let config = folder.config("keys");
    folder.write("config.yaml", &config.replace(&format!("admin:\n  identity: {ADMIN}\n"), ""));
    let server = folder.serve_with(&["--root", ADMIN, "--auth=off", "--mlock", "--key", "k", "--cert", "c", "--quiet"]);
    assert!(folder.kes(&["key", "create", "-k", "my-key"]).status.success(), "the flag names the admin");
    let reload = || support::read(folder.path("stdout").as_ref()).matches("SIGHUP signal completed").count();
    server.hang_up();
    support::eventually("it reloads", || reload() == 1);
    assert!(folder.kes(&["key", "info", "-k", "my-key"]).status.success(), "also after a reload");
    let told = support::read(folder.path("stderr").as_ref());
    for flag in ["--root", "--auth", "--mlock", "--key", "--cert", "--quiet"] {
        assert_eq!(told.lines().filter(|line| line.contains(&format!("WARNING: '{flag}' is"))).count(), 1, "{told}");
    }
    assert_eq!(server.terminate(), Some(0));
}

#[test]
fn mistakes_are_one_line() {
    let folder = Folder::new();
    for (arguments, text) in [
        (&["server", "x"][..], "too many arguments. See 'kes server --help'"),
        (&["server", "--x"], "unknown flag: --x. See 'kes server --help'"),
        (&["key", "create"], "no key name specified. See 'kes key create --help'"),
        (&["identity", "info", "--x"], "unknown flag: --x. See 'kes identity info --help'"),
        (&["server", "--dev", "--config", "a"], "'--config' flag is not supported in development mode"),
        (&["server"], "open : no such file or directory"),
        (&["secret", "ls"], "\"secret\" is not a kes command. See 'kes --help'"),
        (&["key", "derive", "ls"], "\"derive\" is not a key command. See 'kes key --help'"),
    ] {
        let output = folder.kes(arguments);
        assert_eq!((stderr(&output), output.status.code()), (format!("Error: {text}\n"), Some(1)), "{arguments:?}");
    }
    let help = folder.kes(&["key", "--help"]);
    assert_eq!((stdout(&help), help.status.code()), (String::new(), Some(2)));
}

#[test]
fn completions_are_printed_for_every_shell() {
    let folder = Folder::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell", "nushell"] {
        let output = folder.kes(&["completion", shell]);
        assert!(output.status.success() && stdout(&output).contains("identity"), "{shell}");
    }
    assert_eq!(folder.kes(&["completion", "cmd"]).status.code(), Some(1));
}

#[test]
fn the_completion_is_installed_once() {
    let folder = Folder::new();
    let install = |shell: &str| {
        let mut command = folder.command(&["--auto-completion"]);
        command.env("HOME", folder.dir.path()).env("SHELL", shell).output().unwrap()
    };
    folder.write(".bashrc", "export A=b");
    for said in ["Added the completion to", "The completion is installed already in"] {
        let output = install("/bin/bash");
        assert!(stdout(&output).starts_with(said), "{output:?}");
    }
    let lines = support::read(folder.path(".bashrc").as_ref());
    assert!(lines.starts_with("export A=b\n") && lines.lines().count() == 2, "{lines}");
    let path = Path::new(env!("CARGO_BIN_EXE_kes")).parent().unwrap();
    let mut bash = std::process::Command::new("/bin/bash");
    bash.args(["-c", "source ~/.bashrc && complete -p kes"]).env("HOME", folder.dir.path());
    let completed = bash.env("PATH", format!("{}:/usr/bin:/bin", path.display())).output().unwrap();
    assert!(stdout(&completed).contains("_kes"), "{completed:?}");

    assert!(install("/usr/bin/zsh").status.success());
    assert!(support::read(folder.path(".zshrc").as_ref()).contains("kes completion zsh"));
    let refused = install("/usr/bin/fish");
    assert!(!refused.status.success() && stderr(&refused).contains("'kes completion <shell>'"), "{refused:?}");
}

/// Whatever the umask lets others do.
#[test]
fn files_with_keys_are_for_their_owner_alone() {
    let folder = Folder::new();
    let open = ["sh", "-c", "umask 000; exec \"$@\"", "sh"];
    let server = folder.serve_through(&open);
    assert!(folder.kes(&["key", "create", "-k", "my-key"]).status.success());
    assert_eq!(server.terminate(), Some(0));
    folder.write("target.yaml", &folder.config("target"));
    let kes = env!("CARGO_BIN_EXE_kes");
    for arguments in [
        &["identity", "new", "--key", "new.key", "--cert", "new.crt"][..],
        &["migrate", "--from", "config.yaml", "--to", "target.yaml"],
    ] {
        let mut command = std::process::Command::new(open[0]);
        command.args(&open[1..]).arg(kes).args(arguments).current_dir(folder.dir.path());
        assert!(command.output().unwrap().status.success(), "{arguments:?}");
    }
    let mode = |name: &str| fs::metadata(folder.path(name)).unwrap().permissions().mode() & 0o777;
    for (name, expected) in
        [("keys", 0o700), ("keys/my-key", 0o600), ("target", 0o700), ("target/my-key", 0o600), ("new.key", 0o600)]
    {
        assert_eq!(mode(name), expected, "{name}: {:o}", mode(name));
    }
}

#[test]
fn a_warning_of_a_keystore_is_in_the_log() {
    let folder = Folder::new();
    let config = folder.config("keys");
    let (before, _) = config.split_once("keystore:").unwrap();
    let azure = "keystore:\n  azure:\n    keyvault:\n      endpoint: http://127.0.0.1:1\n      credentials: \
                 { tenant_id: a, client_id: b, client_secret: c }\n";
    folder.write("config.yaml", &(before.to_owned() + azure));
    let _server = folder.serve_through(&["env", "KES_AZURE_SKIP_DOMAIN_CHECK=on"]);
    let told = support::read(folder.path("stderr").as_ref());
    let is_warning = |line: &&str| line.contains("level=WARN msg=\"KES_AZURE_SKIP_DOMAIN_CHECK is on: ");
    assert_eq!(told.lines().filter(is_warning).count(), 1, "{told}");
}

#[test]
fn a_configuration_can_be_checked() {
    let folder = Folder::new();
    assert!(folder.kes(&["config", "check", "config.yaml"]).status.success());
    folder.write("bad.yaml", "version: v9\n");
    let bad = folder.kes(&["config", "check", "bad.yaml"]);
    assert_eq!(bad.status.code(), Some(1));
    assert!(stderr(&bad).starts_with("Error: bad.yaml: "), "{bad:?}");
}

#[test]
fn a_probe_needs_no_credentials() {
    for auth in ["off", "on"] {
        let folder = Folder::new();
        folder.write("config.yaml", &folder.config("keys").replace("tls:\n", &format!("tls:\n  auth: {auth}\n")));
        let _server = folder.serve();
        let probe = |arguments: &[&str]| {
            let mut command = folder.command(&[&["probe"], arguments].concat());
            command.env_clear().output().unwrap().status.code()
        };
        assert_eq!(probe(&[&folder.address]), Some(0), "auth: {auth}");
        assert_eq!(probe(&["--config", "config.yaml"]), Some(0), "auth: {auth}");
        assert_eq!(probe(&["--ready", &folder.address]), Some(1), "auth: {auth}");
        let as_admin = folder.kes(&["probe", "--ready"]).status.success();
        assert_eq!(as_admin, auth == "off", "with auth on the admin's certificate would need a CA");
    }
}

#[test]
fn a_reload_serves_the_new_policies() {
    let folder = Folder::new();
    let server = folder.serve();
    assert!(stdout(&folder.kes(&["policy", "ls", "-k"])).contains("unused-policy"));
    folder.write("config.yaml", &folder.config("keys").replace("unused-policy", "other-policy"));
    server.hang_up();
    let is_reloaded = (0..100).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(20));
        stdout(&folder.kes(&["policy", "ls", "-k"])).contains("other-policy")
    });
    assert!(is_reloaded);
    assert_eq!(server.terminate(), Some(0));
}

#[test]
fn logs_are_followed() {
    use std::{
        io::{BufRead as _, BufReader},
        process::Stdio,
    };

    let folder = Folder::new();
    let server = folder.serve();
    let mut follower = folder.command(&["log", "-k", "--json"]).stdout(Stdio::piped()).spawn().unwrap();
    let (sender, events) = std::sync::mpsc::channel();
    let reader = BufReader::new(follower.stdout.take().unwrap());
    let thread =
        std::thread::spawn(move || reader.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
    // Only what happens after the subscription is sent: ask again until one event has arrived.
    let event = (0..100).find_map(|number| {
        assert!(folder.kes(&["key", "create", "-k", &format!("key-{number}")]).status.success());
        events.recv_timeout(std::time::Duration::from_millis(100)).ok()
    });
    let event = event.expect("an audit event");
    assert!(event.starts_with("{\"time\":\"") && event.contains("\"path\":\"/v1/key/create/key-"), "{event}");
    // whoever loses the right sees nothing that happens later
    folder.write("config.yaml", &folder.config("keys").replace(ADMIN, "somebody-else"));
    server.hang_up();
    let follower = std::cell::RefCell::new(follower);
    support::eventually("the stream ends", || {
        folder.kes(&["identity", "info", "-k", ADMIN]);
        follower.borrow_mut().try_wait().unwrap().is_some()
    });
    drop(events);
    let _ = thread.join().unwrap();
}

#[test]
fn switches_take_what_go_takes() {
    let folder = Folder::new();
    let _server = folder.serve();
    for switch in ["-k", "--insecure", "-kk", "-k=true", "--insecure=true", "--insecure=1", "--insecure=T"] {
        let output = folder.kes(&["ls", switch]);
        assert!(output.status.success(), "{switch}: {output:?}");
    }
    assert!(folder.kes(&["ls", "-k", "--insecure", "-k=true"]).status.success());
    for switch in ["-k=false", "--insecure=0"] {
        assert!(stderr(&folder.kes(&["ls", switch])).contains("x509"), "{switch}");
        assert!(!folder.kes(&["ls", "-k", switch]).status.success(), "the last one counts: {switch}");
    }
    let refused = folder.kes(&["ls", "--insecure=maybe"]);
    assert_eq!((refused.status.code(), stderr(&refused).lines().count()), (Some(1), 1), "{refused:?}");
    let dev = folder.kes(&["server", "--dev=true", "--config", "config.yaml"]);
    assert_eq!(stderr(&dev), "Error: '--config' flag is not supported in development mode\n");
    let last = folder.kes(&["server", "--dev=false", "--config", "config.yaml", "--config", "none.yaml"]);
    assert_eq!(stderr(&last), "Error: open none.yaml: no such file or directory\n");
    let help = stderr(&folder.kes(&["ls", "--help"]));
    assert!(help.contains("-k, --insecure  ") && !help.contains("[=<"), "{help}");
}

#[test]
fn status_is_shown_line_by_line() {
    let folder = Folder::new();
    let _server = folder.serve();
    let labels = |text: &str| -> Vec<String> {
        text.lines().skip(1).map(|line| line.chars().take(11).collect::<String>().trim_end().to_owned()).collect()
    };
    let status = stdout(&folder.kes(&["status", "-k"]));
    let expected = ["  Version", "  Uptime", "  Latency", "  OS", "  CPUs", "  Memory", "  · Heap", "  · Stack"]
        .map(str::to_owned);
    assert_eq!(labels(&status), expected, "{status}");
    let with_api = stdout(&folder.kes(&["status", "-k", "--api"]));
    assert_eq!(labels(&with_api)[..8], expected, "{with_api}");
    let table: Vec<&str> = with_api.lines().skip(9).collect();
    assert!(table[0].is_empty() && table[1].starts_with("  Method  API  "), "{with_api}");
    assert!(table.iter().any(|line| line.split_whitespace().eq(["GET", "/version", "10s"])), "{with_api}");
    let short = stdout(&folder.kes(&["status", "-k", "-s", "--api"]));
    assert!(short.lines().nth(2).unwrap().starts_with("  Method"), "{short}");
    assert!(stdout(&folder.kes(&["status", "-k", "--api", "--json"])).starts_with("[{\"method\":"));
}

/// The first lines of a command that goes on until it is interrupted, once `action` has made it say them.
fn first_lines(folder: &Folder, arguments: &[&str], count: usize, action: impl Fn(usize)) -> Vec<String> {
    use std::{
        io::{BufRead as _, BufReader},
        process::Stdio,
        sync::mpsc,
        time::Duration,
    };

    let mut command = folder.command(arguments).stdout(Stdio::piped()).spawn().unwrap();
    let reader = BufReader::new(command.stdout.take().unwrap());
    let (sender, receiver) = mpsc::channel();
    let thread =
        std::thread::spawn(move || reader.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
    let mut lines = Vec::new();
    for number in 0..100 {
        action(number);
        while let Ok(line) = receiver.recv_timeout(Duration::from_millis(100)) {
            lines.push(line);
        }
        if lines.len() >= count {
            break;
        }
    }
    command.kill().unwrap();
    command.wait().unwrap();
    drop(receiver);
    let _ = thread.join().unwrap();
    assert!(lines.len() >= count, "{arguments:?}: {lines:?}");
    lines
}

#[test]
fn the_log_is_a_table_wherever_it_goes() {
    let folder = Folder::new();
    let _server = folder.serve();
    let lines = first_lines(&folder, &["log", "-k"], 2, |number| {
        assert!(folder.kes(&["key", "create", "-k", &format!("key-{number}")]).status.success());
    });
    let header =
        "Time        Status    Identity                IP                 API                               Latency";
    assert_eq!(lines[0], header);
    let columns: Vec<&str> = lines[1].split_whitespace().collect();
    assert_eq!(columns[1..4], ["200", &ADMIN[..20], "127.0.0.1"], "{}", lines[1]);
    assert!(columns[4].starts_with("/v1/key/create/key-") && columns[5].ends_with('s'), "{}", lines[1]);
}

#[test]
fn metrics_name_every_counter_from_the_beginning() {
    let folder = Folder::new();
    let _server = folder.serve();
    let lines = first_lines(&folder, &["metric", "-k", "--rate", "100ms"], 1, |_| {});
    let metrics: serde_json::Value = serde_json::from_str(&lines[0]).unwrap();
    for name in
        ["kes_http_request_success", "kes_http_request_error", "kes_http_request_failure", "kes_log_audit_events"]
    {
        assert!(metrics[name].is_u64(), "{name} in {metrics}");
    }
    assert_eq!(metrics["kes_http_request_failure"], 0);
}

#[test]
fn metrics_count_keystore_cache_refusals_and_the_end_of_the_certificate() {
    let folder = Folder::new();
    let _server = folder.serve();
    assert!(folder.kes(&["key", "create", "-k", "counted"]).status.success());
    for _ in 0..3 {
        assert!(folder.kes(&["key", "dek", "-k", "counted"]).status.success());
    }
    assert!(!folder.kes(&["key", "dek", "-k", "missing"]).status.success());
    let stranger = folder.command(&["ls", "-k"]).env("MINIO_KES_API_KEY", STRANGER).output().unwrap();
    assert!(!stranger.status.success());
    let lines = first_lines(&folder, &["metric", "-k", "--rate", "100ms"], 1, |_| {});
    let metrics: serde_json::Value = serde_json::from_str(&lines[0]).unwrap();
    for (name, value) in [
        ("kes_cache_hit", 2),
        ("kes_cache_miss", 2),
        ("kes_cache_offline_hit", 0),
        ("kes_keystore_unreachable", 0),
        ("kes_keystore_error", 0),
        ("kes_keystore_login_failure", 0),
        ("kes_http_refused_policy", 1),
        ("kes_system_mem_keys_unlocked", 0),
    ] {
        assert_eq!(metrics[name], value, "{name} in {metrics}");
    }
    assert!(metrics["kes_system_mem_keys_locked"].as_u64() >= Some(4096), "{metrics}");
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let left = metrics["kes_tls_certificate_end"].as_u64().unwrap() - now;
    assert!((29 * 86_400..=30 * 86_400).contains(&left), "`identity new` makes it for 720 h: {left}");
    assert!(metrics["kes_keystore_get_time"].is_object() && metrics["kes_keystore_create_time"].is_object());
}

#[test]
fn colours_are_there_if_they_are_wanted() {
    let folder = Folder::new();
    let _server = folder.serve();
    assert!(folder.kes(&["key", "create", "-k", "my-key"]).status.success());
    for when in [&["--color", "always"][..], &["--color=always"]] {
        let info = folder.kes(&[&["key", "info", "-k", "my-key"], when].concat());
        assert!(info.status.success() && stdout(&info).contains("\u{1b}["), "{info:?}");
    }
    for when in ["auto", "never"] {
        assert!(!stdout(&folder.kes(&["key", "info", "-k", "my-key", "--color", when])).contains('\u{1b}'), "{when}");
    }
}
