//! How the image runs: entry point, ports, volume, health check, labels.

use std::collections::BTreeMap;

use serde::Serialize;

use super::Content;

/// What people and MinIO's own images write on a command line.
const COMMAND: [&str; 4] = ["server", "/data", "--console-address", ":9001"];
/// Where programs are.
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Where secrets of the engine are looked for, below `/run/secrets`, as MinIO's own images have it. Absent ones count as none.
const SECRETS: [&str; 5] = [
    "MINIO_ACCESS_KEY_FILE=access_key",
    "MINIO_SECRET_KEY_FILE=secret_key",
    "MINIO_ROOT_USER_FILE=access_key",
    "MINIO_ROOT_PASSWORD_FILE=secret_key",
    "MINIO_KMS_SECRET_KEY_FILE=kms_master_key",
];
/// Where MinIO's client writes, whoever runs it.
const MC_FOLDER: &str = "MC_CONFIG_DIR=/tmp/.mc";
/// A second in the unit of health checks.
const SECOND: u64 = 1_000_000_000;

/// The part of an image's configuration that says how it runs; fields stand in alphabetical order.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
#[expect(clippy::zero_sized_map_values, reason = "the format: an object of empty objects")]
pub(super) struct Process {
    cmd: [&'static str; 4],
    entrypoint: [&'static str; 1],
    env: Vec<&'static str>,
    exposed_ports: BTreeMap<&'static str, Empty>,
    healthcheck: Check,
    labels: BTreeMap<&'static str, String>,
    volumes: BTreeMap<&'static str, Empty>,
    working_dir: &'static str,
}

#[derive(Serialize)]
struct Empty {}

/// Engines before Docker 25 ask for the first time after one interval, so that is short; `StartInterval` is for the others.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Check {
    interval: u64,
    retries: u32,
    start_interval: u64,
    start_period: u64,
    test: [&'static str; 4],
    timeout: u64,
}

impl Process {
    pub(super) fn of(content: &Content) -> Self {
        Self {
            cmd: COMMAND,
            entrypoint: ["/usr/bin/docker-entrypoint.sh"],
            env: [PATH].into_iter().chain(SECRETS).chain(content.mc.as_ref().map(|_| MC_FOLDER)).collect(),
            exposed_ports: [("9000/tcp", Empty {}), ("9001/tcp", Empty {})].into(),
            healthcheck: Check {
                interval: 2 * SECOND,
                retries: 3,
                start_interval: SECOND / 4,
                start_period: 60 * SECOND,
                test: ["CMD", "kestack", "serve", "--check"],
                timeout: 5 * SECOND,
            },
            labels: labels(content),
            volumes: [("/data", Empty {})].into(),
            working_dir: "/",
        }
    }
}

fn labels(content: &Content) -> BTreeMap<&'static str, String> {
    let shell = if content.shell.is_some() { " AND GPL-2.0-only AND GPL-3.0-or-later" } else { "" };
    let mut labels = BTreeMap::from([
        ("io.kestack.role", "serve".to_owned()),
        ("io.kestack.version", env!("CARGO_PKG_VERSION").to_owned()),
        ("org.opencontainers.image.description", "MinIO that encrypts from its first byte, with kes inside".to_owned()),
        ("org.opencontainers.image.documentation", format!("{}/blob/main/docs/image.md", env!("CARGO_PKG_REPOSITORY"))),
        ("org.opencontainers.image.licenses", format!("AGPL-3.0-only AND Apache-2.0{shell}")),
        ("org.opencontainers.image.source", env!("CARGO_PKG_REPOSITORY").to_owned()),
        ("org.opencontainers.image.title", "MinIO with kestack and kes".to_owned()),
    ]);
    if let Some(release) = &content.release {
        labels.insert("org.opencontainers.image.version", release.clone());
    }
    labels
}
