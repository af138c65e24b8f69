//! Which machine this is.

use std::path::Path;

use super::digest::sha256;

/// Where systemd and D-Bus keep the machine's name: 32 hex digits (machine-id(5)).
const FILE: &str = "/etc/machine-id";
/// What Docker, Podman and Kubernetes put into a container.
const OF_CONTAINERS: [&str; 3] = ["/.dockerenv", "/run/.containerenv", "/var/run/secrets/kubernetes.io"];

/// A name of this machine, 16 hex digits; `None` where it has none. Not the one in the file, which machine-id(5) asks to
/// keep to the machine. In a container that file is its image's, if there is one.
pub(crate) fn id() -> Option<String> {
    if is_container() { None } else { named_by(&std::fs::read_to_string(FILE).ok()?) }
}

/// True if this process runs in a container.
pub(crate) fn is_container() -> bool {
    OF_CONTAINERS.iter().any(|path| Path::new(path).exists())
}

fn named_by(text: &str) -> Option<String> {
    let id = text.trim();
    let is_id =
        id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()) && id.bytes().any(|byte| byte != b'0');
    let digest = is_id.then(|| sha256(format!("kestack:{id}").as_bytes()));
    digest.and_then(|digest| Some(digest.get(..16)?.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_without_a_name_has_none() {
        for text in ["", "\n", "uninitialized\n", "00000000000000000000000000000000\n", "0123"] {
            assert_eq!(named_by(text), None, "{text:?}");
        }
        let id = named_by("0123456789abcdef0123456789abcdef\n").unwrap();
        assert_eq!((id.len(), id.starts_with("0123")), (16, false));
        assert_eq!(named_by("0123456789abcdef0123456789abcdef"), Some(id));
    }
}
