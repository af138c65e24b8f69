//! A start: what is in force when the port opens, what is kept, what is refused.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use kestack::unstable::servers::s3::Encryption;

use crate::served::{Place, free_port, run};

const BODY: &[u8] = b"nobody may find these words on the drive";

/// Stores an object and says which key protects it.
fn put(place: &Place, bucket: &str, name: &str) -> String {
    run(async {
        let s3 = place.s3();
        s3.put_object(bucket, name, BODY).await.unwrap();
        let head = s3.head_object(bucket, name).await.unwrap();
        assert_eq!(head.encryption.as_deref(), Some("aws:kms"), "{bucket}/{name}");
        head.kms_key.unwrap()
    })
}

#[test]
#[ignore = "needs MINIO_BINARY"]
fn the_first_start_encrypts_and_the_second_keeps_everything() {
    let place = Place::new();
    let served = place.start(&[], &[]).open(&place);
    assert_eq!(put(&place, "encrypted", "first"), "minio-backend-key");
    served.says(&format!("API: http://127.0.0.1:{}", place.port));
    served.says("Status:         1 Online, 0 Offline.");
    served.says("buckets encrypted");
    served.stop();
    let mode = |path: &str| std::fs::metadata(place.drive().join(path)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(".kestack"), mode(".kestack/keys"), mode(".kestack/guard.json")), (0o700, 0o700, 0o600));
    assert_eq!(mode(".kestack/keys/minio-backend-key"), 0o600);
    let served = place.start(&[], &[]).open(&place);
    let (read, encryption) = run(async {
        (place.s3().get_object("encrypted", "first").await.unwrap(), place.s3().bucket_encryption("encrypted").await)
    });
    assert_eq!((read.as_slice(), encryption.unwrap()), (BODY, Some(Encryption::SseKms("minio-backend-key".into()))));
    place.lists(&["encrypted"]);
    served.stop();
    assert!(!place.holds(BODY));
    assert_eq!(place.processes(), Vec::<String>::new());
}

#[test]
#[ignore = "needs MINIO_BINARY"]
fn variables_make_buckets_keys_and_policies() {
    let place = Place::new();
    std::fs::create_dir_all(place.drive().join("bare")).unwrap();
    let buckets = "own?key=second&versioning=on,open:download;sealed?encryption=sse-s3";
    let env = [
        ("KESTACK_BUCKETS", buckets),
        ("KESTACK_KEYS", "arn:aws:kms:us-east-1:1:key/third"),
        ("KESTACK_DEFAULT_KEY", "main"),
    ];
    let served = place.start(&env, &[]).open(&place);
    assert_eq!(
        (put(&place, "own", "o"), put(&place, "open", "o"), put(&place, "bare", "o")),
        ("second".into(), "main".into(), "main".into())
    );
    run(async {
        let s3 = place.s3();
        assert!(s3.bucket_versioning("own").await.unwrap());
        assert_eq!(s3.bucket_encryption("sealed").await.unwrap(), Some(Encryption::SseS3));
        assert_eq!(s3.bucket_encryption("bare").await.unwrap(), Some(Encryption::SseKms("main".into())));
        s3.create_bucket("later").await.unwrap();
    });
    assert_eq!(put(&place, "later", "o"), "main");
    run(place.s3().put_object("open", "plain", BODY)).unwrap();
    assert_eq!((unsigned(place.port, "open/plain"), unsigned(place.port, "own/o")), (200, 403));
    let keys: Vec<_> =
        ["main", "second", "third"].iter().map(|key| place.drive().join(".kestack/keys").join(key).exists()).collect();
    assert_eq!(keys, [true; 3]);
    served.stop();
    assert!(!place.holds(BODY));
}

