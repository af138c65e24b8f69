//! An upload that is under way when a key is to go: its data key was sealed at the beginning, and the drive shows nothing yet.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;

use super::stack;
use crate::sandbox::{Sandbox, text};

/// A slow upload by curl, begun and not ended.
struct Upload(Child);

impl Upload {
    fn begin(stack: &Sandbox, path: &str) -> Self {
        let user = format!("{}:{}", stack.variable("AWS_ACCESS_KEY_ID"), stack.variable("AWS_SECRET_ACCESS_KEY"));
        let file = stack.folder().join("slow");
        std::fs::write(&file, vec![7; 8_000_000]).unwrap();
        let mut curl = Command::new("curl");
        curl.args(["-sS", "--max-time", "60", "--limit-rate", "1M", "-o", "/dev/null", "-w", "%{http_code}"]);
        curl.args(["--aws-sigv4", "aws:amz:us-east-1:s3", "-u", &user, "-H", "x-amz-content-sha256: UNSIGNED-PAYLOAD"]);
        curl.arg("-T").arg(&file).arg(format!("{}{path}", stack.variable("AWS_ENDPOINT_URL_S3")));
        let tmp = stack.root().join("minio/.minio.sys/tmp");
        // a folder for each start of MinIO, with one for each object that is being written
        let within =
            |folder: PathBuf| std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
        let unfinished = || within(tmp.clone()).flat_map(within).count();
        let (start, before) = (Instant::now(), unfinished());
        let child = curl.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        // MinIO has the first bytes once it has a place for them
        while unfinished() <= before {
            assert!(start.elapsed() < Duration::from_secs(10), "the upload does not begin");
            std::thread::sleep(Duration::from_millis(5));
        }
        Self(child)
    }

    /// True if MinIO has taken all of it.
    fn was_stored(self) -> bool {
        text(&self.0.wait_with_output().unwrap().stdout) == "200"
    }
}

#[test]
#[ignore = "needs an engine"]
fn an_upload_that_is_under_way_keeps_its_object_or_is_refused() {
    let stack = stack();
    stack.put("/docs/a", b"a");
    let upload = Upload::begin(&stack, "/docs/slow");
    let done = stack.json(&["key", "rotate", "docs-key", "--delete-old", "--no-snapshot"]);
    assert_eq!((&done["deleted"], &done["left"]), (&json!(true), &json!([])), "{done}");
    if upload.was_stored() {
        assert_eq!(stack.read("/docs/slow").len(), 8_000_000);
    }
    assert_eq!(stack.read("/docs/a"), b"a", "MinIO runs again");
    stack.put("/docs/after", b"after");
    stack.ok(&["verify"]);
}
