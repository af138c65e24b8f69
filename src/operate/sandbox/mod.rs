//! Sandboxes: a bucket, an EK that encrypts it, and a user that may use these two and nothing else, inside a running
//! stack. Made in milliseconds for one test or one branch, dropped with all it held.
//!
//! There is no list of sandboxes: each is known by the tags of its bucket, and the password of its user is derived
//! from a secret of the stack, so it is stored nowhere.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join;
use jiff::{SignedDuration, Timestamp};
use kes_server::client::Client;
use serde::{Serialize, Serializer};
use zeroize::Zeroizing;

use crate::error::Error;
use crate::host::digest::SecretKey;
use crate::operate::present::present;
use crate::servers::bucket::BucketSettings;
use crate::servers::replicas::Replicas;
use crate::servers::s3::{Encryption, S3Client, S3Error};
use crate::stack::{Clients, Layout, Stack, authority_variables, s3_variables};

mod iam;
mod name;
mod removal;
mod report;
mod sweep;

use name::PREFIX;
pub use name::SandboxName;
pub use removal::Kept;
pub(crate) use report::{Created, DropReport, Listed};
pub use sweep::{Dropped, Stale};

/// Tag: when the sandbox was made, to the nanosecond; also what makes its password differ from that of an earlier
/// sandbox of its name.
const CREATED: &str = "kestack:created";
/// Tag: when it may be dropped.
const EXPIRES: &str = "kestack:expires";

/// The sandboxes of one stack.
pub struct Sandboxes {
    stack: String,
    layout: Layout,
    endpoint: String,
    authority: Option<PathBuf>,
    kes: Arc<Client>,
    replicas: Replicas,
    s3: S3Client,
    secrets: SecretKey,
}

/// The wanted state of a sandbox.
#[derive(Debug, Clone)]
pub struct SandboxOptions {
    /// Its name.
    pub name: SandboxName,
    /// How long it is needed; [`Sandboxes::sweep`] drops it afterwards. Without one it stays until it is dropped.
    pub lease: Option<Duration>,
    /// Whether its bucket keeps versions.
    pub versioning: bool,
}

/// A sandbox that is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct Sandbox {
    /// Its name.
    #[serde(serialize_with = "text")]
    #[schemars(with = "String")]
    pub name: SandboxName,
    /// Its bucket, whose default encryption is SSE-KMS with its key.
    pub bucket: String,
    /// Its key in KES.
    pub key: String,
    /// When it was created; null if its creation was interrupted.
    #[schemars(with = "Option<String>")]
    pub created: Option<Timestamp>,
    /// When it may be dropped.
    #[schemars(with = "Option<String>")]
    pub expires: Option<Timestamp>,
}

/// The access of its user.
#[derive(Clone)]
pub struct SandboxUser {
    /// URL of S3.
    pub endpoint: String,
    /// Certificate of the authority that clients must trust, with TLS.
    pub authority: Option<PathBuf>,
    /// Access key.
    pub access_key: String,
    /// Secret key.
    pub secret_key: Zeroizing<String>,
}

/// What could not be made of a bucket.
enum Unmade {
    /// The bucket: one of that name may be another's.
    Bucket(S3Error),
    /// Its settings.
    Settings(S3Error),
}

impl From<Unmade> for Error {
    fn from(unmade: Unmade) -> Self {
        let (Unmade::Bucket(error) | Unmade::Settings(error)) = unmade;
        error.into()
    }
}

impl std::fmt::Debug for SandboxUser {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SandboxUser").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Sandboxes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sandboxes").field("stack", &self.stack).finish_non_exhaustive()
    }
}

impl Sandboxes {
    /// The sandboxes of `stack`, through those clients of it.
    pub fn of(stack: &Stack, Clients { kes, replicas, s3 }: Clients) -> Self {
        Self {
            stack: stack.manifest.name.to_string(),
            layout: stack.layout.clone(),
            endpoint: stack.s3_endpoint(),
            authority: stack.s3_authority(),
            kes,
            replicas,
            s3,
            secrets: stack.material.digests(),
        }
    }

