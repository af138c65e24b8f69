//! Records the manifest that a stack was brought up from, in the stack's folder. If there is no manifest at hand, the
//! record says which one counts; and it keeps one project from taking over the stack of another.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Layout;
use crate::error::Error;
use crate::host::disk;
use crate::resource::FileResource;

/// Version of the file's form.
const VERSION: u32 = 1;

/// What a stack was brought up from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    version: u32,
    /// Canonical path of the manifest; `None` if there was none.
    pub manifest: Option<PathBuf>,
    /// True if the choice of all ports was left to kestack, whatever the manifest says.
    #[serde(default)]
    pub any_ports: bool,
    /// When the stack was brought up for the first time.
    pub created: Timestamp,
}

impl Origin {
    /// A stack that is brought up from that manifest now.
    pub fn new(manifest: Option<PathBuf>, any_ports: bool) -> Self {
        Self { version: VERSION, manifest, any_ports, created: Timestamp::now() }
    }

    /// What the stack's folder says; `None` if it says nothing, as where an older kestack brought the stack up.
    ///
    /// # Errors
    /// [`Error::Environment`] if the file is damaged, or a later kestack wrote it.
    pub fn load(layout: &Layout) -> Result<Option<Self>, Error> {
        let path = layout.origin();
        let Some(text) = disk::read(&path)? else { return Ok(None) };
        match serde_json::from_slice::<Self>(&text) {
            Ok(origin) if origin.version <= VERSION => Ok(Some(origin)),
            Ok(_) => Err(unusable(&path, "was written by a newer kestack", "use that one")),
            Err(_) => Err(unusable(&path, "is damaged", "remove it; the next `kestack up` writes it again")),
        }
    }

    /// The file that says it.
    pub(crate) fn file(&self, layout: &Layout) -> Result<FileResource, Error> {
        FileResource::json(layout.origin(), self)
    }

    /// True if `manifest` is the one that the stack was brought up from. A file that got another name in its folder is.
    pub fn is(&self, manifest: Option<&Path>) -> bool {
        match (self.manifest.as_deref(), manifest) {
            (None, None) => true,
            (Some(mine), Some(other)) => mine == other || mine.parent() == other.parent() && !mine.exists(),
            _ => false,
        }
    }
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.manifest {
            Some(path) => write!(f, "'{}'", path.display()),
            None => f.write_str("no manifest"),
        }
    }
}

fn unusable(path: &Path, why: &str, hint: &str) -> Error {
    Error::Environment { what: format!("'{}' {why}", path.display()), hint: hint.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stack_remembers_its_manifest() {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout::new(folder.path(), "a");
        assert_eq!(Origin::load(&layout).unwrap(), None);
        std::fs::create_dir_all(layout.root()).unwrap();
        let manifest = folder.path().join("kestack.yaml");
        std::fs::write(&manifest, "").unwrap();
        let origin = Origin::new(Some(manifest.clone()), false);
        origin.file(&layout).unwrap().make().unwrap();
        assert_eq!(Origin::load(&layout).unwrap(), Some(origin.clone()));
        assert!(origin.is(Some(&manifest)));
        let renamed = folder.path().join("kestack.yml");
        for other in [None, Some(renamed.as_path()), Some(Path::new("/another/kestack.yaml"))] {
            assert!(!origin.is(other), "{other:?}");
        }
        std::fs::rename(&manifest, &renamed).unwrap();
        assert!(origin.is(Some(&renamed)));
        assert!(Origin::new(None, false).is(None) && !Origin::new(None, false).is(Some(&manifest)));
    }

    #[test]
    fn what_cannot_be_understood_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout::new(folder.path(), "a");
        std::fs::create_dir_all(layout.root()).unwrap();
        for text in ["", "{", r#"{"version":2,"manifest":null,"created":"2026-01-01T00:00:00Z"}"#] {
            std::fs::write(layout.origin(), text).unwrap();
            assert_eq!(Origin::load(&layout).unwrap_err().exit_code(), 6, "{text}");
        }
    }
}