/// The status of a request that nobody signed.
fn unsigned(port: u16, path: &str) -> u16 {
    let mut connection = TcpStream::connect(("127.0.0.1", port)).unwrap();
    write!(connection, "GET /{path} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).unwrap();
    answer.split(' ').nth(1).unwrap().parse().unwrap()
}

#[test]
#[ignore = "needs MINIO_BINARY"]
fn other_names_for_the_same_are_understood() {
    let secrets = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        std::fs::write(secrets.path().join(name), text).unwrap();
        secrets.path().join(name).display().to_string()
    };
    let (user, password) = (file("user", "filed-user\n"), file("password", "filed-password\n"));
    let config = file("config", "MINIO_ROOT_USER=config-user\nMINIO_ROOT_PASSWORD=config-password\n");
    let region = ("MINIO_REGION", "eu-central-1");
    for (env, user, password, bucket) in [
        (
            vec![
                ("MINIO_ACCESS_KEY", "old-user"),
                ("MINIO_SECRET_KEY", "old-password"),
                ("MINIO_DEFAULT_BUCKETS", "abc:public"),
            ],
            "old-user",
            "old-password",
            "abc",
        ),
        (
            vec![
                ("MINIO_ROOT_USER_FILE", user.as_str()),
                ("MINIO_ROOT_PASSWORD_FILE", &password),
                ("initialBuckets", "def, ghi"),
            ],
            "filed-user",
            "filed-password",
            "ghi",
        ),
        (
            vec![
                ("MINIO_CONFIG_ENV_FILE", config.as_str()),
                ("MINIO_ROOT_USER", "lost"),
                ("MINIO_ROOT_PASSWORD", "lost-password"),
            ],
            "config-user",
            "config-password",
            "encrypted",
        ),
        (
            vec![region, ("COM_ADOBE_TESTING_S3MOCK_STORE_VALID_KMS_KEYS", "a,b")],
            "minioadmin",
            "minioadmin",
            "encrypted",
        ),
    ] {
        let place = Place::new();
        let served = place.start(&env, &["--json"]).open(&place);
        let s3 = kestack::unstable::servers::s3::S3Client::on_loopback(
            &format!("http://127.0.0.1:{}", place.port),
            user,
            password,
            env.contains(&region).then_some("eu-central-1"),
        )
        .unwrap();
        run(async {
            s3.put_object(bucket, "o", BODY).await.unwrap();
            assert_eq!(s3.head_object(bucket, "o").await.unwrap().encryption.as_deref(), Some("aws:kms"));
        });
        let lines = served.said();
        for line in lines.lines() {
            serde_json::from_str::<serde_json::Value>(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        }
        assert!(lines.contains("\"message\":\"Status:         1 Online, 0 Offline.\""), "{lines}");
        served.stop();
    }
}

#[test]
#[ignore = "needs MINIO_BINARY"]
fn a_mounted_manifest_counts() {
    let place = Place::new();
    let file = place.folder.path().join("kestack.yaml");
    let text = "name: mine\nui: true\nkeys: [one, two]\nminio: { root_user: declared, root_password: declared-password, env: { MINIO_SITE_NAME: here } }\n\
                buckets: [{ name: abc, key: two }]\nseed: { users: [{ name: reader, policies: [readonly] }] }\n";
    std::fs::write(&file, text).unwrap();
    let served = place.start(&[("KESTACK_FILE", file.to_str().unwrap())], &[]).open(&place);
    assert!(served.said().contains("kestack.yaml: ui has no effect in `kestack serve"), "{}", served.said());
    run(async {
        let s3 = place.s3_as("declared", "declared-password");
        s3.put_object("abc", "o", BODY).await.unwrap();
        assert_eq!(s3.head_object("abc", "o").await.unwrap().kms_key.as_deref(), Some("two"));
        assert!(s3.user("reader").await.unwrap().is_some());
    });
    served.stop();
    std::fs::write(&file, "minio: { tls: true }\nkes: { replicas: 2 }\n").unwrap();
    let (code, said) = place.refused(&[("KESTACK_FILE", file.to_str().unwrap())], &[]);
    assert!(code == 2 && said.contains("--certs-dir") && said.contains("kes.replicas"), "{said}");
}

#[test]
#[ignore = "needs MINIO_BINARY"]
fn mistakes_are_named_at_once_and_nothing_is_touched() {
    let place = Place::new();
    let env = [
        ("KESTACK_BUCKETS", "minio,UP"),
        ("KESTACK_KEYS", "a b"),
        ("KESTACK_SETUP_TIMEOUT", "soon"),
        ("KESTACK_AUTO_ENCRYPTION", "maybe"),
        ("MINIO_API_ROOT_ACCESS", "off"),
    ];
    let (code, said) = place.refused(&env, &["http://other/data"]);
    assert_eq!(code, 2, "{said}");
    for part in [
        "the name 'minio' is reserved",
        "'UP' is not a valid name",
        "KESTACK_KEYS",
        "'soon' is not a time",
        "neither on nor off",
        "another node",
        "MINIO_API_ROOT_ACCESS=off",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert!(!place.drive().exists());
}

/// Whoever comes from another image may count on a change of the user.
#[test]
#[ignore = "needs MINIO_BINARY"]
fn root_does_not_ignore_the_variables_of_another_user() {
    let place = Place::new();
    let env = [("PUID", "1000"), ("PGID", "1000")];
    if !rustix::process::geteuid().is_root() {
        place.start(&env, &[]).open(&place).stop();
        return;
    }
    let (code, said) = place.refused(&env, &[]);
    assert!(code == 2 && said.contains("run the container with `--user 1000:1000`"), "{code}: {said}");
    let (code, _) = place.refused(&[env[0], ("MINIO_KMS_KES_ENDPOINT", "https://127.0.0.1:1")], &[]);
    assert!(code == 2 && !place.drive().exists(), "{code}");
}

#[test]
#[ignore = "needs MINIO_BINARY"]
fn missing_keys_are_named_and_minio_does_not_start() {
    let place = Place::new();
    let served = place.start(&[], &[]).open(&place);
    put(&place, "encrypted", "precious");
    served.stop();
    let key = place.drive().join(".kestack/keys/minio-backend-key");
    let kept = std::fs::read(&key).unwrap();
    std::fs::remove_file(&key).unwrap();
    let (code, said) = place.refused(&[], &[]);
    assert!(code == 7 && said.contains("key 'minio-backend-key' is gone") && !said.contains("API:"), "{code}: {said}");
    assert!(!said.contains("kestack up") && !key.exists(), "{said}");
    std::fs::write(&key, kept).unwrap();
    let served = place.start(&[], &[]).open(&place);
    run(async { assert_eq!(place.s3().get_object("encrypted", "precious").await.unwrap(), BODY) });
    served.stop();
}

#[test]
#[ignore = "needs MINIO_BINARY"]
fn a_drive_that_cannot_be_written_or_is_in_use_is_refused() {
    let place = Place::new();
    let other = Place::new();
    std::fs::write(other.drive(), "no folder").unwrap();
    let (code, said) = other.refused(&[], &[]);
    assert!(code == 6 && said.contains("cannot write to the drive") && said.contains("this runs as"), "{code}: {said}");
    let served = place.start(&[], &[]).open(&place);
    let (code, said) = place.refused(&[], &[]);
    assert!(code == 6 && said.contains(&format!("cannot listen on '127.0.0.1:{}'", place.port)), "{code}: {said}");
    served.stop();
}

/// The status of what a browser gets that opens the S3 port, and where it is sent.
fn opened_in_a_browser(port: u16) -> (u16, Option<String>) {
    let mut connection = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let head = "accept: text/html\r\nuser-agent: Mozilla/5.0\r\nconnection: close";
    write!(connection, "GET / HTTP/1.1\r\nhost: localhost:{port}\r\n{head}\r\n\r\n").unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).unwrap();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    let place = answer.lines().find_map(|line| line.strip_prefix("Location: "));
    (status, place.map(|place| place.trim_end_matches('/').to_owned()))
}

#[test]
#[ignore = "needs MINIO_BINARY"]
fn browsers_are_sent_to_the_console_or_nowhere() {
    for (host, is_sent) in [("127.0.0.1", true), ("", false)] {
        let place = Place::new();
        let console = format!("{host}:{}", free_port());
        let served = place.start(&[], &["--console-address", &console]).open(&place);
        let expected = if is_sent { (307, Some(format!("http://{console}"))) } else { (403, None) };
        assert_eq!(opened_in_a_browser(place.port), expected, "{console}");
        served.stop();
    }
}

#[test]
#[ignore = "needs MINIO_BINARY"]
fn tls_is_followed() {
    let place = Place::new();
    let certs = place.folder.path().join("certs");
    std::fs::create_dir(&certs).unwrap();
    certificate(&certs);
    let served = place.start(&[], &["--certs-dir", certs.to_str().unwrap()]).open(&place);
    let endpoint = format!("https://127.0.0.1:{}", place.port);
    let s3 =
        kestack::unstable::servers::s3::S3Client::on_loopback(&endpoint, "minioadmin", "minioadmin", None).unwrap();
    run(async {
        s3.put_object("encrypted", "o", BODY).await.unwrap();
        assert_eq!(s3.head_object("encrypted", "o").await.unwrap().encryption.as_deref(), Some("aws:kms"));
    });
    served.says(&format!("API: {endpoint}"));
    served.stop();
}

/// A certificate that nobody trusts, for another name.
fn certificate(folder: &Path) {
    let key = rcgen::KeyPair::generate().unwrap();
    let cert = rcgen::CertificateParams::new(vec!["minio.example.org".to_owned()]).unwrap().self_signed(&key).unwrap();
    std::fs::write(folder.join("public.crt"), cert.pem()).unwrap();
    std::fs::write(folder.join("private.key"), key.serialize_pem()).unwrap();
}
