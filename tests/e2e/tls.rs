//! S3 over TLS, with a certificate of the stack's own authority.

use std::process::Command;

use crate::bounded::Bounded as _;
use crate::sandbox::{Sandbox, text};

const ON: &str = "minio: { port: 0, console_port: 0, tls: true }\n";
const OFF: &str = "minio: { port: 0, console_port: 0 }\n";

/// The key of a client, and the hash of it that S3 wants.
const CUSTOMER_KEY: [(&str, &str); 3] = [
    ("x-amz-server-side-encryption-customer-algorithm", "AES256"),
    ("x-amz-server-side-encryption-customer-key", "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc="),
    ("x-amz-server-side-encryption-customer-key-md5", "y4HAEFCYWuvAXWFTtA1Qpg=="),
];

/// A request of the root user with the client's key, by a client that trusts the stack's authority alone.
async fn with_customer_key(stack: &Sandbox, method: &str, path: &str, body: &[u8]) -> (u16, Vec<u8>) {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let ca = std::fs::read(stack.root().join("certs/ca.cert")).unwrap();
    let ca = reqwest::Certificate::from_pem(&ca).unwrap();
    let http = reqwest::Client::builder().no_proxy().tls_certs_only([ca]).build().unwrap();
    let url = format!("{}{path}", stack.variable("AWS_ENDPOINT_URL_S3"));
    let digest = hex::encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, body));
    let mut request = http::Request::builder().method(method).uri(url).header("x-amz-content-sha256", digest);
    for (name, value) in CUSTOMER_KEY {
        request = request.header(name, value);
    }
    let (mut head, body) = request.body(body.to_vec()).unwrap().into_parts();
    let (user, password) = root(stack);
    let signer = reqsign_core::Signer::new(
        reqsign_core::Context::new(),
        reqsign_aws_v4::StaticCredentialProvider::new(&user, &password),
        reqsign_aws_v4::RequestSigner::new("s3", "us-east-1"),
    );
    signer.sign(&mut head, None).await.unwrap();
    let answer = http.execute(http::Request::from_parts(head, body).try_into().unwrap()).await.unwrap();
    (answer.status().as_u16(), answer.bytes().await.unwrap().to_vec())
}

fn root(stack: &Sandbox) -> (String, String) {
    (stack.variable("AWS_ACCESS_KEY_ID"), stack.variable("AWS_SECRET_ACCESS_KEY"))
}

/// Every verb that speaks to S3 works.
fn sound(stack: &Sandbox, scheme: &str) {
    assert_eq!(stack.json(&["up"])["changed"], 0);
    let status = stack.json(&["status"]);
    for server in ["s3", "console"] {
        let url = status["endpoints"][server]["url"].as_str().unwrap();
        assert!(url.starts_with(&format!("{scheme}://127.0.0.1:")), "{server}: {status}");
    }
    let certificates = status["certificates"].as_array().unwrap();
    assert_eq!(certificates.iter().any(|one| one["name"] == "s3"), scheme == "https", "{status}");
    assert_eq!(stack.read("/encrypted/kept"), b"precious");
    assert_eq!(stack.json(&["verify"])["proven"], true);
    stack.ok(&["doctor"]);
    stack.ok(&["inventory"]);
    let made = stack.json(&["sandbox", "create", "one"]);
    let endpoint = made["env"]["AWS_ENDPOINT_URL_S3"].as_str().unwrap();
    assert!(endpoint.starts_with(&format!("{scheme}://")), "{made}");
    assert_eq!(made["env"].get("AWS_CA_BUNDLE").is_some(), scheme == "https", "{made}");
    stack.ok(&["sandbox", "drop", "one"]);
}

#[tokio::test]
#[ignore = "needs an engine"]
async fn tls_goes_on_and_off_and_every_verb_works() {
    let stack = Sandbox::new(OFF);
    stack.ok(&["up"]);
    stack.put("/encrypted/kept", b"precious");
    let (status, answer) = with_customer_key(&stack, "PUT", "/encrypted/own", b"mine").await;
    assert_eq!(status, 400, "without TLS MinIO takes no keys: {}", text(&answer));

    stack.manifest(ON);
    let plan = stack.ok(&["plan"]);
    assert!(plan.contains("s3/public.crt") && plan.contains("minio-server"), "{plan}");
    assert_eq!(stack.json(&["status"])["endpoints"]["s3"]["ready"], true, "it is as it runs, not as the manifest says");
    stack.ok(&["up"]);
    sound(&stack, "https");
    let (status, answer) = with_customer_key(&stack, "PUT", "/encrypted/own", b"mine").await;
    assert_eq!(status, 200, "{}", text(&answer));
    assert_eq!(with_customer_key(&stack, "GET", "/encrypted/own", b"").await, (200, b"mine".to_vec()));
    assert_eq!(stack.s3("GET", "/encrypted/own", None).0, 400, "only who has the key reads it");
    console_lets_root_in(&stack);
    stack.ok(&["chaos", "kes-down", "--for", "1s"]);
    stack.ok(&["snapshot", "save", "with-tls"]);
    stack.ok(&["reset"]);
    assert_eq!(stack.s3("GET", "/encrypted/kept", None).0, 404);
    stack.ok(&["snapshot", "restore", "with-tls"]);
    sound(&stack, "https");

    stack.manifest(OFF);
    stack.ok(&["plan"]);
    stack.ok(&["up"]);
    sound(&stack, "http");
    assert!(!stack.root().join("certs/s3/private.key").exists());
    stack.ok(&["snapshot", "restore", "with-tls"]);
    sound(&stack, "http");
}

/// The console logs its users in over S3, whose certificate it must trust.
fn console_lets_root_in(stack: &Sandbox) {
    let (user, password) = root(stack);
    let status = stack.json(&["status"]);
    let url = status["endpoints"]["console"]["url"].as_str().unwrap();
    let body = serde_json::json!({ "accessKey": user, "secretKey": password }).to_string();
    let mut curl = Command::new("curl");
    curl.args(["-sS", "--max-time", "30", "-o", "/dev/null", "-w", "%{http_code}", "--cacert"]);
    curl.arg(stack.root().join("certs/ca.cert")).args(["-H", "content-type: application/json", "-d", &body]);
    let output = curl.arg(format!("{url}/api/v1/login")).finished();
    assert_eq!(text(&output.stdout), "204", "{}", text(&output.stderr));
}

#[test]
#[ignore = "needs an engine"]
fn clients_find_the_authority_in_their_environment() {
    let stack = Sandbox::new(ON);
    stack.ok(&["up"]);
    let ca = stack.root().join("certs/ca.cert").display().to_string();
    for name in ["AWS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS"] {
        assert_eq!(stack.variable(name), ca);
    }
    let alias = format!("MC_HOST_{}", stack.name.replace('-', "_"));
    assert!(stack.variable(&alias).starts_with("https://"));
    let unset = |value: &str| {
        let mut command = stack.command(&["env", "--unset", "--shell", "sh"]);
        text(&command.env("AWS_CA_BUNDLE", value).finished().stdout)
    };
    assert!(unset(&ca).contains("AWS_CA_BUNDLE"));
    assert!(!unset("/etc/ssl/corporate.pem").contains("AWS_CA_BUNDLE"), "it is the user's own");
}
