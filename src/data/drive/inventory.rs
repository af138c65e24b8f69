//! What each key protects on a drive.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;

use serde::Serialize;

use super::xl::{Protection, Version};
use super::{SYSTEM, needs, own, sealed, walk, xl};

/// How much there is of something.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct Count {
    /// Objects with at least one such version.
    pub objects: u64,
    /// Versions; delete markers hold nothing and do not count.
    pub versions: u64,
    /// Bytes as clients see them.
    pub bytes: u64,
}

/// What one key protects.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct KeyUse {
    /// Objects, by bucket.
    pub buckets: BTreeMap<String, Count>,
    /// Buckets whose new objects it protects.
    pub default_of: BTreeSet<String>,
    /// Unfinished multipart uploads.
    pub uploads: u64,
    /// Files of MinIO's configuration and IAM: users, policies, service accounts; targets of replication.
    pub minio_files: u64,
}

/// What protects a drive's content.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct Inventory {
    /// By name of the key.
    pub keys: BTreeMap<String, KeyUse>,
    /// Objects that nothing protects, by bucket.
    pub unencrypted: BTreeMap<String, Count>,
    /// Objects under keys that only the client has (SSE-C), by bucket.
    pub client_keys: BTreeMap<String, Count>,
    /// Files of MinIO's configuration and IAM that nothing protects.
    pub unencrypted_minio_files: u64,
    /// Versions of a form that kestack does not know; a key may protect them.
    pub not_understood: u64,
}

/// Looks at everything on a drive. MinIO may run or not; KES is not asked.
///
/// # Errors
/// What keeps the drive from being read.
pub fn take(drive: &Path) -> io::Result<Inventory> {
    let mut inventory = Inventory::default();
    for bucket in super::buckets(drive)? {
        for tally in walk::objects(&drive.join(&bucket), Tally::add)? {
            inventory.objects(&bucket, tally);
        }
        match needs::bucket_metadata(drive, &bucket)? {
            Some(Ok(metadata)) => inventory.bucket(bucket, &metadata),
            Some(Err(_)) => inventory.not_understood += 1,
            None => {}
        }
    }
    let system = drive.join(SYSTEM);
    for tally in walk::objects(&system.join("multipart"), Tally::add)? {
        inventory.not_understood += tally.not_understood;
        for (key, count) in tally.keys {
            inventory.key(&key).uploads += count.objects;
        }
    }
    for tally in walk::objects(&system.join("config"), MinioFiles::add)? {
        inventory.unencrypted_minio_files += tally.unencrypted;
        for (key, files) in tally.keys {
            inventory.key(&key).minio_files += files;
        }
    }
    Ok(inventory)
}

impl Inventory {
    fn key(&mut self, name: &str) -> &mut KeyUse {
        self.keys.entry(name.to_owned()).or_default()
    }

    fn bucket(&mut self, bucket: String, metadata: &[u8]) {
        if let Some(targets) = own::of_targets(metadata) {
            self.key(&targets.key).minio_files += 1;
        }
        if let Some(key) = default_key(metadata) {
            self.key(&key).default_of.insert(bucket);
        }
    }

    fn objects(&mut self, bucket: &str, tally: Tally) {
        self.not_understood += tally.not_understood;
        for (key, count) in tally.keys {
            self.key(&key).buckets.entry(bucket.to_owned()).or_default().add(count);
        }
        for (count, to) in [(tally.unencrypted, &mut self.unencrypted), (tally.client, &mut self.client_keys)] {
            if count.versions > 0 {
                to.entry(bucket.to_owned()).or_default().add(count);
            }
        }
    }
}

impl KeyUse {
    /// True if something can be read only with the key: all but new objects of a bucket.
    pub fn protects(&self) -> bool {
        !self.buckets.is_empty() || self.uploads > 0 || self.minio_files > 0
    }

    /// All objects together.
    pub fn total(&self) -> Count {
        let mut total = Count::default();
        self.buckets.values().for_each(|count| total.add(*count));
        total
    }
}

impl std::fmt::Display for KeyUse {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut parts = Vec::new();
        if !self.buckets.is_empty() {
            let names: Vec<_> = self.buckets.keys().map(|name| format!("'{name}'")).collect();
            let (word, objects) = (plural(names.len() as u64, "bucket"), self.total().objects);
            parts.push(format!("{objects} {} in {word} {}", plural(objects, "object"), names.join(", ")));
        }
        if self.uploads > 0 {
            parts.push(format!("{} unfinished {}", self.uploads, plural(self.uploads, "upload")));
        }
        if self.minio_files > 0 {
            let word = plural(self.minio_files, "file");
            parts.push(format!("{} {word} of MinIO's configuration and IAM", self.minio_files));
        }
        f.write_str(if parts.is_empty() { "nothing" } else { "" })?;
        f.write_str(&parts.join(", "))
    }
}

fn plural(count: u64, word: &str) -> String {
    if count == 1 { word.to_owned() } else { format!("{word}s") }
}

impl Count {
    fn add(&mut self, other: Self) {
        self.objects += other.objects;
        self.versions += other.versions;
        self.bytes += other.bytes;
    }
}

/// What one thread has seen of the objects of a bucket.
#[derive(Default)]
struct Tally {
    keys: BTreeMap<String, Count>,
    unencrypted: Count,
    client: Count,
    not_understood: u64,
}

