//! The `seed` section: content that a stack holds from its start.

use std::path::{Path, PathBuf};
use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;
use zeroize::Zeroizing;

use super::tree::{self, Node, Reader};
use super::{Bucket, BucketName};

/// Policies that every MinIO has.
const BUILT_IN: [&str; 5] = ["consoleAdmin", "diagnostics", "readonly", "readwrite", "writeonly"];

/// How long the command may take if the file does not say.
const RUN: Duration = Duration::from_secs(5 * 60);

/// Longest time that the command may be given.
const LONGEST_RUN: Duration = Duration::from_secs(60 * 60);

/// Short words for the events of S3.
const EVENTS: [(&str, &str); 3] =
    [("put", "s3:ObjectCreated:*"), ("delete", "s3:ObjectRemoved:*"), ("get", "s3:ObjectAccessed:*")];

/// Content that a stack holds from its start. Nothing was read of it but the manifest.
#[derive(Debug, Clone, Default)]
pub struct Seed {
    /// Objects from folders.
    pub objects: Vec<SeedObjects>,
    /// Policies of users and access keys.
    pub policies: Vec<SeedPolicy>,
    /// Users.
    pub users: Vec<SeedUser>,
    /// Access keys of these users, which MinIO also calls service accounts.
    pub access_keys: Vec<SeedAccessKey>,
    /// When objects of a bucket expire.
    pub lifecycle: Vec<LifecycleRule>,
    /// Notifications of a bucket.
    pub notifications: Vec<NotificationRule>,
    /// What runs once all of this is there.
    pub run: Option<SeedCommand>,
    /// True if what is there stays as it is, as after a snapshot was restored. No file says that.
    pub is_left_alone: bool,
}

/// The files of a folder as objects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeedObjects {
    /// The folder.
    pub from: PathBuf,
    /// A declared bucket.
    pub bucket: BucketName,
    /// Prefix of a file's path below the folder; empty, or ends as the file says.
    pub prefix: String,
}

/// A policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeedPolicy {
    /// Its name.
    pub name: String,
    /// The file that holds it as JSON.
    pub file: PathBuf,
}

/// A user.
#[derive(Clone)]
pub struct SeedUser {
    /// Name, which is also the access key.
    pub name: String,
    /// Password, which is also the secret key; a random one if there is none.
    pub password: Option<Zeroizing<String>>,
    /// Declared or built-in policies.
    pub policies: Vec<String>,
}

/// An access key of a user.
#[derive(Clone)]
pub struct SeedAccessKey {
    /// The access key.
    pub name: String,
    /// The declared user whose rights it has.
    pub user: String,
    /// The secret key; a random one if there is none.
    pub secret_key: Option<Zeroizing<String>>,
    /// A declared policy that takes rights away; all of the user's without one.
    pub policy: Option<String>,
}

/// One rule of a bucket's lifecycle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LifecycleRule {
    /// A declared bucket.
    pub bucket: BucketName,
    /// Start of the names that it is for; empty for all.
    pub prefix: String,
    /// Days after which an object expires.
    pub expire_days: Option<u16>,
    /// Days after which a version expires that is not the newest one.
    pub expire_noncurrent_days: Option<u16>,
    /// How many of those versions stay in any case.
    pub keep_noncurrent: Option<u16>,
}

/// One rule of a bucket's notifications.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotificationRule {
    /// A declared bucket.
    pub bucket: BucketName,
    /// ARN of a target that `minio.env` makes, such as `arn:minio:sqs::primary:webhook`.
    pub target: String,
    /// Events of S3, such as `s3:ObjectCreated:*`.
    pub events: Vec<String>,
    /// Start of the names that it is for.
    pub prefix: String,
    /// End of the names that it is for.
    pub suffix: String,
}

/// A command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeedCommand {
    /// Program and arguments; at least the program.
    pub command: Vec<String>,
    /// The program, if it is named by a path.
    pub program: Option<PathBuf>,
    /// The folder that it runs in: the manifest's.
    pub folder: PathBuf,
    /// How long it may take.
    pub timeout: Duration,
}

impl std::fmt::Debug for SeedUser {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SeedUser").field("name", &self.name).field("policies", &self.policies).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for SeedAccessKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SeedAccessKey").field("name", &self.name).field("user", &self.user).finish_non_exhaustive()
    }
}

impl Seed {
    /// True if nothing is declared.
    pub fn is_empty(&self) -> bool {
        let lists = [self.objects.len(), self.policies.len(), self.users.len(), self.access_keys.len()];
        let rules = self.lifecycle.len() + self.notifications.len();
        lists.iter().sum::<usize>() + rules == 0 && self.run.is_none()
    }
}

