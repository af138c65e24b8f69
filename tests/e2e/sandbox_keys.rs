//! The user of a sandbox tries every way to have something encrypted with another key than the sandbox's.

use std::time::Duration;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::sandbox::Sandbox;

const SSE: &str = "x-amz-server-side-encryption";
const KEY: &str = "x-amz-server-side-encryption-aws-kms-key-id";
const OWN: &str = "kestack-sandbox-one";

/// The sandbox's user, and where S3 is.
struct User {
    endpoint: String,
    name: String,
    password: String,
    http: reqwest::Client,
}

/// Headers that ask for an encryption.
type Asked<'a> = &'a [(&'static str, &'a str)];

impl User {
    fn of(stack: &Sandbox, sandbox: &str) -> Self {
        let made = stack.json(&["sandbox", "create", sandbox]);
        let variable = |name: &str| made["env"][name].as_str().unwrap().to_owned();
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        Self {
            endpoint: variable("AWS_ENDPOINT_URL_S3"),
            name: variable("AWS_ACCESS_KEY_ID"),
            password: variable("AWS_SECRET_ACCESS_KEY"),
            http: reqwest::Client::builder().no_proxy().build().unwrap(),
        }
    }

    /// A request that is signed in its headers, or in its URL if that is to live for a while.
    async fn ask(
        &self,
        method: &str,
        path: &str,
        asked: Asked<'_>,
        body: &[u8],
        presigned: Option<Duration>,
    ) -> (u16, String) {
        let mut request = http::Request::builder().method(method).uri(format!("{}{path}", self.endpoint));
        let digest = hex::encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, body));
        if presigned.is_none() {
            request = request.header("x-amz-content-sha256", digest);
        }
        for (name, value) in asked {
            request = request.header(*name, *value);
        }
        let (mut head, body) = request.body(body.to_vec()).unwrap().into_parts();
        let signer = reqsign_core::Signer::new(
            reqsign_core::Context::new(),
            reqsign_aws_v4::StaticCredentialProvider::new(&self.name, &self.password),
            reqsign_aws_v4::RequestSigner::new("s3", "us-east-1"),
        );
        signer.sign(&mut head, presigned).await.unwrap();
        let request: reqwest::Request = http::Request::from_parts(head, body).try_into().unwrap();
        let answer = self.http.execute(request).await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }

    /// An upload by an HTML form, whose policy allows any field.
    async fn post_form(&self, object: &str, asked: Asked<'_>) -> (u16, String) {
        let now = jiff::Timestamp::now();
        let (day, time) = (now.strftime("%Y%m%d").to_string(), now.strftime("%Y%m%dT%H%M%SZ").to_string());
        let end = (now + Duration::from_secs(300)).strftime("%Y-%m-%dT%H:%M:%S.000Z").to_string();
        let credential = format!("{}/{day}/us-east-1/s3/aws4_request", self.name);
        let mut fields = vec![
            ("key", object.to_owned()),
            ("x-amz-algorithm", "AWS4-HMAC-SHA256".into()),
            ("x-amz-credential", credential),
            ("x-amz-date", time),
        ];
        fields.extend(asked.iter().map(|(name, value)| (*name, (*value).to_owned())));
        let mut conditions: Vec<_> = fields.iter().map(|(name, value)| serde_json::json!({ *name: value })).collect();
        conditions.push(serde_json::json!({ "bucket": OWN }));
        let policy = serde_json::json!({ "expiration": end, "conditions": conditions });
        let policy = STANDARD.encode(policy.to_string());
        let steps = [day.as_str(), "us-east-1", "s3", "aws4_request", &policy];
        let secret = format!("AWS4{}", self.password).into_bytes();
        let signature = steps.iter().fold(secret, |key, step| {
            hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key), step.as_bytes()).as_ref().to_vec()
        });
        fields.extend([("policy", policy), ("x-amz-signature", hex::encode(signature))]);
        let file =
            "--part\r\nContent-Disposition: form-data; name=\"file\"; filename=\"f\"\r\n\r\nform\r\n--part--\r\n";
        let parts = fields.iter().map(|(name, value)| {
            format!("--part\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
        });
        let body = parts.chain([file.to_owned()]).collect::<Vec<_>>().concat();
        let request = self.http.post(format!("{}/{OWN}", self.endpoint));
        let answer = request.header("content-type", "multipart/form-data; boundary=part").body(body).send();
        let answer = answer.await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }

    /// An upload in parts, to its end if it may begin.
    async fn in_parts(&self, object: &str, asked: Asked<'_>) -> u16 {
        let (status, answer) = self.ask("POST", &format!("/{OWN}/{object}?uploads="), asked, b"", None).await;
        let Some((_, rest)) = answer.split_once("<UploadId>") else { return status };
        let upload = rest.split('<').next().unwrap();
        let part = format!("/{OWN}/{object}?partNumber=1&uploadId={upload}");
        let (status, answer) = self.ask("PUT", &part, &[], b"in parts", None).await;
        assert_eq!(status, 200, "{answer}");
        let (_, listed) = self.ask("GET", &format!("/{OWN}/{object}?uploadId={upload}"), &[], b"", None).await;
        let tag = listed.split("<ETag>").nth(1).unwrap().split('<').next().unwrap();
        let all = format!(
            "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{tag}</ETag></Part></CompleteMultipartUpload>"
        );
        self.ask("POST", &format!("/{OWN}/{object}?uploadId={upload}"), &[], all.as_bytes(), None).await.0
    }
}

