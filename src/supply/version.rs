//! What a server is: told by its program, or by the image that holds it.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;
use tokio::time::timeout;

use super::releases::{Flavour, is_release};
use crate::engine::ImageDescription;

/// How long a program may take to say its version.
const ANSWER: Duration = Duration::from_secs(20);

/// The labels by which images say what they hold.
const LABELS: [&str; 3] = ["release", "version", "org.opencontainers.image.version"];

/// What a program says of itself; `None` if it does not say, or not in time.
pub(super) async fn of_program(program: &Path) -> Option<String> {
    let mut command = Command::new(program);
    // MinIO needs a HOME; of the caller's environment it sees nothing
    command.arg("--version").env_clear().env("HOME", "/").stdin(Stdio::null()).kill_on_drop(true);
    let output = timeout(ANSWER, command.output()).await.ok()?.ok()?;
    after_version(&String::from_utf8_lossy(&output.stdout))
}

/// The release that an image holds, by its labels, else by its names.
pub(super) fn of_image(image: &ImageDescription) -> Option<String> {
    let labels = LABELS.iter().filter_map(|label| image.labels.get(*label)).map(String::as_str);
    let tags = image.tags.iter().filter_map(|name| name.rsplit_once(':')).map(|(_, tag)| tag);
    labels.chain(tags).find(|text| is_release(text)).map(str::to_owned)
}

/// The flavour by the names that something goes by. Both flavours answer `--version` by the name that their file has,
/// and have the same variables; only Silo has releases after MinIO's last one.
pub(super) fn flavour<'a>(
    names: impl IntoIterator<Item = &'a str>,
    release: Option<&str>,
    last: &str,
) -> Option<Flavour> {
    if release.is_some_and(|release| is_release(release) && release > last) {
        return Some(Flavour::Silo);
    }
    let mut found = None;
    for name in names.into_iter().map(str::to_lowercase) {
        if name.contains("silo") {
            return Some(Flavour::Silo);
        }
        found = found.or_else(|| name.contains("minio").then_some(Flavour::Minio));
    }
    found
}

/// The word after `version`.
fn after_version(text: &str) -> Option<String> {
    let mut words = text.split_whitespace().skip_while(|word| !word.eq_ignore_ascii_case("version"));
    words.nth(1).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn programs_say_their_version_after_that_word() {
        let minio = "minio version RELEASE.2025-09-07T16-13-09Z (commit-id=07c3a429)\nRuntime: go1.24 linux/amd64\n";
        assert_eq!(after_version(minio).as_deref(), Some("RELEASE.2025-09-07T16-13-09Z"));
        let kes = "Version    0.1.0                  commit=<unknown>\nRuntime    rust1.95\n";
        assert_eq!(after_version(kes).as_deref(), Some("0.1.0"));
        assert_eq!(after_version("usage: tool"), None);
    }

    #[test]
    fn names_and_releases_tell_flavours_apart() {
        let last = "RELEASE.2025-10-15T17-29-55Z";
        let flavour = |names: &[&str], release| flavour(names.iter().copied(), release, last);
        assert_eq!(flavour(&["/usr/bin/silo"], None), Some(Flavour::Silo));
        assert_eq!(flavour(&["/usr/bin/minio"], Some("DEVELOPMENT.GOGET")), Some(Flavour::Minio));
        assert_eq!(flavour(&["/usr/bin/minio"], Some("RELEASE.2026-09-16T00-00-00Z")), Some(Flavour::Silo));
        assert_eq!(
            flavour(&["localhost/kestack/minio:supplied", "docker.io/pgsty/silo:latest"], None),
            Some(Flavour::Silo)
        );
        assert_eq!(flavour(&["example.org/store:1"], None), None);
    }

    #[test]
    fn images_say_their_release_by_label_or_name() {
        let image = |label: &str, tag: &str| ImageDescription {
            tags: vec![format!("quay.io/minio/minio:{tag}")],
            labels: BTreeMap::from([("release".to_owned(), label.to_owned())]),
            ..ImageDescription::default()
        };
        let (one, other) = ("RELEASE.2025-09-07T16-13-09Z", "RELEASE.2025-04-22T22-12-26Z");
        assert_eq!(of_image(&image(one, other)).as_deref(), Some(one));
        assert_eq!(of_image(&image("9.1", other)).as_deref(), Some(other));
        assert_eq!(of_image(&image("9.1", "latest")), None);
    }
}
