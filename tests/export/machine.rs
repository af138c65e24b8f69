//! The parts of an export for one machine fit together: every path, port, name and identity that one file names is
//! there in another, secrets lie in files of mode 0600 only, and KES's own parser takes its configuration.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::process::Command;

use kes_server::config::Config;
use kestack::unstable::template::parse_env;
use serde_json::Value;

use crate::exported::{Exported, REPLICAS, binary, manifest, manifest_with_kes, text};
use crate::keystores;

/// Where a container finds its files: path inside to path on the host.
type Mounts = BTreeMap<String, String>;

#[test]
fn compose_fits_together() {
    for keystore in keystores::of_machines() {
        let exported = Exported::new(keystore, &["compose"]);
        let compose = yaml(exported.file("compose.yaml"));
        let service = |name: &str| compose["services"][name].clone();
        for name in ["kes-server", "minio-server"] {
            let service = service(name);
            assert_eq!(service["read_only"], true);
            assert_eq!(service["cap_drop"][0], "ALL");
            assert_eq!(service["security_opt"][0], "no-new-privileges:true");
            assert!(service["ports"].as_array().unwrap().iter().all(|port| port.as_str().unwrap().starts_with("127.")));
        }
        assert!(service("minio-server")["cap_add"].is_null());
        let mounts = |name: &str| -> Mounts {
            let source = |volume: &Value| exported.out().join(string(&volume["source"])).display().to_string();
            let all = service(name)["volumes"].as_array().unwrap().clone();
            all.iter().map(|volume| (string(&volume["target"]), source(volume))).collect()
        };
        let (kes, minio) = (mounts("kes-server"), mounts("minio-server"));
        linked(&exported, &kes, &minio, "https://kes-server:7373");
    }
}

#[test]
fn the_pod_fits_together() {
    for keystore in keystores::of_machines() {
        let exported = Exported::new(keystore, &["kube"]);
        let spec = yaml(exported.file("pod.yaml"))["spec"].clone();
        let volumes: BTreeMap<_, _> = spec["volumes"]
            .as_array()
            .unwrap()
            .iter()
            .map(|volume| {
                let path = string(&volume["hostPath"]["path"]);
                let is_folder = std::path::Path::new(&path).is_dir();
                assert_eq!(volume["hostPath"]["type"], if is_folder { "Directory" } else { "File" }, "{path}");
                (string(&volume["name"]), path)
            })
            .collect();
        let mounts = |index: usize| -> Mounts {
            let container = &spec["containers"][index];
            let security = &container["securityContext"];
            assert_eq!(security["allowPrivilegeEscalation"], false);
            assert_eq!(security["readOnlyRootFilesystem"], true);
            assert_eq!(security["capabilities"]["drop"][0], "ALL");
            let all = container["volumeMounts"].as_array().unwrap();
            all.iter()
                .map(|mount| (string(&mount["mountPath"]), volumes[mount["name"].as_str().unwrap()].clone()))
                .collect()
        };
        assert_eq!(volumes.len(), mounts(0).len() + mounts(1).len(), "a volume that nobody mounts");
        linked(&exported, &mounts(0), &mounts(1), "https://127.0.0.1:7373");
    }
}

