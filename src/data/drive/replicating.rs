//! Whether a MinIO on a drive would write to others.

use std::io;
use std::path::Path;

use super::{buckets, needs, own};

/// The first bucket with targets of replication; `None` if there is none. Reads the metadata of all buckets.
///
/// # Errors
/// What keeps the drive from being read.
pub fn replicating(drive: &Path) -> io::Result<Option<String>> {
    for bucket in buckets(drive)? {
        let metadata = needs::bucket_metadata(drive, &bucket)?;
        if metadata.is_some_and(|read| read.is_ok_and(|metadata| own::of_targets(&metadata).is_some())) {
            return Ok(Some(bucket));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;

    #[test]
    fn a_bucket_with_targets_is_named() {
        let drive = tempfile::tempdir().unwrap();
        std::fs::create_dir(drive.path().join("plain")).unwrap();
        assert_eq!(replicating(drive.path()).unwrap(), None);
        std::fs::create_dir(drive.path().join("docs")).unwrap();
        let targets = include_bytes!("testdata/targets.meta");
        fixture::place(drive.path(), ".minio.sys/buckets/docs/.metadata.bin", targets);
        assert_eq!(replicating(drive.path()).unwrap().as_deref(), Some("docs"));
    }
}
