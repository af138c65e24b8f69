//! One image with everything that `kestack serve` needs: MinIO, KES, kestack, and the programs that health checks and
//! recipes call. Who uses a stock image of MinIO changes its name, and nothing else.
//!
//! It has three layers, in the order in which they change: MinIO, the shell with what is not a program, and kestack with
//! `kes`. The same programs give the same image.

use std::path::PathBuf;

use crate::engine::image::{Architecture, Archive, Entry, ImageError, compose_layers};
use crate::error::Error;

mod process;
mod surroundings;

use process::Process;

/// Folder of the programs that are behind a name of kestack's.
const LIBEXEC: &str = "usr/libexec/kestack";
/// kestack, as links lead to it.
const KESTACK: &str = "/usr/bin/kestack";
/// Names by which kestack is MinIO, its entry point, and what health checks call.
const NAMES: [&str; 4] = ["usr/bin/docker-entrypoint.sh", "usr/bin/minio", "opt/bin/minio", "usr/bin/curl"];
/// The client of MinIO, or kestack in its place.
const MC: &str = "usr/bin/mc";

/// What goes into the image.
#[derive(Debug, Clone)]
pub struct Content {
    /// The processor that it is for.
    pub architecture: Architecture,
    /// MinIO or Silo.
    pub minio: PathBuf,
    /// Its release, if it says so.
    pub release: Option<String>,
    /// `kes`.
    pub kes: PathBuf,
    /// kestack.
    pub kestack: PathBuf,
    /// MinIO's client; without it kestack answers to `mc ready` and `mc ping`.
    pub mc: Option<PathBuf>,
    /// Bash and busybox; without them the image has no shell.
    pub shell: Option<Shell>,
    /// Whose programs these are, and where their sources are.
    pub sources: String,
}

/// Static programs for scripts and health checks.
#[derive(Debug, Clone)]
pub struct Shell {
    /// Bash, because health checks open `/dev/tcp`.
    pub bash: PathBuf,
    /// Everything else that scripts call.
    pub busybox: PathBuf,
}

/// Composes the image; the first of `names` is the one to use it by.
///
/// # Errors
/// [`ImageError`] if a program cannot be read, or cannot run in the image.
pub fn compose(content: &Content, names: &[String]) -> Result<Archive, ImageError> {
    let mut layers = vec![minio(content)?, surroundings::entries(content)?];
    layers.push(own(content)?);
    compose_layers(&Process::of(content), content.architecture, layers, names)
}

fn minio(content: &Content) -> Result<Vec<Entry>, ImageError> {
    let mut entries = folders(&["usr", "usr/libexec", LIBEXEC]);
    entries.push(Entry::program(&format!("{LIBEXEC}/minio"), &content.minio, content.architecture)?);
    Ok(entries)
}

fn own(content: &Content) -> Result<Vec<Entry>, ImageError> {
    let program = |path: &str, file| Entry::program(path, file, content.architecture);
    let mut entries = folders(&["opt", "opt/bin", "usr", "usr/bin", "usr/libexec", LIBEXEC]);
    entries.push(program(&format!("{LIBEXEC}/kes"), &content.kes)?);
    entries.push(Entry::link("usr/bin/kes", &format!("/{LIBEXEC}/kes")));
    entries.push(program("usr/bin/kestack", &content.kestack)?);
    entries.extend(NAMES.map(|name| Entry::link(name, KESTACK)));
    entries.push(match &content.mc {
        Some(mc) => program(MC, mc)?,
        None => Entry::link(MC, KESTACK),
    });
    Ok(entries)
}

fn folders(paths: &[&str]) -> Vec<Entry> {
    paths.iter().map(|path| Entry::folder(path, 0o755)).collect()
}

