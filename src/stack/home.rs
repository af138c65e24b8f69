//! Records which engine runs a stack: two engines must never share a drive, and none sees the containers of another.
//! The record also holds the stack's ports there, so that nobody has to ask the engine.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;

use super::marker::Marker;
use super::{Layout, Ports};
use crate::engine::discover::{self, EngineOptions};
use crate::engine::{Engine, EngineInfo, LABEL_ID, PodState, PortMapping, USUAL};
use crate::error::Error;
use crate::host::disk::{self, is_absent};
use crate::host::quote::shell_word;
use crate::host::{machine, ownership};
use crate::manifest::EngineKind;
use crate::resource::FileResource;

/// The engine that a stack is up on, or will be: what is in its folder from before the pod is made until after it
/// is removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Home {
    /// Which kind.
    pub kind: EngineKind,
    rootless: bool,
    /// Which of that kind; `None` in a record of an older kestack, which may mean any.
    place: Option<Place>,
}

/// Which one it is of several engines of a kind.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    /// As [`EngineInfo::place`].
    address: String,
    /// The machine, if it has a name and the engine is there.
    machine: Option<String>,
}

impl Home {
    /// That engine.
    pub fn of(engine: &EngineInfo) -> Self {
        // processes have no engine that could be another one
        let rootless = engine.rootless && engine.has_containers();
        let machine = if engine.is_elsewhere() { None } else { machine::id() };
        let place = Some(Place { address: engine.place(), machine });
        Self { kind: engine.kind, rootless, place }
    }

    /// The engine that the stack's folder names; `None` if the stack is not up.
    ///
    /// # Errors
    /// [`Error::Environment`] if this kestack does not know that engine.
    pub fn recorded(layout: &Layout) -> Result<Option<Self>, Error> {
        let text = read(layout)?;
        let line = text.lines().next().unwrap_or_default();
        let (words, address) = line.split_once(" at ").map_or((line, None), |(words, at)| (words, Some(at.to_owned())));
        let mut words = words.split_whitespace();
        let Some(word) = words.next() else { return Ok(None) };
        let unknown = || Error::Environment {
            what: format!(
                "'{}' names the engine '{word}', which this kestack does not know",
                layout.engine().display()
            ),
            hint: "use the kestack that brought the stack up, or a newer one".into(),
        };
        let kind = EngineKind::recorded(word).ok_or_else(unknown)?;
        let words: Vec<_> = words.collect();
        let machine = words.iter().skip_while(|word| **word != "on").nth(1).map(ToString::to_string);
        let place = address.map(|address| Place { address, machine });
        Ok(Some(Self { kind, rootless: words.first() == Some(&"rootless"), place }))
    }

    /// The ports that the stack had when it was last brought up; none if an older kestack did it. Whether it still has
    /// them its KES says.
    pub fn ports(layout: &Layout) -> Result<Vec<PortMapping>, Error> {
        Ok(read(layout)?.lines().skip(1).filter_map(mapping).collect())
    }

    /// True if both are one engine, as far as is known.
    pub(crate) fn is(&self, other: &Self) -> bool {
        self.is_of_kind(other) && self.is_on_machine(other) && self.is_at(other)
    }

    fn is_of_kind(&self, other: &Self) -> bool {
        self.kind == other.kind && self.rootless == other.rootless
    }

    fn is_on_machine(&self, other: &Self) -> bool {
        let machine = |home: &Self| home.place.as_ref().and_then(|place| place.machine.clone());
        machine(self).zip(machine(other)).is_none_or(|(one, other)| one == other)
    }

    fn is_at(&self, other: &Self) -> bool {
        self.address().zip(other.address()).is_none_or(|(one, other)| one == other)
    }

    fn address(&self) -> Option<&str> {
        self.place.as_ref().map(|place| place.address.as_str())
    }

    /// Refuses to work on a stack that is up on another engine. One engine may have several addresses: whoever has the
    /// stack's pod is the one that it is up on.
    ///
    /// # Errors
    /// [`Error::Environment`] naming that engine.
    pub(crate) async fn check(engine: &dyn Engine, layout: &Layout, name: &str) -> Result<(), Error> {
        let here = Self::of(engine.info());
        let Some(found) = Self::recorded(layout)?.filter(|found| !found.is(&here)) else { return Ok(()) };
        if found.is_of_kind(&here) && engine.info().has_containers() {
            let is_found = engine.pod(name).await?.is_some_and(|pod| is_pair(&pod, layout));
            if is_found || found.is_on_machine(&here) && found.has_no_pod(layout, name).await {
                return Ok(());
            }
        }
        Err(found.refusal(&here, layout))
    }

