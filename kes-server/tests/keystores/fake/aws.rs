//! AWS Secrets Manager with what hands out credentials for it: STS, container and instance metadata
//! (docs/keystores-protocol.md §5).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use serde_json::{Value, json};

use super::{Reply, Request, Service, percent};

/// Names that AWS returns at once.
const PAGE: usize = 100;
/// Prefix of the metadata service's paths of roles.
const ROLES: &str = "/latest/meta-data/iam/security-credentials/";

/// An account. Access keys `key-<source>` have the session token `token-<source>`, `static` has none.
#[derive(Debug, Default)]
pub struct Aws {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    secrets: BTreeMap<String, Entry>,
    /// Access keys that are not accepted any more.
    revoked: BTreeSet<String>,
    /// The access key of each call.
    used: Vec<String>,
    /// Life of the credentials that are handed out, in seconds; an hour if 0.
    life: i64,
    /// How many credentials were handed out.
    issued: usize,
}

#[derive(Debug, Default)]
struct Entry {
    request_token: String,
    /// `SecretString` or `SecretBinary`, with its value.
    value: BTreeMap<String, Value>,
    kms_key: Option<String>,
}

impl Aws {
    /// The `SecretString` of a name.
    pub fn stored(&self, name: &str) -> Option<String> {
        let state = self.state.lock().unwrap();
        state.secrets.get(name)?.value.get("SecretString")?.as_str().map(str::to_owned)
    }

    pub fn kms_key(&self, name: &str) -> Option<String> {
        self.state.lock().unwrap().secrets.get(name)?.kms_key.clone()
    }

    /// Puts an entry there as others would: `SecretString`, `SecretBinary` (base64) or nothing.
    pub fn put(&self, name: &str, value: &[(&str, &str)]) {
        let value = value.iter().map(|(form, text)| ((*form).to_owned(), json!(text))).collect();
        self.state.lock().unwrap().secrets.insert(name.into(), Entry { value, ..Entry::default() });
    }

    /// The access keys of the calls since the last time.
    pub fn used(&self) -> Vec<String> {
        std::mem::take(&mut self.state.lock().unwrap().used)
    }

    /// Refuses an access key from now on.
    pub fn revoke(&self, access_key: &str) {
        self.state.lock().unwrap().revoked.insert(access_key.into());
    }

    /// Lets credentials end after so many seconds.
    pub fn set_life(&self, seconds: i64) {
        self.state.lock().unwrap().life = seconds;
    }
}

impl Service for Aws {
    fn answer(&self, request: &Request) -> Reply {
        let mut state = self.state.lock().unwrap();
        match (request.method.as_str(), request.path.as_str()) {
            ("GET", "/") => Reply::status(404),
            ("POST", "/") => call(&mut state, request),
            ("POST", "/sts") => web_identity(&mut state, request),
            ("GET", "/container") if request.header("authorization") == "let me in" => {
                Reply::json(200, &credentials(&mut state, "container"))
            }
            ("PUT", "/latest/api/token") => {
                let ttl = request.header("x-aws-ec2-metadata-token-ttl-seconds");
                let reply = Reply { body: b"metadata".to_vec(), ..Reply::status(200) };
                reply.with("x-aws-ec2-metadata-token-ttl-seconds", ttl)
            }
            ("GET", path) if path.starts_with(ROLES) => role(&mut state, request),
            _ => Reply::status(404),
        }
    }
}

fn role(state: &mut State, request: &Request) -> Reply {
    match (request.header("x-aws-ec2-metadata-token"), request.path.trim_start_matches(ROLES)) {
        ("metadata", "") => Reply { body: b"the-role\nanother".to_vec(), ..Reply::status(200) },
        ("metadata", "the-role") => Reply::json(200, &credentials(state, "instance")),
        ("metadata", _) => Reply::status(404),
        _ => Reply::status(401),
    }
}

fn web_identity(state: &mut State, request: &Request) -> Reply {
    let body = percent(&String::from_utf8_lossy(&request.body));
    let expected = ["Action=AssumeRoleWithWebIdentity", "RoleArn=arn:aws:iam::1:role/kes", "WebIdentityToken=a-jwt"];
    if !expected.iter().all(|part| body.contains(part)) {
        let body = "<ErrorResponse><Error><Code>InvalidIdentityToken</Code><Message>No such token</Message></Error></ErrorResponse>";
        return Reply { body: body.into(), ..Reply::status(400) };
    }
    let credentials = credentials(state, "web");
    let field = |name: &str| credentials[name].as_str().unwrap().to_owned();
    let (key, secret, token, end) =
        (field("AccessKeyId"), field("SecretAccessKey"), field("Token"), field("Expiration"));
    let body = format!(
        "<AssumeRoleWithWebIdentityResponse><AssumeRoleWithWebIdentityResult><Credentials><AccessKeyId>{key}\
         </AccessKeyId><SecretAccessKey>{secret}</SecretAccessKey><SessionToken>{token}</SessionToken><Expiration>{end}\
         </Expiration></Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>"
    );
    Reply { body: body.into(), ..Reply::status(200) }
}

