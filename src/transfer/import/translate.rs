//! From what was found to kestack.yaml and the files next to it. Nothing is written here.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use kes_server::auth::KeyName;
use serde::Serialize;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::buckets::{self, DeclaredBucket};
use super::kes::{self, Kes};
use super::minio::{self, Minio};
use super::{Found, at, credentials, folder, refused, static_key, text_of};
use crate::error::Error;
use crate::manifest::{self, StackName};
use crate::resource::FileResource;
use crate::stack::{Layout, ports};
use crate::transfer::export::quoted;

/// Name of the manifest that is written.
const MANIFEST: &str = "kestack.yaml";
/// Name of the file of credentials.
const CREDENTIALS: &str = "credentials.env";
/// Folder of all stacks next to an imported manifest.
const STACKS: &str = "stacks";

/// What an import writes, and what it says.
#[derive(Debug)]
pub struct Imported {
    /// Name of the stack.
    pub name: StackName,
    /// Where the manifest goes.
    pub manifest: PathBuf,
    /// Files to write.
    pub files: Vec<FileResource>,
    /// What is not imported, and what to know.
    pub notes: Vec<String>,
    /// Commands that go on from here.
    pub next: Vec<String>,
}

/// kestack.yaml in the order in which people read it.
#[derive(Serialize)]
struct File<'a> {
    version: &'static str,
    name: &'a str,
    dir: &'static str,
    keystore: Value,
    keys: Vec<&'a str>,
    kes: Section<'a>,
    minio: MinioSection<'a>,
    /// Those that the deployment itself makes when it starts. All others stay as they are: a bucket that is declared gets its
    /// encryption from here.
    buckets: &'a [DeclaredBucket],
    /// As it was, too.
    auto_encryption: bool,
}

#[derive(Serialize)]
struct Section<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    port: Option<u16>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    env: &'a BTreeMap<String, String>,
}

#[derive(Serialize)]
struct MinioSection<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    port: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    console_port: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    default_key: Option<&'a str>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    env: &'a BTreeMap<String, String>,
}

/// Makes the manifest and the files next to it, below `output`; a folder of the procedure stays where it is. The commands
/// name the stack's folder if the caller `has_dir`: a folder for all stacks that would come before the manifest's.
///
/// # Errors
/// [`Error::Usage`] for what no stack can be.
pub fn translate(found: &Found, output: &Path, has_dir: bool) -> Result<Imported, Error> {
    let Placed { name, folder, base, layout } = Placed::of(found, output)?;
    let (minio, kes) = (minio::read(found)?, kes::read(found)?);
    let keys = keystore_folder(&kes.keystore);
    let mut notes: Vec<_> = [found.notes.as_slice(), &kes.notes, &minio.notes].concat();
    let declared = buckets::declared(found, &minio, &mut notes);
    let text = manifest_text(found, &name, &kes, &minio, &declared, &layout)?;
    let mut files = vec![FileResource::private(folder.join(MANIFEST), text.as_bytes())];
    let known: Vec<_> = kes.credentials.into_iter().chain(minio.secrets).collect();
    let has_credentials = !known.is_empty() || !kes.missing.is_empty();
    if has_credentials {
        let place = folder.join(CREDENTIALS);
        let text = credentials::text(&known, &kes.missing, &credentials::earlier(&place)?);
        files.push(FileResource::private(place, text.as_bytes()));
    }
    files.extend(stack_files(found, &layout, minio.root.as_ref())?);
    if let Some(key) = &found.static_key {
        files.push(static_key::stored(key, found.drive.as_deref(), &layout)?);
    }
    let there = found.drive.as_deref().map(buckets::on_drive).unwrap_or_default();
    if !there.is_empty() {
        notes.push(format!(
            "the buckets {} keep their objects and settings; `kestack reset` would remove them, for it empties the drive",
            there.join(", ")
        ));
    }
    let copies = copies(found, &layout, kes.in_volume.as_deref());
    if kes.in_volume.is_some() {
        notes.push("add the other keys of the volume to `keys` in kestack.yaml: `kestack reset` removes keys that are not there".into());
    }
    let mut next = next(found, &folder, &layout, keys.as_deref(), &copies, has_credentials, &there);
    if has_dir {
        let dir = format!(" --dir {}", quoted(&base));
        next.iter_mut().filter(|command| command.starts_with("kestack ")).for_each(|command| command.push_str(&dir));
    }
    Ok(Imported { name, manifest: folder.join(MANIFEST), files, notes, next })
}

