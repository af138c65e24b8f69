//! Exports for a cluster: everything that a manifest names is there, under the name and with the keys that it is named
//! by; Tenants fit our own subset of their schema, native kinds survive the types of Kubernetes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use kes_server::config::Config;
use kestack::unstable::template::parse_env;
use serde::Deserialize as _;
use serde_json::Value;

use crate::exported::{Exported, export, manifest, manifest_with_kes, text};
use crate::golden::compare;
use crate::keystores::KEYSTORES;
use crate::machine::{identity, paths, string, yaml};

/// Options that a keystore without credentials needs.
fn options(keystore: &str) -> &'static [&'static str] {
    match keystore {
        "aws-role" => &["--workload-identity", "arn:aws:iam::111122223333:role/kes"],
        "azure-workload" => &["--workload-identity", "11111111-2222-3333-4444-555555555555"],
        "gcp-workload" => &[
            "--workload-identity",
            "kes@project-1.iam.gserviceaccount.com",
            "--fleet",
            "project-1.svc.id.goog=https://gkehub.example/memberships/cluster",
        ],
        _ => &[],
    }
}

/// Those that a cluster can use.
fn keystores() -> impl Iterator<Item = &'static str> {
    KEYSTORES.iter().map(|(name, _)| *name).filter(|name| *name != "fs")
}

/// Every form of an export for a cluster, with a name.
pub(crate) fn variants() -> Vec<(String, &'static str, Vec<&'static str>)> {
    let mut all = Vec::new();
    for keystore in keystores() {
        for target in ["tenant", "kubernetes"] {
            all.push((format!("{target}-{keystore}"), keystore, vec![target, "--with-iam"]));
        }
    }
    let manager = ["--certificates", "cert-manager", "--issuer", "ClusterIssuer/ca"];
    let own = ["--certificates", "own"];
    all.push(("tenant-own".into(), "aws-static", [&["tenant"], &own[..]].concat()));
    all.push(("tenant-cert-manager".into(), "aws-static", [&["tenant", "--kustomize"], &manager[..]].concat()));
    all.push(("kubernetes-cert-manager".into(), "aws-static", [&["kubernetes", "--kustomize"], &manager[..]].concat()));
    let small = ["kubernetes", "--servers", "1", "--volumes", "4", "--kes-replicas", "1", "--pull-secret", "registry"];
    all.push(("kubernetes-small".into(), "aws-static", small.to_vec()));
    for (_, keystore, arguments) in &mut all {
        arguments.extend(options(keystore));
    }
    all
}

#[test]
fn replicas_and_variables_of_kes_reach_the_cluster() {
    for (name, keystore, arguments) in [
        ("tenant", "aws-static", vec!["tenant"]),
        ("kubernetes", "aws-static", vec!["kubernetes"]),
        ("kubernetes-role", "aws-role", vec!["kubernetes"]),
        ("helm", "aws-static", vec!["tenant", "--helm-values"]),
    ] {
        let arguments = [&arguments, options(keystore)].concat();
        let kes = ", replicas: 5, env: { HTTPS_PROXY: 'http://proxy.example:3128' }";
        let exported = Exported::of(manifest_with_kes(keystore, kes, ""), &arguments);
        let documents: Vec<_> = exported.files.values().flat_map(|text| all_documents(text)).collect();
        let set = documents.iter().find_map(|document| {
            [&document["spec"]["kes"], &document["tenant"]["kes"]].into_iter().find(|kes| kes.is_object()).or_else(
                || {
                    (document["kind"] == "StatefulSet" && document["metadata"]["name"] == "kes")
                        .then(|| &document["spec"])
                },
            )
        });
        let set = set.unwrap_or_else(|| panic!("{name}: no KES"));
        assert_eq!(set["replicas"], 5, "{name}");
        let env =
            [&set["env"], &set["template"]["spec"]["containers"][0]["env"]].into_iter().find(|env| env.is_array());
        let proxy = env.unwrap().as_array().unwrap().iter().find(|variable| variable["name"] == "HTTPS_PROXY");
        assert_eq!(proxy.unwrap()["value"], "http://proxy.example:3128", "{name}");
    }
}

