//! The version of a server: reported by its program, or by the image that holds it.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::process::Command;
use tokio::time::timeout;

use super::releases::{Flavour, is_release};
use crate::engine::ImageDescription;
use crate::engine::image::cache::{Stamp, recall, remember};

/// How long a program may take to say its version.
const ANSWER: Duration = Duration::from_secs(20);

/// The name of an answer in the cache.
const KEPT: &str = "version";

/// Start of the names that kestack gives to images.
const OURS: &str = "localhost/kestack/";

/// The labels by which images say what they hold.
const LABELS: [&str; 3] = ["release", "version", "org.opencontainers.image.version"];

/// What a server says that it is.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Answer {
    /// The name that it has for itself.
    pub(super) name: Option<String>,
    /// Its release or version.
    pub(super) release: Option<String>,
}

/// What a program says of itself; nothing if it does not say, or not in time. `cache` is a folder that remembers it: `MinIO`
/// needs a quarter of a second to say it.
pub(super) async fn of_program(program: &Path, cache: Option<&Path>) -> Answer {
    let stamp = Stamp::of(program).ok();
    let kept = cache.zip(stamp.as_ref());
    let known = kept.and_then(|(folder, stamp)| serde_json::from_str(&recall(folder, KEPT, program, stamp)?).ok());
    if let Some(known) = known {
        return known;
    }
    let answer = asked(program).await;
    if let Some((folder, stamp)) = kept
        && answer.release.is_some()
        && let Ok(text) = serde_json::to_string(&answer)
    {
        remember(folder, KEPT, program, stamp, &text);
    }
    answer
}

async fn asked(program: &Path) -> Answer {
    let mut command = Command::new(program);
    // MinIO needs a HOME; of the caller's environment it sees nothing
    command.arg("--version").env_clear().env("HOME", "/").stdin(Stdio::null()).kill_on_drop(true);
    let Ok(Ok(output)) = timeout(ANSWER, command.output()).await else { return Answer::default() };
    said(&String::from_utf8_lossy(&output.stdout))
}

/// What an image says of its server by its labels, else by its tags; its own program cannot be asked without running it.
/// Names that kestack gave tell nothing, and of others only the repository counts, not what is before it.
pub(super) fn of_image(image: &ImageDescription) -> Answer {
    let labels = LABELS.iter().filter_map(|label| image.labels.get(*label)).map(String::as_str);
    let names = || image.tags.iter().chain(&image.digests).filter(|name| !name.starts_with(OURS)).map(String::as_str);
    let tags = names().filter_map(|name| name.rsplit_once(':')).map(|(_, tag)| tag);
    let release = labels.chain(tags).find(|text| is_release(text)).map(str::to_owned);
    let program = image.entrypoint.first().filter(|_| names().next().is_some()).map(|path| repository(path));
    let name = names().map(repository).chain(program).find(|name| Flavour::named(name).is_some());
    Answer { name: name.map(str::to_owned), release }
}

/// What the name of an image says that nobody has here.
pub(super) fn of_reference(reference: &str) -> Answer {
    // the digest of the last official image stands for its release
    let reference = if reference == super::FROZEN { super::OFFICIAL } else { reference };
    of_image(&ImageDescription { tags: vec![reference.to_owned()], ..ImageDescription::default() })
}

/// The last part of a name without tag and digest: `silo` of `docker.io/pgsty/silo:latest`.
fn repository(name: &str) -> &str {
    let name = name.split_once('@').map_or(name, |(name, _)| name);
    let last = name.rsplit_once('/').map_or(name, |(_, last)| last);
    last.split_once(':').map_or(last, |(last, _)| last)
}