/// Where the stack would be.
pub(super) struct Placed {
    /// Its name.
    pub(super) name: StackName,
    /// The folder of its manifest.
    folder: PathBuf,
    /// The folder of all stacks.
    base: PathBuf,
    /// Its files.
    pub(super) layout: Layout,
}

impl Placed {
    /// Below `output`, unless it stays in its own folder.
    ///
    /// # Errors
    /// [`Error::Usage`] if its name is not one of a stack.
    pub(super) fn of(found: &Found, output: &Path) -> Result<Self, Error> {
        let name: StackName = found.name.parse().map_err(|error: String| {
            refused(error, "rename the folder, or give a name with --name where there is none to keep")
        })?;
        let folder = found.in_place.clone().unwrap_or_else(|| output.to_owned());
        let base = match &found.in_place {
            Some(folder) => folder.parent().unwrap_or(folder).to_owned(),
            None => folder.join(STACKS),
        };
        let layout = Layout::new(&base, name.as_str());
        Ok(Self { name, folder, base, layout })
    }
}

/// Commands that copy keys and drive out of the engine's volumes.
pub(super) fn copies(found: &Found, layout: &Layout, keys: Option<&Path>) -> Vec<String> {
    let keys = keys.and_then(|keys| found.copied(&found.kes_files, keys, &layout.keys()));
    let drive = found.variable("MINIO_VOLUMES").filter(|_| found.drive.is_none());
    let drive = drive.and_then(|drive| found.copied(&found.minio_files, Path::new(drive), &layout.drive()));
    keys.into_iter().chain(drive).collect()
}

/// The folder of an fs keystore.
pub(super) fn keystore_folder(keystore: &Value) -> Option<PathBuf> {
    at(keystore, "/fs/path").as_str().map(PathBuf::from)
}

/// The text, which kestack itself must take.
pub(super) fn manifest_text(
    found: &Found,
    name: &StackName,
    kes: &Kes,
    minio: &Minio,
    declared: &[DeclaredBucket],
    layout: &Layout,
) -> Result<Zeroizing<String>, Error> {
    let folder = keystore_folder(&kes.keystore);
    let made = found.made.keys.iter().chain(declared.iter().filter_map(|bucket| bucket.key.as_ref()));
    let named: Vec<_> = kes.keys.iter().chain(&minio.default_key).chain(made).cloned().collect();
    let keys = keys(named, folder.as_deref())?;
    let is_own = folder.as_ref() == Some(&layout.keys());
    let file = File {
        version: "v1",
        name: name.as_str(),
        dir: if found.in_place.is_some() { ".." } else { STACKS },
        keystore: if is_own { json!({ "fs": {} }) } else { kes.keystore.clone() },
        keys: keys.iter().map(KeyName::as_str).collect(),
        kes: Section { port: found.ports.get(&ports::KES_PORT).copied(), env: &kes.env },
        minio: MinioSection {
            port: found.ports.get(&ports::S3_PORT).copied(),
            console_port: found.ports.get(&ports::CONSOLE_PORT).copied(),
            default_key: minio.default_key.as_deref(),
            env: &minio.env,
        },
        buckets: declared,
        auto_encryption: minio.auto_encryption,
    };
    let yaml = serde_yaml::to_string(&file)
        .map_err(|error| refused(format!("the manifest cannot be written: {error}"), "this is a defect of kestack"))?;
    let text = Zeroizing::new(format!("# Made by `kestack import`.\n{yaml}"));
    check(&text, layout)?;
    Ok(text)
}