/// The image is that of the maintained fork, and one with known defects is not named without a word.
#[test]
fn the_image_of_minio_is_maintained_or_warned_about() {
    let folder = manifest("aws-static", "");
    let path = folder.path().join("kestack.yaml");
    let without = std::fs::read_to_string(&path).unwrap().replace("image: registry.example/minio:v1, ", "");
    std::fs::write(&path, without).unwrap();
    for target in ["tenant", "kubernetes"] {
        let output = export(folder.path(), &[target]);
        let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
        assert!(stdout.contains("docker.io/pgsty/silo:latest"), "{stdout}\n{stderr}");
        assert!(stderr.contains("defects unknown") && stderr.contains("--minio-image"), "{stderr}");
        let frozen = "quay.io/minio/minio:RELEASE.2025-09-07T16-13-09Z";
        let stderr = text(&export(folder.path(), &[target, "--minio-image", frozen]).stderr);
        assert!(stderr.contains("8 known defects") && stderr.contains("docker.io/pgsty/silo"), "{stderr}");
        let good = "docker.io/pgsty/silo:RELEASE.2026-09-16T00-00-00Z";
        let stderr = text(&export(folder.path(), &[target, "--minio-image", good]).stderr);
        assert!(!stderr.contains("defects"), "{stderr}");
    }
}

/// Every document of a file, if it is YAML.
fn all_documents(text: &str) -> Vec<Value> {
    let documents = serde_yaml::Deserializer::from_str(text).map(Value::deserialize);
    documents.collect::<Result<_, _>>().unwrap_or_default()
}

#[test]
fn exports_for_a_cluster() {
    let mut known = BTreeMap::new();
    for (name, keystore, arguments) in variants() {
        let found = Exported::new(keystore, &arguments).redacted();
        compare(&name, &found, &known);
        if name.ends_with("-vault-approle") {
            // what the next differ from
            known.extend(found);
        }
    }
    for keystore in ["vault-approle", "aws-role", "azure-workload"] {
        let arguments = [&["tenant", "--helm-values"], options(keystore)].concat();
        compare(&format!("helm-{keystore}"), &Exported::new(keystore, &arguments).redacted(), &BTreeMap::new());
    }
}

#[test]
fn manifests_fit_together() {
    for (name, keystore, arguments) in variants() {
        let exported = Exported::new(keystore, &arguments);
        let cluster = Cluster::read(&exported);
        cluster.links(&name);
        cluster.pods_are_restricted(&name);
        for (path, content) in &exported.files {
            let secret = content.contains("s3cret-") || content.contains("PRIVATE KEY") || content.contains("-KEY-");
            assert!(!secret || exported.mode(path) == 0o600, "{name}: {path} holds a secret");
        }
        match cluster.find("Tenant") {
            Some(tenant) => tenant_fits(&name, &cluster, &tenant, keystore),
            None => plain_fits(&name, &cluster),
        }
    }
}

