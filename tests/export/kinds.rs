//! The exported documents are of kinds that Kubernetes knows, with fields that it knows.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::cluster::{Cluster, variants};
use crate::exported::Exported;
use crate::machine::string;

#[test]
fn native_kinds_survive_their_types() {
    use k8s_openapi::api::{apps::v1 as apps, core::v1 as core, networking::v1 as networking, policy::v1 as policy};
    let mut seen = BTreeSet::new();
    for (name, keystore, arguments) in variants() {
        for document in Cluster::read(&Exported::new(keystore, &arguments)).documents {
            let kind = string(&document["kind"]);
            let again = match kind.as_str() {
                "ConfigMap" => round::<core::ConfigMap>(&document),
                "Namespace" => round::<core::Namespace>(&document),
                "Secret" => round::<core::Secret>(&document),
                "Service" => round::<core::Service>(&document),
                "ServiceAccount" => round::<core::ServiceAccount>(&document),
                "StatefulSet" => round::<apps::StatefulSet>(&document),
                "NetworkPolicy" => round::<networking::NetworkPolicy>(&document),
                "PodDisruptionBudget" => round::<policy::PodDisruptionBudget>(&document),
                "Tenant" | "Certificate" => continue,
                other => panic!("{name}: {other} is not checked"),
            };
            assert_eq!(document, again, "{name}: {kind} has a field that Kubernetes does not know");
            seen.insert(kind);
        }
    }
    assert_eq!(seen.len(), 8, "{seen:?}");
}

/// Unknown fields do not come back.
fn round<T: serde::de::DeserializeOwned + serde::Serialize>(document: &Value) -> Value {
    let typed: T = serde_json::from_value(document.clone()).unwrap();
    serde_json::to_value(&typed).unwrap()
}
