//! A `containers.conf` for a Podman service of our own, where the user's alone cannot work on this host.
//!
//! `CONTAINERS_CONF` replaces all files that Podman would read; so ours starts with what those say, merged in
//! Podman's order (containers.conf(5)), and adds only what is missing. The user's files stay untouched.

use std::fs;
use std::path::{Path, PathBuf};

use toml_edit::{Array, DocumentMut, Item, TableLike, value};

use super::host::Host;
use super::service::Env;

/// Where Podman reads its configuration, weakest first.
pub(super) fn sources(root: bool, env: &Env<'_>) -> Vec<PathBuf> {
    if let Some(only) = env("CONTAINERS_CONF") {
        return vec![only.into()];
    }
    let mut sources = vec![PathBuf::from("/usr/share/containers/containers.conf")];
    sources.extend(with_fragments(Path::new("/etc/containers")));
    if !root {
        let home = env("XDG_CONFIG_HOME").map(PathBuf::from);
        let home = home.or_else(|| env("HOME").map(|home| Path::new(&home).join(".config")));
        sources.extend(home.iter().flat_map(|home| with_fragments(&home.join("containers"))));
    }
    sources
}

/// `containers.conf` of a folder and, after it, `containers.conf.d/*.conf` in alphabetical order.
fn with_fragments(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder.join("containers.conf.d")).into_iter().flatten().flatten();
    let mut fragments: Vec<_> = entries.map(|entry| entry.path()).collect();
    fragments.retain(|path| path.extension().is_some_and(|extension| extension == "conf"));
    fragments.sort();
    fragments.insert(0, folder.join("containers.conf"));
    fragments
}

/// The configuration a service needs on this host, `None` if the user's own works as it is. Files that are
/// missing or that Podman itself will complain about are left out.
pub(super) fn adapted(sources: &[PathBuf], host: &Host) -> Option<String> {
    let mut merged = DocumentMut::new();
    for text in sources.iter().filter_map(|path| fs::read_to_string(path).ok()) {
        match text.parse::<DocumentMut>() {
            Ok(layer) => merge(merged.as_table_mut(), layer.as_table()),
            Err(error) => tracing::warn!(%error, "a containers.conf is not valid TOML"),
        }
    }
    adapt(&mut merged, host).then(|| merged.to_string())
}

/// Adds what this host needs and the user did not say. True if anything was added.
fn adapt(configuration: &mut DocumentMut, host: &Host) -> bool {
    let mut additions: Vec<(&str, &str, Item)> = Vec::new();
    if let Some(limits) = host.limits {
        let ulimits = [format!("nofile={0}:{0}", limits.open_files), format!("nproc={0}:{0}", limits.processes)];
        additions.push(("containers", "default_ulimits", value(Array::from_iter(ulimits))));
    }
    if host.needs_runc {
        additions.push(("engine", "runtime", value("runc")));
    }
    additions.retain(|(table, key, _)| configuration.get(table).and_then(|table| table.get(key)).is_none());
    let added = !additions.is_empty();
    for (table, key, item) in additions {
        let table = configuration.entry(table).or_insert_with(toml_edit::table);
        if let Some(table) = table.as_table_like_mut() {
            table.insert(key, item);
        }
    }
    added
}

/// Lays one configuration over another: tables are merged, everything else is replaced.
fn merge(base: &mut dyn TableLike, layer: &dyn TableLike) {
    for (key, item) in layer.iter() {
        match (base.get_mut(key).and_then(Item::as_table_like_mut), item.as_table_like()) {
            (Some(below), Some(above)) => merge(below, above),
            _ => {
                base.insert(key, item.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::host::Limits;
    use super::*;

    const NARROW: Host =
        Host { root: true, limits: Some(Limits { open_files: 20_000, processes: 32_768 }), needs_runc: true };

    fn adapted_from(texts: &[&str], host: &Host) -> Option<String> {
        let folder = tempfile::tempdir().unwrap();
        let paths: Vec<_> = (0..texts.len()).map(|index| folder.path().join(index.to_string())).collect();
        for (path, text) in paths.iter().zip(texts) {
            fs::write(path, text).unwrap();
        }
        adapted(&paths, host)
    }

    fn read(text: &str, table: &str, key: &str) -> String {
        text.parse::<DocumentMut>().unwrap()[table][key].to_string().trim().to_owned()
    }

    #[test]
    fn a_host_that_can_do_all_needs_no_file() {
        let able = Host { root: true, limits: None, needs_runc: false };
        assert_eq!(adapted_from(&["[engine]\nruntime = \"crun\"\n"], &able), None);
    }

    #[test]
    fn limits_and_runtime_are_added_to_what_the_user_said() {
        let text = adapted_from(&["[containers]\ntz = \"local\"\n", "[containers]\ntz = \"UTC\"\n"], &NARROW).unwrap();
        assert_eq!(read(&text, "containers", "tz"), "\"UTC\"");
        assert_eq!(read(&text, "containers", "default_ulimits"), "[\"nofile=20000:20000\", \"nproc=32768:32768\"]");
        assert_eq!(read(&text, "engine", "runtime"), "\"runc\"");
    }

    #[test]
    fn what_the_user_said_stays() {
        let said = "[containers]\ndefault_ulimits = [\"nofile=512:512\"]\n[engine]\nruntime = \"kata\"\n";
        assert_eq!(adapted_from(&[said], &NARROW), None);
    }

    #[test]
    fn tables_of_tables_are_merged() {
        let layers = ["[engine.runtimes]\na = [\"/a\"]\n", "[engine.runtimes]\nb = [\"/b\"]\n"];
        let text = adapted_from(&layers, &NARROW).unwrap();
        let merged: DocumentMut = text.parse().unwrap();
        assert!(merged["engine"]["runtimes"]["a"].is_array() && merged["engine"]["runtimes"]["b"].is_array());
    }

    #[test]
    fn a_named_file_is_the_only_one() {
        let env = |name: &str| (name == "CONTAINERS_CONF").then(|| "/x".to_owned());
        assert_eq!(sources(true, &env), [PathBuf::from("/x")]);
        assert!(!sources(true, &|_| None).iter().any(|path| path.starts_with("/home")));
    }
}