/// What the Operator mounts at /tmp/kes: configuration, certificate, and every key of clientCertSecret.
fn tenant_fits(name: &str, cluster: &Cluster, tenant: &Value, keystore: &str) {
    let kes = &tenant["spec"]["kes"];
    let config = cluster.content(kes["kesSecret"]["name"].as_str().unwrap(), "server-config.yaml");
    let mut variables: BTreeSet<_> = ["MINIO_KES_IDENTITY".to_owned()].into();
    for variable in kes["env"].as_array().into_iter().flatten() {
        variables.insert(string(&variable["name"]));
    }
    Config::parse(&config, &|name| variables.contains(name).then(|| "x".into()))
        .unwrap_or_else(|error| panic!("{name}: {error}"));
    let mut files: BTreeSet<_> = ["/tmp/kes/server.crt".to_owned(), "/tmp/kes/server.key".into()].into();
    if let Some(secret) = kes["clientCertSecret"]["name"].as_str() {
        files.extend(cluster.keys(secret).iter().map(|key| format!("/tmp/kes/{key}")));
    }
    for path in paths(&yaml(&config)) {
        assert!(files.contains(&path), "{name}: {path} is not mounted");
    }
    let env = &tenant["spec"]["env"][0];
    let expected = "https://stack-kes-{0...2}.stack-kes-hl-svc.stack.svc.cluster.local:7373";
    assert_eq!((env["name"].as_str(), env["value"].as_str()), (Some("MINIO_KMS_KES_ENDPOINT"), Some(expected)));
    assert_eq!(kes["replicas"], 3);
    assert_eq!(kes["keyName"], "stack-key");
    // the Operator falls over any other type there
    let client = &tenant["spec"]["externalClientCertSecret"];
    assert!(client.is_null() || client["type"] == "kubernetes.io/tls");
    assert_eq!(kes["gcpCredentialSecretName"].is_null(), keystore != "gcp-workload");
    if let Some(secret) = kes["externalCertSecret"]["name"].as_str().filter(|_| client["name"].is_string()) {
        cluster.serves(secret, "stack-kes-1.stack-kes-hl-svc.stack.svc.cluster.local");
        cluster.serves("stack-minio-tls", "minio.stack.svc.cluster.local");
    }
}

fn plain_fits(name: &str, cluster: &Cluster) {
    let (kes, minio) = (cluster.workload("kes"), cluster.workload("minio"));
    let files = cluster.mounted(&kes);
    let config = &files["/tmp/kes/server-config.yaml"];
    let from = &kes["spec"]["template"]["spec"]["containers"][0]["envFrom"][0]["secretRef"]["name"];
    let variables = from.as_str().map(|secret| cluster.keys(secret)).unwrap_or_default();
    Config::parse(config, &|name| variables.contains(name).then(|| "x".into()))
        .unwrap_or_else(|error| panic!("{name}: {error}"));
    let config = yaml(config);
    for path in paths(&config) {
        assert!(files.contains_key(&path), "{name}: {path} is not mounted");
    }
    let files = cluster.mounted(&minio);
    let env = parse_env(&files["/etc/minio/minio.env"]);
    for (variable, path) in env.iter().filter(|(_, value)| value.starts_with("/kes-client")) {
        assert!(files.contains_key(path), "{name}: {variable}: {path} is not mounted");
    }
    assert_eq!(config["policy"]["minio"]["identities"][0], identity(&files["/kes-client/tls.crt"]).as_str());
    // each pod of the endpoint list exists, and its certificate says its name
    let replicas = kes["spec"]["replicas"].as_u64().unwrap();
    let ordinals = if replicas > 1 { format!("{{0...{}}}", replicas - 1) } else { "0".into() };
    let endpoint = format!("https://kes-{ordinals}.kes.stack.svc.cluster.local:7373");
    assert_eq!(env["MINIO_KMS_KES_ENDPOINT"], endpoint, "{name}");
    assert_eq!(kes["spec"]["serviceName"], "kes");
    cluster.serves("kes-tls", "kes-0.kes.stack.svc.cluster.local");
    cluster.serves("minio-tls", "minio-0.minio-hl.stack.svc.cluster.local");
    cluster.serves("minio-tls", "minio.stack.svc.cluster.local");
    let hash = &kes["spec"]["template"]["metadata"]["annotations"]["kestack.io/configuration"];
    assert_eq!(hash.as_str().unwrap().len(), 64);
}

/// The documents of an export.
pub(crate) struct Cluster {
    pub(crate) documents: Vec<Value>,
}

