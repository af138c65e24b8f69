//! Records which engine runs a stack: two engines must never share a drive, and none sees the containers of another.
//! The record also holds the stack's ports there, so that nobody has to ask the engine.

use std::net::SocketAddr;

use super::{Layout, Ports};
use crate::engine::{EngineInfo, PortMapping};
use crate::error::Error;
use crate::host::disk::{self, is_absent};
use crate::host::ownership;
use crate::manifest::EngineKind;
use crate::resource::FileResource;

/// The engine that a stack is up on, or will be: what is in its folder from before the pod is made until after it
/// is removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Home {
    /// Which one.
    pub kind: EngineKind,
    rootless: bool,
}

impl Home {
    /// That engine.
    pub fn of(engine: &EngineInfo) -> Self {
        // processes have no engine that could be another one
        let rootless = engine.rootless && engine.has_containers();
        Self { kind: engine.kind, rootless }
    }

    /// The engine that the stack's folder names; `None` if the stack is not up.
    ///
    /// # Errors
    /// [`Error::Environment`] if this kestack does not know that engine.
    pub fn recorded(layout: &Layout) -> Result<Option<Self>, Error> {
        let text = read(layout)?;
        let mut words = text.lines().next().unwrap_or_default().split_whitespace();
        let Some(word) = words.next() else { return Ok(None) };
        let unknown = || Error::Environment {
            what: format!(
                "'{}' names the engine '{word}', which this kestack does not know",
                layout.engine().display()
            ),
            hint: "use the kestack that brought the stack up, or a newer one".into(),
        };
        let kind = EngineKind::recorded(word).ok_or_else(unknown)?;
        Ok(Some(Self { kind, rootless: words.next() == Some("rootless") }))
    }

    /// The ports that the stack had when it was last brought up; none if an older kestack did it. Whether it still has
    /// them its KES says.
    pub fn ports(layout: &Layout) -> Result<Vec<PortMapping>, Error> {
        Ok(read(layout)?.lines().skip(1).filter_map(mapping).collect())
    }

    /// Refuses to work on a stack that is up on another engine.
    ///
    /// # Errors
    /// [`Error::Environment`] naming that engine.
    pub fn check(&self, layout: &Layout) -> Result<(), Error> {
        let Some(found) = Self::recorded(layout)?.filter(|found| found != self) else { return Ok(()) };
        let (kind, path) = (found.kind, layout.engine());
        Err(Error::Environment {
            what: format!("the stack in '{}' is up on {found}, not on {self}", layout.root().display()),
            hint: format!(
                "name that engine with `--engine {kind}`, or end the stack there first: `kestack down --engine {kind}`; \
                 if that engine is gone for good, remove '{}'",
                path.display()
            ),
        })
    }

    /// The file that names it, and the ports.
    pub(crate) fn file(&self, layout: &Layout, ports: &Ports) -> FileResource {
        let line = |port: PortMapping| {
            format!("port {} at {}\n", port.container_port, SocketAddr::new(port.host_ip, port.host_port))
        };
        let ports: String = ports.mappings().into_iter().map(line).collect();
        FileResource::private(layout.engine(), format!("{self}\n{ports}").as_bytes())
    }

    /// Forgets it, once nothing of the stack runs any more.
    pub fn forget(layout: &Layout) -> Result<(), Error> {
        Ok(disk::remove(&layout.engine())?)
    }
}

/// Whatever a verb does, it begins here: a folder that is not the caller's is refused with the name of its owner.
fn read(layout: &Layout) -> Result<String, Error> {
    ownership::check_stack(layout.root())?;
    let path = layout.engine();
    match std::fs::read_to_string(&path) {
        Err(error) if is_absent(&error) => Ok(String::new()),
        text => text.map_err(Error::file("read", path)),
    }
}

/// `port 7373 at 127.0.0.1:20000`
fn mapping(line: &str) -> Option<PortMapping> {
    let (inside, at) = line.strip_prefix("port ")?.split_once(" at ")?;
    let at: SocketAddr = at.parse().ok()?;
    Some(PortMapping { host_ip: at.ip(), host_port: at.port(), container_port: inside.parse().ok()? })
}

impl std::fmt::Display for Home {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}{}", self.kind, if self.rootless { " rootless" } else { "" })
    }
}

#[cfg(test)]
mod tests {
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
        let ports = Ports { host: "::1".parse().unwrap(), kes: vec![20_000, 20_001], s3: 20_002, console: 20_003 };
        engine(EngineKind::Podman, true).file(&layout, &ports).make().unwrap();
        assert_eq!(Home::ports(&layout).unwrap(), ports.mappings());
        assert_eq!(Home::recorded(&layout).unwrap(), Some(engine(EngineKind::Podman, true)));
        engine(EngineKind::Podman, true).check(&layout).unwrap();
        for other in
            [engine(EngineKind::Podman, false), engine(EngineKind::Docker, true), engine(EngineKind::Process, true)]
        {
            let error = other.check(&layout).unwrap_err().to_string();
            assert!(
                error.contains("is up on podman rootless, not on ") && error.contains("down --engine podman"),
                "{error}"
            );
        }
        std::fs::write(layout.engine(), "podman rootless\n").unwrap();
        assert_eq!(Home::recorded(&layout).unwrap(), Some(engine(EngineKind::Podman, true)));
        assert_eq!(Home::ports(&layout).unwrap(), [], "an older kestack wrote none");
        Home::forget(&layout).unwrap();
        assert_eq!(Home::ports(&layout).unwrap(), []);
        engine(EngineKind::Process, false).check(&layout).unwrap();
        assert_eq!(engine(EngineKind::Process, true), engine(EngineKind::Process, false));
    }
}
