//! One section for every keystore and way to log in.

/// Name and `keystore:` section. `${CA}`, `${CERT}` and `${KEY}` are files.
pub(crate) const KEYSTORES: [(&str, &str); 13] = [
    ("fs", "{ fs: {} }"),
    (
        "vault-approle",
        "{ vault: { endpoint: 'https://vault.example:8200', engine: kv, version: v2, prefix: tenant, \
         approle: { id: role-1, secret: s3cret-approle }, tls: { ca: '${CA}', cert: '${CERT}', key: '${KEY}' }, \
         status: { ping: 10s } } }",
    ),
    (
        "vault-kubernetes",
        "{ vault: { endpoint: 'https://vault.example:8200', version: v2, \
         kubernetes: { role: kes, jwt: /var/run/secrets/kubernetes.io/serviceaccount/token }, tls: { ca: '${CA}' } } }",
    ),
    (
        "aws-static",
        "{ aws: { secretsmanager: { endpoint: secretsmanager.us-east-2.amazonaws.com, region: us-east-2, \
         kmskey: 'arn:aws:kms:us-east-2:111122223333:key/1234abcd', \
         credentials: { accesskey: AKIAEXAMPLE, secretkey: s3cret-aws, token: '' } } } }",
    ),
    (
        "aws-role",
        "{ aws: { secretsmanager: { endpoint: secretsmanager.us-east-2.amazonaws.com, region: us-east-2 } } }",
    ),
    (
        "azure-secret",
        "{ azure: { keyvault: { endpoint: 'https://contoso.vault.azure.net', credentials: { tenant_id: tenant-1, \
         client_id: client-1, client_secret: s3cret-azure } } } }",
    ),
    ("azure-workload", "{ azure: { keyvault: { endpoint: 'https://contoso.vault.azure.net' } } }"),
    (
        "azure-managed",
        "{ azure: { keyvault: { endpoint: 'https://contoso.vault.azure.net', \
         managed_identity: { client_id: client-1 } } } }",
    ),
    (
        "gcp-key",
        "{ gcp: { secretmanager: { project_id: project-1, credentials: { client_email: kes@project-1.example, \
         client_id: '113491952745362495489', private_key_id: 381514ebd3cf45a6, \
         private_key: \"-----BEGIN KEY-----\\ns3cret-gcp\\n-----END KEY-----\\n\" } } } }",
    ),
    ("gcp-workload", "{ gcp: { secretmanager: { project_id: project-1 } } }"),
    (
        "entrust",
        "{ entrust: { keycontrol: { endpoint: 'https://keycontrol.example', vault_id: vault-1, box_id: box-1, \
         credentials: { username: kes, password: s3cret-entrust }, tls: { ca: '${CA}' } } } }",
    ),
    (
        "thales",
        "{ gemalto: { keysecure: { endpoint: 'https://ciphertrust.example', \
         credentials: { token: s3cret-thales, domain: root }, tls: { ca: '${CA}' } } } }",
    ),
    (
        "fortanix",
        "{ fortanix: { sdkms: { endpoint: 'https://sdkms.example', group_id: group-1, \
         credentials: { key: s3cret-fortanix }, tls: { ca: '${CA}' } } } }",
    ),
];

/// Those that reach their backend from outside a cluster.
pub(crate) fn of_machines() -> impl Iterator<Item = &'static str> {
    KEYSTORES.iter().map(|(name, _)| *name).filter(|name| *name != "vault-kubernetes")
}

/// The section of that name.
pub(crate) fn section(name: &str) -> &'static str {
    KEYSTORES.iter().find(|(known, _)| *known == name).unwrap().1
}
