//! `verify` must tell a stack that encrypts from one that does not.

use serde_json::Value;

use crate::drill::{evidence, secrets};
use crate::sandbox::{Sandbox, text};

#[test]
#[ignore = "needs an engine"]
fn proves_every_encrypted_bucket() {
    let stack = Sandbox::new("buckets:\n  - { name: kms }\n  - { name: sse-s3, encryption: sse-s3 }\n");
    stack.ok(&["up"]);
    let report = stack.json(&["verify"]);
    assert_eq!(report["proven"], true, "{report}");
    let verdicts = report["verdicts"].as_array().unwrap();
    assert_eq!(verdicts.len(), 2);
    for verdict in verdicts {
        let evidence = verdict["evidence"].as_array().unwrap();
        assert_eq!(evidence.len(), 7, "{verdict}");
        let refused = &evidence[5];
        assert!(refused["seen"].as_str().unwrap().contains("GET"), "the refusal names the call: {refused}");
    }
    // the canaries are gone, and MinIO has its permission back
    let (_, listing) = stack.s3("GET", "/kms?list-type=2", None);
    assert!(!text(&listing).contains("<Key>"), "{}", text(&listing));
    stack.put("/kms/after", b"still works");
    assert_eq!(stack.json(&["up"])["changed"], 0, "verify leaves the stack as it was");
}

