//! The verbs on a running stack.

use std::process::{Command, Stdio};

use kestack::unstable::manifest::NotificationRule;

use crate::bounded::{Bounded as _, ended};
use crate::engine::kind;
use crate::sandbox::{Sandbox, binary, text};

#[test]
#[ignore = "needs an engine"]
fn keys_and_buckets_are_made_idempotently() {
    let stack = Sandbox::new("");
    stack.ok(&["up"]);
    assert_eq!(stack.json(&["key", "create", "extra"])["created"], true);
    assert_eq!(stack.json(&["key", "create", "extra"])["created"], false);
    let bucket = stack.json(&["bucket", "create", "docs", "--key", "extra"]);
    assert_eq!((&bucket["encryption"], &bucket["key"]), (&"sse-kms".into(), &"extra".into()));
    assert_eq!(stack.json(&["bucket", "create", "docs", "--key", "extra"]), bucket);
    let changed = stack.json(&["bucket", "encrypt", "docs", "--sse-s3"]);
    assert_eq!(changed["encryption"], "sse-s3");
    let error = stack.fails(&["bucket", "encrypt", "absent"], 1);
    assert!(error.contains("NoSuchBucket"), "{error}");
    let list = stack.json(&["bucket", "list"]);
    let names: Vec<_> = list["buckets"].as_array().unwrap().iter().map(|b| b["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["docs", "encrypted"]);
    let keys = stack.json(&["key", "list"]);
    assert_eq!(keys["keys"][0]["name"], "extra");
    assert_eq!(keys["keys"][0]["created_by"], "admin");
    assert_eq!(stack.json(&["key", "info", "extra"])["algorithm"], keys["keys"][0]["algorithm"]);
}

#[test]
#[ignore = "needs an engine"]
fn the_kes_program_works_with_the_stacks_environment() {
    let stack = Sandbox::new("");
    stack.ok(&["up"]);
    let kes = binary().with_file_name("kes");
    let run = |arguments: &[&str]| {
        let mut command = Command::new(&kes);
        for name in ["KES_SERVER", "KES_CLIENT_KEY", "KES_CLIENT_CERT", "KES_CA_PATH"] {
            command.env(name, stack.variable(name));
        }
        let output = command.args(arguments).finished();
        assert!(output.status.success(), "kes {arguments:?}: {}", text(&output.stderr));
        text(&output.stdout)
    };
    run(&["key", "create", "by-kes"]);
    let keys = run(&["key", "ls"]);
    assert!(keys.contains("by-kes") && keys.contains("minio-backend-key"), "{keys}");
}

#[test]
#[ignore = "needs an engine"]
fn reset_brings_the_fresh_stack_back_without_touching_kes() {
    let stack = Sandbox::new("");
    stack.ok(&["up"]);
    stack.put("/encrypted/object", b"gone after the reset");
    stack.ok(&["bucket", "create", "extra"]);
    stack.ok(&["key", "create", "extra"]);
    let kes = format!("{}-kes-server", stack.name);
    let before = kind().started(&kes);
    stack.ok(&["reset"]);
    assert_eq!(kind().started(&kes), before);
    let status = stack.json(&["status"]);
    assert_eq!(status["keys"], serde_json::json!(["minio-backend-key"]));
    assert_eq!(status["buckets"].as_object().unwrap().keys().collect::<Vec<_>>(), ["encrypted"]);
    assert_eq!(stack.s3("GET", "/encrypted/object", None).0, 404);
    assert!(!stack.root().join("trash").exists());
    stack.put("/encrypted/new", b"works");
    stack.ok(&["verify"]);
    stack.ok(&["reset", "--hard"]);
    assert_eq!(stack.s3("GET", "/encrypted/new", None).0, 404);
}

#[test]
#[ignore = "needs an engine"]
fn a_reset_leaves_minio_running_only_if_nothing_was_written() {
    let stack = Sandbox::new("");
    stack.ok(&["up"]);
    stack.ok(&["reset"]);
    let minio = format!("{}-minio-server", stack.name);
    let started = || kind().started(&minio);
    let fresh = stack.json(&["status"]);
    let policy = br#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":["s3:GetObject"],"Resource":["arn:aws:s3:::encrypted/*"]}]}"#;
    let user = ["sandbox", "create", "mine"];
    let tags = b"<Tagging><TagSet><Tag><Key>of</Key><Value>mine</Value></Tag></TagSet></Tagging>";
    let changes: [&dyn Fn(); 9] = [
        &|| stack.put("/encrypted/object", b"content"),
        &|| drop(stack.s3("DELETE", "/encrypted", None)),
        &|| drop(stack.ok(&["bucket", "create", "extra"])),
        &|| drop(stack.ok(&["key", "create", "extra"])),
        &|| drop(stack.ok(&["bucket", "encrypt", "encrypted", "--sse-s3"])),
        &|| assert_eq!(stack.s3("PUT", "/encrypted?policy=", Some(policy)).0, 204),
        &|| assert_eq!(stack.s3("PUT", "/encrypted?tagging=", Some(tags)).0, 200),
        &|| assert_eq!(stack.s3("POST", "/encrypted/object?uploads=", None).0, 200),
        &|| drop(stack.ok(&user)),
    ];
    for (number, change) in changes.iter().enumerate() {
        let before = started();
        stack.ok(&["reset"]);
        assert_eq!(started(), before, "nothing was written before change {number}");
        change();
        stack.ok(&["reset"]);
        assert_ne!(started(), before, "change {number}");
        assert_eq!(stack.json(&["status"]), fresh, "change {number}");
        for of_clients in ["policy", "tagging"] {
            assert_eq!(stack.s3("GET", &format!("/encrypted?{of_clients}="), None).0, 404, "{of_clients}");
        }
    }
    stack.put("/encrypted/new", b"works");
    stack.ok(&["verify"]);
}

#[test]
#[ignore = "needs an engine"]
fn quiet_verbs_that_change_something_say_nothing() {
    let stack = Sandbox::new("");
    let silent = |arguments: &[&str]| {
        let output = stack.run(&[arguments, &["-q"]].concat());
        let said = (text(&output.stdout), text(&output.stderr));
        assert!(output.status.success() && said == (String::new(), String::new()), "{arguments:?}: {said:?}");
    };
    for arguments in [
        &["up"][..],
        &["key", "create", "extra"],
        &["bucket", "create", "docs", "--key", "extra"],
        &["bucket", "encrypt", "docs", "--existing"],
        &["sandbox", "create", "mine"],
        &["sandbox", "extend", "mine", "--lease", "1h"],
        &["sandbox", "drop", "mine"],
        &["snapshot", "save", "one"],
        &["snapshot", "restore", "one"],
        &["snapshot", "remove", "one"],
        &["key", "rotate", "extra", "other", "--no-snapshot"],
        &["bucket", "delete", "docs"],
        &["key", "delete", "extra"],
        &["gc"],
        &["reset"],
        &["stop"],
        &["start"],
        &["down"],
    ] {
        // whoever asks for a sandbox without a name wants to know it
        if arguments == ["sandbox", "create", "mine"] { drop(stack.ok(arguments)) } else { silent(arguments) }
    }
    assert_eq!(stack.json(&["up", "-q"])["name"], stack.name.as_str());
    for asked in
        [&["status"][..], &["env"], &["key", "list"], &["list"], &["key", "rotate", "minio-backend-key", "--dry-run"]]
    {
        assert!(!stack.ok(&[asked, &["-q"]].concat()).is_empty(), "{asked:?}");
    }
    silent(&["down", "--data"]);
    assert!(!stack.fails(&["status", "-q"], 3).is_empty(), "errors are said");
}

/// Whenever a client gives a bucket something: it is not taken for a part of the fresh stack.
#[test]
#[ignore = "needs an engine"]
fn settings_that_clients_give_during_a_reset_go_with_the_next_one() {
    let env = "env: { MINIO_NOTIFY_WEBHOOK_ENABLE_a: 'on', MINIO_NOTIFY_WEBHOOK_ENDPOINT_a: 'http://127.0.0.1:9', MINIO_NOTIFY_WEBHOOK_QUEUE_DIR_a: ";
    let stack = Sandbox::new("");
    stack.manifest(&format!("minio: {{ port: 0, console_port: 0, {env}'{}' }} }}\n", stack.folder().display()));
    stack.ok(&["up"]);
    let s3 = stack.client();
    let rule = NotificationRule {
        bucket: "encrypted".parse().unwrap(),
        target: "arn:minio:sqs::a:webhook".into(),
        events: vec!["s3:ObjectCreated:*".into()],
        prefix: String::new(),
        suffix: String::new(),
    };
    let tags = [("of".to_owned(), "mine".to_owned())].into();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    for number in 0..6 {
        std::thread::scope(|scope| {
            scope.spawn(|| {
                // once MinIO is away: what comes now comes while the buckets are made
                while runtime.block_on(s3.health("live")).is_ok() {}
                let give = async || match number % 2 {
                    0 => s3.put_bucket_tags("encrypted", &tags).await,
                    _ => s3.put_bucket_notifications("encrypted", std::slice::from_ref(&rule)).await,
                };
                let start = std::time::Instant::now();
                while runtime.block_on(give()).is_err() {
                    assert!(start.elapsed() < std::time::Duration::from_secs(60), "the bucket does not come back");
                }
            });
            // not fresh for sure
            stack.put("/encrypted/object", b"content");
            stack.ok(&["reset"]);
        });
        stack.ok(&["reset"]);
        assert!(runtime.block_on(s3.bucket_tags("encrypted")).unwrap().is_empty(), "round {number}");
        let notifications = runtime.block_on(s3.bucket_notifications("encrypted")).unwrap();
        assert!(!notifications.contains("sqs"), "round {number}: {notifications}");
    }
}

#[test]
#[ignore = "needs an engine"]
fn logs_and_environment_are_printed_for_programs_too() {
    let stack = Sandbox::new("");
    stack.ok(&["up"]);
    let logs = stack.ok(&["logs"]);
    assert!(logs.contains("kes   |") && logs.contains("minio |"), "{logs}");
    let only = stack.ok(&["logs", "kes", "--tail", "2"]);
    assert!(only.lines().count() <= 2 && only.lines().all(|line| line.starts_with("kes")), "{only}");
    let script = stack.ok(&["env", "--shell", "sh"]);
    let alias = format!("MC_HOST_{}", stack.name.replace('-', "_"));
    let shown = Command::new("sh").args(["-c", &format!("{script}\nprintf %s \"${alias}\"")]).finished();
    let expected = stack.variable("AWS_ENDPOINT_URL_S3").replace("http://", "");
    assert!(text(&shown.stdout).ends_with(&format!("@{expected}")));
    for shell in ["fish", "powershell", "dotenv"] {
        assert!(stack.ok(&["env", "--shell", shell]).contains("AWS_SECRET_ACCESS_KEY"));
    }
}

/// A stack that is down has given its ports back, and others may have them.
#[test]
#[ignore = "needs an engine"]
fn no_variables_name_a_port_that_the_stack_does_not_have() {
    let stack = Sandbox::new("");
    stack.ok(&["up"]);
    let endpoint = stack.variable("AWS_ENDPOINT_URL_S3");
    stack.ok(&["stop"]);
    assert!(stack.ok(&["env", "--shell", "sh"]).contains(&endpoint), "a stopped stack keeps its ports");
    stack.ok(&["down"]);
    for verb in [&["env"][..], &["env", "--json"], &["sandbox", "list"], &["sandbox", "env", "a"]] {
        assert!(stack.fails(verb, 3).contains("is not running"), "{verb:?}");
    }
    stack.ok(&["env", "--unset", "--shell", "sh"]);
    stack.ok(&["gc"]);
    stack.ok(&["up"]);
    stack.ok(&["env"]);
}

#[test]
#[ignore = "needs an engine"]
fn whoever_stops_reading_stops_nothing() {
    let stack = Sandbox::new("");
    // `kestack up 2>&1 | head -1`
    let (reader, writer) = std::io::pipe().unwrap();
    let mut up = stack.command(&["up"]);
    let mut up = up.stdout(writer.try_clone().unwrap()).stderr(writer).spawn().unwrap();
    let mut first = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(reader), &mut first).unwrap();
    assert!(ended(&mut up).success(), "{first}");
    assert_eq!(stack.json(&["up"])["changed"], 0);

    let full = || std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    for verb in [&["status"][..], &["env"], &["key", "list"], &["bucket", "list"], &["list"], &["logs"], &["inventory"]]
    {
        let output = stack.command(verb).stdout(full()).stderr(Stdio::piped()).spawn().unwrap().finished();
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{verb:?}: {said}");
        assert!(said.contains("cannot write to standard output"), "{verb:?}: {said}");
    }
}

#[test]
#[ignore = "needs an engine"]
fn a_signal_is_how_following_the_logs_ends() {
    let stack = Sandbox::new("");
    stack.ok(&["up"]);
    for signal in ["-INT", "-TERM"] {
        let mut logs = stack.command(&["logs", "--follow"]);
        let mut logs = logs.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut first = String::new();
        let mut reader = std::io::BufReader::new(logs.stdout.take().unwrap());
        std::io::BufRead::read_line(&mut reader, &mut first).unwrap();
        assert!(Command::new("kill").args([signal, &logs.id().to_string()]).status().unwrap().success());
        let output = logs.finished();
        assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), String::new()), "{signal}");
    }
}
