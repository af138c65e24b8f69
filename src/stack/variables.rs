//! The variables that clients of a stack read.

use super::Stack;

impl Stack {
    /// What AWS SDKs, `mc` and `kes` read to work on this stack as its root user and admin. It holds secrets.
    pub fn variables(&self) -> Vec<(String, String)> {
        let root = &self.material.credentials;
        let (s3, kes) = (self.s3_endpoint(), self.kes_endpoints());
        let path = |path: std::path::PathBuf| path.display().to_string();
        // mc takes the alias from the variable's name, which cannot hold a `-`
        let alias = self.manifest.name.as_str().replace('-', "_");
        let mc = s3.replacen("http://", &format!("http://{}:{}@", root.user, *root.password), 1);
        [
            ("AWS_ACCESS_KEY_ID".into(), root.user.clone()),
            ("AWS_SECRET_ACCESS_KEY".into(), root.password.to_string()),
            ("AWS_REGION".into(), "us-east-1".into()),
            ("AWS_ENDPOINT_URL_S3".into(), s3),
            (format!("MC_HOST_{alias}"), mc),
            ("KES_SERVER".into(), kes),
            ("KES_CLIENT_KEY".into(), path(self.layout.admin_key())),
            ("KES_CLIENT_CERT".into(), path(self.layout.admin_cert())),
            ("KES_CA_PATH".into(), path(self.layout.ca_cert())),
        ]
        .into()
    }
}
