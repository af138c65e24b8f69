//! The sections about KES and MinIO.

use std::collections::BTreeMap;
use std::path::Path;

use zeroize::Zeroizing;

use super::tree::{self, Node, Reader};
use super::variables::check_variable;
use super::{HostName, KesSection, MinioSection};

/// One machine has no use for more, and so their names and ports stay short.
const MAX_REPLICAS: u16 = 9;

pub(super) fn kes(reader: &mut Reader<'_>, node: &Node, folder: &Path, mut to: KesSection) -> KesSection {
    const KNOWN: [&str; 7] = ["port", "replicas", "image", "binary", "names", "env", "seal"];
    for (key, value) in reader.entries(node, "kes", &KNOWN) {
        match key.as_str() {
            "port" => to.port = reader.port(value, "kes.port").unwrap_or(to.port),
            "replicas" => to.replicas = reader.number(value, "kes.replicas", 1..=MAX_REPLICAS).unwrap_or(to.replicas),
            "image" => to.image = reader.text(value, "kes.image"),
            "env" => to.env = kes_variables(reader, value),
            "names" => to.names = host_names(reader, value, "kes.names"),
            "seal" => to.seal = reader.boolean(value, "kes.seal"),
            _ => to.binary = reader.text(value, "kes.binary").map(|path| folder.join(path)),
        }
    }
    to
}

pub(super) fn minio(reader: &mut Reader<'_>, node: &Node, folder: &Path, mut to: MinioSection) -> MinioSection {
    const KNOWN: [&str; 10] =
        ["port", "console_port", "image", "binary", "root_user", "root_password", "default_key", "tls", "names", "env"];
    for (key, value) in reader.entries(node, "minio", &KNOWN) {
        match key.as_str() {
            "port" => to.port = reader.port(value, "minio.port").unwrap_or(to.port),
            "console_port" => {
                to.console_port = reader.port(value, "minio.console_port").unwrap_or(to.console_port);
            }
            "image" => to.image = reader.text(value, "minio.image"),
            "binary" => to.binary = reader.text(value, "minio.binary").map(|path| folder.join(path)),
            "root_user" => to.root_user = long_enough(reader, value, "minio.root_user", 3),
            "root_password" => {
                to.root_password = long_enough(reader, value, "minio.root_password", 8).map(Zeroizing::new);
            }
            "default_key" => {} // read with the keys, which it is one of
            "tls" => to.tls = reader.boolean(value, "minio.tls").unwrap_or(to.tls),
            "names" => to.names = host_names(reader, value, "minio.names"),
            _ => to.env = minio_variables(reader, value),
        }
    }
    if let (false, Some(names)) = (to.tls, tree::entry(node, "names")) {
        reader.wrong(names, "minio.names are the names in MinIO's certificate, which it has only with `tls: true`");
    }
    to
}

fn host_names(reader: &mut Reader<'_>, node: &Node, what: &str) -> Vec<HostName> {
    let names = reader.items(node, what);
    names.iter().filter_map(|name| reader.parsed(name, what)).collect()
}

/// What MinIO reads from its environment file, and nothing else: what has no effect there helps nobody.
fn minio_variables(reader: &mut Reader<'_>, node: &Node) -> BTreeMap<String, String> {
    let variables = variables(reader, node, "minio.env");
    for (name, value) in &variables {
        if let Err(why) = check_variable(name, value) {
            reader.wrong(node, format!("minio.env: {name}: {why}"));
        }
    }
    variables
}

/// MinIO's own rule for its root user.
fn long_enough(reader: &mut Reader<'_>, node: &Node, what: &str, least: usize) -> Option<String> {
    let text = reader.text(node, what)?;
    if text.len() < least {
        reader.wrong(node, format!("{what} must have at least {least} characters"));
        return None;
    }
    Some(text)
}

/// Parts of the names of variables that carry secrets.
const SECRETS: [&str; 5] = ["SECRET", "PASSWORD", "TOKEN", "CREDENTIAL", "PRIVATE_KEY"];

/// True if a variable of that name carries a secret, not the path of one.
pub(crate) fn is_secret(name: &str) -> bool {
    let is_file = name.ends_with("_FILE") || name == "GOOGLE_APPLICATION_CREDENTIALS";
    !is_file && SECRETS.iter().any(|part| name.contains(part))
}

/// Whoever may look at a container sees its environment: secrets belong in the keystore section.
fn kes_variables(reader: &mut Reader<'_>, node: &Node) -> BTreeMap<String, String> {
    let variables = variables(reader, node, "kes.env");
    for name in variables.keys().filter(|name| is_secret(name)) {
        let why = "shows in the container's environment; write it into the keystore section as '${NAME}'";
        reader.wrong(node, format!("'{name}' {why}"));
    }
    variables
}

fn variables(reader: &mut Reader<'_>, node: &Node, what: &str) -> BTreeMap<String, String> {
    let entries = reader.entries(node, what, &[]);
    entries.into_iter().filter_map(|(name, value)| Some((name, reader.text(value, "a variable")?))).collect()
}