    /// Makes a sandbox: its key first, which claims the name, then the bucket with its settings and the user side by side.
    /// After a failure, everything that was made is removed again.
    ///
    /// # Errors
    /// [`Error::Occupied`] if there is one of that name.
    pub async fn create(&self, options: &SandboxOptions) -> Result<(Sandbox, SandboxUser), Error> {
        let id = options.name.resource();
        let sandbox = Sandbox::new(options)?;
        let user = self.user_of(&sandbox)?;
        match self.kes.create_key(&id).await {
            Err(error) if error.is_key_exists() => return Err(self.taken(&options.name)?),
            made => made.map_err(|error| self.unreached(error))?,
        }
        // neither is given up halfway: what they make must be known before it is removed
        let (bucket, made) =
            join(self.make_bucket(&sandbox, options.versioning), self.make_user(&id, &user.secret_key)).await;
        if let Err(Unmade::Bucket(error)) = bucket {
            self.s3.remove_user(&id).await?;
            self.replicas.delete_key(&id).await?;
            return Err(if error.code() == "BucketAlreadyOwnedByYou" {
                self.taken(&options.name)?
            } else {
                error.into()
            });
        }
        if let Err(error) = bucket.map_err(Error::from).and(made) {
            self.clear(&id).await?;
            return Err(error);
        }
        Ok((sandbox, user))
    }

    /// The sandbox of that name.
    ///
    /// # Errors
    /// [`Error::Absent`] if there is none.
    pub async fn find(&self, name: &SandboxName) -> Result<Sandbox, Error> {
        match self.tags_of(name).await {
            Ok(Some(tags)) => Ok(Sandbox::found(name, &tags)),
            Ok(None) => Err(self.absent(name)),
            Err(error) if error.is_connection() => Err(Error::NotRunning(self.stack.clone())),
            Err(error) => Err(error.into()),
        }
    }

    /// All sandboxes, by name.
    pub async fn list(&self) -> Result<Vec<Sandbox>, Error> {
        let buckets = match self.s3.list_buckets().await {
            Err(error) if error.is_connection() => return Err(Error::NotRunning(self.stack.clone())),
            buckets => buckets?,
        };
        let found = present(buckets, S3Error::is_no_bucket, async |bucket| {
            let Some(name) = SandboxName::of_resource(&bucket) else { return Ok(None) };
            let tags = self.tags_of(&name).await?;
            Ok(tags.map(|tags| Sandbox::found(&name, &tags)))
        });
        let mut all: Vec<_> = found.await?.into_iter().flatten().collect();
        all.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(all)
    }

    /// What the user of a sandbox needs.
    ///
    /// # Errors
    /// [`Error::Usage`] if the sandbox was never finished.
    pub fn user_of(&self, sandbox: &Sandbox) -> Result<SandboxUser, Error> {
        let created = sandbox.created.ok_or_else(|| Error::Usage {
            what: format!("sandbox '{}' is incomplete: its creation was interrupted", sandbox.name),
            hint: format!("remove it with `kestack sandbox drop {}` and create it again", sandbox.name),
        })?;
        let secret = format!("password of sandbox user\n{}\n{}", sandbox.name, created.as_nanosecond());
        let mut password = self.secrets.tag(secret.as_bytes());
        // as much as MinIO itself would take for a secret key: 160 bits
        password.truncate(40);
        Ok(SandboxUser {
            endpoint: self.endpoint.clone(),
            authority: self.authority.clone(),
            access_key: sandbox.bucket.clone(),
            secret_key: Zeroizing::new(password),
        })
    }

    /// Gives a sandbox a new lease, from now on; `None` lets it stay until it is dropped.
    pub async fn extend(&self, name: &SandboxName, lease: Option<Duration>) -> Result<Sandbox, Error> {
        let mut sandbox = self.find(name).await?;
        sandbox.expires = lease.map(|lease| end_of(lease, Timestamp::now())).transpose()?;
        self.s3.put_bucket_tags(&sandbox.bucket, &sandbox.tags()).await?;
        Ok(sandbox)
    }

    /// The tags of a sandbox's bucket; `None` if there is no bucket. MinIO says of both, one without tags and one that is
    /// absent, that there are no tags.
    async fn tags_of(&self, name: &SandboxName) -> Result<Option<BTreeMap<String, String>>, S3Error> {
        let bucket = name.resource();
        let tags = self.s3.bucket_tags(&bucket).await?;
        if tags.is_empty() {
            match self.s3.bucket_encryption(&bucket).await {
                Err(error) if error.is_no_bucket() => return Ok(None),
                there => drop(there?),
            }
        }
        Ok(Some(tags))
    }

    async fn make_bucket(&self, sandbox: &Sandbox, versioning: bool) -> Result<(), Unmade> {
        self.s3.create_bucket(&sandbox.bucket).await.map_err(Unmade::Bucket)?;
        let encryption = Some(Encryption::SseKms(sandbox.key.clone()));
        let settings = BucketSettings { tags: sandbox.tags(), encryption, versioning };
        self.s3.set_bucket(&sandbox.bucket, &settings).await.map_err(Unmade::Settings)
    }