/// The section as the schema describes it.
#[derive(Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SeedFile {
    /// Objects from folders
    objects: Option<Vec<ObjectsFile>>,
    /// Policies of users and access keys
    policies: Option<Vec<PolicyFile>>,
    /// Users
    users: Option<Vec<UserFile>>,
    /// Access keys (service accounts) of these users
    access_keys: Option<Vec<AccessKeyFile>>,
    /// When objects of a bucket expire
    lifecycle: Option<Vec<LifecycleFile>>,
    /// Notifications of a bucket
    notifications: Option<Vec<NotificationFile>>,
    /// Program and arguments that run once all of this is there
    run: Option<Vec<String>>,
    /// How long that command may take, such as 90s; 5m unless said otherwise
    run_timeout: Option<String>,
}

#[derive(Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ObjectsFile {
    /// Folder whose files become objects
    from: PathBuf,
    /// A declared bucket
    bucket: String,
    /// Prefix of each file's path, such as demo/
    prefix: Option<String>,
}

#[derive(Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct PolicyFile {
    /// Name of the policy
    name: String,
    /// File that holds it as JSON
    file: PathBuf,
}

#[derive(Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct UserFile {
    /// Name, which is also the access key
    name: String,
    /// Password, if not a random one
    password: Option<String>,
    /// Declared policies, or consoleAdmin, diagnostics, readonly, readwrite, writeonly
    policies: Option<Vec<String>>,
}

#[derive(Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct AccessKeyFile {
    /// The access key
    name: String,
    /// The declared user whose rights it has
    user: String,
    /// The secret key, if not a random one
    secret_key: Option<String>,
    /// A declared policy that takes rights away
    policy: Option<String>,
}

#[derive(Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct LifecycleFile {
    /// A declared bucket
    bucket: String,
    /// Start of the names that the rule is for
    prefix: Option<String>,
    /// Days after which an object expires
    expire_days: Option<u16>,
    /// Days after which a version expires that is not the newest one
    expire_noncurrent_days: Option<u16>,
    /// How many of those versions stay in any case
    keep_noncurrent: Option<u16>,
}

#[derive(Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct NotificationFile {
    /// A declared bucket
    bucket: String,
    /// ARN of a target that minio.env makes
    target: String,
    /// put, delete, get, or names of S3 such as s3:ObjectCreated:Put
    events: Vec<String>,
    /// Start of the names that the rule is for
    prefix: Option<String>,
    /// End of the names that the rule is for
    suffix: Option<String>,
}

/// Reads the section.
pub(super) fn read(reader: &mut Reader<'_>, node: &Node, folder: &Path, buckets: &[Bucket]) -> Seed {
    const KNOWN: [&str; 8] =
        ["objects", "policies", "users", "access_keys", "lifecycle", "notifications", "run", "run_timeout"];
    let entries = reader.entries(node, "seed", &KNOWN);
    let find = |name: &str| entries.iter().find(|(key, _)| key == name).map(|(_, node)| *node);
    let items = |reader: &mut Reader<'_>, name: &str| match find(name) {
        Some(node) => reader.items(node, &format!("seed.{name}")),
        None => vec![],
    };
    let mut seed = Seed::default();
    for item in items(reader, "objects") {
        seed.objects.extend(objects(reader, item, folder, buckets));
    }
    for item in items(reader, "policies") {
        seed.policies.extend(policy(reader, item, folder, &seed.policies));
    }
    for item in items(reader, "users") {
        seed.users.extend(user(reader, item, &seed));
    }
    for item in items(reader, "access_keys") {
        seed.access_keys.extend(access_key(reader, item, &seed));
    }
    for item in items(reader, "lifecycle") {
        seed.lifecycle.extend(lifecycle(reader, item, buckets));
    }
    for item in items(reader, "notifications") {
        seed.notifications.extend(notification(reader, item, buckets));
    }
    seed.run = find("run").and_then(|node| command(reader, node, folder));
    match (find("run_timeout").and_then(|node| Some((node, timeout(reader, node)?))), &mut seed.run) {
        (Some((_, timeout)), Some(run)) => run.timeout = timeout,
        (Some((node, _)), None) => reader.wrong(node, "seed.run_timeout is of no use without seed.run"),
        _ => {}
    }
    seed
}

fn objects(reader: &mut Reader<'_>, node: &Node, folder: &Path, buckets: &[Bucket]) -> Option<SeedObjects> {
    reader.entries(node, "seed.objects", &["from", "bucket", "prefix"]);
    let from = required(reader, node, "from");
    let bucket = declared_bucket(reader, node, buckets);
    let prefix = optional(reader, node, "prefix").unwrap_or_default();
    if let Some(at) = tree::entry(node, "prefix")
        && (prefix.starts_with('/') || prefix.contains(char::is_control) || has_dots(&prefix) || prefix.len() > 512)
    {
        reader.wrong(at, "prefix must not begin with `/`, nor hold `.` or `..` as a folder, control characters or more than 512 bytes");
    }
    Some(SeedObjects { from: folder.join(from?), bucket: bucket?, prefix })
}