#[test]
fn replicas_fit_together() {
    let exported = Exported::of(manifest_with_kes("fs", REPLICAS, ""), &["compose"]);
    let compose = yaml(exported.file("compose.yaml"));
    let endpoints = endpoints(&exported);
    let certificate = exported.file("stack/certs/kes-server.cert");
    assert_eq!(endpoints.len(), 3);
    for (index, (host, port)) in endpoints.iter().enumerate() {
        let service = &compose["services"][host];
        let words: Vec<_> = service["command"].as_array().unwrap().iter().map(string).collect();
        assert_eq!(words[..2], ["supervise", "server"], "{host}");
        assert_eq!(words.last().unwrap(), &format!("0.0.0.0:{port}"));
        assert_eq!(service["ports"][0], format!("127.0.0.1:{}:{port}", 7373 + index));
        let probe = service["healthcheck"]["test"].as_array().unwrap().last().unwrap().clone();
        assert_eq!(probe, format!("127.0.0.1:{port}"));
        assert_eq!(service["environment"]["HTTPS_PROXY"], "http://proxy.example:3128");
        assert!(names(certificate).contains(host), "the certificate is not for {host}");
    }

    let exported = Exported::of(manifest_with_kes("fs", REPLICAS, ""), &["kube"]);
    let pod = yaml(exported.file("pod.yaml"));
    let containers = pod["spec"]["containers"].as_array().unwrap();
    assert_eq!(containers.len(), 4);
    for (container, (host, port)) in containers.iter().zip(self::endpoints(&exported)) {
        assert_eq!(host, "127.0.0.1");
        assert_eq!(container["ports"][0]["containerPort"], port);
        assert_eq!(container["args"].as_array().unwrap().last().unwrap(), &format!("0.0.0.0:{port}"));
        assert_eq!(container["env"][0]["name"], "HTTPS_PROXY");
    }

    let exported = Exported::of(manifest_with_kes("fs", REPLICAS, ""), &["systemd"]);
    let unit = exported.file("kes@.service");
    assert_eq!(
        values(unit, "ExecStart")[0],
        "/usr/local/bin/kes server --config=/etc/kes/kes-config.yaml --addr=127.0.0.1:%i"
    );
    assert_eq!(values(unit, "WatchdogSec"), ["3s"]);
    for port in 7373..7376 {
        assert!(exported.file("minio.service").contains(&format!("kes@{port}.service")));
        assert!(exported.file("stack/config/minio").contains(&format!("https://127.0.0.1:{port}")));
        assert!(exported.stdout.contains(&format!("kes@{port}")));
    }
}

/// DNS names that a certificate is for.
fn names(pem: &str) -> Vec<String> {
    let (_, pem) = x509_parser::pem::parse_x509_pem(pem.as_bytes()).unwrap();
    let certificate = pem.parse_x509().unwrap();
    let names = certificate.subject_alternative_name().unwrap().unwrap().value.general_names.iter();
    let dns = names.filter_map(|name| match name {
        x509_parser::prelude::GeneralName::DNSName(name) => Some((*name).to_owned()),
        _ => None,
    });
    dns.collect()
}

/// Host and port of each KES that MinIO knows.
fn endpoints(exported: &Exported) -> Vec<(String, u16)> {
    let env = parse_env(exported.file("stack/config/minio"));
    let endpoint = |url: &str| {
        let (host, port) = url.strip_prefix("https://").unwrap().rsplit_once(':').unwrap();
        (host.to_owned(), port.parse().unwrap())
    };
    env["MINIO_KMS_KES_ENDPOINT"].split(',').map(endpoint).collect()
}

/// Keys of quadlet's `[Container]`, `[Pod]` and `[Kube]` that the export uses, with the first Podman that reads them.
const QUADLET_KEYS: [(&str, &str, (u32, u32)); 27] = [
    ("Container", "AddCapability", (4, 4)),
    ("Container", "ContainerName", (4, 4)),
    ("Container", "DropCapability", (4, 4)),
    ("Container", "Environment", (4, 4)),
    ("Container", "Exec", (4, 4)),
    ("Container", "Group", (4, 4)),
    ("Container", "HealthCmd", (4, 5)),
    ("Container", "HealthInterval", (4, 5)),
    ("Container", "HealthOnFailure", (4, 5)),
    ("Container", "HealthRetries", (4, 5)),
    ("Container", "HealthStartPeriod", (4, 5)),
    ("Container", "HealthTimeout", (4, 5)),
    ("Container", "Image", (4, 4)),
    ("Container", "NoNewPrivileges", (4, 4)),
    ("Container", "Notify", (4, 4)),
    ("Container", "Pod", (5, 0)),
    ("Container", "Pull", (4, 6)),
    ("Container", "ReadOnly", (4, 4)),
    ("Container", "StopTimeout", (5, 0)),
    ("Container", "User", (4, 4)),
    ("Container", "Volume", (4, 4)),
    ("Kube", "UserNS", (4, 4)),
    ("Kube", "Yaml", (4, 4)),
    ("Pod", "PodName", (5, 0)),
    ("Pod", "PodmanArgs", (5, 0)),
    ("Pod", "PublishPort", (5, 0)),
    ("Pod", "Volume", (5, 0)),
];

