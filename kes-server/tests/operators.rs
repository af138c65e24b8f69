//! Messages for operators: by a start and a reload that refuse, by `kes policy explain`, by warnings and the log.
#![allow(clippy::unwrap_used, clippy::panic, reason = "test")]

mod support;

use support::{ADMIN, Folder, stderr, stdout};

/// The configuration of a folder with one policy more.
fn with_policy(folder: &Folder, policy: &str) -> String {
    folder.config("keys").replacen("policy:\n", &format!("policy:\n  {policy}\n"), 1)
}

#[test]
fn dead_deny_rules_end_a_start_and_a_check_but_not_with_the_flag() {
    let folder = Folder::new();
    let dead =
        |name: &str| with_policy(&folder, &format!("{name}: {{ allow: ['/v1/*'], deny: ['/v1/key/*/secret'] }}"));
    folder.write("config.yaml", &dead("app"));
    for arguments in [["server", "--config", "config.yaml"], ["config", "check", "config.yaml"]] {
        let refused = folder.kes(&arguments);
        let told = stderr(&refused);
        assert_eq!(refused.status.code(), Some(1), "{told}");
        assert!(told.contains("deny rule '/v1/key/*/secret' matches nothing") && told.contains("--allow-dead-rules"));
    }
    assert!(folder.kes(&["config", "check", "config.yaml", "--allow-dead-rules"]).status.success());
    let server = folder.serve_with(&["--allow-dead-rules"]);
    folder.write("config.yaml", &dead("other"));
    server.hang_up();
    let told = || support::read(folder.path("stderr").as_ref());
    support::eventually("a reload names it", || told().contains("policy 'other': deny rule"));
    assert_eq!(server.terminate(), Some(0));
}

