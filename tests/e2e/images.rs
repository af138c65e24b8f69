//! Which KES and MinIO there are: both flavours run, and `kestack images` says what they are.

use std::path::Path;

use serde_json::Value;

use crate::bounded::Bounded as _;
use crate::sandbox::{Sandbox, binary, install, text};

fn items<'a>(report: &'a Value, role: &str) -> Vec<&'a Value> {
    report["items"].as_array().unwrap().iter().filter(|item| item["role"] == role).collect()
}

#[test]
#[ignore = "needs an engine"]
fn images_tells_what_runs_and_what_is_known_against_it() {
    let stack = Sandbox::new("");
    let before = stack.json(&["images"]);
    assert!(items(&before, "minio").iter().all(|item| item["used"] == false), "{before}");
    assert_eq!(items(&before, "minio")[0]["chosen"], true);
    stack.ok(&["up"]);
    let report = stack.json(&["images"]);
    let (kes, minio) = (items(&report, "kes")[0], items(&report, "minio")[0]);
    assert_eq!((&kes["used"], &kes["release"]), (&true.into(), &env!("CARGO_PKG_VERSION").into()));
    assert_eq!((&minio["used"], &minio["chosen"], &minio["flavour"]), (&true.into(), &true.into(), &"minio".into()));
    assert_eq!(minio["standing"], "frozen");
    assert!(minio["defects"].as_array().unwrap().iter().any(|defect| defect["id"] == "CVE-2026-40344"), "{minio}");
    let digest = minio["digest"].as_str().unwrap().strip_prefix("sha256:").unwrap();
    assert_eq!(digest.len(), 64);
    let human = stack.ok(&["images"]);
    for expected in ["in use", "MinIO", "CVE-2026-40344", "docker.io/pgsty/silo", "as known on 2026-", &digest[..12]] {
        assert!(human.contains(expected), "{expected} is missing in:\n{human}");
    }
}

/// The real Silo is not available where these tests run: MinIO under its name shows that kestack finds it and tells them
/// apart.
#[test]
#[ignore = "needs an engine"]
fn a_silo_program_is_found_and_run() {
    let stack = Sandbox::new("");
    let bin = stack.folder().join("bin");
    std::fs::create_dir(&bin).unwrap();
    // a `minio` next to kestack comes first
    install(&binary().with_file_name("kes"), &bin);
    let kestack = install(&binary(), &bin);
    let minio = std::env::var("MINIO_BINARY").unwrap();
    std::fs::copy(minio, bin.join("silo")).unwrap();
    let path = std::env::join_paths([
        bin.as_path(),
        Path::new("/usr/sbin"),
        Path::new("/usr/bin"),
        Path::new("/sbin"),
        Path::new("/bin"),
    ]);
    let path = path.unwrap();
    let run = |arguments: &[&str]| {
        let mut command = stack.command_of(&kestack, arguments);
        let output = command.env("PATH", &path).env_remove("MINIO_BINARY").finished();
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stdout)
    };
    let supplied = "localhost/kestack/minio:supplied";
    let first = run(&["images", "--output", "json"]).contains(supplied);
    assert!(!first, "the image {supplied} of this engine comes first: run this test without it");
    run(&["up"]);
    let report: Value = serde_json::from_str(&run(&["images", "--output", "json"])).unwrap();
    let silo = items(&report, "minio")[0];
    assert_eq!(
        (&silo["used"], &silo["flavour"], &silo["standing"]),
        (&true.into(), &"silo".into(), &"maintained".into()),
        "{report}"
    );
    assert!(silo["defects"].is_null(), "its release is not one of Silo's: {report}");
    assert!(silo["advice"].as_str().unwrap().starts_with("defects unknown"), "{report}");
    assert!(silo["source"].as_str().unwrap().ends_with("bin/silo"), "{report}");
    run(&["verify"]);
}

#[test]
#[ignore = "needs an engine"]
fn a_minio_is_minio_in_whichever_folder() {
    let stack = Sandbox::new("");
    let bin = stack.folder().join("silo-1.0/bin");
    std::fs::create_dir_all(&bin).unwrap();
    std::fs::copy(std::env::var("MINIO_BINARY").unwrap(), bin.join("minio")).unwrap();
    let output = stack.command(&["images", "--output", "json"]).env("MINIO_BINARY", bin.join("minio")).finished();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let minio = items(&report, "minio")[0];
    assert_eq!(minio["flavour"], "minio", "{report}");
    assert!(minio["defects"].as_array().unwrap().len() >= 7, "{report}");
}
