//! The rehearsal of an import: of a deployment that was made by hand, with a real MinIO on a clone of its drive.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::by_hand::ByHand;
use crate::escape::clones;
use crate::sandbox::{Sandbox, text};

/// Every file and folder, with its mode and the bytes of a file.
fn content(folder: &Path) -> BTreeMap<PathBuf, (u32, Vec<u8>)> {
    use std::os::unix::fs::MetadataExt as _;
    let mut found = BTreeMap::new();
    let mut open = vec![folder.to_owned()];
    while let Some(path) = open.pop() {
        let meta = std::fs::symlink_metadata(&path).unwrap();
        let bytes = if meta.is_file() { std::fs::read(&path).unwrap() } else { vec![] };
        if meta.is_dir() {
            open.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
        found.insert(path, (meta.mode(), bytes));
    }
    found
}

/// A rehearsal that must end with a no-go: its answer, and its error.
fn no_go(stack: &Sandbox, more: &[&str]) -> (Value, String) {
    let source = stack.root().display().to_string();
    let output = stack.run(&[&["import", &source, "--rehearse", "--json"], more].concat());
    let error = text(&output.stderr);
    assert_eq!(output.status.code(), Some(5), "{}\n{error}", text(&output.stdout));
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(answer["go"], false);
    (answer, error)
}

/// The claims that are not true.
fn reasons(answer: &Value) -> String {
    let reasons = answer["reasons"].as_array().unwrap().iter();
    reasons.map(|reason| reason.as_str().unwrap()).collect::<Vec<_>>().join("\n")
}

mod processes {
    use std::process::Command;
    use std::time::{Duration, SystemTime};

    use kestack::unstable::servers::s3::Encryption;

    use super::*;
    use crate::by_hand::kes;
    use crate::escape::processes::{servers, wait_until};

    /// A deployment with objects under two keys and in clear.
    async fn filled(stack: &Sandbox, objects: usize) -> ByHand {
        let deployment = ByHand::new(&stack.root());
        let running = deployment.start().await;
        for (bucket, encryption) in [
            ("letters", Some(Encryption::SseKms("old-object-key".into()))),
            ("photos", Some(Encryption::SseS3)),
            ("plain", None),
        ] {
            running.s3.create_bucket(bucket).await.unwrap();
            if let Some(encryption) = encryption {
                running.s3.put_bucket_encryption(bucket, &encryption).await.unwrap();
            }
            for number in 0..objects {
                let body = vec![u8::try_from(number % 256).unwrap(); 1000 + number % 5 * 100_000];
                running.s3.put_object(bucket, &format!("deep/object-{number}"), &body).await.unwrap();
            }
        }
        deployment
    }

    fn rehearse(stack: &Sandbox, more: &[&str]) -> Value {
        let source = stack.root().display().to_string();
        stack.json(&[&["import", &source, "--rehearse"], more].concat())
    }

    #[tokio::test(flavor = "multi_thread")]
    #[ignore = "needs an engine"]
    async fn a_deployment_is_rehearsed_while_it_runs_and_nothing_of_it_changes() {
        let stack = Sandbox::new("");
        let deployment = filled(&stack, 9).await;
        let before = content(&stack.root());
        let report = rehearse(&stack, &[]);
        assert_eq!(content(&stack.root()), before, "the deployment is what it was");
        assert_eq!(clones(&stack.base()), Vec::<PathBuf>::new());
        assert_eq!(report["go"], true, "{report}");
        assert_eq!(report["reasons"], serde_json::json!([]));
        let about: Vec<_> = report["claims"].as_array().unwrap().iter().map(|claim| &claim["about"]).collect();
        for expected in ["the deployment's policy", "key 'old-backend-key'", "key 'old-object-key'", "the target MinIO"]
        {
            assert!(about.iter().any(|about| *about == expected), "no {expected} in {about:?}");
        }
        let samples = report["samples"].as_array().unwrap();
        let read: Vec<_> = samples.iter().map(|one| (one["key"].as_str(), one["read"].as_u64().unwrap())).collect();
        assert_eq!(read, [(None, 6), (Some("old-backend-key"), 6), (Some("old-object-key"), 6)], "{samples:?}");
        assert!(!report.to_string().contains("old-password"));

        let running = deployment.start().await;
        let live = rehearse(&stack, &["--sample", "20"]);
        let read: u64 = live["samples"].as_array().unwrap().iter().map(|one| one["read"].as_u64().unwrap()).sum();
        assert_eq!((&live["go"], read), (&Value::Bool(true), 27), "{live}");
        running.s3.put_object("letters", "after", b"it goes on").await.unwrap();
        assert!(!stack.root().join("kestack.yaml").exists(), "nothing is written");
        drop(running);

        let (source, snapshot) = (stack.root(), stack.folder().join("snapshot"));
        assert!(
            Command::new("cp").args(["-a"]).args([source.join("minio"), snapshot.clone()]).status().unwrap().success()
        );
        std::fs::remove_dir_all(source.join("minio")).unwrap();
        std::fs::create_dir(source.join("minio")).unwrap();
        let of_snapshot = rehearse(&stack, &["--drive", snapshot.to_str().unwrap(), "--sample", "1"]);
        assert_eq!(of_snapshot["go"], true, "{of_snapshot}");
        let error = stack.fails(&["import", source.to_str().unwrap(), "--rehearse"], 2);
        assert!(error.contains("is not the drive of a MinIO") && error.contains("--drive"), "{error}");
    }

    #[tokio::test(flavor = "multi_thread")]
    #[ignore = "needs an engine"]
    async fn each_obstacle_is_a_no_go_with_its_reason() {
        let stack = Sandbox::new("");
        filled(&stack, 2).await;
        let (keys, config) = (stack.root().join("keys"), stack.root().join("config/kes-config.yaml"));
        let written = std::fs::read_to_string(&config).unwrap();
        let (object, backend) = (keys.join("old-object-key"), keys.join("old-backend-key"));
        let [of_object, of_backend] = [&object, &backend].map(|path| std::fs::read(path).unwrap());

        std::fs::remove_file(&object).unwrap();
        std::fs::remove_file(&backend).unwrap();
        let (answer, error) = no_go(&stack, &[]);
        let said = reasons(&answer);
        assert!(said.contains("key 'old-object-key': the keystore does not hold it; it protects 2 objects"), "{said}");
        assert!(said.contains("key 'old-backend-key': the keystore does not hold it"), "{said}");
        assert!(error.contains("no-go") && error.contains("nothing was changed"), "{error}");
        assert_eq!(std::fs::read_dir(&keys).unwrap().count(), 0, "no key is made");
        std::fs::write(&backend, &of_backend).unwrap();
        std::fs::write(&object, &of_backend).unwrap();
        let said = reasons(&no_go(&stack, &[]).0);
        assert!(said.contains("is another one: it does not open 'letters/deep/object-"), "{said}");
        assert!(!said.contains("objects under"), "nothing is read of a key that opens nothing: {said}");
        std::fs::write(&object, &of_object).unwrap();

        std::fs::write(&config, written.replace("/v1/key/decrypt/*", "/v1/key/decrypt/old-b*")).unwrap();
        let said = reasons(&no_go(&stack, &[]).0);
        assert!(said.contains("/v1/key/decrypt/old-object-key: rejected by policy 'minio'"), "{said}");
        assert!(!said.contains("decrypt/old-backend-key"), "{said}");
        std::fs::write(&config, &written).unwrap();

        let vault =
            "keystore: { vault: { endpoint: 'http://127.0.0.1:1', approle: { id: role, secret: s3cret-id } } }\n";
        let start = written.find("keystore:").unwrap();
        std::fs::write(&config, format!("{}{vault}", &written[..start])).unwrap();
        let (answer, error) = no_go(&stack, &[]);
        let said = reasons(&answer);
        assert!(said.contains("cannot be used from here") && said.contains("127.0.0.1:1"), "{said}");
        assert!(!format!("{answer}{error}").contains("s3cret-id"), "no secret is shown");
        std::fs::write(&config, &written).unwrap();

        let path = |name: &str| stack.root().join("certs").join(name).display().to_string();
        for name in ["minio-kes.key", "minio-kes.cert"] {
            std::fs::remove_file(path(name)).unwrap();
        }
        kes(&["identity", "new", "--key", &path("minio-kes.key"), "--cert", &path("minio-kes.cert")]);
        let said = reasons(&no_go(&stack, &[]).0);
        assert!(said.contains("the deployment's policy: identity "), "{said}");
        assert_eq!(clones(&stack.base()), Vec::<PathBuf>::new());
    }

    #[tokio::test(flavor = "multi_thread")]
    #[ignore = "needs an engine"]
    async fn a_hostile_drive_is_refused_by_the_name_of_what_is_wrong() {
        let stack = Sandbox::new("");
        filled(&stack, 1).await;
        let source = stack.root().display().to_string();
        let letters = stack.root().join("minio/letters");
        for inside in [letters.clone(), stack.root().join("keys"), stack.root()] {
            let error = stack.fails(&["import", &source, "--rehearse", "--work-dir", inside.to_str().unwrap()], 2);
            assert!(error.contains("which must not change") && error.contains("--work-dir"), "{error}");
        }
        std::fs::create_dir(letters.join("link")).unwrap();
        std::os::unix::fs::symlink("/dev/zero", letters.join("link/xl.meta")).unwrap();
        let error = stack.fails(&["import", &source, "--rehearse"], 6);
        assert!(error.contains("letters/link/xl.meta' is neither a file nor a folder"), "{error}");
        std::fs::remove_file(letters.join("link/xl.meta")).unwrap();
        assert!(Command::new("mkfifo").arg(letters.join("link/xl.meta")).status().unwrap().success());
        let error = stack.fails(&["import", &source, "--rehearse"], 6);
        assert!(error.contains("letters/link/xl.meta' is neither a file nor a folder"), "{error}");
        std::fs::remove_dir_all(letters.join("link")).unwrap();
        let format = stack.root().join("minio/.minio.sys/format.json");
        let text = std::fs::read_to_string(&format).unwrap();
        let (head, tail) = text.split_once("[[").unwrap();
        std::fs::write(&format, format!("{head}[[\"another\",{tail}")).unwrap();
        let error = stack.fails(&["import", &source, "--rehearse"], 2);
        assert!(error.contains("is one of 2 drives of a MinIO"), "{error}");
        assert_eq!(clones(&stack.base()), Vec::<PathBuf>::new());
    }

    #[tokio::test(flavor = "multi_thread")]
    #[ignore = "needs an engine"]
    async fn a_killed_rehearsal_ends_its_servers_and_the_next_one_clears_its_clone() {
        let stack = Sandbox::new("");
        filled(&stack, 40).await;
        let source = stack.root().display().to_string();
        let before = content(&stack.root());
        let mut running = stack.start(&["import", &source, "--rehearse", "--sample", "1000"]);
        wait_until("its MinIO starts", || !servers(&stack.base()).is_empty());
        running.kill().unwrap();
        running.wait().unwrap();
        wait_until("its MinIO ends", || servers(&stack.base()).is_empty());
        let left = clones(&stack.base());
        assert_eq!(left.len(), 1);
        std::fs::File::open(&left[0]).unwrap().set_modified(SystemTime::now() - Duration::from_secs(60)).unwrap();
        assert_eq!(rehearse(&stack, &["--sample", "1"])["go"], true);
        assert_eq!(clones(&stack.base()), Vec::<PathBuf>::new());
        assert_eq!(content(&stack.root()), before);
    }
}