#[test]
fn quadlets_fit_together() {
    for keystore in keystores::of_machines() {
        let exported = Exported::new(keystore, &["quadlet"]);
        let mounts = |unit: &str| -> Mounts {
            let lines = exported.file(unit).lines().filter_map(|line| line.strip_prefix("Volume="));
            lines.map(|line| line.split(':').collect::<Vec<_>>()).map(|part| (part[1].into(), part[0].into())).collect()
        };
        let (kes, minio) = (mounts("stack-kes-server.container"), mounts("stack-minio-server.container"));
        linked(&exported, &kes, &minio, "https://127.0.0.1:7373");
        for unit in ["stack-kes-server.container", "stack-minio-server.container"] {
            assert!(exported.file(unit).contains("\nPod=stack.pod\n"));
            assert!(exported.files.contains_key("stack.pod"));
        }
    }
}

#[test]
fn quadlets_use_only_what_their_podman_reads() {
    for (version, number) in [("4.4", (4, 4)), ("4.9", (4, 9)), ("5.0", (5, 0)), ("5.6", (5, 6))] {
        let exported = Exported::new("fs", &["quadlet", "--podman", version]);
        let units = exported
            .files
            .iter()
            .filter(|(path, _)| [".container", ".pod", ".kube"].iter().any(|suffix| path.ends_with(suffix)));
        let mut seen = 0;
        for (path, unit) in units {
            seen += 1;
            for (section, key, _) in entries(unit)
                .into_iter()
                .filter(|(section, ..)| ["Container", "Pod", "Kube"].contains(&section.as_str()))
            {
                let known = QUADLET_KEYS.iter().find(|(of, name, _)| *of == section && *name == key);
                let (.., since) = known.unwrap_or_else(|| panic!("{path}: [{section}] {key} is not known"));
                assert!(*since <= number, "{path}: {key} is read from Podman {since:?} on");
            }
        }
        assert_eq!(seen, if number < (5, 0) { 1 } else { 3 });
    }
}

#[test]
fn the_units_fit_together() {
    for keystore in keystores::of_machines() {
        let exported = Exported::new(keystore, &["systemd"]);
        secrets_are_kept(&exported);
        let stage = staged(&exported.out());
        let there = |path: &str| stage.path().join(path.trim_start_matches('/')).exists();
        let mut variables = BTreeSet::new();
        for unit in ["kes.service", "minio.service"] {
            let credentials: BTreeSet<_> = values(exported.file(unit), "LoadCredential")
                .iter()
                .map(|credential| {
                    let (name, path) = credential.split_once(':').unwrap();
                    assert!(there(path), "{unit}: {path} is not installed");
                    format!("%d/{name}")
                })
                .collect();
            for variable in values(exported.file(unit), "Environment") {
                let (name, value) = variable.split_once('=').unwrap();
                assert!(!value.starts_with("%d/") || credentials.contains(value), "{unit}: no credential for {value}");
                variables.insert(name.to_owned());
            }
        }
        for path in values(exported.file("kes.service"), "EnvironmentFile") {
            assert!(there(&path), "{path} is not installed");
            variables.extend(entries(exported.file("keystore.env")).into_iter().map(|(_, name, _)| name));
        }
        let config = exported.file("stack/config/kes-config.yaml");
        Config::parse(config, &|name| variables.contains(name).then(|| "x".into())).unwrap();
        for path in paths(&yaml(config)).iter().filter(|path| !path.starts_with("/var/")) {
            assert!(there(path), "kes-config.yaml: {path} is not installed");
        }
        let env = parse_env(exported.file("stack/config/minio"));
        for path in env.values().filter(|value| value.starts_with("/etc/")) {
            assert!(there(path), "minio.env: {path} is not installed");
        }
        let config = yaml(config);
        assert_eq!(env["MINIO_KMS_KES_ENDPOINT"], format!("https://{}", config["address"].as_str().unwrap()));
        assert_eq!(
            config["policy"]["minio"]["identities"][0],
            identity(exported.file("stack/certs/minio-kes.cert")).as_str()
        );
    }
}

