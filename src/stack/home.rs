//! Which engine runs a stack: two of them must never share a drive, and none sees what runs on another.

use super::Layout;
use crate::disk::is_absent;
use crate::engine::EngineInfo;
use crate::error::Error;
use crate::resource::FileResource;

/// The engine that a stack is, or shall be, up on: what stands in its folder from before the pod is made until after it
/// is removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Home {
    /// `podman`, `docker` or `process`.
    pub kind: String,
    rootless: bool,
}

impl Home {
    /// That engine.
    pub fn of(engine: &EngineInfo) -> Self {
        // processes have no engine that could be another one
        let rootless = engine.rootless && engine.has_containers();
        Self { kind: engine.kind.to_owned(), rootless }
    }

    /// The engine that the stack's folder names; `None` if the stack is not up.
    pub fn recorded(layout: &Layout) -> Result<Option<Self>, Error> {
        let path = layout.engine();
        match std::fs::read_to_string(&path) {
            Ok(text) => {
                let mut words = text.split_whitespace();
                let kind = words.next().map(str::to_owned);
                Ok(kind.map(|kind| Self { kind, rootless: words.next() == Some("rootless") }))
            }
            Err(error) if is_absent(&error) => Ok(None),
            Err(error) => Err(Error::file("read", path)(error)),
        }
    }

    /// Refuses to work on a stack that is up on another engine.
    ///
    /// # Errors
    /// [`Error::Environment`] naming that engine.
    pub fn check(&self, layout: &Layout) -> Result<(), Error> {
        let Some(found) = Self::recorded(layout)?.filter(|found| found != self) else { return Ok(()) };
        let (kind, path) = (&found.kind, layout.engine());
        Err(Error::Environment {
            what: format!("the stack in '{}' is up on {found}, not on {self}", layout.root().display()),
            hint: format!(
                "name that engine with `--engine {kind}`, or end the stack there first: `kestack down --engine {kind}`; \
                 if that engine is gone for good, remove '{}'",
                path.display()
            ),
        })
    }

    /// The file that names it.
    pub(crate) fn file(&self, layout: &Layout) -> FileResource {
        FileResource::private(layout.engine(), format!("{self}\n").as_bytes())
    }

    /// Forgets it, once nothing of the stack runs any more.
    pub fn forget(layout: &Layout) -> Result<(), Error> {
        match std::fs::remove_file(layout.engine()) {
            Err(error) if !is_absent(&error) => Err(Error::file("remove", layout.engine())(error)),
            _ => Ok(()),
        }
    }
}

impl std::fmt::Display for Home {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}{}", self.kind, if self.rootless { " rootless" } else { "" })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test")]
    use super::*;

    #[test]
    fn a_stack_is_up_on_one_engine() {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout::new(folder.path(), "test");
        let engine = |kind, rootless| {
            Home::of(&EngineInfo { kind, version: "1".into(), rootless, owner: None, address: "here".into() })
        };
        Home::forget(&layout).unwrap();
        assert_eq!(Home::recorded(&layout).unwrap(), None);
        std::fs::create_dir_all(layout.config()).unwrap();
        engine("podman", true).file(&layout).make().unwrap();
        assert_eq!(Home::recorded(&layout).unwrap(), Some(engine("podman", true)));
        engine("podman", true).check(&layout).unwrap();
        for other in [engine("podman", false), engine("docker", true), engine("process", true)] {
            let error = other.check(&layout).unwrap_err().to_string();
            assert!(
                error.contains("is up on podman rootless, not on ") && error.contains("down --engine podman"),
                "{error}"
            );
        }
        Home::forget(&layout).unwrap();
        engine("process", false).check(&layout).unwrap();
        assert_eq!(engine("process", true), engine("process", false));
    }
}
