//! S3 requests with headers whose names begin alike: older curls sign them in another order than S3 reads them.

use std::process::Command;

use reqsign_aws_v4::{RequestSigner, StaticCredentialProvider};
use reqsign_core::{Context, Signer};

use crate::bounded::Bounded as _;
use crate::sandbox::{Sandbox, text};

/// The pairs `{"team":"red"}` as S3 takes them.
const PAIRS: &str = "eyJ0ZWFtIjoicmVkIn0=";

/// Sends a request whose object gets a data key that is bound to pairs of the client, too, and returns the answer.
pub(crate) fn with_context(stack: &Sandbox, method: &str, path: &str, body: &[u8], key: &str) -> Vec<u8> {
    let head = http::Request::builder()
        .method(method)
        .uri(format!("{}{path}", stack.variable("AWS_ENDPOINT_URL_S3")))
        .header("x-amz-content-sha256", "UNSIGNED-PAYLOAD")
        .header("x-amz-server-side-encryption", "aws:kms")
        .header("x-amz-server-side-encryption-aws-kms-key-id", key)
        .header("x-amz-server-side-encryption-context", PAIRS);
    let (mut head, ()) = head.body(()).unwrap().into_parts();
    let (user, password) = (stack.variable("AWS_ACCESS_KEY_ID"), stack.variable("AWS_SECRET_ACCESS_KEY"));
    let credentials = StaticCredentialProvider::new(&user, &password);
    let signer = Signer::new(Context::new(), credentials, RequestSigner::new("s3", "us-east-1"));
    tokio::runtime::Runtime::new().unwrap().block_on(signer.sign(&mut head, None)).unwrap();
    let (sent, answer) = (stack.folder().join("upload"), stack.folder().join("answer"));
    std::fs::write(&sent, body).unwrap();
    let mut curl = Command::new("curl");
    curl.args(["-sS", "--max-time", "30", "-w", "%{http_code}", "-X", method, "--data-binary"]);
    curl.arg(format!("@{}", sent.display())).arg("-o").arg(&answer);
    // curl would name a type that was not signed
    curl.args(["-H", "content-type:"]);
    for (name, value) in &head.headers {
        curl.arg("-H").arg(format!("{name}: {}", value.to_str().unwrap()));
    }
    let output = curl.arg(head.uri.to_string()).finished();
    let answer = std::fs::read(&answer).unwrap();
    assert_eq!(text(&output.stdout), "200", "{method} {path}: {}", text(&answer));
    answer
}