impl Cluster {
    pub(crate) fn read(exported: &Exported) -> Self {
        let manifests = ["secrets.yaml", "tenant.yaml", "stack.yaml", "monitoring-secret.yaml", "monitoring.yaml"];
        let files = exported.files.iter().filter(|(path, _)| manifests.contains(&path.as_str()));
        let documents = files.flat_map(|(_, text)| documents(text)).collect();
        Self { documents }
    }

    fn find(&self, kind: &str) -> Option<Value> {
        self.documents.iter().find(|document| document["kind"] == kind).cloned()
    }

    pub(crate) fn all(&self, kind: &str) -> Vec<&Value> {
        self.documents.iter().filter(|document| document["kind"] == kind).collect()
    }

    pub(crate) fn named(&self, kind: &str, name: &str) -> &Value {
        let found = self.documents.iter().find(|it| it["kind"] == kind && it["metadata"]["name"] == name);
        found.unwrap_or_else(|| panic!("no {kind} {name}"))
    }

    pub(crate) fn workload(&self, name: &str) -> Value {
        self.named("StatefulSet", name).clone()
    }

    /// Keys of a Secret; those of a Certificate's Secret are known.
    pub(crate) fn keys(&self, secret: &str) -> BTreeSet<String> {
        let issued = self.documents.iter().any(|it| it["kind"] == "Certificate" && it["spec"]["secretName"] == secret);
        if issued {
            return ["tls.crt", "tls.key", "ca.crt"].map(str::to_owned).into();
        }
        self.named("Secret", secret)["stringData"].as_object().unwrap().keys().cloned().collect()
    }

    /// A value of a Secret.
    pub(crate) fn content(&self, secret: &str, key: &str) -> String {
        string(&self.named("Secret", secret)["stringData"][key])
    }

    /// The certificate in that Secret, if it is ours, or the order for it, is good for the name.
    pub(crate) fn serves(&self, secret: &str, name: &str) {
        let order = self.documents.iter().find(|it| it["kind"] == "Certificate" && it["spec"]["secretName"] == secret);
        let names: Vec<String> = match order {
            Some(order) => order["spec"]["dnsNames"].as_array().unwrap().iter().map(string).collect(),
            None => names(&self.content(secret, "tls.crt")),
        };
        let (_, parent) = name.split_once('.').unwrap();
        let good = names.iter().any(|known| known == name || known.strip_prefix("*.") == Some(parent));
        assert!(good, "{secret} is for {names:?}, not for {name}");
    }

    /// Every name in the documents that means another document.
    pub(crate) fn links(&self, variant: &str) {
        for document in &self.documents {
            if document["kind"] != "Namespace" {
                assert_eq!(document["metadata"]["namespace"], "stack", "{variant}: {}", document["metadata"]["name"]);
            }
            self.follow(document);
        }
        let accounts = self.documents.iter().filter(|document| document["kind"] == "ServiceAccount");
        let named = self.documents.iter().map(ToString::to_string).collect::<String>();
        for account in accounts {
            let name = account["metadata"]["name"].as_str().unwrap();
            assert!(named.contains(&format!("\"serviceAccountName\":\"{name}\"")), "{variant}: nobody has {name}");
        }
    }

    fn follow(&self, value: &Value) {
        let Value::Object(fields) = value else {
            value.as_array().into_iter().flatten().for_each(|item| self.follow(item));
            return;
        };
        for (field, value) in fields {
            let has = |secret: &Value, key: &str| {
                let secret = string(secret);
                assert!(self.keys(&secret).contains(key), "Secret {secret} has no {key}");
            };
            let pair = |secret: &Value| {
                has(&secret["name"], "tls.crt");
                has(&secret["name"], "tls.key");
            };
            let each = |value: &Value| value.as_array().cloned().unwrap_or_else(|| vec![value.clone()]);
            match field.as_str() {
                "secretKeyRef" => has(&value["name"], value["key"].as_str().unwrap()),
                "secretRef" | "clientCertSecret" => drop(self.keys(value["name"].as_str().unwrap())),
                "configuration" if value.is_object() => has(&value["name"], "config.env"),
                "kesSecret" => has(&value["name"], "server-config.yaml"),
                "gcpCredentialSecretName" => has(value, "config"),
                "externalCertSecret" | "externalClientCertSecret" => each(value).iter().for_each(pair),
                "externalCaCertSecret" => {
                    for secret in each(value) {
                        has(&secret["name"], if secret["type"] == "Opaque" { "public.crt" } else { "ca.crt" });
                    }
                }
                "serviceAccountName" => {
                    self.named("ServiceAccount", value.as_str().unwrap());
                }
                _ => self.follow(value),
            }
        }
    }