/// The words around `version`: name and release.
fn said(text: &str) -> Answer {
    let mut words = text.split_whitespace().peekable();
    let mut name = None;
    while let Some(word) = words.next_if(|word| !word.eq_ignore_ascii_case("version")) {
        name = name.or_else(|| Some(word.to_owned()));
    }
    Answer { name, release: words.nth(1).map(str::to_owned) }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn programs_say_their_name_and_version() {
        let minio = "minio version RELEASE.2025-09-07T16-13-09Z (commit-id=07c3a429)\nRuntime: go1.24 linux/amd64\n";
        let answer = said(minio);
        assert_eq!(answer.name.as_deref(), Some("minio"));
        assert_eq!(answer.release.as_deref(), Some("RELEASE.2025-09-07T16-13-09Z"));
        let kes = "Version    0.1.0                  commit=<unknown>\nRuntime    rust1.95\n";
        assert_eq!(said(kes), Answer { name: None, release: Some("0.1.0".into()) });
        assert_eq!(said("usage: tool").release, None);
    }

    #[tokio::test]
    async fn a_program_is_asked_once_and_again_when_it_changed() {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("minio");
        let write = |release: &str| {
            let script =
                format!("#!/bin/sh\necho asked >>{}/log\necho minio version {release}\n", folder.path().display());
            std::fs::write(&program, script).unwrap();
            std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
        };
        let asked = || std::fs::read_to_string(folder.path().join("log")).unwrap().lines().count();
        let cache = folder.path().join("cache");
        write("RELEASE.1");
        // what was just written is not remembered
        while of_program(&program, Some(&cache)).await.release.as_deref() == Some("RELEASE.1") && !cache.exists() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let before = asked();
        assert_eq!(of_program(&program, Some(&cache)).await.release.as_deref(), Some("RELEASE.1"));
        assert_eq!(asked(), before);
        write("RELEASE.2");
        assert_eq!(of_program(&program, Some(&cache)).await.release.as_deref(), Some("RELEASE.2"));
        assert_eq!(asked(), before + 1);
        assert_eq!(of_program(&program, None).await.release.as_deref(), Some("RELEASE.2"));
        assert_eq!(asked(), before + 2);
    }

    #[test]
    fn a_repository_names_the_flavour_and_its_folders_do_not() {
        let name = |reference: &str| of_reference(reference).name;
        assert_eq!(name("docker.io/pgsty/silo:latest").as_deref(), Some("silo"));
        assert_eq!(name("registry.example:5000/silo-tests/minio@sha256:00").as_deref(), Some("minio"));
        assert_eq!(name("registry.example/silo/store:minio"), None);
        assert_eq!(name("localhost/kestack/minio:supplied"), None, "kestack's own name, whatever is inside");
        let pulled = ImageDescription {
            tags: vec!["localhost/kestack/minio:supplied".into(), "docker.io/pgsty/silo:latest".into()],
            ..ImageDescription::default()
        };
        assert_eq!(of_image(&pulled).name.as_deref(), Some("silo"));
        let entrypoint = ImageDescription {
            tags: vec!["registry.example/store:1".into()],
            entrypoint: vec!["/usr/bin/silo".into()],
            ..ImageDescription::default()
        };
        assert_eq!(of_image(&entrypoint).name.as_deref(), Some("silo"));
    }

    #[test]
    fn images_say_their_release_by_label_or_name() {
        let image = |label: &str, tag: &str| ImageDescription {
            tags: vec![format!("quay.io/minio/minio:{tag}")],
            labels: BTreeMap::from([("release".to_owned(), label.to_owned())]),
            ..ImageDescription::default()
        };
        let (one, other) = ("RELEASE.2025-09-07T16-13-09Z", "RELEASE.2025-04-22T22-12-26Z");
        assert_eq!(of_image(&image(one, other)).release.as_deref(), Some(one));
        assert_eq!(of_image(&image("9.1", other)).release.as_deref(), Some(other));
        assert_eq!(of_image(&image("9.1", "latest")).release, None);
        assert_eq!(of_reference(super::super::FROZEN).release.as_deref(), Some(one));
    }
}
