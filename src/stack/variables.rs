//! The variables that clients of a stack read.

use super::Stack;

impl Stack {
    /// What AWS SDKs, `mc` and `kes` read to work on this stack as its root user and admin. It holds secrets.
    pub fn variables(&self) -> Vec<(String, String)> {
        let root = &self.material.credentials;
        let path = |path: std::path::PathBuf| path.display().to_string();
        let mut variables = s3_variables(self.manifest.name.as_str(), self.s3_endpoint(), &root.user, &root.password);
        variables.extend([
            ("KES_SERVER".into(), self.kes_endpoints()),
            ("KES_CLIENT_KEY".into(), path(self.layout.admin_key())),
            ("KES_CLIENT_CERT".into(), path(self.layout.admin_cert())),
            ("KES_CA_PATH".into(), path(self.layout.ca_cert())),
        ]);
        variables
    }
}

/// What AWS SDKs and `mc`, under the alias `name`, read to work on MinIO as that user. It holds secrets.
pub(crate) fn s3_variables(name: &str, endpoint: String, user: &str, password: &str) -> Vec<(String, String)> {
    // mc takes the alias from the variable's name, which cannot hold a `-`
    let alias = name.replace('-', "_");
    let mc = endpoint.replacen("http://", &format!("http://{user}:{password}@"), 1);
    vec![
        ("AWS_ACCESS_KEY_ID".into(), user.to_owned()),
        ("AWS_SECRET_ACCESS_KEY".into(), password.to_owned()),
        ("AWS_REGION".into(), "us-east-1".into()),
        ("AWS_ENDPOINT_URL_S3".into(), endpoint),
        (format!("MC_HOST_{alias}"), mc),
    ]
}
