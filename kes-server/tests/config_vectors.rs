//! Configuration files of MinIO KES, good and bad, and what it says of them (docs/kes-protocol.md §4, §12).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "test")]

use std::fs;

use kes_server::config::{Config, ConfigError, Jwt, KeyStoreConfig, Kubernetes, Overrides, VaultAuth};
use serde_json::Value;

/// Files that MinIO KES refuses for what is not in them: reading must accept these.
const DECIDED_LATER: [(&str, &[&str]); 5] = [
    (
        "opens the TLS files",
        &[
            "key missing file",
            "cert missing file",
            "mismatch",
            "nosan",
            "cert file has key",
            "key is cert only",
            "cert garbage",
            "enc no pw",
            "enc bad pw",
            "pkcs8 enc",
            "ca missing",
            "ca bad",
        ],
    ),
    ("asks the folder", &["fs path is file", "keys empty name", "keys bad name"]),
    ("opens the token's file", &["ks vault k8s jwt file"]),
    ("calls the vault", &["ks vault name legacy"]),
    ("listens", &["addr inuse"]),
];

/// Files that the last release of MinIO KES refuses, and that are read in their older meaning.
const OLDER: [&str; 1] = ["root legacy"];

/// Files that MinIO KES refuses because `true` comes from the environment.
const ENVIRONMENT: [&str; 2] = ["api env bool", "api env bool blk"];

/// Files at which MinIO KES crashes.
const CRASHES: [(&str, &str); 1] =
    [("ks entrust5 nocred", "kesconf: invalid Entrust KeyControl keystore: no username specified")];

fn parse(text: &str) -> Result<Config, ConfigError> {
    let vectors: Value = serde_json::from_str(include_str!("data/kes-vectors.json")).unwrap();
    let env = vectors["config"]["env"].clone();
    Config::parse(text, &|name| env[name].as_str().map(str::to_owned))
}

fn cases() -> Vec<Value> {
    let vectors: Value = serde_json::from_str(include_str!("data/kes-vectors.json")).unwrap();
    vectors["config"]["cases"].as_array().unwrap().clone()
}

fn case(label: &str) -> String {
    let case = cases().into_iter().find(|case| case["label"] == label).expect(label);
    case["yaml"].as_str().unwrap().to_owned()
}

