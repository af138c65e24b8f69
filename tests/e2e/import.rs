//! A deployment that was made by hand becomes a stack, and all its objects can be read.

use std::path::Path;
use std::process::Command;

use kestack::unstable::servers::s3::Encryption;

use crate::by_hand::{self, ByHand};
use crate::engine::{Kind, free_port, kind};
use crate::sandbox::Sandbox;

/// Lets a stack that was imported come up next to those of other tests: on free ports, as the tests of one machine share them,
/// and after what the import says to do first.
fn make_ready(manifest: &Path, imported: &serde_json::Value) {
    let written = std::fs::read_to_string(manifest).unwrap();
    let ports =
        written.replace("kes: {}", "kes: { port: 0 }").replace("minio:\n", "minio:\n  port: 0\n  console_port: 0\n");
    std::fs::write(manifest, ports).unwrap();
    if kind() != Kind::Process {
        let commands = imported["next"].as_array().unwrap();
        let chown = commands.iter().filter_map(|command| command.as_str()).find(|command| command.starts_with("chown"));
        if let Some(command) = chown {
            assert!(Command::new("sh").args(["-c", command]).status().unwrap().success());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs an engine"]
async fn a_deployment_made_by_hand_goes_on_as_a_stack() {
    let stack = Sandbox::new("");
    let folder = stack.root();
    let deployment = ByHand::new(&folder);
    let object = |number: usize| vec![u8::try_from(number).unwrap(); 1000 + number * 40_000];
    {
        let running = deployment.start().await;
        let s3 = &running.s3;
        for (bucket, encryption) in
            [("letters", Encryption::SseKms("old-object-key".into())), ("photos", Encryption::SseS3)]
        {
            s3.create_bucket(bucket).await.unwrap();
            s3.put_bucket_encryption(bucket, &encryption).await.unwrap();
            for number in 0..5 {
                s3.put_object(bucket, &format!("object-{number}"), &object(number)).await.unwrap();
            }
        }
    }

    let imported = stack.json(&["import", &folder.display().to_string()]);
    assert_eq!(imported["name"], stack.name.as_str());
    let manifest = folder.join("kestack.yaml");
    let written = std::fs::read_to_string(&manifest).unwrap();
    for expected in ["default_key: old-backend-key", "- old-object-key", "MINIO_SITE_NAME: before"] {
        assert!(written.contains(expected), "no {expected} in\n{written}");
    }
    assert!(!written.contains("old-password"), "{written}");
    make_ready(&manifest, &imported);
    let file = manifest.display().to_string();
    stack.ok(&["up", "--file", &file]);
    assert_eq!(stack.variable("AWS_ACCESS_KEY_ID"), "old-root");
    for bucket in ["letters", "photos"] {
        for number in 0..5 {
            assert!(stack.read(&format!("/{bucket}/object-{number}")) == object(number), "{bucket}/object-{number}");
        }
        assert_eq!(stack.json(&["verify", "--file", &file, "--bucket", bucket])["proven"], true);
    }
    let status = stack.json(&["status", "--file", &file]);
    assert_eq!(status["buckets"]["letters"], "SSE-KMS with key 'old-object-key'");
    assert_eq!(stack.json(&["up", "--file", &file])["changed"], 0);
    assert!(folder.join("config/imported/kes-config.yaml").exists());
}

/// A MinIO with its key in the environment: what it wrote is read through KES.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs an engine"]
async fn a_static_key_goes_into_the_keystore_and_the_data_is_read() {
    const KEY: &str = "lake-key:oKyGxXAVWLlUwDIZDgPrlTuDjRZ1SnLVVPAnZ4zMk4Q=";
    let stack = Sandbox::new("");
    let folder = stack.root();
    let (drive, port) = (folder.join("minio"), free_port());
    for name in ["config", "minio"] {
        std::fs::create_dir_all(folder.join(name)).unwrap();
    }
    let env = |key: &str| {
        let drive = drive.display();
        format!(
            "MINIO_ROOT_USER=old-root\nMINIO_ROOT_PASSWORD=old-password\nMINIO_VOLUMES={drive}\nMINIO_KMS_SECRET_KEY={key}\n"
        )
    };
    std::fs::write(folder.join("config/minio"), env(KEY)).unwrap();
    let object = |number: usize| vec![u8::try_from(number).unwrap(); 1000 + number * 200_000];
    {
        let (_minio, s3) = by_hand::minio(&folder, port).await;
        for (bucket, encryption) in [("letters", Encryption::SseKms("lake-key".into())), ("photos", Encryption::SseS3)]
        {
            s3.create_bucket(bucket).await.unwrap();
            s3.put_bucket_encryption(bucket, &encryption).await.unwrap();
            for number in 0..4 {
                s3.put_object(bucket, &format!("object-{number}"), &object(number)).await.unwrap();
            }
        }
    }
    let source = folder.display().to_string();
    std::fs::write(folder.join("config/minio"), env(&KEY.replace("oKy", "AAA"))).unwrap();
    let error = stack.fails(&["import", &source], 2);
    assert!(error.contains("is not the key 'lake-key' of the data") && !error.contains("AAAGx"), "{error}");
    assert!(!folder.join("kestack.yaml").exists(), "nothing is written");
    std::fs::write(folder.join("config/minio"), env(KEY)).unwrap();
    let imported = stack.json(&["import", &source]);
    let first = std::fs::read(folder.join("keys/lake-key")).unwrap();
    stack.json(&["import", &source, "--force"]);
    assert_eq!(std::fs::read(folder.join("keys/lake-key")).unwrap(), first, "the same key again");
    let manifest = folder.join("kestack.yaml");
    let written = std::fs::read_to_string(&manifest).unwrap();
    assert!(written.contains("default_key: lake-key") && !written.contains("oKyGx"), "{written}");
    make_ready(&manifest, &imported);
    let file = manifest.display().to_string();
    stack.ok(&["up", "--file", &file]);
    for bucket in ["letters", "photos"] {
        for number in 0..4 {
            assert!(stack.read(&format!("/{bucket}/object-{number}")) == object(number), "{bucket}/object-{number}");
        }
        assert_eq!(stack.json(&["verify", "--file", &file, "--bucket", bucket])["proven"], true);
    }
    assert!(!std::fs::read_to_string(folder.join("config/minio")).unwrap().contains("MINIO_KMS_SECRET_KEY"));
    // and the way back
    let back = stack.folder().join("back.env");
    stack.ok(&["escape", "--file", &file, "--write-key-in-clear", back.to_str().unwrap()]);
    assert_eq!(std::fs::read_to_string(back).unwrap(), format!("MINIO_KMS_SECRET_KEY={KEY}\n"));
}

/// A Compose file that was never started: variables, an init container, and a KES whose keys do not exist yet.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs an engine"]
async fn a_compose_file_comes_up_with_its_password_its_key_and_its_buckets() {
    let stack = Sandbox::new("");
    let project = stack.folder().join("project");
    std::fs::create_dir(&project).unwrap();
    let identity = "3ecfcdf38fcbe141ae26a1030f81e96b753365a46760ae6b578698a97c59fd22";
    let config = format!(
        "address: 0.0.0.0:7373\nadmin: {{ identity: disabled }}\ntls: {{ key: /k, cert: /c }}\npolicy: {{ minio: {{ allow: \
         [/v1/key/generate/*], identities: [{identity}] }} }}\nkeystore: {{ fs: {{ path: /keys }} }}\n"
    );
    std::fs::write(project.join("kes.yaml"), config).unwrap();
    std::fs::write(project.join(".env"), "ROOT_PASSWORD='a pa$$word'\nARCHIVE=archive\n").unwrap();
    let compose = "services:\n  kms:\n    image: minio/kes\n    command: server --config /etc/kes.yaml\n    volumes: \
                   ['./kes.yaml:/etc/kes.yaml', './keys:/keys']\n  minio:\n    image: minio/minio\n    command: server /data\n    \
                   environment: &env\n      MINIO_ROOT_USER: ${ROOT_USER:-imported-root}\n      MINIO_ROOT_PASSWORD: \
                   ${ROOT_PASSWORD:?}\n      MINIO_KMS_KES_ENDPOINT: https://kms:7373\n      MINIO_KMS_KES_KEY_NAME: \
                   ${KEY_NAME:-imported-key}\n    volumes: ['./data:/data']\n  createbuckets:\n    image: minio/mc\n    \
                   environment: { <<: *env, NAMES: letters photos }\n    entrypoint: >\n      /bin/sh -c \"\n      mc alias set \
                   m http://minio:9000 $$MINIO_ROOT_USER $$MINIO_ROOT_PASSWORD;\n      for n in $$NAMES ${ARCHIVE}; do mc mb -p \
                   m/$$n; done;\n      mc encrypt set sse-kms archive-key m/archive; mc encrypt set sse-kms imported-key \
                   m/letters;\n      mc encrypt set sse-s3 m/photos; mc version enable m/photos;\n      \"\n";
    let file = project.join("compose.yaml");
    std::fs::write(&file, compose).unwrap();
    let folder = stack.folder().display().to_string();
    let arguments = ["import", &file.display().to_string(), "--name", &stack.name, "--output-dir", &folder, "--force"];
    assert_eq!(stack.json(&arguments)["name"], stack.name.as_str());
    stack.ok(&["up"]);
    assert_eq!(stack.variable("AWS_ACCESS_KEY_ID"), "imported-root");
    assert_eq!(stack.variable("AWS_SECRET_ACCESS_KEY"), "a pa$$word", "in single quotes nothing is put in");
    let buckets = stack.json(&["status"])["buckets"].clone();
    for (bucket, encryption) in [
        ("letters", "SSE-KMS with key 'imported-key'"),
        ("archive", "SSE-KMS with key 'archive-key'"),
        ("photos", "SSE-S3"),
    ] {
        assert_eq!(buckets[bucket].as_str().map(|said| said.starts_with(encryption)), Some(true), "{buckets}");
        stack.put(&format!("/{bucket}/object"), b"what was imported");
        assert_eq!(stack.read(&format!("/{bucket}/object")), b"what was imported");
    }
    assert_eq!(buckets.as_object().unwrap().len(), 3, "{buckets}");
    assert_eq!(stack.json(&["verify", "--bucket", "archive"])["proven"], true);
    assert_eq!(stack.json(&["up"])["changed"], 0);
}
