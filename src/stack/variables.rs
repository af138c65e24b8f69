//! The variables that clients of a stack read.

use std::path::Path;

use super::Stack;

/// Variables of other accounts that would keep a stack's from having an effect: a session's token next to new keys, a
/// profile that is taken instead, and what has endpoints ignored or changed.
pub(crate) const STALE: [&str; 8] = [
    "AWS_DEFAULT_PROFILE",
    "AWS_ENDPOINT_URL_STS",
    "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS",
    "AWS_PROFILE",
    "AWS_SECURITY_TOKEN",
    "AWS_SESSION_TOKEN",
    "AWS_USE_DUALSTACK_ENDPOINT",
    "AWS_USE_FIPS_ENDPOINT",
];

/// What clients read that trust an authority beyond their own list: AWS SDKs and command lines, and programs for Node.js.
pub(crate) const AUTHORITY: [&str; 2] = ["AWS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS"];

/// What `kes` reads: server, key, certificate and authority.
const KES: [&str; 4] = ["KES_SERVER", "KES_CLIENT_KEY", "KES_CLIENT_CERT", "KES_CA_PATH"];

impl Stack {
    /// What AWS SDKs, `mc` and `kes` read to work on this stack as its root user and admin. It holds secrets.
    pub fn variables(&self) -> Vec<(String, String)> {
        let root = &self.material.credentials;
        let path = |path: std::path::PathBuf| path.display().to_string();
        let mut variables = s3_variables(self.manifest.name.as_str(), self.s3_endpoint(), &root.user, &root.password);
        variables.extend(authority_variables(self.s3_authority().as_deref()));
        let layout = &self.layout;
        let values =
            [self.kes_endpoints(), path(layout.admin_key()), path(layout.admin_cert()), path(layout.ca_cert())];
        variables.extend(KES.map(str::to_owned).into_iter().zip(values));
        variables
    }
}

/// Names of the variables of the stack of that name.
pub(crate) fn variable_names(stack: &str) -> Vec<String> {
    let s3 = s3_variables(stack, String::new(), "", "").into_iter().map(|(name, _)| name);
    s3.chain(KES.map(str::to_owned)).collect()
}

/// What makes clients trust the authority of S3; nothing without TLS.
pub(crate) fn authority_variables(ca: Option<&Path>) -> Vec<(String, String)> {
    let variable = |name: &str, ca: &Path| (name.to_owned(), ca.display().to_string());
    ca.iter().flat_map(|ca| AUTHORITY.map(|name| variable(name, ca))).collect()
}

/// What AWS SDKs and `mc`, under the alias `name`, read to work on MinIO as that user. It holds secrets.
pub(crate) fn s3_variables(name: &str, endpoint: String, user: &str, password: &str) -> Vec<(String, String)> {
    // mc takes the alias from the variable's name, which cannot hold a `-`
    let alias = name.replace('-', "_");
    let mc = endpoint.replacen("://", &format!("://{user}:{password}@"), 1);
    vec![
        ("AWS_ACCESS_KEY_ID".into(), user.to_owned()),
        ("AWS_SECRET_ACCESS_KEY".into(), password.to_owned()),
        // SDKs differ in which of the two they read
        ("AWS_REGION".into(), "us-east-1".into()),
        ("AWS_DEFAULT_REGION".into(), "us-east-1".into()),
        // for all services: a call to another one of AWS would carry these credentials there, and fail
        ("AWS_ENDPOINT_URL".into(), endpoint.clone()),
        ("AWS_ENDPOINT_URL_S3".into(), endpoint),
        (format!("MC_HOST_{alias}"), mc),
    ]
}