#[test]
fn files_are_accepted_and_refused_as_by_the_original() {
    let mut wrong = Vec::new();
    for case in cases() {
        let label = case["label"].as_str().unwrap();
        let said = parse(case["yaml"].as_str().unwrap()).err().map(|error| error.to_string());
        let later = DECIDED_LATER.iter().any(|(_, labels)| labels.contains(&label));
        let crash = CRASHES.iter().find(|(crash, _)| *crash == label).map(|(_, text)| *text);
        let right = if case["started"] == true || later || OLDER.contains(&label) || ENVIRONMENT.contains(&label) {
            said.is_none()
        } else if let Some(lines) = case["error_lines"].as_array() {
            said.as_deref().is_some_and(|said| names_lines(said, lines))
        } else {
            let expected = crash.or_else(|| case["error"].as_str()?.strip_prefix("Error: "));
            // keys that are not known are named behind
            said.as_deref().and_then(|said| said.split("; not known: ").next()) == Some(expected.expect(label))
        };
        if !right {
            wrong.push(format!("{label}: said {said:?}, not {} {}", case["error"], case["error_lines"]));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// One `line N:` per mistake. Of a double key, the vector has both lines in one mistake: where it stands again, and
/// where first.
fn names_lines(said: &str, lines: &[Value]) -> bool {
    let Some(mistakes) = said.strip_prefix("yaml: unmarshal errors:\n") else { return false };
    if let Some((again, first)) = mistakes.split_once(" already defined at line ") {
        let again = again.starts_with(&format!("  line {}: mapping key ", lines[0]));
        return again && first.parse().ok() == lines[1].as_u64();
    }
    let starts: Vec<_> = lines.iter().map(|line| format!("  line {line}: cannot unmarshal ")).collect();
    mistakes.lines().count() == starts.len()
        && mistakes.lines().zip(&starts).all(|(said, start)| said.starts_with(start))
}

#[test]
fn every_exception_is_a_case() {
    let cases = cases();
    let labels = DECIDED_LATER
        .iter()
        .flat_map(|(_, labels)| *labels)
        .chain(CRASHES.iter().map(|(label, _)| label))
        .chain(&OLDER)
        .chain(&ENVIRONMENT);
    for label in labels {
        assert!(cases.iter().any(|case| case["label"] == *label && case["started"] == false), "{label}");
        assert!(include_str!("../README.md").contains(&format!("`{label}`")), "{label} is not in the README");
    }
}

#[test]
fn a_token_file_that_is_missing_is_told_when_it_is_read() {
    let config = parse(&case("ks vault k8s jwt file")).unwrap();
    let KeyStoreConfig::Vault(vault) = config.keystore else { panic!("{:?}", config.keystore) };
    let VaultAuth::Kubernetes(Kubernetes { jwt: jwt @ Jwt::File(_), .. }) = vault.auth else { panic!("no file") };
    let text = "kesconf: failed to read vault kubernetes JWT from '/nope/x': open /nope/x: no such file or directory";
    assert_eq!(jwt.read().unwrap_err().to_string(), text);
}

#[test]
fn anchors_and_merge_keys_and_variables_are_followed() {
    for label in ["anchors", "merge", "cache env"] {
        assert_eq!(parse(&case(label)).unwrap().cache.any.as_secs(), 7, "{label}");
    }
    let env = parse(&case("log env")).unwrap();
    assert_eq!((env.error_level.0, env.audit_level.0), (4, 4));
    assert_eq!(parse(&case("tls password")).unwrap().tls.password.unwrap().as_str(), "secret");
}

/// A file that is complete but for its keystore.
fn with(rest: &str) -> Config {
    parse(&format!("admin: {{identity: a}}\ntls: {{key: k, cert: c, password: s3cret}}\n{rest}")).unwrap()
}

#[test]
fn backends_are_named_as_in_the_banner() {
    for (keystore, name) in [
        ("fs: {path: /k}", "Filesystem: /k"),
        ("vault: {endpoint: e, approle: {id: a, secret: s3cret}}", "Hashicorp Vault: e"),
        ("aws: {secretsmanager: {endpoint: e, region: r, credentials: {secretkey: s3cret}}}", "AWS SecretsManager: e"),
        (
            "gcp: {secretmanager: {project_id: p, credentials: \
             {client_email: m, client_id: i, private_key: s3cret, private_key_id: k}}}",
            "GCP SecretManager: Project=p",
        ),
        (
            "azure: {keyvault: {endpoint: e, credentials: {tenant_id: t, client_id: c, client_secret: s3cret}}}",
            "Azure KeyVault: e",
        ),
        ("fortanix: {sdkms: {endpoint: e, credentials: {key: s3cret}}}", "Fortanix SDKMS: e"),
        ("gemalto: {keysecure: {endpoint: e, credentials: {token: s3cret}}}", "Gemalto KeySecure: e"),
        (
            "entrust: {keycontrol: {endpoint: e, vault_id: v, box_id: b, credentials: {username: u, password: s3cret}}}",
            "Entrust KeyControl: e",
        ),
    ] {
        let config = with(&format!("keystore: {{{keystore}}}\n"));
        assert_eq!(config.keystore.display(), name);
        assert!(!format!("{config:?}").contains("s3cret"), "{name} shows its secrets");
        assert!(config.warnings.is_empty(), "{:?}", config.warnings);
    }
}

#[test]
fn incomplete_credentials_of_gcp_are_refused() {
    let head =
        "admin: {identity: a}\ntls: {key: k, cert: c}\nkeystore: {gcp: {secretmanager: {project_id: p, credentials: ";
    for (credentials, missing) in [
        ("{client_id: i}", "email"),
        ("{client_email: m}", "ID"),
        ("{client_email: m, client_id: i, private_key_id: k}", "private key"),
        ("{client_email: m, client_id: i, private_key: k}", "private key ID"),
    ] {
        let error = parse(&format!("{head}{credentials}}}}}}}\n")).unwrap_err();
        assert_eq!(error.to_string(), format!("gcp: no client {missing} provided"));
    }
}

#[test]
fn old_spellings_keep_their_meaning_and_warn() {
    let old =
        with("root: r\nkeys: {fs: {path: /k}}\npolicy: {p: {paths: [/v1/status]}, q: {paths: [/x], allow: [/y]}}\n");
    assert_eq!(old.keystore.display(), "Filesystem: /k");
    assert!(old.keys.is_empty());
    let policies = old.access.policies();
    assert_eq!((&policies["p"].allow[0], &policies["q"].allow[0]), (&"/v1/status".to_owned(), &"/y".to_owned()));
    assert_eq!(old.access.admin().as_str(), "a");
    // four spellings, and a rule for a path that is not there
    assert_eq!(old.warnings.len(), 5, "{:?}", old.warnings);

    let aws = with("keystore: {secretsmanager: {endpoint: e, region: r}}\n");
    assert_eq!(aws.keystore.display(), "AWS SecretsManager: e");
    assert_eq!(aws.warnings.len(), 1, "{:?}", aws.warnings);
}

#[test]
fn an_admin_of_the_command_line_counts_if_the_file_names_none() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.yaml");
    let load = |admin: &str, flag: Option<&str>| {
        fs::write(&file, format!("{admin}\ntls: {{key: k, cert: c}}\nkeystore: {{fs: {{path: /k}}}}\n")).unwrap();
        let config = Config::load_for(Overrides { admin: flag, ..Overrides::default() }, &file, &|_| None)?;
        Ok::<_, ConfigError>((config.admin().to_string(), config.warnings.join("; ")))
    };
    let (admin, warnings) = load("", Some("flag")).unwrap();
    assert!(admin == "flag" && warnings.contains("use 'admin.identity'"), "{admin}: {warnings}");
    assert_eq!(load("admin: {identity: \"\"}", Some("flag")).unwrap().0, "flag");
    let ignored = "'--root' is ignored: the configuration file names another admin";
    assert_eq!(load("admin: {identity: file}", Some("flag")).unwrap(), ("file".into(), ignored.into()));
    let (admin, warnings) = load("root: file", Some("flag")).unwrap();
    assert!(admin == "file" && warnings.ends_with(ignored), "{admin}: {warnings}");
    assert_eq!(load("admin: {identity: flag}", Some("flag")).unwrap(), ("flag".into(), String::new()));
    for nobody in [None, Some("")] {
        assert_eq!(load("", nobody).unwrap_err().to_string(), "kesconf: invalid admin identity: no admin identity");
    }
}

#[test]
fn proxies_are_refused_rather_than_without_effect() {
    let head = "admin: {identity: a}\nkeystore: {fs: {path: /k}}\n";
    let proxied = |proxy: &str| parse(&format!("{head}tls: {{key: k, cert: c, proxy: {proxy}}}\n"));
    let refused = proxied("{identities: [p], header: {cert: X-Tls-Client-Cert}}").unwrap_err().to_string();
    assert!(refused.contains("remove tls.proxy"), "{refused}");
    assert_eq!(proxied("{identities: [], header: {cert: X-Tls-Client-Cert}}").unwrap().warnings, Vec::<String>::new());
}

/// What MinIO KES takes or refuses, in its words where it has some.
#[test]
fn unusual_texts_are_read_as_by_the_original() {
    let head = "admin: {identity: a}\ntls: {key: k, cert: c}\nkeystore: {fs: {path: /k}}\n";
    let said = |more: &str| parse(&format!("{head}{more}")).err().map(|error| error.to_string());
    assert_eq!(said("version: null\n").as_deref(), Some("edge: invalid server config version 'null'"));
    assert_eq!(said("version: ~\n").as_deref(), Some("edge: invalid server config version '~'"));
    assert_eq!(said("version:\n"), None);
    let control = "yaml: line 4: control characters are not allowed";
    for character in ["\u{1}", "\u{7f}", "\u{0}", "\u{9f}"] {
        assert_eq!(said(&format!("x: a{character}b\n")).as_deref(), Some(control), "{character:?}");
    }
    assert_eq!(said("x: \"a\\u0001b\"\ny: \"\u{85}\"\n"), None, "an escape is not a control character");
    let unnamed = "yaml: unmarshal errors:\n  line 4: cannot unmarshal !!seq into string";
    assert_eq!(said("? [a]\n: b\n").as_deref(), Some(unnamed));
    assert_eq!(said("x:\n  ? [a]\n  : b\n"), None, "nobody reads it");
    let deep: Vec<_> = (0..300).map(|depth| format!("{}x:\n", " ".repeat(depth))).collect();
    assert_eq!(said(&deep.concat()), None);
    assert_eq!(said(&format!("x: {}1{}\n", "[".repeat(250), "]".repeat(250))), None);
    assert_eq!(said("address: ':https'\n"), None);
}

#[test]
fn templates_may_leave_empty_items() {
    let head = "admin: {identity: a}\ntls: {key: k, cert: c}\nkeystore: {fs: {path: /k}}\n";
    let text = format!(
        "{head}policy:\n  p:\n    allow: [~, /v1/status]\n    identities:\n    -\n    - null\n    - b\nkeys:\n-\n- name: k\n"
    );
    let config = parse(&text).unwrap();
    assert_eq!(config.access.assigned().keys().map(ToString::to_string).collect::<Vec<_>>(), ["b"]);
    assert_eq!(
        (&config.access.policies()["p"].allow[..], &config.keys[..]),
        (&["/v1/status".to_owned()][..], &["k".to_owned()][..])
    );
    assert!(parse(&text.replace("- null", "- ''")).is_err(), "an empty text is not nothing");
}

#[test]
fn booleans_may_come_from_the_environment() {
    let head = "admin: {identity: a}\ntls: {key: k, cert: c}\nkeystore: {fs: {path: /k}}\n";
    let skips = |value: &'static str| {
        let text = format!("{head}api:\n  /v1/ready:\n    skip_auth: ${{B}}\n");
        let config = Config::parse(&text, &|name| (name == "B").then(|| value.to_owned()));
        config.map(|config| config.api["/v1/ready"].skip_auth).map_err(|error| error.to_string())
    };
    for (value, expected) in
        [("true", true), ("True", true), ("on", true), ("false", false), ("FALSE", false), ("n", false)]
    {
        assert_eq!(skips(value), Ok(expected), "{value}");
    }
    let said = "yaml: unmarshal errors:\n  line 6: cannot unmarshal the value of 'B' into bool";
    assert_eq!(skips("maybe"), Err(said.into()));
}

/// A secret in the wrong place is not shown.
#[test]
fn a_mistake_shows_nothing_that_may_be_a_secret() {
    let head = "admin: {identity: a}\ntls: {key: k, cert: c}\n";
    for text in [
        "keystore: {vault: {endpoint: e, approle: hunter2}}\n",
        "keystore: {vault: {endpoint: e, approle: {id: [hunter2], secret: x}}}\n",
        "keystore: {aws: {secretsmanager: {endpoint: e, credentials: hunter2}}}\n",
        "keystore: {fs: hunter2}\n",
        "keystore: {fs: {path: /k}}\ncache: {expiry: {any: \"${SECRET}\"}}\n",
        "keystore: {fs: {path: /k}}\napi: {/v1/ready: {skip_auth: \"${SECRET}\"}}\n",
    ] {
        let config = Config::parse(&format!("{head}{text}"), &|name| (name == "SECRET").then(|| "hunter2".into()));
        let told = config.unwrap_err().to_string();
        assert!(told.contains("line ") && !told.contains("hunter2"), "{text}: {told}");
    }
}

#[test]
fn the_command_line_replaces_an_address_that_cannot_be_used() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.yaml");
    let text = "address: localhost\nadmin: {identity: a}\ntls: {key: k, cert: c}\nkeystore: {fs: {path: /k}}\n";
    fs::write(&file, text).unwrap();
    assert!(Config::load(&file, &|_| None).is_err());
    let address = Some("127.0.0.1:1".parse().unwrap());
    let config = Config::load_for(Overrides { address, ..Overrides::default() }, &file, &|_| None).unwrap();
    assert_eq!(config.address.to_string(), "127.0.0.1:1");
}