fn credentials(state: &mut State, source: &str) -> Value {
    state.issued += 1;
    let life = if state.life == 0 { 3600 } else { state.life };
    let end = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(life);
    let key = format!("key-{source}-{}", state.issued);
    json!({
        "Code": "Success", "AccessKeyId": key, "SecretAccessKey": "secret", "Token": format!("token-{source}"),
        "Expiration": end.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
    })
}

/// A signed call. The signature itself is judged by others.
fn call(state: &mut State, request: &Request) -> Reply {
    let authorization = request.header("authorization");
    let scope = authorization.strip_prefix("AWS4-HMAC-SHA256 Credential=").unwrap_or_default();
    let (key, scope) = scope.split_once('/').unwrap_or_default();
    let signed = ["content-type", "host", "x-amz-date", "x-amz-target"];
    let parts: Vec<_> =
        authorization.split(',').filter_map(|part| part.trim().strip_prefix("SignedHeaders=")).collect();
    let covers = |header: &&str| parts.iter().any(|part| part.split(';').any(|name| name == *header));
    let token = key
        .strip_prefix("key-")
        .map_or(String::new(), |rest| format!("token-{}", rest.split('-').next().unwrap_or_default()));
    let scoped =
        scope.split_once('/').is_some_and(|(_, rest)| rest.starts_with("eu-central-1/secretsmanager/aws4_request"));
    if !scoped || !signed.iter().all(covers) || request.header("content-type") != "application/x-amz-json-1.1" {
        return refused("IncompleteSignatureException", "not signed as it must be");
    }
    if state.revoked.contains(key) || request.header("x-amz-security-token") != token {
        return refused("UnrecognizedClientException", "The security token included in the request is invalid.");
    }
    if !token.is_empty() && !covers(&"x-amz-security-token") {
        return refused("IncompleteSignatureException", "the token is not signed");
    }
    state.used.push(key.to_owned());
    action(state, request.header("x-amz-target"), &request.json())
}

fn action(state: &mut State, target: &str, body: &Value) -> Reply {
    let name = body[if target.ends_with("CreateSecret") { "Name" } else { "SecretId" }].as_str().unwrap_or_default();
    match target {
        "secretsmanager.CreateSecret" => create(state, name, body),
        "secretsmanager.GetSecretValue" => match state.secrets.get(name) {
            Some(entry) => {
                let mut answer = json!({ "ARN": arn(name), "Name": name, "VersionStages": ["AWSCURRENT"] });
                entry.value.iter().for_each(|(form, value)| answer[form] = value.clone());
                Reply::json(200, &answer)
            }
            None => refused("ResourceNotFoundException", "Secrets Manager can't find the specified secret."),
        },
        "secretsmanager.DeleteSecret" if body["ForceDeleteWithoutRecovery"] == true => {
            state.secrets.remove(name);
            Reply::json(200, &json!({ "ARN": arn(name), "Name": name, "DeletionDate": 1_704_164_645.0 }))
        }
        "secretsmanager.ListSecrets" => {
            let from: usize = body["NextToken"].as_str().map_or(0, |token| token.parse().unwrap());
            let mut answer = json!({ "SecretList": state.secrets.keys().skip(from).take(PAGE).map(|name| json!({ "Name": name })).collect::<Vec<_>>() });
            if state.secrets.len() > from + PAGE {
                answer["NextToken"] = json!((from + PAGE).to_string());
            }
            Reply::json(200, &answer)
        }
        _ => refused("InvalidRequestException", "no such action"),
    }
}

fn create(state: &mut State, name: &str, body: &Value) -> Reply {
    let request_token = body["ClientRequestToken"].as_str().unwrap_or_default().to_owned();
    match state.secrets.get(name) {
        Some(entry) if entry.request_token == request_token => {}
        Some(_) => {
            return refused("ResourceExistsException", "The operation failed because the secret already exists.");
        }
        None => {
            let value = body.as_object().unwrap().iter().filter(|(key, _)| key.starts_with("Secret"));
            let value = value.map(|(key, value)| (key.clone(), value.clone())).collect();
            let kms_key = body["KmsKeyId"].as_str().map(str::to_owned);
            state.secrets.insert(name.into(), Entry { request_token: request_token.clone(), value, kms_key });
        }
    }
    Reply::json(200, &json!({ "ARN": arn(name), "Name": name, "VersionId": request_token }))
}

fn arn(name: &str) -> String {
    format!("arn:aws:secretsmanager:eu-central-1:123456789012:secret:{name}-a1b2c3")
}

/// An error in the form of AWS.
pub fn refused(code: &str, message: &str) -> Reply {
    Reply::json(400, &json!({ "__type": code, "Message": message }))
}