#[test]
#[ignore = "needs an engine"]
fn fails_on_a_bucket_without_encryption() {
    let stack = Sandbox::new("buckets:\n  - { name: encrypted }\n  - { name: plain, encryption: none }\n");
    stack.ok(&["up"]);
    let output = stack.run(&["verify", "--bucket", "plain", "--output", "json"]);
    assert_eq!(output.status.code(), Some(5), "{}", text(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["proven"], false);
    let failed: Vec<_> = report["verdicts"][0]["evidence"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|evidence| evidence["proven"] == false)
        .map(|evidence| evidence["claim"].as_str().unwrap())
        .collect();
    assert!(failed.contains(&"the drive holds no part of the object in clear"), "{failed:?}");
    assert!(failed.contains(&"without permission at KES the object cannot be read"), "{failed:?}");
}

#[test]
#[ignore = "needs an engine"]
fn evidence_is_written_whether_or_not_it_is_proven() {
    let stack = Sandbox::new("buckets:\n  - { name: encrypted }\n  - { name: plain, encryption: none }\n");
    stack.ok(&["up"]);
    let path = |name: &str| stack.folder().join(name);
    stack.ok(&["verify", "--evidence", "good.json", "--page", "good.html"]);
    let good = evidence(&path("good.json"));
    assert_eq!((&good["kind"], &good["verdict"]), (&"verify".into(), &"proven".into()), "{good}");
    assert_eq!(good["claims"].as_array().unwrap().len(), 7, "{good}");
    assert_eq!(good["steps"].as_array().unwrap().len(), 1, "{good}");
    assert!(good["versions"]["kes"].is_string() && good["versions"]["minio"].is_string(), "{good}");
    stack.fails(&["verify", "--bucket", "plain", "--evidence", "bad.json", "--page", "bad.html"], 5);
    let bad = evidence(&path("bad.json"));
    assert_eq!(bad["verdict"], "not-proven", "{bad}");
    stack.fails(&["verify", "--bucket", "absent", "--evidence", "error.json"], 1);
    let error = evidence(&path("error.json"));
    assert_eq!((&error["verdict"], &error["claims"]), (&"not-proven".into(), &serde_json::json!([])), "{error}");
    assert!(error["error"].as_str().unwrap().contains("NoSuchBucket"), "{error}");
    let taken = stack.fails(&["verify", "--evidence", "good.json"], 2);
    assert!(taken.contains("evidence never replaces a file"), "{taken}");
    let page = std::fs::read_to_string(path("bad.html")).unwrap();
    assert!(page.contains("Not proven") && !page.contains("<script"), "{page}");
    for secret in secrets(&stack) {
        assert!(![&page, &good.to_string(), &bad.to_string()].iter().any(|text| text.contains(&secret)));
    }
}

/// What somebody makes by the console or `mc mb` has no encryption of its own.
#[test]
#[ignore = "needs an engine"]
fn a_bucket_made_by_hand_is_named_when_it_lies_in_clear() {
    let stack = Sandbox::new("auto_encryption: false\n");
    stack.ok(&["up"]);
    assert_eq!(stack.s3("PUT", "/by-hand", None).0, 200);
    let output = stack.run(&["verify", "--output", "json"]);
    assert_eq!(output.status.code(), Some(5), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("bucket 'by-hand' is not encrypted"), "{}", text(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&report["proven"], &report["exposed_buckets"]), (&false.into(), &serde_json::json!(["by-hand"])));
    assert_eq!(stack.json(&["verify", "--bucket", "encrypted"])["proven"], true, "asked about one bucket");
    let status = stack.json(&["status"]);
    assert_eq!(status["exposed_buckets"], serde_json::json!(["by-hand"]));
    assert_eq!(status["auto_encryption"], false);
    let findings = stack.json(&["doctor"]);
    let found = findings["findings"].as_array().unwrap().iter().find(|finding| finding["what"] == "bucket").unwrap();
    assert!(found["advice"].as_str().unwrap().contains("kestack bucket encrypt by-hand"), "{found}");
    assert!(stack.ok(&["status"]).contains("by-hand  none  WARN"));

    stack.manifest("auto_encryption: false\nbuckets: [{ name: encrypted }, { name: by-hand, encryption: none }]\n");
    assert_eq!(stack.json(&["verify"])["proven"], true, "it is declared");
    stack.manifest("auto_encryption: false\n");
    stack.fails(&["verify"], 5);
    stack.ok(&["bucket", "encrypt", "by-hand"]);
    assert!(stack.ok(&["verify"]).contains("proven: this stack encrypts"));
}

#[test]
#[ignore = "needs an engine"]
fn a_new_stack_encrypts_what_is_put_into_any_bucket() {
    let stack = Sandbox::new("");
    stack.ok(&["up"]);
    assert_eq!(stack.s3("PUT", "/by-hand", None).0, 200);
    stack.put("/by-hand/object", b"nobody asked for its encryption");
    let protected =
        |stack: &Sandbox| stack.json(&["inventory"])["keys"]["minio-backend-key"]["buckets"]["by-hand"].clone();
    assert_eq!(protected(&stack)["objects"], 1);
    assert_eq!(stack.json(&["verify", "--bucket", "by-hand"])["proven"], true);
    assert_eq!(stack.json(&["verify"])["proven"], true);
    let status = stack.json(&["status"]);
    assert_eq!(status["auto_encryption"], true);
    assert_eq!(status["buckets"]["by-hand"], "SSE-KMS with key 'minio-backend-key', by auto-encryption");
    let bucket = stack.json(&["bucket", "info", "by-hand"]);
    assert_eq!((&bucket["encryption"], &bucket["automatic"]), (&"sse-kms".into(), &true.into()), "{bucket}");
    assert_eq!(stack.json(&["up"])["changed"], 0);

    // the file decides; without a word a stack stays as it is, and a bucket that must not encrypt goes before
    stack.manifest("auto_encryption: false\n");
    stack.ok(&["up"]);
    stack.put("/by-hand/plain", b"in clear");
    assert_eq!(protected(&stack)["objects"], 1);
    stack.manifest("");
    assert_eq!(stack.json(&["up"])["changed"], 0);
    stack.manifest("auto_encryption: true\n");
    stack.ok(&["up"]);
    stack.put("/by-hand/plain", b"encrypted now");
    assert_eq!(protected(&stack)["objects"], 2);
    stack.manifest("buckets: [{ name: encrypted }, { name: open, encryption: none }]\n");
    stack.ok(&["up"]);
    stack.put("/open/object", b"in clear");
    assert_eq!(stack.json(&["inventory"])["unencrypted"]["open"]["objects"], 1);
    let error = stack.fails(&["verify"], 5);
    assert!(error.contains("bucket 'by-hand' is not encrypted"), "{error}");
}