#[test]
fn a_refused_section_has_its_unknown_keys_named() {
    let refused = |text: &str| parse(text).unwrap_err().to_string();
    let rest = "tls: {key: k, cert: c}\n";
    assert_eq!(
        refused(&format!("admin: {{identity: a}}\n{rest}keystore: {{fs: {{pth: /k}}}}\n")),
        "kesconf: invalid fs keystore: no path specified; not known: 'keystore.fs.pth' (is it 'path'?)"
    );
    assert_eq!(
        refused(&format!("admin: {{identitiy: a}}\n{rest}keystore: {{fs: {{path: /k}}}}\n")),
        "kesconf: invalid admin identity: no admin identity; not known: 'admin.identitiy' (is it 'identity'?)"
    );
}

#[test]
fn rules_that_match_nothing_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.yaml");
    let load = |rules: &str, allows_dead_rules| {
        let head = "admin: {identity: a}\ntls: {key: k, cert: c}\nkeystore: {fs: {path: /k}}\n";
        fs::write(&file, format!("{head}policy: {{p: {{{rules}}}}}\napi: {{/v1/redy: {{skip_auth: on}}}}\n")).unwrap();
        let config = Config::load_for(Overrides { allows_dead_rules, ..Overrides::default() }, &file, &|_| None)?;
        Ok::<_, ConfigError>(config.warnings)
    };
    let api = "'api./v1/redy' is not a route of the API and has no effect; is it '/v1/ready'?";
    let misspelt = "policy 'p': allow rule '/v1/key/genrate/*' matches nothing: it is not a path of the API; \
                    is it '/v1/key/generate/*'?";
    assert_eq!(load("allow: [/v1/key/genrate/*]", false).unwrap(), [misspelt, api]);
    let dead = "deny: ['/v1/key/*/my-key-internal'], allow: [/v1/key/*]";
    let refused = load(dead, false).unwrap_err().to_string();
    assert!(refused.contains("'/v1/key/*/my-key-internal' matches nothing"), "{refused}");
    assert!(refused.ends_with("use --allow-dead-rules"), "{refused}");
    assert_eq!(load(dead, true).unwrap().len(), 2);
    assert_eq!(load("deny: [/v1/secret/*], allow: [/v1/key/*]", false).unwrap().len(), 2, "nobody can call it anyway");
}

#[test]
fn hostile_files_neither_crash_nor_hang() {
    let deep = format!("{}1{}", "[".repeat(5000), "]".repeat(5000));
    assert!(matches!(parse(&format!("x: {deep}\n")), Err(ConfigError::Yaml(_))));
    assert!(matches!(parse("x: &x [*x]\n"), Err(ConfigError::Yaml(_))));
    let laughs: Vec<_> =
        (1..40).map(|n| format!("x{n}: &x{n} [{}]\n", vec![format!("*x{}", n - 1); 8].join(", "))).collect();
    let laughs = format!("x0: &x0 [{{address: \":1\"}}]\n{}<<: *x39\n", laughs.concat());
    let config = with(&format!("{laughs}keystore: {{fs: {{path: /k}}}}\n"));
    assert_eq!(config.address.port(), 7373);
}