impl Tally {
    fn add(&mut self, path: &Path) -> io::Result<()> {
        let Some(versions) = xl::versions(path)? else {
            self.not_understood += 1;
            return Ok(());
        };
        let mut seen = BTreeSet::new();
        for version in versions {
            match version {
                Version::Object(stored) => {
                    let first = seen.insert(match &stored.protection {
                        Protection::Key { name, .. } => Some(name.clone()),
                        Protection::Client => Some(String::new()),
                        Protection::None => None,
                    });
                    let count = Count { objects: first.into(), versions: 1, bytes: stored.bytes };
                    self.count(stored.protection).add(count);
                }
                Version::DeleteMarker => {}
                Version::Unknown => self.not_understood += 1,
            }
        }
        Ok(())
    }

    fn count(&mut self, protection: Protection) -> &mut Count {
        match protection {
            Protection::Key { name, .. } => self.keys.entry(name).or_default(),
            Protection::Client => &mut self.client,
            Protection::None => &mut self.unencrypted,
        }
    }
}

/// What one thread has seen of MinIO's own files.
#[derive(Default)]
struct MinioFiles {
    keys: BTreeMap<String, u64>,
    unencrypted: u64,
}

impl MinioFiles {
    fn add(&mut self, path: &Path) -> io::Result<()> {
        match sealed::header(path)? {
            Some(header) => *self.keys.entry(header.key).or_default() += 1,
            None => self.unencrypted += 1,
        }
        Ok(())
    }
}

/// The key that a bucket's default encryption names: its configuration is XML in its metadata.
fn default_key(metadata: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(metadata);
    let (_, rest) = text.split_once("<KMSMasterKeyID>")?;
    let (name, _) = rest.split_once("</KMSMasterKeyID>")?;
    Some(name.trim_start_matches("arn:aws:kms:").to_owned())
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::super::parts::Parts;
    use super::*;

    #[test]
    fn objects_versions_and_files_are_counted_by_key() {
        let drive = tempfile::tempdir().unwrap();
        let place = |path: &str, content: &[u8]| fixture::place(drive.path(), path, content);
        place(".minio.sys/config/iam/format.json", include_bytes!("testdata/iam-format.meta"));
        place(".minio.sys/multipart/1/2", include_bytes!("testdata/multipart.meta"));
        let encryption = b"..<KMSMasterKeyID>arn:aws:kms:other</KMSMasterKeyID>..";
        let metadata = Parts::of(include_bytes!("testdata/targets.meta")).unwrap().with_content(encryption).unwrap();
        place(".minio.sys/buckets/docs/.metadata.bin", &metadata);
        place("docs/deep/small", include_bytes!("testdata/versions.meta"));
        place("docs/mp", include_bytes!("testdata/multipart.meta"));
        place("docs/p", include_bytes!("testdata/plain.meta"));
        place("plain/strange", b"XL2 \x02\x00 something to come");
        let inventory = take(drive.path()).unwrap();
        let used = &inventory.keys["minio-backend-key"];
        // two versions of six bytes under a delete marker, and an object of two parts
        assert_eq!(used.buckets["docs"], Count { objects: 2, versions: 3, bytes: 12 + 5_242_980 });
        assert_eq!((used.uploads, used.minio_files), (1, 1));
        assert_eq!(inventory.unencrypted["docs"], Count { objects: 1, versions: 1, bytes: 6 });
        assert_eq!(inventory.not_understood, 1);
        assert!(inventory.keys["other"].default_of.contains("docs") && !inventory.keys["other"].protects());
        assert_eq!(
            used.to_string(),
            "2 objects in bucket 'docs', 1 unfinished upload, 1 file of MinIO's configuration and IAM"
        );
    }

    #[test]
    fn what_minio_keeps_next_to_its_metadata_is_counted() {
        let drive = tempfile::tempdir().unwrap();
        let short: [(&str, &[u8]); 2] = [
            (".minio.sys/config/iam/format.json", include_bytes!("testdata/iam-format.meta")),
            (".minio.sys/buckets/docs/.metadata.bin", include_bytes!("testdata/targets.meta")),
        ];
        std::fs::create_dir(drive.path().join("docs")).unwrap();
        for (folder, meta) in short {
            fixture::place_stored(drive.path(), folder, &fixture::long(meta));
            // as a rotation leaves it for a moment
            let of_before = drive.path().join(folder).join("00000000-0000-4000-8000-000000000000");
            std::fs::create_dir(&of_before).unwrap();
            std::fs::write(of_before.join("part.1"), "of before").unwrap();
        }
        let inventory = take(drive.path()).unwrap();
        assert_eq!((inventory.keys["minio-backend-key"].minio_files, inventory.not_understood), (2, 0));
        assert_eq!(inventory.unencrypted_minio_files, 0);
        assert!(inventory.keys.values().any(|used| used.default_of.contains("docs")), "{inventory:?}");
        for (folder, meta) in short {
            let part = fixture::long(meta).part.unwrap();
            std::fs::remove_dir_all(drive.path().join(folder).join(part.folder)).unwrap();
        }
        let inventory = take(drive.path()).unwrap();
        assert!(inventory.keys.is_empty() && inventory.not_understood == 1, "{inventory:?}");
    }

    #[test]
    fn an_empty_drive_has_nothing() {
        let drive = tempfile::tempdir().unwrap();
        assert_eq!(take(drive.path()).unwrap(), Inventory::default());
    }
}