#[test]
#[ignore = "needs systemd"]
fn systemd_takes_the_units() {
    for keystore in ["fs", "vault-approle", "aws-role"] {
        let exported = Exported::new(keystore, &["systemd"]);
        let stage = staged(&exported.out());
        for unit in ["kes.service", "minio.service"] {
            let mut unit_file = exported.file(unit).to_owned();
            // the programs are not installed here: any program stands for them
            for program in ["/usr/local/bin/kes", "/usr/local/bin/minio"] {
                unit_file = unit_file.replace(program, "/bin/true");
            }
            let path = stage.path().join(unit);
            std::fs::write(&path, unit_file).unwrap();
            let verify = analyze(&["verify", "--recursive-errors=no"], &path);
            assert!(verify.0, "{unit}: {}", verify.1);
            // 10 means no protection at all, 0 is impossible for programs that use the network
            let security = analyze(&["security", "--offline=true", "--threshold=20"], &path);
            assert!(security.0, "{unit}: {}", security.1);
        }
    }
}

fn analyze(arguments: &[&str], unit: &std::path::Path) -> (bool, String) {
    let output = Command::new("systemd-analyze").args(arguments).arg(unit).output().unwrap();
    (output.status.success(), text(&output.stdout) + &text(&output.stderr))
}

/// Runs the install script into a folder.
pub(crate) fn staged(out: &std::path::Path) -> tempfile::TempDir {
    let stage = tempfile::tempdir().unwrap();
    let output = Command::new(out.join("install")).env("DESTDIR", stage.path()).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    stage
}

