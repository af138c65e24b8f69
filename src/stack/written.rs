//! Which kestack wrote a folder, and in which layout (docs/upgrades.md).

use std::path::Path;

use kes_server::release::VERSION;
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::host::disk;

/// The layout of folders that this kestack makes. It understands this one and all before it.
const LAYOUT: u32 = 2;

/// What a folder says of whoever wrote it last. A later kestack keeps both names, whatever else it writes next to them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Written {
    /// Version of the folder's layout; 0.1.0 did not say it.
    #[serde(default = "first")]
    layout: u32,
    /// Version of the kestack that wrote it; 0.1.0 did not say it.
    #[serde(default = "unnamed")]
    kestack: String,
}

fn first() -> u32 {
    1
}

fn unnamed() -> String {
    "0.1.0".to_owned()
}

impl Written {
    /// By this kestack.
    pub(crate) fn now() -> Self {
        Self { layout: LAYOUT, kestack: VERSION.to_owned() }
    }

    /// True if `marker` names the layout of today, whichever kestack wrote it.
    pub(crate) fn has_this_layout(marker: &Path) -> Result<bool, Error> {
        Ok(Self::read(marker)?.is_some_and(|written| written.layout == LAYOUT))
    }

    fn read(marker: &Path) -> Result<Option<Self>, Error> {
        Ok(disk::read(marker)?.and_then(|text| serde_json::from_slice(&text).ok()))
    }

    /// Makes sure that this kestack understands `folder`, of which `marker` says who wrote it. One that says nothing is
    /// understood.
    ///
    /// # Errors
    /// [`Error::Environment`] naming both versions.
    pub(crate) fn check(marker: &Path, folder: &Path) -> Result<(), Error> {
        let Some(newer) = Self::read(marker)?.filter(|written| written.layout > LAYOUT) else { return Ok(()) };
        let Self { layout, kestack } = newer;
        Err(Error::Environment {
            what: format!(
                "'{}' has layout {layout}, which kestack {} wrote; this is kestack {VERSION}, which knows layouts up to \
                 {LAYOUT}; nothing was changed",
                folder.display(),
                kestack.escape_debug()
            ),
            hint: "use that kestack, or a newer one".into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_newer_layout_is_refused_and_both_versions_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let marker = folder.path().join("stack.json");
        let check = || Written::check(&marker, folder.path());
        check().unwrap();
        let same = serde_json::to_string(&Written::now()).unwrap();
        for understood in ["", "not JSON", "{}", r#"{"name":"a","engine":"podman","id":"00"}"#, &same] {
            std::fs::write(&marker, understood).unwrap();
            check().unwrap();
        }
        std::fs::write(&marker, r#"{"layout":3,"kestack":"0.9.0","name":{"of":"another form"}}"#).unwrap();
        let error = check().unwrap_err();
        let said = error.to_string();
        assert_eq!(error.exit_code(), 6);
        for part in ["layout 3, which kestack 0.9.0", VERSION, "up to 2", "nothing was changed"] {
            assert!(said.contains(part), "{part} is missing in: {said}");
        }
    }
}