#[test]
fn policies_are_explained() {
    let folder = Folder::new();
    let policy = "app: { allow: ['/v1/key/*'], deny: ['/v1/key/delete/*'], identities: [abc] }";
    folder.write("config.yaml", &with_policy(&folder, policy));
    let _server = folder.serve();
    for (identity, path, code, text) in [
        ("abc", "/v1/key/create/a", 0, "allowed: accepted by policy 'app': allow rule '/v1/key/*' matches\n"),
        ("abc", "/v1/key/delete/a", 1, "denied: rejected by policy 'app': deny rule '/v1/key/delete/*' matches\n"),
        ("abc", "/v1/status", 1, "denied: rejected by policy 'app': no allow rule matches\n"),
        ("nobody", "/v1/status", 1, "denied: identity not found\n"),
        ("nobody", "/version", 0, "allowed: everybody may call it\n"),
        (ADMIN, "/v1/status", 0, "allowed: the admin may call everything\n"),
    ] {
        for more in [["-k"].as_slice(), &["--config", "config.yaml"]] {
            let explained = folder.kes(&[&["policy", "explain", identity, path], more].concat());
            assert_eq!((stdout(&explained).as_str(), explained.status.code()), (text, Some(code)), "{explained:?}");
        }
    }
    for (path, code, text) in [
        (
            "/v1/key/genrate/a",
            1,
            "denied: no route has this path, or the name in it is not valid (accepted by policy 'app'",
        ),
        (
            "/v1/key/create/a*",
            1,
            "denied: no route has this path, or the name in it is not valid (accepted by policy 'app'",
        ),
        (
            "/v1/key/list",
            0,
            "allowed: accepted by policy 'app': allow rule '/v1/key/*' matches; policies are asked about ",
        ),
    ] {
        for more in [["-k"].as_slice(), &["--config", "config.yaml"]] {
            let explained = folder.kes(&[&["policy", "explain", "abc", path], more].concat());
            assert!(stdout(&explained).starts_with(text) && explained.status.code() == Some(code), "{explained:?}");
        }
    }
    let json = stdout(&folder.kes(&["policy", "explain", "-k", "--json", "abc", "/v1/key/delete/a"]));
    assert!(json.contains(r#""allowed":false,"policy":"app","rule":"/v1/key/delete/*""#), "{json}");
}

/// What `kes policy explain` says is what the server does, also where the path of the call is not that of the rule.
#[test]
fn an_explanation_agrees_with_the_server() {
    let folder = Folder::new();
    let made = folder.kes(&["identity", "new", "--key", "stranger.key", "--cert", "stranger.crt"]);
    assert!(made.status.success());
    let identity = stdout(&folder.kes(&["identity", "of", "stranger.crt"]));
    let policy = format!("app: {{ allow: [/v1/key/list, '/v1/policy/list/*'], identities: [{identity}] }}");
    let api = "api: { /v1/key/create/: { skip_auth: true }, /v1/key/describe/my-key: { skip_auth: true } }\n";
    folder.write("config.yaml", &(with_policy(&folder, &policy) + api));
    let _server = folder.serve();
    let curl = |method: &str, path: &str| {
        let mut curl = std::process::Command::new("curl");
        curl.current_dir(folder.dir.path()).args(["-sk", "-o", "answer", "-w", "%{http_code}", "-X", method]);
        curl.args(["--cert", "stranger.crt", "--key", "stranger.key"]);
        stdout(&curl.arg(format!("https://{}{path}", folder.address)).output().unwrap())
    };
    for (method, path, status) in [
        ("GET", "/v1/key/list", "403"),
        ("GET", "/v1/policy/list", "200"),
        ("PUT", "/v1/key/create/my-key", "200"),
        ("PUT", "/v1/key/create/my.key", "400"),
        ("GET", "/v1/key/describe/my-key", "403"),
    ] {
        assert_eq!(curl(method, path), status, "{path}");
        let explained = folder.kes(&["policy", "explain", &identity, path, "--config", "config.yaml"]);
        assert_eq!(explained.status.code(), Some(i32::from(status != "200")), "{path}: {explained:?}");
    }
}

#[test]
fn a_server_without_a_configuration_is_volatile_and_says_so() {
    let folder = Folder::new();
    let started =
        ["--addr", &folder.address, "--key", "server.key", "--cert", "server.crt", "--root", ADMIN, "--auth=off"];
    let server = folder.serve_as(&[&["server"], started.as_slice()].concat());
    assert!(folder.kes(&["key", "create", "-k", "my-key"]).status.success());
    let told = support::read(folder.path("stderr").as_ref());
    assert!(told.contains("KEYS ARE IN MEMORY ONLY") && !told.contains("is ignored"), "{told}");
    assert!(!folder.dir.path().join("keys").exists());
    assert_eq!(server.terminate(), Some(0));
    let incomplete = folder.kes(&["server", "--key", "server.key", "--root", ADMIN]);
    assert!(stderr(&incomplete).contains("no '--cert'"), "{incomplete:?}");
    let other = folder.kes(&["server", "--key", "k", "--cert", "c", "--root", ADMIN, "--auth", "maybe"]);
    assert!(stderr(&other).contains("'--auth' must be 'on' or 'off'"), "{other:?}");
}

#[test]
fn the_certificate_of_a_ca_is_not_a_clients_and_that_is_said() {
    let folder = Folder::new();
    let _server = folder.serve();
    let mut ca = rcgen::CertificateParams::default();
    ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let key = rcgen::KeyPair::generate().unwrap();
    folder.write("ca.crt", &ca.self_signed(&key).unwrap().pem());
    folder.write("ca.key", &key.serialize_pem());
    let of = folder.kes(&["identity", "of", "ca.crt"]);
    assert_eq!((of.status.code(), stdout(&of).len()), (Some(0), 64));
    assert!(stderr(&of).contains("is the certificate of a CA"), "{of:?}");
    let mut as_ca = folder.command(&["key", "ls", "-k"]);
    as_ca.env_remove("MINIO_KES_API_KEY");
    as_ca.env("KES_CLIENT_KEY", folder.path("ca.key")).env("KES_CLIENT_CERT", folder.path("ca.crt"));
    let refused = as_ca.output().unwrap();
    assert!(stderr(&refused).contains("tls: client certificate is required"), "{refused:?}");
    let told = || support::read(folder.path("stderr").as_ref());
    support::eventually("the log says why", || told().contains("certificate is that of a CA"));
}

#[test]
fn refused_client_certificates_are_named_with_the_reason() {
    let folder = Folder::new();
    let openssl = |arguments: &str| {
        let mut openssl = std::process::Command::new("openssl");
        let made = openssl.current_dir(folder.dir.path()).args(arguments.split(' ')).output().unwrap();
        assert!(made.status.success(), "{made:?}");
    };
    openssl("req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.crt -days 2 -subj /CN=ca");
    folder.write("v3", "basicConstraints=CA:FALSE\n");
    folder.write(
        "openssl.cnf",
        "openssl_conf = c\n[c]\nssl_conf = s\n[s]\nsystem_default = d\n[d]\nCipherString = DEFAULT@SECLEVEL=0\n",
    );
    for (name, bits, extensions) in [("old", "2048", ""), ("short", "1024", " -extfile v3")] {
        openssl(&format!("req -new -newkey rsa:{bits} -nodes -keyout {name}.key -out {name}.csr -subj /CN={name}"));
        let from = format!("x509 -req -in {name}.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -out {name}.crt");
        openssl(&(from + extensions));
    }
    folder.write("config.yaml", &folder.config("keys").replacen("tls:\n", "tls:\n  auth: on\n  ca: ca.crt\n", 1));
    let _server = folder.serve();
    for (name, why) in [("old", "it is X.509 v1, not v3"), ("short", "its RSA key has 1024 bits, not 2048 or more")] {
        let mut curl = std::process::Command::new("curl");
        // else the client's library does not even take the short key
        curl.current_dir(folder.dir.path()).env("OPENSSL_CONF", folder.path("openssl.cnf")).arg("-sk");
        curl.args(["--cert", &format!("{name}.crt"), "--key", &format!("{name}.key")]);
        assert!(!curl.arg(format!("https://{}/version", folder.address)).output().unwrap().status.success(), "{name}");
        let identity = stdout(&folder.kes(&["identity", "of", &format!("{name}.crt")]));
        let expected = format!("the certificate of 'CN={name}' with identity {identity} is refused: {why}");
        let told = || support::read(folder.path("stderr").as_ref());
        support::eventually(&format!("{expected} in {}", told()), || told().contains(&expected));
    }
}