/// Its master key is a file of its own, for KES alone; systemd gives it to the unit as a credential.
#[test]
fn a_sealed_stack_takes_its_master_key_along() {
    for target in ["compose", "kube", "quadlet", "systemd"] {
        let exported = Exported::of(manifest_with_kes("fs", ", seal: true", ""), &[target]);
        let digits = exported.file("stack/certs/keystore/master.key").trim().to_owned();
        assert_eq!(digits.len(), 64, "{target}");
        assert_eq!(exported.mode("stack/certs/keystore/master.key"), 0o600, "{target}");
        let holders = exported.files.values().filter(|content| content.contains(&digits)).count();
        assert_eq!((holders, exported.stdout.contains(&digits)), (1, false), "{target}");
        let config = exported.file("stack/config/kes-config.yaml");
        if target == "systemd" {
            assert!(config.contains(r#""masterKeyCredential":"master.key""#), "{config}");
            assert_eq!(
                values(exported.file("kes.service"), "LoadCredential"),
                ["kes-server.key:/etc/kes/kes-server.key", "master.key:/etc/kes/master.key"]
            );
            assert!(exported.file("install").contains(r#"install -m 600 "$stack/certs/keystore/master.key""#));
        } else {
            assert!(config.contains(r#""masterKeyPath":"/certs/keystore/master.key""#), "{config}");
            let mounts = |content: &String| content.contains("/certs/keystore/master.key") && content != config;
            assert_eq!(exported.files.values().filter(|content| mounts(content)).count(), 1, "{target}");
        }
    }
}

/// Keys that another KES may be reading: who owns them and may read them stays as it is.
#[test]
fn keys_that_lie_elsewhere_are_left_alone() {
    for target in ["compose", "kube", "quadlet"] {
        let folder = manifest("fs", "");
        let keys = folder.path().join("live");
        let paths = [keys.clone(), keys.join("stack-key")];
        std::fs::create_dir(&keys).unwrap();
        std::fs::write(&paths[1], "{}").unwrap();
        std::fs::set_permissions(&keys, std::fs::Permissions::from_mode(0o750)).unwrap();
        if rustix::process::geteuid().is_root() {
            for path in &paths {
                std::os::unix::fs::chown(path, Some(4242), Some(4242)).unwrap();
            }
        }
        let state = || {
            paths.each_ref().map(|path| {
                let meta = std::fs::metadata(path).unwrap();
                (meta.mode(), meta.uid(), meta.gid())
            })
        };
        let before = state();
        keep_keys_in(folder.path(), "live");
        let exported = Exported::of(folder, &[target]);
        assert_eq!(state(), before, "{target}");
        assert!(exported.stdout.contains(&format!("keys stay in '{}'", keys.display())), "{}", exported.stdout);
    }
}

/// Keys that only the other machine has.
#[test]
fn keys_that_are_not_here_are_not_made() {
    for target in ["compose", "kube", "quadlet"] {
        let folder = manifest("fs", "");
        keep_keys_in(folder.path(), "elsewhere");
        let exported = Exported::of(folder, &[target]);
        assert!(!exported.folder.path().join("elsewhere").exists(), "{target}");
    }
}

/// KES's unit gets a folder that it can see, and nobody loses one.
#[test]
fn units_take_keys_only_from_root() {
    let folder = manifest("fs", "");
    keep_keys_in(folder.path(), "/srv/kestack-test-keys");
    let exported = Exported::of(folder, &["systemd"]);
    let unit = exported.file("kes.service");
    assert_eq!(values(unit, "ReadWritePaths"), ["/srv/kestack-test-keys"]);
    assert!(exported.stdout.contains("`install` makes that folder"), "{}", exported.stdout);
    staged(&exported.out());
    let install = exported.file("install");
    assert!(install.contains("chown -Rh kes:kes \"$keys\"\n"), "{install}");
    if !rustix::process::geteuid().is_root() {
        return;
    }
    // without all that it installs
    let (check, _) = install.split_once("install -d -m 755").unwrap();
    let keys = tempfile::tempdir().unwrap();
    let script = exported.out().join("check");
    std::fs::write(&script, check.replace("/srv/kestack-test-keys", keys.path().to_str().unwrap())).unwrap();
    let run = || Command::new("sh").arg(&script).env_remove("DESTDIR").output().unwrap();
    std::fs::write(keys.path().join("stack-key"), "{}").unwrap();
    assert!(run().status.success(), "{}", text(&run().stderr));
    for owned in [keys.path().join("stack-key"), keys.path().to_owned()] {
        std::os::unix::fs::chown(owned, Some(65534), None).unwrap();
        let (code, said) = (run().status.code(), text(&run().stderr));
        assert!(code == Some(1) && said.contains("belongs to nobody,"), "{code:?} {said}");
    }
}

/// Whatever the programs are called here, they are installed as the units start them.
#[test]
fn units_start_the_programs_that_are_installed() {
    let folder = tempfile::tempdir().unwrap();
    let programs = [folder.path().join("kes-1.0"), folder.path().join("silo")];
    for program in &programs {
        // static, as programs of a stack must be
        std::os::unix::fs::symlink(binary(), program).unwrap();
    }
    let path = |program: &std::path::Path| program.display().to_string();
    let manifest = format!(
        "name: stack\nkes: {{ binary: {} }}\nminio: {{ binary: {} }}\n",
        path(&programs[0]),
        path(&programs[1])
    );
    std::fs::write(folder.path().join("kestack.yaml"), manifest).unwrap();
    let exported = Exported::of(folder, &["systemd"]);
    for (program, name, unit) in [(&programs[0], "kes", "kes.service"), (&programs[1], "minio", "minio.service")] {
        let command = format!("sudo install -m 755 -T {} /usr/local/bin/{name}\n", path(program));
        assert!(exported.stdout.contains(&command), "{}", exported.stdout);
        assert!(values(exported.file(unit), "ExecStart")[0].starts_with(&format!("/usr/local/bin/{name} server")));
    }
    for note in ["KES and MinIO start without keys and objects", "setcap"] {
        assert!(exported.stdout.contains(note), "{}", exported.stdout);
    }
}

fn keep_keys_in(folder: &std::path::Path, keys: &str) {
    let path = folder.join("kestack.yaml");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("{ fs: {} }", &format!("{{ fs: {{ path: {keys} }} }}"))).unwrap();
}

/// What all of them share: the folder tree of a stack.
fn linked(exported: &Exported, kes: &Mounts, minio: &Mounts, endpoint: &str) {
    secrets_are_kept(exported);
    for source in kes.values().chain(minio.values()) {
        assert!(std::path::Path::new(source).exists(), "{source} is mounted and not there");
    }
    let config = std::fs::read_to_string(&kes["/etc/default/kes-config.yaml"]).unwrap();
    Config::parse(&config, &|_| None).unwrap();
    let config = yaml(&config);
    for path in paths(&config) {
        assert!(kes.contains_key(&path), "kes-config.yaml: {path} is not mounted");
    }
    let env = parse_env(&std::fs::read_to_string(&minio["/etc/default/minio"]).unwrap());
    for (name, path) in env.iter().filter(|(_, value)| value.starts_with('/')) {
        assert!(minio.contains_key(path), "{name}: {path} is not mounted");
    }
    assert_eq!(env["MINIO_KMS_KES_ENDPOINT"], endpoint);
    let keys: Vec<_> = config["keys"].as_array().unwrap().iter().map(|key| string(&key["name"])).collect();
    assert!(keys.contains(&env["MINIO_KMS_KES_KEY_NAME"]));
    let shown = std::fs::read_to_string(&minio["/certs/minio-kes.cert"]).unwrap();
    assert_eq!(config["policy"]["minio"]["identities"][0], identity(&shown).as_str());
}

/// No secret in a file that others may read, nor on standard output.
fn secrets_are_kept(exported: &Exported) {
    let is_secret =
        |content: &str| content.contains("s3cret-") || content.contains("PRIVATE KEY") || content.contains("-KEY-");
    for (path, content) in exported.files.iter().filter(|(_, content)| is_secret(content)) {
        assert_eq!(exported.mode(path), 0o600, "{path} holds a secret: {content}");
    }
    assert!(!is_secret(&exported.stdout));
}

/// The identity of a certificate's holder.
pub(crate) fn identity(pem: &str) -> String {
    kestack::unstable::pki::identity(pem).unwrap().to_string()
}

/// A YAML document as JSON.
pub(crate) fn yaml(text: &str) -> Value {
    serde_yaml::from_str(text).unwrap()
}

/// A value that must be a string.
pub(crate) fn string(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is not text")).to_owned()
}

/// Paths of files that a configuration of KES names: all but the routes of policies, and a token that Kubernetes gives.
pub(crate) fn paths(value: &Value) -> Vec<String> {
    match value {
        Value::String(text) if text.starts_with('/') && !text.starts_with("/v1/") && !text.starts_with("/var/run/") => {
            vec![text.clone()]
        }
        Value::Array(items) => items.iter().flat_map(paths).collect(),
        Value::Object(entries) => entries.values().flat_map(paths).collect(),
        _ => vec![],
    }
}

/// Section, key and value of each line of a unit or environment file.
fn entries(unit: &str) -> Vec<(String, String, String)> {
    let mut section = String::new();
    let mut entries = Vec::new();
    for line in unit.lines().filter(|line| !line.starts_with('#')) {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            name.clone_into(&mut section);
        } else if let Some((key, value)) = line.split_once('=') {
            entries.push((section.clone(), key.to_owned(), value.to_owned()));
        }
    }
    entries
}

/// All values of a key.
pub(crate) fn values(unit: &str, key: &str) -> Vec<String> {
    entries(unit).into_iter().filter(|(_, name, _)| name == key).map(|(.., value)| value).collect()
}
