//! `kes` as a user runs it: a server with an fs keystore, keys, files of identities, moving to another keystore.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "test")]

mod support;

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use support::{ADMIN, Folder, stderr, stdout};

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
fn a_key_file_and_certificate_are_credentials_too() {
    let folder = Folder::new();
    let _server = folder.serve();
    let made = folder.kes_with_input(
        &["identity", "new", "app", "--key", "app.key", "--cert", "app.crt", "--encrypt"],
        "sesame\nsesame\n",
    );
    assert!(made.status.success(), "{made:?}");
    let identity = stdout(&folder.kes(&["identity", "of", "app.crt"]));

    let as_app = |password: &str| {
        let mut command = folder.command(&["identity", "info", "-k", &identity]);
        command.env_remove("MINIO_KES_API_KEY");
        command.env("KES_CLIENT_KEY", folder.path("app.key")).env("KES_CLIENT_CERT", folder.path("app.crt"));
        run_with_input(command, password)
    };
    assert!(stderr(&as_app("sesame\n")).contains("Error: not authorized: insufficient permissions"));
    assert!(stderr(&as_app("wrong\n")).contains("Error: incorrect password"));
}

fn run_with_input(mut command: std::process::Command, input: &str) -> std::process::Output {
    use std::{io::Write as _, process::Stdio};

    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

#[test]
fn identity_new_writes_a_private_key_and_a_certificate_for_both_sides() {
    let folder = Folder::new();
    let arguments =
        ["identity", "new", "--key", "a.key", "--cert", "a.crt", "--dns", "a.test,b.test", "--expiry", "1h"];
    let announced = stdout(&folder.kes(&arguments));
    let mode = |name| fs::metadata(folder.path(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("a.key"), mode("a.crt")), (0o600, 0o644));

    let identity = stdout(&folder.kes(&["identity", "of", "a.crt"]));
    let api_key = stdout(&folder.kes(&["identity", "a.key"]));
    assert!(announced.contains(&identity) && announced.contains(&api_key), "{announced}");
    assert_eq!(stdout(&folder.kes(&["identity", "of", &api_key])), identity);

    let der = pem::parse(fs::read(folder.path("a.crt")).unwrap()).unwrap();
    let (_, certificate) = x509_parser::parse_x509_certificate(der.contents()).unwrap();
    assert_eq!(certificate.subject().to_string(), format!("CN={identity}"));
    let validity = certificate.validity().not_after.timestamp() - certificate.validity().not_before.timestamp();
    assert_eq!(validity, 3600);
    let usage = certificate.extended_key_usage().unwrap().unwrap().value;
    assert!(usage.client_auth && usage.server_auth);
    assert_eq!(certificate.subject_alternative_name().unwrap().unwrap().value.general_names.len(), 2);

    let again = folder.kes(&arguments);
    assert!(stderr(&again).contains("already exists"), "{again:?}");
    let pkcs8 = pem::parse(fs::read(folder.path("a.key")).unwrap()).unwrap();
    assert_eq!((pkcs8.tag(), pkcs8.contents().len()), ("PRIVATE KEY", 48));
}

#[test]
fn files_have_flags_of_their_own() {
    let folder = Folder::new();
    for flag in [&["--ip", "127.0.0.1"][..], &["--dns", "a"], &["--expiry", "1h"], &["--encrypt"], &["--force"]] {
        let output = folder.kes(&[&["identity", "new"], flag].concat());
        assert_eq!(output.status.code(), Some(1), "{flag:?}");
        assert!(stdout(&output).is_empty(), "{flag:?}");
    }
}

#[test]
fn the_older_spelling_of_identity_still_works() {
    let folder = Folder::new();
    let made = folder.kes(&["tool", "identity", "new", "--server", "--ip", "127.0.0.1", "--time", "1h", "name"]);
    assert!(made.status.success(), "{made:?}");
    let identity = folder.kes(&["tool", "identity", "of", "public.crt"]);
    assert_eq!(stdout(&identity), stdout(&folder.kes(&["identity", "of", "public.crt"])));
    assert_eq!(stdout(&identity).len(), ADMIN.len());
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
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
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

/// As a shell script reads it: `sed -n 3p` is the API key, `sed -n 9p` the identity.
#[test]
fn identity_new_says_everything_on_the_lines_where_scripts_look_for_it() {
    let folder = Folder::new();
    let line = |text: &str, number: usize| text.lines().nth(number - 1).unwrap_or_default().trim().to_owned();
    let plain = stdout(&folder.kes(&["identity", "new"]));
    let (api_key, identity) = (line(&plain, 3), line(&plain, 9));
    assert!(plain.starts_with("Your API key:\n\n   kes:v1:") && line(&plain, 7) == "Your Identity:", "{plain}");
    assert_eq!(stdout(&folder.kes(&["identity", "of", &api_key])), identity);
    assert_eq!((line(&plain, 16), plain.lines().count()), (format!("kes identity of {api_key}"), 16));

    let files = stdout(&folder.kes(&["identity", "new", "--key", "a.key", "--cert", "a.crt"]));
    assert!(line(&files, 14).ends_with(": a.key") && line(&files, 15).ends_with(": a.crt"), "{files}");
    assert_eq!(line(&files, 19), format!("kes identity of {}", line(&files, 3)));
    assert_eq!((line(&files, 20).as_str(), files.lines().count()), ("kes identity of a.crt", 20));
}

#[test]
fn a_certificate_may_end_before_it_begins() {
    let folder = Folder::new();
    for (expiry, life) in [("0", 0), ("-1h", -3600), ("0s", 0), ("1h", 3600)] {
        let made = folder.kes(&["identity", "new", "-f", "--key", "a.key", "--cert", "a.crt", "--expiry", expiry]);
        assert!(made.status.success(), "{expiry}: {made:?}");
        assert_eq!(stderr(&made).contains("expired already"), life <= 0, "{expiry}: {made:?}");
        let der = pem::parse(fs::read(folder.path("a.crt")).unwrap()).unwrap();
        let (_, certificate) = x509_parser::parse_x509_certificate(der.contents()).unwrap();
        let validity = certificate.validity().not_after.timestamp() - certificate.validity().not_before.timestamp();
        assert_eq!(validity, life, "{expiry}");
    }
}

/// One line on standard error, nothing on standard output, exit code 1; and no secret of the command line in it.
#[test]
fn what_has_no_identity_is_one_line() {
    let folder = Folder::new();
    let key = support::ADMIN_API_KEY.trim_start_matches("kes:v1:");
    folder.write("not.pem", "-----BEGIN NOTHING-----\n\u{1b}[2J\n");
    for arguments in
        [&["server.key"][..], &["a", "b"], &["kes:v1:!!"], &["kes:v1:AAAA"], &[key], &["nofile"], &["not.pem"], &["."]]
    {
        let output = folder.kes(&[&["identity", "of"], arguments].concat());
        let text = stderr(&output);
        assert_eq!(
            (output.status.code(), stdout(&output), text.lines().count()),
            (Some(1), String::new(), 1),
            "{text}"
        );
        assert!(text.starts_with("Error: ") && !text.contains(key) && !text.contains('\u{1b}'), "{text}");
    }
    let of_key = stderr(&folder.kes(&["identity", "of", "server.key"]));
    assert!(of_key.contains("'server.key' is not a certificate: it is a private key"), "{of_key}");
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
