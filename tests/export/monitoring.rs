//! `--monitoring`: Prometheus may ask KES for its metrics, finds it, and has the alerts and the dashboard that the tests of
//! `deploy/monitoring/` prove.

use serde_json::Value;

use crate::cluster::Cluster;
use crate::exported::{Exported, export, manifest, text};
use crate::machine::{identity, string, yaml};
use crate::refused::refusal;

const MANAGER: [&str; 4] = ["--certificates", "cert-manager", "--issuer", "ca"];

/// Every form of it, with the name of KES that Prometheus checks.
fn variants() -> [(&'static str, Vec<&'static str>); 6] {
    let (plain, operator) = ("kes.stack.svc.cluster.local", "stack-kes-hl-svc.stack.svc.cluster.local");
    let with = |target, more: &[&'static str]| [&[target, "--monitoring"], more].concat();
    [
        (plain, with("kubernetes", &[])),
        (plain, with("kubernetes", &MANAGER)),
        (operator, with("tenant", &[])),
        (operator, with("tenant", &["--certificates", "own"])),
        (operator, with("tenant", &MANAGER)),
        (operator, with("tenant", &["--helm-values"])),
    ]
}

fn deployed(file: &str) -> String {
    std::fs::read_to_string(format!("{}/deploy/monitoring/{file}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

/// KES's configuration of an export, wherever it is.
fn config(exported: &Exported, cluster: &Cluster) -> Value {
    let secret = cluster.all("Secret").into_iter().find(|it| it["stringData"]["server-config.yaml"].is_string());
    yaml(&match (secret, exported.files.get("values.yaml")) {
        (Some(secret), _) => string(&secret["stringData"]["server-config.yaml"]),
        (None, Some(values)) => string(&yaml(values)["tenant"]["kes"]["configuration"]),
        (None, None) => string(&cluster.named("ConfigMap", "kes-configuration")["data"]["server-config.yaml"]),
    })
}

#[test]
fn prometheus_may_ask_kes_and_finds_it() {
    for (server, arguments) in variants() {
        let exported = Exported::new("aws-static", &arguments);
        let cluster = Cluster::read(&exported);
        let monitor = cluster.named("ServiceMonitor", "stack-kes");
        let service = cluster.named("Service", "stack-kes-metrics");
        assert_eq!(monitor["spec"]["selector"]["matchLabels"], service["metadata"]["labels"], "{arguments:?}");
        let endpoint = &monitor["spec"]["endpoints"][0];
        assert_eq!(endpoint["port"], service["spec"]["ports"][0]["name"]);
        assert_eq!((endpoint["scheme"].as_str(), endpoint["path"].as_str()), (Some("https"), Some("/v1/metrics")));
        let tls = &endpoint["tlsConfig"];
        assert_eq!(tls["serverName"], server, "{arguments:?}");
        let certificate = cluster.content(tls["cert"]["secret"]["name"].as_str().unwrap(), "tls.crt");
        assert_eq!(tls["cert"]["secret"]["key"], "tls.crt");
        assert!(cluster.keys(tls["keySecret"]["name"].as_str().unwrap()).contains("tls.key"));
        assert_eq!(exported.mode("monitoring-secret.yaml"), 0o600);
        let policy = &config(&exported, &cluster)["policy"]["monitoring"];
        assert_eq!(policy["allow"], serde_json::json!(["/v1/metrics"]), "{arguments:?}");
        assert_eq!(policy["identities"], serde_json::json!([identity(&certificate)]), "{arguments:?}");
        match tls["ca"]["secret"]["name"].as_str() {
            Some(secret) => assert!(cluster.keys(secret).contains(tls["ca"]["secret"]["key"].as_str().unwrap())),
            None => assert_eq!(tls["ca"]["configMap"]["name"], "kube-root-ca.crt", "{arguments:?}"),
        }
    }
}

/// The Service selects the pods of KES, their certificate is for the name, and nobody else is let in.
#[test]
fn pods_of_kes_are_reached_from_the_namespace_of_prometheus() {
    let exported = Exported::new("aws-static", &["kubernetes", "--monitoring", "observed"]);
    let cluster = Cluster::read(&exported);
    cluster.links("kubernetes");
    let service = cluster.named("Service", "stack-kes-metrics");
    assert_eq!(service["spec"]["selector"], cluster.workload("kes")["spec"]["template"]["metadata"]["labels"]);
    cluster.serves("kes-tls", "kes.stack.svc.cluster.local");
    let from = &cluster.named("NetworkPolicy", "kes")["spec"]["ingress"][1];
    let label = &from["from"][0]["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"];
    assert_eq!((label.as_str(), from["ports"][0]["port"].as_u64()), (Some("observed"), Some(7373)));

    let exported = Exported::new("aws-static", &["tenant", "--monitoring", "--certificates", "own"]);
    let cluster = Cluster::read(&exported);
    cluster.links("tenant");
    cluster.serves("stack-kes-server-tls", "stack-kes-hl-svc.stack.svc.cluster.local");
    let spread = &cluster.named("Tenant", "stack")["spec"]["kes"]["topologySpreadConstraints"][0]["labelSelector"];
    assert_eq!(cluster.named("Service", "stack-kes-metrics")["spec"]["selector"], spread["matchLabels"]);
}

#[test]
fn alerts_and_dashboard_are_those_that_are_proven() {
    let exported = Exported::new("aws-static", &["kubernetes", "--monitoring"]);
    let cluster = Cluster::read(&exported);
    assert_eq!(cluster.named("PrometheusRule", "stack-kes")["spec"], yaml(&deployed("kes-alerts.yaml")));
    let dashboard = cluster.named("ConfigMap", "stack-kes-dashboard");
    assert_eq!(dashboard["metadata"]["labels"]["grafana_dashboard"], "1");
    assert_eq!(string(&dashboard["data"]["kes-dashboard.json"]), deployed("kes-dashboard.json"));
}

/// Prometheus Operator's own definition of a kind, in which a field that it does not know is a mistake: the API server would
/// drop it.
fn judge(kind: &str) -> jsonschema::Validator {
    let file = format!("{}/tests/export/crds/{}s.yaml", env!("CARGO_MANIFEST_DIR"), kind.to_lowercase());
    let mut schema =
        yaml(&std::fs::read_to_string(file).unwrap())["spec"]["versions"][0]["schema"]["openAPIV3Schema"].take();
    schema["properties"]["metadata"] =
        serde_json::json!({ "type": "object", "properties": { "name": {}, "namespace": {} } });
    close(&mut schema);
    jsonschema::validator_for(&schema).unwrap()
}

fn close(schema: &mut Value) {
    if let Value::Object(schema) = schema {
        let is_closed =
            schema.get("properties").is_some_and(Value::is_object) && schema.get("type") == Some(&"object".into());
        schema.values_mut().for_each(close);
        if is_closed {
            schema.insert("additionalProperties".into(), false.into());
        }
    } else if let Value::Array(schemas) = schema {
        schemas.iter_mut().for_each(close);
    }
}

#[test]
fn prometheus_operator_takes_what_is_written_for_it() {
    for kind in ["ServiceMonitor", "PrometheusRule"] {
        let judge = judge(kind);
        for (_, arguments) in variants() {
            let found = Cluster::read(&Exported::new("aws-static", &arguments)).named(kind, "stack-kes").clone();
            let wrong: Vec<_> = judge.iter_errors(&found).map(|error| error.to_string()).collect();
            assert!(wrong.is_empty(), "{arguments:?}: {wrong:?}");
            for (place, value) in [
                ("/spec/endpoints/0/tlsConfig/serverNames", "kes".into()),
                ("/spec/endpoints/0/interval", "30 seconds".into()),
                ("/spec/groups/0/rules/0/for", 5.into()),
                ("/spec/groups/0/rules/0/expression", "up".into()),
            ] {
                let (parent, name) = place.rsplit_once('/').unwrap();
                let mut wrong: Value = found.clone();
                let Some(parent) = wrong.pointer_mut(parent) else { continue };
                parent[name] = value;
                assert!(!judge.is_valid(&wrong), "{place}");
            }
        }
    }
}

/// Another key would be another identity, and KES would refuse Prometheus until it is started again.
#[test]
fn the_next_export_keeps_the_identity_of_prometheus() {
    let folder = manifest("aws-static", "");
    let identities = [false, true].map(|again| {
        let more: &[&str] = if again { &["--force"] } else { &[] };
        let arguments = [&["kubernetes", "--monitoring", "-d", "out"], more].concat();
        let output = export(folder.path(), &arguments);
        assert!(output.status.success(), "{}", text(&output.stderr));
        let out = folder.path().join("out");
        let secret = yaml(&std::fs::read_to_string(out.join("monitoring-secret.yaml")).unwrap());
        identity(&string(&secret["stringData"]["tls.crt"]))
    });
    assert_eq!(identities[0], identities[1]);
}

#[test]
fn a_namespace_that_cannot_be_is_refused() {
    let error = refusal("aws-static", "", &["tenant", "--monitoring", "Up"]);
    assert!(error.contains("--monitoring 'Up' cannot name things"), "{error}");
}
