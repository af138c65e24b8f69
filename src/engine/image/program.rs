//! A program as an image: what the process engine runs instead of one.

use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{Context, SHA256};
use std::fs::File;
use std::io::{self, Read as _};

use super::ImageError;
use super::archive::CHUNK;
use super::cache::{self, Stamp};
use crate::engine::host::is_executable;

/// What is between path and digest.
const MARK: &str = "@sha256:";
/// What the digest of a program is remembered as.
const CACHED: &str = "program";

/// The reference to a program: `<absolute path>@sha256:<digest of its content>`. Another program at the same
/// place is another image. The digest is remembered in `cache` as those of images are.
///
/// # Errors
/// [`ImageError`] if it is not a program, or cannot be read.
pub fn program_reference(program: &Path, cache: Option<&Path>) -> Result<String, ImageError> {
    let read = |source| ImageError::Read { path: program.to_owned(), source };
    let path = std::path::absolute(program).map_err(read)?;
    let stamp = Stamp::of(&path).map_err(read)?;
    if !is_executable(&path) {
        return Err(ImageError::NotExecutable { path });
    }
    let known = cache.and_then(|folder| cache::recall(folder, CACHED, &path, &stamp));
    let digest = if let Some(digest) = known {
        digest
    } else {
        let digest = digest(&path).map_err(read)?;
        cache.inspect(|folder| cache::remember(folder, CACHED, &path, &stamp, &digest));
        digest
    };
    Ok(format!("{}{MARK}{digest}", path.display()))
}

/// The path in such a reference, or in one that is a path alone.
pub fn program_of(reference: &str) -> &Path {
    Path::new(reference.rsplit_once(MARK).map_or(reference, |(path, _)| path))
}

fn digest(path: &PathBuf) -> io::Result<String> {
    let (mut file, mut context, mut chunk) = (File::open(path)?, Context::new(&SHA256), vec![0; CHUNK]);
    loop {
        match file.read(&mut chunk)? {
            0 => return Ok(hex::encode(context.finish())),
            read => context.update(chunk.get(..read).unwrap_or_default()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn names_path_and_content() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a@sha256:b");
        fs::write(&path, "abc").unwrap();
        let error = program_reference(&path, None).unwrap_err().to_string();
        assert!(error.contains("is not executable") && error.contains("chmod"), "{error}");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        let reference = program_reference(&path, None).unwrap();
        assert!(reference.ends_with("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"), "{reference}");
        assert_eq!(program_of(&reference), path);
        fs::write(&path, "abd").unwrap();
        assert_ne!(program_reference(&path, None).unwrap(), reference);
        assert_eq!(program_of("/built/minio"), Path::new("/built/minio"));
    }
}