    /// What the first container of a workload finds where, from its projected and Secret volumes.
    fn mounted(&self, workload: &Value) -> BTreeMap<String, String> {
        let pod = &workload["spec"]["template"]["spec"];
        let mut files = BTreeMap::new();
        let claims: Vec<_> = workload["spec"]["volumeClaimTemplates"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|it| it["metadata"]["name"].clone())
            .collect();
        for mount in pod["containers"][0]["volumeMounts"].as_array().unwrap() {
            if claims.contains(&mount["name"]) {
                continue;
            }
            let volume = pod["volumes"].as_array().unwrap().iter().find(|volume| volume["name"] == mount["name"]);
            let volume = volume.unwrap_or_else(|| panic!("no volume {}", mount["name"]));
            let mut sources = volume["projected"]["sources"].as_array().cloned().unwrap_or_default();
            if volume["secret"].is_object() {
                let mut secret = volume["secret"].clone();
                secret["name"] = secret["secretName"].clone();
                sources.push(serde_json::json!({ "secret": secret }));
            }
            for source in sources {
                self.source(&source, mount["mountPath"].as_str().unwrap(), &mut files);
            }
        }
        files
    }

    fn source(&self, source: &Value, folder: &str, files: &mut BTreeMap<String, String>) {
        let (kind, data) = if source["secret"].is_object() { ("Secret", "stringData") } else { ("ConfigMap", "data") };
        let of = if kind == "Secret" { &source["secret"] } else { &source["configMap"] };
        for item in of["items"].as_array().into_iter().flatten() {
            let (name, key) = (of["name"].as_str().unwrap(), item["key"].as_str().unwrap());
            let issued =
                self.documents.iter().any(|it| it["kind"] == "Certificate" && it["spec"]["secretName"] == name);
            let content = if issued {
                assert!(self.keys(name).contains(key));
                String::new()
            } else {
                let content = &self.named(kind, name)[data][key];
                string(content)
            };
            files.insert(format!("{folder}/{}", string(&item["path"])), content);
        }
    }

    /// The restricted level of Pod Security.
    fn pods_are_restricted(&self, variant: &str) {
        for document in &self.documents {
            let (pod, containers) = match document["kind"].as_str().unwrap() {
                "StatefulSet" => {
                    let pod = &document["spec"]["template"]["spec"];
                    (&pod["securityContext"], vec![&pod["containers"][0]["securityContext"]])
                }
                "Tenant" => {
                    let (kes, pool) = (&document["spec"]["kes"], &document["spec"]["pools"][0]);
                    assert_eq!(pool["securityContext"]["runAsNonRoot"], true);
                    (&kes["securityContext"], vec![&kes["containerSecurityContext"], &pool["containerSecurityContext"]])
                }
                _ => continue,
            };
            assert_eq!(pod["runAsNonRoot"], true, "{variant}");
            assert_eq!(pod["seccompProfile"]["type"], "RuntimeDefault", "{variant}");
            for container in containers {
                assert_eq!(container["allowPrivilegeEscalation"], false, "{variant}");
                assert_eq!(container["capabilities"], serde_json::json!({ "drop": ["ALL"] }), "{variant}");
            }
        }
    }
}