    /// True if the stack whose folder has this record is on that engine, on which that pod is.
    pub(crate) fn is_of(&self, engine: &Self, pod: &PodState, layout: &Layout) -> bool {
        self.is(engine) || self.is_of_kind(engine) && is_pair(pod, layout)
    }

    /// True if this is an engine with a socket of its own on this machine, and it has no pod of that name, or ended for
    /// good.
    async fn has_no_pod(&self, layout: &Layout, name: &str) -> bool {
        let Some(socket) = self.address().filter(|address| address.starts_with("unix://")) else { return false };
        match UnixStream::connect(socket.trim_start_matches("unix://")) {
            Ok(_) => {}
            Err(error) => return is_absent(&error) || error.kind() == ErrorKind::ConnectionRefused,
        }
        let (host, env) = (Some(socket.to_owned()), |_: &str| None);
        let options = EngineOptions { kind: self.kind, host, env: &env, stack: layout.root(), program: None };
        let Ok(connection) = discover::connect(&options).await else { return false };
        matches!(connection.engine.pod(name).await, Ok(None))
    }

    fn refusal(&self, here: &Self, layout: &Layout) -> Error {
        let (kind, root, record) = (self.kind, layout.root().display(), layout.engine());
        let gone = format!("if that engine is gone for good, remove '{}'", record.display());
        let at = |home: &Self| match home.address() {
            Some(USUAL) | None => home.to_string(),
            Some(address) => format!("{home} at {address}"),
        };
        let (what, hint) = if !self.is_of_kind(here) {
            (
                format!("{self}, not on {here}"),
                format!(
                    "name that engine with `--engine {kind}`, or end the stack there first: `kestack down --engine {kind}`"
                ),
            )
        } else if !self.is_on_machine(here) {
            (format!("{self} of another machine"), "end it there first, with `kestack down` on that machine".to_owned())
        } else if self.address() == Some(USUAL) {
            let named = "--host, KESTACK_HOST, CONTAINER_HOST, DOCKER_HOST and DOCKER_CONTEXT";
            (
                format!("{} that kestack finds by itself, not on {}", at(self), at(here)),
                format!("leave out {named}, or end the stack first with a `kestack down` without them"),
            )
        } else {
            let host = shell_word(self.address().unwrap_or_default());
            (
                format!("{}, not on {}", at(self), at(here)),
                format!(
                    "name that engine with `--host {host}`, or end the stack there first: `kestack down --host {host}`"
                ),
            )
        };
        Error::Environment { what: format!("the stack in '{root}' is up on {what}"), hint: format!("{hint}; {gone}") }
    }

    /// The file that names it, and the ports.
    pub(crate) fn file(&self, layout: &Layout, ports: &Ports) -> FileResource {
        let line = |port: PortMapping| {
            format!("port {} at {}\n", port.container_port, SocketAddr::new(port.host_ip, port.host_port))
        };
        let ports: String = ports.mappings().into_iter().map(line).collect();
        FileResource::private(layout.engine(), format!("{}\n{ports}", self.line()).as_bytes())
    }

    /// `docker at tcp://docker:2376`, `podman rootless on 0123456789abcdef at usual`: an older kestack reads the words
    /// that it knows.
    fn line(&self) -> String {
        let Some(place) = &self.place else { return self.to_string() };
        let machine = place.machine.as_ref().map(|id| format!(" on {id}")).unwrap_or_default();
        format!("{self}{machine} at {}", place.address)
    }

    /// Forgets it, once nothing of the stack runs any more.
    pub fn forget(layout: &Layout) -> Result<(), Error> {
        Ok(disk::remove(&layout.engine())?)
    }
}

