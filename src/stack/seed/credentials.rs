//! Users and access keys with their secrets: given, or derived from a secret of the stack, so that they are the same after
//! a `reset`. Each is written to a file that only the caller may read.

use zeroize::Zeroizing;

use super::declared::How;
use crate::resource::FileResource;
use crate::stack::{Stack, authority_variables, s3_variables};

/// As much as MinIO takes for a secret key of an access key.
const SECRET: usize = 40;

/// The users and access keys of a stack.
pub(super) struct Accounts(Vec<Account>);

struct Account {
    name: String,
    secret: Zeroizing<String>,
    rights: Rights,
}

enum Rights {
    /// Of a user: its policies.
    Policies(Vec<String>),
    /// Of an access key: those of its user, less what a policy takes away.
    Of { user: String, policy: Option<String> },
}

impl Accounts {
    pub(super) fn of(stack: &Stack) -> Self {
        let digests = stack.material.digests();
        let secret = |given: Option<&Zeroizing<String>>, kind: &str, name: &str| {
            given.cloned().unwrap_or_else(|| {
                let mut derived = Zeroizing::new(digests.tag(format!("secret of seeded {kind}\n{name}").as_bytes()));
                derived.truncate(SECRET);
                derived
            })
        };
        let seed = &stack.manifest.seed;
        let users = seed.users.iter().map(|user| Account {
            name: user.name.clone(),
            secret: secret(user.password.as_ref(), "user", &user.name),
            rights: Rights::Policies(user.policies.clone()),
        });
        let keys = seed.access_keys.iter().map(|key| Account {
            name: key.name.clone(),
            secret: secret(key.secret_key.as_ref(), "access key", &key.name),
            rights: Rights::Of { user: key.user.clone(), policy: key.policy.clone() },
        });
        Self(users.chain(keys).collect())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn users(&self) -> impl Iterator<Item = How> {
        self.0.iter().filter_map(|account| match &account.rights {
            Rights::Policies(policies) => Some(How::User {
                name: account.name.clone(),
                secret: account.secret.clone(),
                policies: policies.join(","),
            }),
            Rights::Of { .. } => None,
        })
    }

    pub(super) fn access_keys(&self, stack: &Stack) -> impl Iterator<Item = How> {
        self.0.iter().filter_map(|account| match &account.rights {
            Rights::Of { user, policy } => Some(How::AccessKey {
                name: account.name.clone(),
                secret: account.secret.clone(),
                user: user.clone(),
                policy: policy.as_ref().and_then(|policy| stack.seed.policies.get(policy)).cloned(),
            }),
            Rights::Policies(_) => None,
        })
    }

    /// A file for each, with the variables that clients read, as `docker run --env-file` and shells take it.
    pub(super) fn files(&self, stack: &Stack) -> Vec<FileResource> {
        let file = |Account { name, secret, .. }: &Account| {
            let mut variables = s3_variables(stack.manifest.name.as_str(), stack.s3_endpoint(), name, secret);
            variables.extend(authority_variables(stack.s3_authority().as_deref()));
            let mut lines = Zeroizing::new(String::new());
            for (name, value) in variables {
                lines.extend([name.as_str(), "=", value.as_str(), "\n"]);
            }
            FileResource::private(stack.layout.credentials().join(format!("{name}.env")), lines.as_bytes())
        };
        self.0.iter().map(file).collect()
    }
}
