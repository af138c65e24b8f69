//! Whether a MinIO on a drive would write to others.

use std::io;
use std::path::Path;

use super::{Obstacle, buckets, needs, own};

/// The first bucket with targets of replication; `None` if there is none. Reads the metadata of all buckets.
///
/// # Errors
/// What keeps the drive from being read, also metadata of a bucket that are not understood: they may have targets.
pub fn replicating(drive: &Path) -> io::Result<Option<String>> {
    for bucket in buckets(drive)? {
        let Some(metadata) = needs::bucket_metadata(drive, &bucket)? else { continue };
        let metadata = metadata.map_err(|why| unknown(&bucket, why))?;
        if own::has_targets(&metadata).ok_or_else(|| unknown(&bucket, Obstacle::Form))? {
            return Ok(Some(bucket));
        }
    }
    Ok(None)
}

fn unknown(bucket: &str, why: Obstacle) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("whether bucket '{bucket}' is replicated is not known: {why}"))
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

    #[test]
    fn metadata_that_are_not_understood_do_not_count_as_without_targets() {
        let drive = tempfile::tempdir().unwrap();
        std::fs::create_dir(drive.path().join("docs")).unwrap();
        fixture::place(drive.path(), ".minio.sys/buckets/docs/.metadata.bin", b"damaged");
        assert!(replicating(drive.path()).unwrap_err().to_string().contains("'docs'"));
    }
}