/// True if the folder has the random number that is a label on the pod.
fn is_pair(pod: &PodState, layout: &Layout) -> bool {
    let id = Marker::id(layout).ok().flatten();
    id.is_some() && pod.labels.get(LABEL_ID) == id.as_ref()
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

    fn at(kind: EngineKind, rootless: bool, address: &str) -> Home {
        Home::of(&EngineInfo { kind, version: "1".into(), rootless, owner: None, address: address.into() })
    }

    fn engine(kind: EngineKind, rootless: bool) -> Home {
        at(kind, rootless, "unix:///run/docker.sock")
    }

    fn on(machine: &str) -> Home {
        let place = Place { address: USUAL.into(), machine: Some(machine.to_owned()) };
        Home { place: Some(place), ..engine(EngineKind::Docker, false) }
    }

    #[test]
    fn a_stack_is_up_on_one_engine() {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout::new(folder.path(), "test");
        Home::forget(&layout).unwrap();
        assert_eq!(Home::recorded(&layout).unwrap(), None);
        std::fs::create_dir_all(layout.config()).unwrap();
        let ports = Ports { host: "::1".parse().unwrap(), kes: vec![20_000, 20_001], s3: 20_002, console: 20_003 };
        let own = engine(EngineKind::Podman, true);
        own.file(&layout, &ports).make().unwrap();
        assert_eq!(Home::ports(&layout).unwrap(), ports.mappings());
        assert_eq!(Home::recorded(&layout).unwrap(), Some(own.clone()));
        for other in
            [engine(EngineKind::Podman, false), engine(EngineKind::Docker, true), engine(EngineKind::Process, true)]
        {
            assert!(!own.is(&other));
            let error = own.refusal(&other, &layout).to_string();
            assert!(
                error.contains("is up on podman rootless, not on ") && error.contains("down --engine podman"),
                "{error}"
            );
        }
        Home::forget(&layout).unwrap();
        assert_eq!(Home::ports(&layout).unwrap(), []);
        assert!(engine(EngineKind::Process, true).is(&engine(EngineKind::Process, false)));
    }

    #[test]
    fn a_record_of_an_older_kestack_means_any_engine_of_its_kind() {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout::new(folder.path(), "test");
        std::fs::create_dir_all(layout.config()).unwrap();
        std::fs::write(layout.engine(), "podman rootless\n").unwrap();
        let old = Home::recorded(&layout).unwrap().unwrap();
        assert_eq!(Home::ports(&layout).unwrap(), [], "it wrote none");
        assert_eq!(old.line(), "podman rootless");
        assert!(old.is(&engine(EngineKind::Podman, true)) && old.is(&at(EngineKind::Podman, true, "unix:///a/b")));
        assert!(!old.is(&engine(EngineKind::Podman, false)));
    }

    #[test]
    fn engines_of_one_kind_are_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout::new(folder.path(), "test");
        std::fs::create_dir_all(layout.config()).unwrap();
        let ports = Ports { host: "::1".parse().unwrap(), kes: vec![1], s3: 2, console: 3 };
        let docker = |address| at(EngineKind::Docker, false, address);
        let (here, named) = (docker("unix:///run/docker.sock"), docker("unix:///tmp/a b at c/docker.sock"));
        let remote = docker("tcp://docker:2376");
        for (own, other, said) in [
            (&remote, &here, "kestack down --host tcp://docker:2376"),
            (&named, &here, "--host 'unix:///tmp/a b at c/docker.sock'"),
            (&here, &remote, "that kestack finds by itself, not on docker at tcp://docker:2376"),
            (&on("one"), &on("other"), "is up on docker of another machine"),
        ] {
            own.file(&layout, &ports).make().unwrap();
            let found = Home::recorded(&layout).unwrap().unwrap();
            assert!(found == *own && found.is(own) && !found.is(other), "{found:?}");
            let error = found.refusal(other, &layout).to_string();
            assert!(error.contains(said) && error.contains("gone for good"), "{error}");
        }
        assert!(remote.place.as_ref().unwrap().machine.is_none(), "it is not this machine's");
        let unnamed = Home { place: Some(Place { address: USUAL.into(), machine: None }), ..on("one") };
        assert!(unnamed.is(&on("one")) && on("one").is(&unnamed), "a machine, or a container, without a name");
        assert!(here.is(&docker("unix:///run/user/1000/docker.sock")), "the place depends on the session");
    }
}