/// The documents of a text.
fn documents(text: &str) -> Vec<Value> {
    serde_yaml::Deserializer::from_str(text).map(|document| Value::deserialize(document).unwrap()).collect()
}

/// DNS names of a certificate.
fn names(pem: &str) -> Vec<String> {
    let (_, pem) = x509_parser::pem::parse_x509_pem(pem.as_bytes()).unwrap();
    let certificate = pem.parse_x509().unwrap();
    let names = certificate.subject_alternative_name().unwrap().unwrap();
    let name = |name: &x509_parser::prelude::GeneralName<'_>| match name {
        x509_parser::prelude::GeneralName::DNSName(name) => (*name).to_owned(),
        other => other.to_string(),
    };
    names.value.general_names.iter().map(name).collect()
}

fn subset() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/export/tenant-subset.yaml")
}

#[test]
fn tenants_fit_their_schema() {
    let subset = subset().display().to_string();
    for (name, keystore, arguments) in variants().into_iter().filter(|(name, ..)| name.starts_with("tenant")) {
        let exported = Exported::new(keystore, &[&arguments[..], &["--check", &subset]].concat());
        assert!(exported.files.contains_key("tenant.yaml"), "{name}");
    }
}

#[test]
fn a_tenant_that_the_operator_would_prune_is_refused() {
    let definition = std::fs::read_to_string(subset()).unwrap();
    for (from, to, complaint) in [
        ("keyName: { type: string }", "keyname: { type: string }", ".spec.kes.keyName: is not known"),
        ("replicas: { type: integer }", "replicas: { type: string }", ".spec.kes.replicas: not of type string"),
        ("required: [pools]", "required: [pools, subPath]", ".spec.subPath: is required"),
        ("name: v2", "name: v3", "has no version v2 with a schema"),
    ] {
        assert!(definition.contains(from), "{from}");
        let folder = manifest("aws-static", "");
        std::fs::write(folder.path().join("crd.yaml"), definition.replace(from, to)).unwrap();
        let output = export(folder.path(), &["tenant", "--check", "crd.yaml"]);
        assert_eq!(output.status.code(), Some(2));
        assert!(text(&output.stderr).contains(complaint), "{}", text(&output.stderr));
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn what_is_printed_is_what_is_written() {
    let folder = manifest("aws-static", "");
    let output = export(folder.path(), &["tenant"]);
    assert!(output.status.success());
    let printed = documents(&text(&output.stdout));
    let kinds: Vec<_> = printed.iter().map(|document| string(&document["kind"])).collect();
    assert_eq!(kinds, ["Namespace", "Secret", "Secret", "Secret", "Tenant"]);
    let told = text(&output.stderr);
    for part in ["note: ", "kubectl port-forward -n stack svc/minio 9000:443", "sse-kms other-key k8s/encrypted"] {
        assert!(told.contains(part), "{told}");
    }
    assert!(!told.contains("s3cret-"));
}

#[test]
fn a_second_export_keeps_identity_and_credentials() {
    let folder = manifest("aws-static", "");
    let path = folder.path().join("kestack.yaml");
    let random =
        std::fs::read_to_string(&path).unwrap().replace(", root_user: rootuser, root_password: s3cret-root", "");
    std::fs::write(&path, random).unwrap();
    let read = || std::fs::read_to_string(folder.path().join("out/secrets.yaml")).unwrap();
    let of = |text: &str, name: &str, key: &str| {
        string(&documents(text).into_iter().find(|it| it["metadata"]["name"] == name).unwrap()["stringData"][key])
    };
    assert!(export(folder.path(), &["kubernetes", "-d", "out"]).status.success());
    let first = read();
    assert!(export(folder.path(), &["kubernetes", "-d", "out", "--force"]).status.success());
    let second = read();
    for (secret, key) in [("minio-env", "minio.env"), ("minio-kes-client", "tls.crt"), ("kes-tls", "ca.crt")] {
        assert_eq!(of(&first, secret, key), of(&second, secret, key), "{secret}");
    }
}