/// What asks for another key than the sandbox's, and how it is called.
const OTHERS: [(&str, &[(&str, &str)]); 8] = [
    ("sse-s3", &[(SSE, "AES256")]),
    ("sse-s3-own", &[(SSE, "AES256"), (KEY, OWN)]),
    ("sse-kms", &[(SSE, "aws:kms")]),
    ("sse-kms-empty", &[(SSE, "aws:kms"), (KEY, "")]),
    ("sse-kms-default", &[(SSE, "aws:kms"), (KEY, "minio-backend-key")]),
    ("sse-kms-arn", &[(SSE, "aws:kms"), (KEY, "arn:aws:kms:minio-backend-key")]),
    ("key-alone", &[(KEY, "minio-backend-key")]),
    ("twice", &[(SSE, "aws:kms"), (KEY, "minio-backend-key"), (KEY, OWN)]),
];

/// What a user of a sandbox may ask for.
const ALLOWED: [(&str, &[(&str, &str)]); 3] = [
    ("default", &[]),
    ("own", &[(SSE, "aws:kms"), (KEY, OWN)]),
    ("own-arn", &[(SSE, "aws:kms"), (KEY, "arn:aws:kms:kestack-sandbox-one")]),
];

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs an engine"]
async fn no_way_leads_to_another_key() {
    let stack = Sandbox::new("");
    stack.ok(&["up"]);
    let user = User::of(&stack, "one");
    let presigned = Some(Duration::from_secs(300));
    let mut wrong = Vec::new();
    for (allowed, (name, asked)) in
        OTHERS.iter().map(|other| (false, other)).chain(ALLOWED.iter().map(|own| (true, own)))
    {
        let path = |way: &str| format!("/{OWN}/{way}-{name}");
        let copy = [asked, &[("x-amz-copy-source", "/kestack-sandbox-one/source")][..]].concat();
        user.ask("PUT", &format!("/{OWN}/source"), &[], b"source", None).await;
        let ways = [
            ("put", user.ask("PUT", &path("put"), asked, b"put", None).await.0),
            ("presigned", user.ask("PUT", &path("presigned"), asked, b"presigned", presigned).await.0),
            ("copy", user.ask("PUT", &path("copy"), &copy, b"", None).await.0),
            ("parts", user.in_parts(&format!("parts-{name}"), asked).await),
            ("form", user.post_form(&format!("form-{name}"), asked).await.0),
        ];
        wrong.extend(
            ways.iter()
                .filter(|(way, status)| {
                    // an upload by a form names no key that MinIO's policies could see, so there is none at all
                    let may = allowed && *way != "form";
                    may != (200..300).contains(status)
                })
                .map(|(way, status)| format!("{way} {name}: {status}")),
        );
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    sealed_with_its_own_key(&stack);
    assert_eq!(user.ask("GET", &format!("/{OWN}/put-default"), &[], b"", None).await, (200, "put".into()));
}

/// Every object of the sandbox names the sandbox's key, as its root user sees it.
fn sealed_with_its_own_key(stack: &Sandbox) {
    let inventory = stack.json(&["inventory"]);
    for (key, used) in inventory["keys"].as_object().unwrap() {
        let objects = &used["buckets"][OWN]["objects"];
        assert_eq!(objects.is_u64(), key == OWN, "{key}: {inventory}");
    }
    assert!(inventory["unencrypted"][OWN].is_null(), "{inventory}");
}
