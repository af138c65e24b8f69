//! `kes identity`, and the files and keys that are credentials.

use std::{fs, os::unix::fs::PermissionsExt as _};

use crate::support::{self, ADMIN, Folder, stderr, stdout};

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

/// Tools label keys badly, and write other blocks before them.
#[test]
fn a_key_counts_by_its_content() {
    let folder = Folder::new();
    let server_key = support::read(folder.path("server.key").as_ref());
    folder.write("server.key", &server_key.replace("PRIVATE KEY", "RSA PRIVATE KEY"));
    let _server = folder.serve();
    let new = ["identity", "new", "--key", "app.key", "--cert", "app.crt", "--encrypt"];
    assert!(folder.kes_with_input(&new, "sesame\nsesame\n").status.success());
    let key = support::read(folder.path("app.key").as_ref()).replace("PRIVATE KEY", "EC PRIVATE KEY");
    folder.write("app.key", &format!("{}{key}", support::read(folder.path("app.crt").as_ref())));
    let mut command = folder.command(&["key", "ls", "-k"]);
    command.env_remove("MINIO_KES_API_KEY");
    command.env("KES_CLIENT_KEY", folder.path("app.key")).env("KES_CLIENT_CERT", folder.path("app.crt"));
    let answer = run_with_input(command, "sesame\n");
    assert!(stderr(&answer).contains("Error: failed to list keys: not authorized"), "{answer:?}");
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

/// Nothing is replaced unless both files can be.
#[test]
fn a_new_identity_replaces_both_files_or_none() {
    let folder = Folder::new();
    let made = |key: &str, cert: &str| folder.kes(&["identity", "new", "--force", "--key", key, "--cert", cert]);
    let files = || {
        let names = fs::read_dir(folder.dir.path()).unwrap().map(|entry| entry.unwrap().path());
        names.filter(|path| path.is_file()).map(|path| (path.clone(), fs::read(path).unwrap())).collect::<Vec<_>>()
    };
    assert!(made("a.key", "a.crt").status.success());
    fs::create_dir(folder.path("folder")).unwrap();
    let before = files();
    for (key, cert, why) in [
        ("a.key", "nowhere/a.crt", "no such file or directory"),
        ("nowhere/a.key", "a.crt", "no such file or directory"),
        ("a.key", "folder", "'folder' is a folder"),
        ("folder", "a.crt", "'folder' is a folder"),
        ("a.key", "a.key", "need a file each"),
    ] {
        let refused = made(key, cert);
        assert_eq!(refused.status.code(), Some(1), "{key} {cert}");
        assert!(stderr(&refused).contains(why), "{key} {cert}: {refused:?}");
        assert_eq!(files(), before, "{key} {cert}");
    }
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