/// The name of an image with its tag; `latest` if it has none.
///
/// # Errors
/// [`Error::Usage`] if no engine would take it.
pub fn complete_name(name: &str) -> Result<String, Error> {
    let (path, tag) = match name.rsplit_once(':') {
        Some((path, tag)) if !tag.contains('/') => (path, tag),
        _ => (name, "latest"),
    };
    let is_part = |part: &str| {
        let inner = |sign: char| sign.is_ascii_lowercase() || sign.is_ascii_digit() || "._-".contains(sign);
        part.starts_with(|sign: char| sign.is_ascii_alphanumeric()) && part.chars().all(inner)
    };
    // the first part may be a host with a port
    let mut parts = path.split('/');
    let first = parts.next().unwrap_or_default();
    let host = first.split_once(':').filter(|_| path.contains('/'));
    let is_first = host.map_or_else(|| is_part(first), |(host, port)| is_part(host) && port.parse::<u16>().is_ok());
    let is_tag = tag.len() <= 128
        && tag.starts_with(|sign: char| sign.is_ascii_alphanumeric() || sign == '_')
        && tag.chars().all(|sign| sign.is_ascii_alphanumeric() || "._-".contains(sign));
    if is_first && parts.all(is_part) && is_tag && path.len() <= 255 {
        return Ok(format!("{path}:{tag}"));
    }
    Err(Error::Usage {
        what: format!("'{name}' cannot be the name of an image"),
        hint: "write --tag registry.example/team/minio:1 – lower-case letters, digits, `.`, `_`, `-`, and a tag".into(),
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;

    use futures_util::TryStreamExt as _;

    use super::*;
    use crate::engine::image::static_executable;

    fn content(folder: &Path) -> Content {
        let program = |name: &str| {
            let path = folder.join(name);
            std::fs::write(&path, [static_executable(), name.as_bytes().to_vec()].concat()).unwrap();
            path
        };
        Content {
            architecture: Architecture::HOST,
            minio: program("minio"),
            release: Some("RELEASE.2026-02-12T20-18-48Z".into()),
            kes: program("kes"),
            kestack: program("kestack"),
            mc: None,
            shell: Some(Shell { bash: program("bash"), busybox: program("busybox") }),
            sources: "MinIO: there\n".into(),
        }
    }

    /// What is in the image, by path: mode, and where a link leads.
    async fn held(archive: Archive) -> (serde_json::Value, BTreeMap<String, (u32, Option<String>)>) {
        let bytes = archive.into_stream().try_collect::<Vec<_>>().await.unwrap().concat();
        let mut outer = BTreeMap::new();
        for entry in tar::Archive::new(bytes.as_slice()).entries().unwrap() {
            let mut entry = entry.unwrap();
            let mut content = Vec::new();
            std::io::Read::read_to_end(&mut entry, &mut content).unwrap();
            outer.insert(entry.path().unwrap().display().to_string(), content);
        }
        let manifest: serde_json::Value = serde_json::from_slice(&outer["manifest.json"]).unwrap();
        let mut held = BTreeMap::new();
        for layer in manifest[0]["Layers"].as_array().unwrap() {
            for entry in tar::Archive::new(outer[layer.as_str().unwrap()].as_slice()).entries().unwrap() {
                let entry = entry.unwrap();
                let target = entry.link_name().unwrap().map(|target| target.display().to_string());
                held.insert(entry.path().unwrap().display().to_string(), (entry.header().mode().unwrap(), target));
            }
        }
        (serde_json::from_slice(&outer[manifest[0]["Config"].as_str().unwrap()]).unwrap(), held)
    }

    #[tokio::test]
    async fn it_is_what_stock_tools_expect() {
        let folder = tempfile::tempdir().unwrap();
        let (configuration, held) = held(compose(&content(folder.path()), &["a:1".into()]).unwrap()).await;
        let process = &configuration["config"];
        assert_eq!(process["Entrypoint"], serde_json::json!(["/usr/bin/docker-entrypoint.sh"]));
        assert_eq!(process["Cmd"], serde_json::json!(["server", "/data", "--console-address", ":9001"]));
        assert_eq!(process["ExposedPorts"], serde_json::json!({ "9000/tcp": {}, "9001/tcp": {} }));
        assert_eq!(process["Volumes"], serde_json::json!({ "/data": {} }));
        assert_eq!(process["Healthcheck"]["Test"], serde_json::json!(["CMD", "kestack", "serve", "--check"]));
        assert_eq!(process["Labels"]["org.opencontainers.image.version"], "RELEASE.2026-02-12T20-18-48Z");
        let env = process["Env"].to_string();
        for secret in
            ["ROOT_USER_FILE=access_key", "ROOT_PASSWORD_FILE=secret_key", "KMS_SECRET_KEY_FILE=kms_master_key"]
        {
            assert!(env.contains(secret), "{secret}: {env}");
        }
        assert!(!env.contains("MC_CONFIG_DIR"), "{env}");
        assert!(process.get("User").is_none(), "root by default, for bind mounts of root's");
        assert_eq!((held["data/"].0, held["tmp/"].0), (0o777, 0o1777), "any user may write there");
        for name in ["usr/bin/minio", "opt/bin/minio", "usr/bin/docker-entrypoint.sh", "usr/bin/curl", "usr/bin/mc"] {
            assert_eq!(held[name].1.as_deref(), Some(KESTACK), "{name}");
        }
        for (name, target) in [("usr/bin/sh", "bash"), ("usr/bin/wget", "busybox"), ("bin", "usr/bin")] {
            assert_eq!(held[name].1.as_deref(), Some(target), "{name}");
        }
        for name in ["SOURCES", "AGPL-3.0.txt", "GPL-2.0.txt", "GPL-3.0.txt", "Apache-2.0.txt"] {
            assert!(held.contains_key(&format!("licenses/{name}")), "{name}");
        }
    }

    #[tokio::test]
    async fn without_a_shell_there_is_none_and_with_a_client_it_is_the_real_one() {
        let folder = tempfile::tempdir().unwrap();
        let mut content = content(folder.path());
        content.shell = None;
        content.mc = Some(content.kes.clone());
        let (configuration, held) = held(compose(&content, &["a:1".into()]).unwrap()).await;
        assert!(!held.contains_key("usr/bin/sh") && !held.contains_key("usr/bin/wget"));
        assert_eq!(held["usr/bin/mc"], (0o755, None));
        assert!(configuration["config"]["Env"].to_string().contains("MC_CONFIG_DIR=/tmp/.mc"));
        assert!(!held.contains_key("licenses/GPL-2.0.txt"), "only licences of programs that are in it");
    }

    #[test]
    fn the_same_programs_give_the_same_image() {
        let folder = tempfile::tempdir().unwrap();
        let content = content(folder.path());
        let id = |content: &Content| compose(content, &["a:1".into()]).unwrap().identity().id.clone();
        let first = id(&content);
        assert_eq!(first, id(&content));
        std::fs::write(&content.kes, [static_executable(), b"other".to_vec()].concat()).unwrap();
        assert_ne!(first, id(&content));
    }

    #[test]
    fn a_dynamic_or_foreign_program_is_refused_by_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let content = content(folder.path());
        std::fs::write(&content.kestack, "#!/bin/sh\n").unwrap();
        let error = compose(&content, &["a:1".into()]).unwrap_err().to_string();
        assert!(error.contains("kestack") && error.contains("not a Linux executable"), "{error}");
    }

    #[test]
    fn names_get_a_tag_and_nonsense_is_refused() {
        for (given, complete) in [
            ("minio", "minio:latest"),
            ("team/minio:1.2", "team/minio:1.2"),
            ("registry.example:5000/team/minio", "registry.example:5000/team/minio:latest"),
            ("localhost/kestack:RELEASE.2026", "localhost/kestack:RELEASE.2026"),
        ] {
            assert_eq!(complete_name(given).unwrap(), complete);
        }
        for nonsense in ["", "Team/minio", "minio:", "a b", "minio@sha256:00", "a//b", "minio:1:2", "-a", "a/"] {
            let error = complete_name(nonsense).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{nonsense}");
        }
    }
}
