//! A bundle carries a stack to a machine that has nothing: no cache, no variables, no network.

use std::path::PathBuf;
use std::process::{Command, Output};

use serde_json::Value;

use crate::bounded::Bounded as _;
use crate::engine::{cli, kind};
use crate::sandbox::{Sandbox, binary, install, text};

/// A machine without network: a kestack alone in a fresh home.
struct Elsewhere<'a> {
    stack: &'a Sandbox,
    home: PathBuf,
}

impl<'a> Elsewhere<'a> {
    fn new(stack: &'a Sandbox) -> Self {
        let home = stack.folder().join("elsewhere");
        std::fs::create_dir_all(home.join("work")).unwrap();
        install(&binary(), &home);
        Self { stack, home }
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(self.home.join("kestack"));
        command.args(arguments).current_dir(self.home.join("work")).env("HOME", &self.home);
        command.env("KESTACK_DIR", self.stack.base()).env("KESTACK_ENGINE", kind().name());
        command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        for variable in ["MINIO_BINARY", "KESTACK_KES_BINARY", "XDG_CACHE_HOME", "XDG_DATA_HOME", "GOPATH", "GOBIN"] {
            command.env_remove(variable);
        }
        for variable in ["HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy", "ALL_PROXY"] {
            command.env(variable, "http://127.0.0.1:9");
        }
        command.finished()
    }

    fn ok(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
        text(&output.stdout)
    }

    fn programs(&self) -> PathBuf {
        self.home.join(".local/share/kestack/.programs")
    }
}

#[test]
#[ignore = "needs an engine"]
fn a_bundle_brings_a_stack_up_without_network() {
    let stack = Sandbox::new("keys: [carried]\nbuckets: [{ name: carried }]\n");
    let saved = stack.json(&["bundle", "save", "bundle.tar"]);
    assert_eq!(saved["also_needed"], serde_json::json!([]), "{saved}");
    let again = stack.json(&["bundle", "save", "again.tar"]);
    assert_eq!(saved["sha256"], again["sha256"], "the same content gives the same bytes");
    let file = stack.folder().join("bundle.tar").display().to_string();
    let there = Elsewhere::new(&stack);

    let mut bytes = std::fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(stack.folder().join("damaged.tar"), bytes).unwrap();
    let damaged = there.run(&["bundle", "load", "../../damaged.tar"]);
    assert_eq!(damaged.status.code(), Some(6), "{}", text(&damaged.stderr));
    assert!(text(&damaged.stderr).contains("is damaged"), "{}", text(&damaged.stderr));
    assert!(!there.home.join("work/kestack.yaml").exists());
    assert_eq!(std::fs::read_dir(there.programs()).map_or(0, Iterator::count), 0);

    there.ok(&["bundle", "load", &file, "--sha256", saved["sha256"].as_str().unwrap()]);
    let manifest = |folder: &str| std::fs::read(stack.folder().join(folder).join("kestack.yaml")).unwrap();
    assert_eq!(manifest("elsewhere/work"), manifest("."));
    there.ok(&["up"]);
    let report: Value = serde_json::from_str(&there.ok(&["images", "--output", "json"])).unwrap();
    let items = report["items"].as_array().unwrap();
    // an image of the same bytes that was here before has the same ID, and is in use just as well
    let used = |role: &str| items.iter().find(|item| item["role"] == role && item["used"] == true).unwrap();
    assert!(used("kes")["source"].as_str().unwrap().contains("/.programs/kes"), "{report}");
    let minio = used("minio")["source"].as_str().unwrap();
    assert!(minio.contains("/.programs/minio") || minio.contains("kestack/minio:supplied"), "{report}");
    there.ok(&["verify"]);
    there.ok(&["down", "--data"]);
}

#[test]
#[ignore = "needs an engine"]
fn what_would_not_work_there_is_refused_here() {
    let stack = Sandbox::new("minio: { port: 0, console_port: 0, binary: bin/minio }\n");
    let error = stack.fails(&["bundle", "save", "bundle.tar"], 2);
    assert!(error.contains("minio.binary") && error.contains("MINIO_BINARY"), "{error}");
    let objects = stack.folder().join("objects");
    stack.manifest("buckets: [{ name: seeded }]\nseed: { objects: [{ from: objects, bucket: seeded }] }\n");
    let saved = stack.json(&["bundle", "save", "seeded.tar"]);
    assert_eq!(saved["also_needed"], serde_json::json!([objects]), "{saved}");
    let saved = stack.ok(&["bundle", "save", "seeded.tar"]);
    assert!(saved.contains(&format!("kestack.yaml names '{}', which is not in it", objects.display())), "{saved}");
    stack.manifest("");
    stack.ok(&["bundle", "save", "bundle.tar"]);
    let manifest = std::fs::read_to_string(stack.folder().join("kestack.yaml")).unwrap();
    let there = Elsewhere::new(&stack);
    std::fs::write(there.home.join("work/kestack.yaml"), "keys: [another]\n").unwrap();
    let refused = |more: &[&str], code: i32| {
        let output = there.run(&[&["bundle", "load", "../../bundle.tar"], more].concat());
        assert_eq!(output.status.code(), Some(code), "{}", text(&output.stderr));
        text(&output.stderr)
    };
    let error = refused(&[], 2);
    assert!(error.contains("with other content") && error.contains("--force"), "{error}");
    let error = refused(&["--sha256", "00"], 6);
    assert!(error.contains("nothing was changed"), "{error}");
    // nothing but a file can be where the folder should be
    let error = refused(&["--to", "kestack.yaml/project"], 1);
    assert!(error.contains("kestack.yaml/project"), "{error}");
    assert_eq!(std::fs::read_dir(there.programs()).map_or(0, Iterator::count), 0);
    let loaded = there.ok(&["bundle", "load", "../../bundle.tar", "--to", "new/project"]);
    assert!(loaded.contains("new/project/kestack.yaml"), "{loaded}");
    assert_eq!(std::fs::read_to_string(there.home.join("work/new/project/kestack.yaml")).unwrap(), manifest);
}

/// Where two homes have one store of images: not with rootless Podman, which keeps images below the home.
mod shared {
    use super::*;

    #[test]
    #[ignore = "needs rootful Podman or Docker"]
    fn an_image_without_a_program_is_carried_as_it_is() {
        let stack = Sandbox::new("");
        stack.ok(&["up"]);
        let image = format!("localhost/{}/minio:1", stack.name);
        let running = cli(&["inspect", "--format", "{{.Image}}", &format!("{}-minio-server", stack.name)]);
        cli(&["tag", running.trim(), &image]);
        stack.manifest(&format!("minio: {{ port: 0, console_port: 0, image: '{image}' }}\n"));
        stack.ok(&["bundle", "save", "bundle.tar"]);
        cli(&["rmi", &image]);
        let there = Elsewhere::new(&stack);
        let loaded = there.ok(&["bundle", "load", "../../bundle.tar"]);
        assert!(loaded.contains(&image), "{loaded}");
        // the same folder of stacks, which belongs to the manifest here
        there.ok(&["up", "--adopt"]);
        there.ok(&["verify"]);
        there.ok(&["down", "--data"]);
        cli(&["rmi", &image]);
        let refused = there.run(&["bundle", "load", "../../bundle.tar", "--engine", "process"]);
        assert!(
            text(&refused.stderr).contains("the process engine runs programs of this host"),
            "{}",
            text(&refused.stderr)
        );
    }
}
