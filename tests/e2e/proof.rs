//! `verify` must tell a stack that encrypts from one that does not.

use serde_json::Value;

use crate::sandbox::{Sandbox, enabled, text};

#[test]
fn proves_every_encrypted_bucket() {
    if !enabled() {
        return;
    }
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
fn fails_on_a_bucket_without_encryption() {
    if !enabled() {
        return;
    }
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
    assert!(failed.contains(&"the drive holds no byte run of the object"), "{failed:?}");
    assert!(failed.contains(&"without KES's permission the object cannot be read"), "{failed:?}");
}