/// Parts of a name that servers and clients would take for folders.
fn has_dots(name: &str) -> bool {
    name.split('/').any(|part| part == "." || part == "..") || name.contains("//")
}

fn policy(reader: &mut Reader<'_>, node: &Node, folder: &Path, others: &[SeedPolicy]) -> Option<SeedPolicy> {
    reader.entries(node, "seed.policies", &["name", "file"]);
    let name = name(reader, node, "policy", 128);
    let file = required(reader, node, "file");
    let name = name?;
    if BUILT_IN.contains(&name.as_str()) {
        reader.wrong(node, format!("policy '{name}' is built into MinIO: choose another name"));
    }
    if others.iter().any(|other| other.name == name) {
        reader.wrong(node, format!("policy '{name}' is named twice"));
    }
    Some(SeedPolicy { name, file: folder.join(file?) })
}

fn user(reader: &mut Reader<'_>, node: &Node, seed: &Seed) -> Option<SeedUser> {
    reader.entries(node, "seed.users", &["name", "password", "policies"]);
    let name = name(reader, node, "user", 128);
    let password = secret(reader, node, "password", 128);
    let mut policies = Vec::new();
    if let Some(list) = tree::entry(node, "policies") {
        for item in reader.items(list, "policies") {
            let Some(policy) = reader.text(item, "a policy") else { continue };
            if !BUILT_IN.contains(&policy.as_str()) && !seed.policies.iter().any(|known| known.name == policy) {
                let all = BUILT_IN.join(", ");
                reader.wrong(item, format!("policy '{policy}' is neither in seed.policies nor one of {all}"));
            }
            policies.push(policy);
        }
    }
    let name = name?;
    if seed.users.iter().any(|other| other.name == name) {
        reader.wrong(node, format!("user '{name}' is named twice"));
    }
    Some(SeedUser { name, password, policies })
}

fn access_key(reader: &mut Reader<'_>, node: &Node, seed: &Seed) -> Option<SeedAccessKey> {
    reader.entries(node, "seed.access_keys", &["name", "user", "secret_key", "policy"]);
    let name = name(reader, node, "access key", 20);
    let user = required(reader, node, "user");
    let secret_key = secret(reader, node, "secret_key", 40);
    let policy = optional(reader, node, "policy");
    if let (Some(policy), Some(at)) = (&policy, tree::entry(node, "policy"))
        && !seed.policies.iter().any(|known| known.name == *policy)
    {
        reader.wrong(at, format!("policy '{policy}' is not in seed.policies"));
    }
    let (name, user) = (name?, user?);
    if let Some(at) = tree::entry(node, "user").filter(|_| !seed.users.iter().any(|known| known.name == user)) {
        reader.wrong(at, format!("user '{user}' is not in seed.users"));
    }
    let taken = seed.users.iter().any(|known| known.name == name);
    if taken || seed.access_keys.iter().any(|known| known.name == name) {
        reader.wrong(node, format!("access key '{name}' is named twice"));
    }
    Some(SeedAccessKey { name, user, secret_key, policy })
}

fn lifecycle(reader: &mut Reader<'_>, node: &Node, buckets: &[Bucket]) -> Option<LifecycleRule> {
    const KNOWN: [&str; 5] = ["bucket", "prefix", "expire_days", "expire_noncurrent_days", "keep_noncurrent"];
    reader.entries(node, "seed.lifecycle", &KNOWN);
    let number = |reader: &mut Reader<'_>, name: &str| {
        tree::entry(node, name).and_then(|node| reader.number(node, name, 1..=u16::MAX))
    };
    let bucket = declared_bucket(reader, node, buckets);
    let prefix = optional(reader, node, "prefix").unwrap_or_default();
    let (expire_days, expire_noncurrent_days) =
        (number(reader, "expire_days"), number(reader, "expire_noncurrent_days"));
    let keep_noncurrent = number(reader, "keep_noncurrent");
    if expire_days.is_none() && expire_noncurrent_days.is_none() && keep_noncurrent.is_none() {
        reader.wrong(node, "a rule needs expire_days, expire_noncurrent_days or keep_noncurrent");
    }
    Some(LifecycleRule { bucket: bucket?, prefix, expire_days, expire_noncurrent_days, keep_noncurrent })
}

