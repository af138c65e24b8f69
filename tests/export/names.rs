//! Names that an export takes over into a cluster, and those that it leaves to others.

use crate::cluster::Cluster;
use crate::exported::{Exported, manifest_with_kes};

/// As those of `up`: what people call the servers, wherever these run.
#[test]
fn certificates_hold_the_names_of_the_manifest() {
    let wanted: [(&str, &[&str]); 2] =
        [("kes", &["kes.example.org"]), ("minio", &["s3.example.org", "buckets.example.org", "*.buckets.example.org"])];
    let named = || {
        let folder = manifest_with_kes("aws-static", ", names: [kes.example.org, 192.0.2.7]", "");
        let path = folder.path().join("kestack.yaml");
        let more =
            ", names: [s3.example.org, 192.0.2.8], env: { MINIO_DOMAIN: buckets.example.org }, tls: true, root_user:";
        let text = std::fs::read_to_string(&path).unwrap().replace(", root_user:", more);
        std::fs::write(&path, text).unwrap();
        folder
    };
    for target in ["kubernetes", "tenant"] {
        let of = |server: &str| match (target, server) {
            ("tenant", "kes") => "stack-kes-server-tls".to_owned(),
            ("tenant", _) => format!("stack-{server}-tls"),
            _ => format!("{server}-tls"),
        };
        let own = Cluster::read(&Exported::of(named(), &[target, "--certificates", "own"]));
        for (server, names) in wanted {
            for name in names {
                own.serves(&of(server), name);
            }
        }
        let issued = [target, "--certificates", "cert-manager", "--issuer", "ca"];
        let issued = Cluster::read(&Exported::of(named(), &issued));
        for ((server, names), address) in wanted.into_iter().zip(["192.0.2.7", "192.0.2.8"]) {
            let spec = &issued.named("Certificate", &of(server))["spec"];
            for name in names {
                assert!(spec["dnsNames"].as_array().unwrap().iter().any(|known| known == name), "{name}: {spec}");
            }
            assert_eq!(spec["ipAddresses"], serde_json::json!([address]), "{spec}");
        }
    }
    let noted = Exported::of(named(), &["tenant"]).stdout;
    assert!(noted.contains("its own names only, not kes.example.org, 192.0.2.7, buckets.example.org"), "{noted}");
}

#[test]
fn a_namespace_of_others_is_neither_made_nor_labelled() {
    for target in ["kubernetes", "tenant"] {
        let exported = Exported::new("aws-static", &[target, "--namespace", "apps"]);
        let cluster = Cluster::read(&exported);
        assert!(cluster.all("Namespace").is_empty() && !cluster.all("Secret").is_empty(), "{target}");
        assert!(exported.stdout.contains("namespace 'apps' must be there"), "{}", exported.stdout);
        let own = Exported::new("aws-static", &[target]);
        assert_eq!(Cluster::read(&own).all("Namespace").len(), 1, "{target}");
        assert!(!own.stdout.contains("must be there"), "{}", own.stdout);
    }
}

#[test]
fn helm_installs_where_the_secrets_are() {
    let exported = Exported::new("aws-static", &["tenant", "--helm-values", "--namespace", "storage"]);
    let commands: Vec<_> = exported.stdout.lines().map(str::trim).collect();
    let at = |start: &str| {
        let found = commands.iter().position(|command| command.starts_with(start));
        found.unwrap_or_else(|| panic!("no '{start}' in {commands:?}"))
    };
    let helm = at("helm upgrade --install --namespace storage tenant minio-operator/tenant -f ");
    assert!(at("helm repo add minio-operator https://") < helm);
    assert!(commands[helm].ends_with("out/values.yaml"), "{}", commands[helm]);
    assert!(at("kubectl apply -f ") < helm && helm < at("kubectl wait -n storage tenant/stack"));
}