    async fn make_user(&self, id: &str, password: &str) -> Result<(), Error> {
        // the policy is there but for the first sandbox of a fresh drive
        for with_policy in [false, true] {
            let imported = self.s3.import_iam(iam::archive(id, password, with_policy)?).await?;
            if imported.whole() {
                return Ok(());
            }
            tracing::debug!("MinIO did not import {} of {id}", imported.missing());
        }
        Err(Error::Environment {
            what: format!("MinIO did not create the user '{id}'"),
            hint: "`kestack logs` shows its log".into(),
        })
    }

    /// Why a name cannot be given to another sandbox.
    fn taken(&self, name: &SandboxName) -> Result<Error, Error> {
        let kept = self.kept(&name.resource())?.into_iter().find(|kept| !kept.key_inside);
        Ok(match kept {
            None => Error::Occupied {
                what: format!("stack '{}' already has a sandbox '{name}'", self.stack),
                hint: format!("choose another name, or remove it: `kestack sandbox drop {name}`"),
            },
            Some(kept) => Error::Occupied {
                what: format!("the name '{name}' is in use: {kept}"),
                hint: "choose another name".into(),
            },
        })
    }

    fn absent(&self, name: &SandboxName) -> Error {
        Error::Absent {
            what: format!("there is no sandbox '{name}' in stack '{}'", self.stack),
            hint: "`kestack sandbox list` shows all sandboxes".into(),
        }
    }

    /// A stack whose KES is not there does not run.
    fn unreached(&self, error: kes_server::client::ClientError) -> Error {
        if error.is_connection() { Error::NotRunning(self.stack.clone()) } else { error.into() }
    }
}

impl Sandbox {
    /// What AWS SDKs and `mc` read, and where in the sandbox they are.
    pub fn variables(&self, user: &SandboxUser) -> Vec<(String, String)> {
        let SandboxUser { endpoint, authority, access_key, secret_key } = user;
        let mut variables = s3_variables(self.name.as_str(), endpoint.clone(), access_key, secret_key);
        variables.extend(authority_variables(authority.as_deref()));
        variables.extend([
            ("KESTACK_SANDBOX".into(), self.name.to_string()),
            ("KESTACK_BUCKET".into(), self.bucket.clone()),
            ("KESTACK_KEY".into(), self.key.clone()),
        ]);
        variables
    }

    fn new(options: &SandboxOptions) -> Result<Self, Error> {
        let now = Timestamp::now();
        let expires = options.lease.map(|lease| end_of(lease, now)).transpose()?;
        let id = options.name.resource();
        Ok(Self { name: options.name.clone(), bucket: id.clone(), key: id, created: Some(now), expires })
    }

    fn found(name: &SandboxName, tags: &BTreeMap<String, String>) -> Self {
        let time = |tag: &str| tags.get(tag).and_then(|value| value.parse().ok());
        let id = name.resource();
        Self { name: name.clone(), bucket: id.clone(), key: id, created: time(CREATED), expires: time(EXPIRES) }
    }

    fn tags(&self) -> BTreeMap<String, String> {
        let times = [(CREATED, self.created), (EXPIRES, self.expires)];
        times.into_iter().filter_map(|(tag, time)| Some((tag.to_owned(), time?.to_string()))).collect()
    }

    /// True if its lease is over.
    pub fn expired(&self, now: Timestamp) -> bool {
        self.expires.is_some_and(|end| end <= now)
    }
}

/// When a lease that begins at `now` is over.
///
/// # Errors
/// [`Error::Usage`] if that is beyond what a clock can show.
pub fn end_of(lease: Duration, now: Timestamp) -> Result<Timestamp, Error> {
    let end = SignedDuration::try_from(lease).ok().and_then(|lease| now.checked_add(lease).ok());
    end.ok_or_else(|| Error::Usage {
        what: "the lease ends after the year 9999".into(),
        hint: "leave it out for a sandbox or stack without a lease".into(),
    })
}

fn text<S: Serializer>(name: &SandboxName, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_carry_a_sandbox_to_the_nanosecond() {
        let options =
            SandboxOptions { name: "a".parse().unwrap(), lease: Some(Duration::from_secs(60)), versioning: false };
        let sandbox = Sandbox::new(&options).unwrap();
        assert_eq!(Sandbox::found(&options.name, &sandbox.tags()), sandbox);
        let end = sandbox.expires.unwrap();
        assert!(sandbox.expired(end) && !sandbox.expired(sandbox.created.unwrap()));
        let unfinished = Sandbox::found(&options.name, &BTreeMap::new());
        assert_eq!((unfinished.created, unfinished.expires), (None, None));
        assert!(!unfinished.expired(Timestamp::MAX));
        assert!(end_of(Duration::MAX, Timestamp::now()).is_err());
    }
}