fn notification(reader: &mut Reader<'_>, node: &Node, buckets: &[Bucket]) -> Option<NotificationRule> {
    reader.entries(node, "seed.notifications", &["bucket", "target", "events", "prefix", "suffix"]);
    let bucket = declared_bucket(reader, node, buckets);
    let target = required(reader, node, "target");
    if let (Some(target), Some(at)) = (&target, tree::entry(node, "target"))
        && !target.starts_with("arn:minio:sqs:")
    {
        reader.wrong(at, "target must be an ARN such as arn:minio:sqs::primary:webhook");
    }
    let mut events = Vec::new();
    match tree::entry(node, "events") {
        None => reader.wrong(node, "a notification needs events, such as [put, delete]"),
        Some(list) => {
            for item in reader.items(list, "events") {
                events.extend(event(reader, item));
            }
        }
    }
    let [prefix, suffix] = ["prefix", "suffix"].map(|name| optional(reader, node, name).unwrap_or_default());
    Some(NotificationRule { bucket: bucket?, target: target?, events, prefix, suffix })
}

fn event(reader: &mut Reader<'_>, node: &Node) -> Option<String> {
    let text = reader.text(node, "an event")?;
    if text.starts_with("s3:") {
        return Some(text);
    }
    let found = EVENTS.iter().find(|(word, _)| *word == text).map(|(_, event)| (*event).to_owned());
    if found.is_none() {
        reader.wrong(
            node,
            format!("'{text}' is not an event: write put, delete, get, or a name such as s3:ObjectCreated:Put"),
        );
    }
    found
}

fn command(reader: &mut Reader<'_>, node: &Node, folder: &Path) -> Option<SeedCommand> {
    let items = reader.items(node, "seed.run");
    let command: Vec<_> = items.iter().filter_map(|item| reader.text(item, "a word of seed.run")).collect();
    let Some(program) = command.first().filter(|program| !program.is_empty()) else {
        reader.wrong(node, "seed.run must be a list of a program and its arguments");
        return None;
    };
    let program = program.contains('/').then(|| folder.join(program));
    Some(SeedCommand { program, folder: folder.to_owned(), timeout: RUN, command })
}

fn timeout(reader: &mut Reader<'_>, node: &Node) -> Option<Duration> {
    let text = reader.text(node, "seed.run_timeout")?;
    let duration = text.parse::<jiff::SignedDuration>().ok().and_then(|duration| Duration::try_from(duration).ok());
    let found = duration.filter(|duration| (Duration::from_secs(1)..=LONGEST_RUN).contains(duration));
    if found.is_none() {
        reader.wrong(node, format!("'{text}' is not a valid time: write 90s or 5m, at most 1h"));
    }
    found
}

fn required(reader: &mut Reader<'_>, node: &Node, name: &str) -> Option<String> {
    let Some(at) = tree::entry(node, name) else {
        reader.wrong(node, format!("{name} is missing"));
        return None;
    };
    let text = reader.text(at, name)?;
    if text.is_empty() {
        reader.wrong(at, format!("{name} is empty"));
    }
    Some(text)
}

fn optional(reader: &mut Reader<'_>, node: &Node, name: &str) -> Option<String> {
    tree::entry(node, name).and_then(|at| reader.text(at, name))
}

/// A name that becomes part of file names, queries and archives.
fn name(reader: &mut Reader<'_>, node: &Node, what: &str, longest: usize) -> Option<String> {
    let name = required(reader, node, "name")?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._@-".contains(&byte);
    if !(3..=longest).contains(&name.len()) || !name.bytes().all(plain) || name.starts_with(['.', '-']) {
        reader.wrong(
            node,
            format!("'{name}' is not a valid name of a {what}: 3 to {longest} letters, digits and `._@-`, no `.` or `-` at its start"),
        );
        return None;
    }
    Some(name)
}

/// MinIO takes secret keys of at least eight characters.
fn secret(reader: &mut Reader<'_>, node: &Node, name: &str, longest: usize) -> Option<Zeroizing<String>> {
    let at = tree::entry(node, name)?;
    let text = Zeroizing::new(reader.text(at, name)?);
    if !(8..=longest).contains(&text.len()) || text.contains(char::is_control) {
        reader.wrong(at, format!("{name} must have 8 to {longest} characters, all of them printable"));
    }
    Some(text)
}

fn declared_bucket(reader: &mut Reader<'_>, node: &Node, buckets: &[Bucket]) -> Option<BucketName> {
    let name = required(reader, node, "bucket")?;
    let found = buckets.iter().find(|bucket| bucket.name.as_str() == name).map(|bucket| bucket.name.clone());
    if found.is_none() {
        let all: Vec<_> = buckets.iter().map(|bucket| bucket.name.as_str()).collect();
        let at = tree::entry(node, "bucket").unwrap_or(node);
        reader.wrong(at, format!("bucket '{name}' is not among the buckets: there is {}", all.join(", ")));
    }
    found
}