/// Refuses a text that kestack itself does not take.
fn check(text: &str, layout: &Layout) -> Result<(), Error> {
    let parsed = manifest::parse(text, layout.root(), &|name| Some(name.to_owned()));
    parsed.map(drop).map_err(|mistakes| {
        refused(
            format!("what was found does not make a stack: {}", mistakes.join("; ")),
            "correct it where it comes from, then import again",
        )
    })
}

/// The keys of the configuration and all in the folder: what `reset` does not find declared, it removes.
fn keys(mut names: Vec<String>, folder: Option<&Path>) -> Result<Vec<KeyName>, Error> {
    if let Some(folder) = folder {
        for entry in std::fs::read_dir(folder).map_err(Error::file("read", folder))?.flatten() {
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    let mut keys: Vec<KeyName> = names.iter().filter_map(|name| name.parse().ok()).collect();
    keys.sort_unstable_by(|one, other| one.as_str().cmp(other.as_str()));
    keys.dedup();
    if keys.is_empty() {
        return Err(refused(
            "no key is named: neither MINIO_KMS_KES_KEY_NAME nor the configuration of KES says which MinIO uses",
            "set MINIO_KMS_KES_KEY_NAME in MinIO's environment to the key that encrypted its data",
        ));
    }
    Ok(keys)
}

/// What is in the stack's folder before its first `up`: the root user, certificates, and copies of what `up` rewrites.
fn stack_files(
    found: &Found,
    layout: &Layout,
    root: Option<&(String, Zeroizing<String>)>,
) -> Result<Vec<FileResource>, Error> {
    if found.in_place.is_some() {
        let (kept, env) = (folder::kept(layout.root()), text_of(&layout.minio_env())?);
        // what is kept there is the only copy of what it was, and kestack's own file is not worth one
        if kept.join("minio").exists() || folder::is_of_up(&env) {
            return Ok(vec![]);
        }
        let mut files = vec![FileResource::private(kept.join("minio"), env.as_bytes())];
        if !found.kes_config.is_empty() {
            files.insert(0, FileResource::private(kept.join("kes-config.yaml"), found.kes_config.as_bytes()));
        }
        return Ok(files);
    }
    let mut files = Vec::new();
    if let Some((user, password)) = root {
        let text = Zeroizing::new(format!("MINIO_ROOT_USER={user}\nMINIO_ROOT_PASSWORD={}\n", **password));
        files.push(FileResource::private(layout.minio_env(), text.as_bytes()));
    }
    for (source, name) in &found.certificates {
        files.push(FileResource::private(layout.certs().join(name), text_of(source)?.as_bytes()));
    }
    Ok(files)
}

fn next(
    found: &Found,
    folder: &Path,
    layout: &Layout,
    keys: Option<&Path>,
    copies: &[String],
    has_credentials: bool,
    buckets: &[String],
) -> Vec<String> {
    let mut next = found.stop.clone();
    // a container that is stopped still has its volumes; one that is removed has not
    let before_last = next.len().saturating_sub(1);
    if copies.is_empty() {
        next.drain(..before_last);
    } else {
        next.splice(before_last..before_last, copies.iter().cloned());
    }
    let own = layout.drive();
    if let Some(drive) = found.drive.as_deref().filter(|drive| **drive != own && drive.is_dir()) {
        next.push(format!("cp -a {} {}", quoted(drive), quoted(&own)));
    }
    if (found.drive.is_some() || !copies.is_empty()) && rustix::process::geteuid().is_root() {
        // in containers both servers run as this user
        let own_keys = layout.keys();
        let is_own = !copies.is_empty() || found.static_key.is_some();
        let keys = keys.or_else(|| Some(own_keys.as_path()).filter(|_| is_own));
        let keys = keys.map(|keys| format!(" {}", quoted(keys))).unwrap_or_default();
        next.push(format!("chown -R 1000:1000 {}{keys}", quoted(&own)));
    }
    if has_credentials {
        next.push(format!("set -a; . {}; set +a", quoted(&folder.join(CREDENTIALS))));
    }
    let manifest = quoted(&folder.join(MANIFEST));
    next.push(format!("kestack up --file {manifest}"));
    next.extend(buckets.iter().take(1).map(|bucket| format!("kestack verify --file {manifest} --bucket {bucket}")));
    next
}
