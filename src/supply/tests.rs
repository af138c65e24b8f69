use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::mpsc;

use super::*;
use crate::engine::image::Archive;
use crate::engine::{ContainerSpec, EngineInfo, ImageDescription, ImageStore, LogLine, PodSpec, PodState, Signal};
use crate::manifest::EngineKind;
use crate::resource::apply::Silent;

/// An engine that only has a store of images; it can pull what `registry` holds.
#[derive(Debug)]
struct Store {
    info: EngineInfo,
    registry: Vec<&'static str>,
    names: Mutex<Vec<String>>,
}

impl Store {
    fn new(images: &[&str], registry: &[&'static str]) -> Self {
        Self::of(EngineKind::Podman, images, registry)
    }

    fn of(kind: EngineKind, images: &[&str], registry: &[&'static str]) -> Self {
        let info = info(kind);
        let names = images.iter().map(ToString::to_string).collect();
        Self { info, registry: registry.to_vec(), names: Mutex::new(names) }
    }

    fn has(&self, reference: &str) -> bool {
        self.names.lock().unwrap().iter().any(|name| name == reference)
    }

    fn add(&self, reference: &str) {
        self.names.lock().unwrap().push(reference.to_owned());
    }
}

#[async_trait]
impl Engine for Store {
    fn info(&self) -> &EngineInfo {
        &self.info
    }
    fn images(&self) -> Result<&dyn ImageStore, EngineError> {
        Ok(self)
    }
    async fn pod(&self, _: &str) -> Result<Option<PodState>, EngineError> {
        unreachable!()
    }
    async fn pods(&self) -> Result<Vec<PodState>, EngineError> {
        unreachable!()
    }
    async fn create_pod(&self, _: &PodSpec) -> Result<(), EngineError> {
        unreachable!()
    }
    async fn remove_pod(&self, _: &str) -> Result<(), EngineError> {
        unreachable!()
    }
    async fn create_container(&self, _: &ContainerSpec) -> Result<(), EngineError> {
        unreachable!()
    }
    async fn start_container(&self, _: &str) -> Result<(), EngineError> {
        unreachable!()
    }
    async fn stop_container(&self, _: &str, _: Duration) -> Result<(), EngineError> {
        unreachable!()
    }
    async fn remove_container(&self, _: &str) -> Result<(), EngineError> {
        unreachable!()
    }
    async fn signal_container(&self, _: &str, _: Signal) -> Result<(), EngineError> {
        unreachable!()
    }
    async fn logs(&self, _: &str, _: Option<u32>, _: bool) -> Result<mpsc::Receiver<LogLine>, EngineError> {
        unreachable!()
    }
}

#[async_trait]
impl ImageStore for Store {
    async fn describe(&self, reference: &str) -> Result<Option<ImageDescription>, EngineError> {
        let image = || ImageDescription {
            id: "id".to_owned(),
            tags: vec![reference.to_owned()],
            ..ImageDescription::default()
        };
        Ok(self.has(reference).then(image))
    }
    async fn save(&self, _: &str, _: &Path) -> Result<(), EngineError> {
        unreachable!()
    }
    async fn load(&self, archive: Archive) -> Result<(), EngineError> {
        self.add(archive.reference());
        Ok(())
    }
    async fn pull(&self, reference: &str) -> Result<(), EngineError> {
        if self.registry.contains(&reference) {
            self.add(reference);
            return Ok(());
        }
        Err(EngineError::Answer { call: format!("podman pull {reference}"), detail: "no such host".to_owned() })
    }
    async fn tag(&self, reference: &str, name: &str) -> Result<(), EngineError> {
        assert!(self.has(reference));
        self.add(name);
        Ok(())
    }
    async fn remove_former(&self, _: &str, _: &str) -> Result<(), EngineError> {
        unreachable!()
    }
}

const SECTION: KesSection = KesSection {
    port: 7373,
    replicas: 1,
    image: None,
    binary: None,
    names: Vec::new(),
    env: BTreeMap::new(),
    seal: None,
};

fn info(kind: EngineKind) -> EngineInfo {
    EngineInfo { kind, version: "0".into(), rootless: false, owner: None, address: String::new() }
}

/// A folder with a program in it.
fn folder_with(name: &str, content: &[u8]) -> tempfile::TempDir {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, content).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    folder
}

/// The environment of a user who never ran kestack. Without the folder for caches, that of the real user would be looked
/// into, where a MinIO may lie.
fn variables(pairs: &[(&'static str, &Path)]) -> impl Fn(&str) -> Option<String> + Send + Sync + use<> {
    // nobody, root neither, can make it
    let cache = ("XDG_CACHE_HOME", Path::new("/dev/null/cache"));
    let all = std::iter::once(&cache).chain(pairs);
    let map: BTreeMap<_, _> = all.map(|(name, value)| (*name, value.display().to_string())).collect();
    move |name| map.get(name).cloned()
}

fn executable() -> Vec<u8> {
    crate::engine::image::static_executable()
}

#[tokio::test]
async fn what_the_file_says_comes_first() {
    let section = MinioSection { image: Some("example.org/minio:1".into()), ..MinioSection::default() };
    let store = Store::new(&[SUPPLIED], &["example.org/minio:1"]);
    let source = minio(&section, &store, &variables(&[])).await.unwrap();
    assert_eq!(source.reference(), "example.org/minio:1");
    source.obtain(&store, &Silent).await.unwrap();
    assert!(store.has("example.org/minio:1"));
}

#[tokio::test]
async fn a_named_binary_is_used_or_complained_about() {
    let folder = folder_with("mine", &executable());
    let env = variables(&[("MINIO_BINARY", &folder.path().join("mine"))]);
    let store = Store::new(&[SUPPLIED], &[]);
    let source = minio(&MinioSection::default(), &store, &env).await.unwrap();
    assert!(source.is_local() && source.reference().starts_with("localhost/kestack/minio:"), "{source}");
    source.obtain(&store, &Silent).await.unwrap();
    assert!(store.has(source.reference()));

    let env = variables(&[("MINIO_BINARY", Path::new("/nonexistent/minio"))]);
    let error = minio(&MinioSection::default(), &store, &env).await.unwrap_err().to_string();
    assert!(error.starts_with("MINIO_BINARY names a file that cannot be used"), "{error}");
}

#[tokio::test]
async fn an_image_here_comes_before_a_binary_in_path() {
    let folder = folder_with("minio", &executable());
    let env = variables(&[("PATH", folder.path())]);
    let source = minio(&MinioSection::default(), &Store::new(&[REGISTRIES[0]], &[]), &env).await.unwrap();
    assert_eq!(source.reference(), REGISTRIES[0]);
    let source = minio(&MinioSection::default(), &Store::new(&[], &[]), &env).await.unwrap();
    assert!(source.to_string().starts_with("composed from"), "{source}");
}

#[tokio::test]
async fn the_maintained_flavour_comes_first() {
    let (both, only) = (folder_with("minio", &executable()), folder_with("minio", &executable()));
    std::fs::copy(both.path().join("minio"), both.path().join("silo")).unwrap();
    let path = std::env::join_paths([both.path(), only.path()]).unwrap();
    let env = variables(&[("PATH", Path::new(&path))]);
    for kind in [EngineKind::Podman, EngineKind::Process] {
        let store = Store::of(kind, &[], &[]);
        let source = minio(&MinioSection::default(), &store, &env).await.unwrap();
        assert_eq!(source.program(), Some(both.path().join("silo")), "{kind}");
        let all = minio_candidates(&MinioSection::default(), &store, &env).await.unwrap();
        let programs: Vec<_> = all.iter().filter_map(ImageSource::program).collect();
        let expected = [both.path().join("silo"), both.path().join("minio"), only.path().join("minio")];
        assert_eq!(programs, expected, "{kind}");
    }
    let store = Store::new(&[OFFICIAL, SUPPLIED], &[]);
    let all = minio_candidates(&MinioSection::default(), &store, &variables(&[])).await.unwrap();
    let words: Vec<_> = all.iter().map(ToString::to_string).collect();
    let pulls = REGISTRIES.map(|from| format!("pulled from {from}"));
    assert_eq!(words, [SUPPLIED, OFFICIAL, &pulls[0], &pulls[1]]);
}

#[tokio::test]
async fn the_inventory_judges_what_is_here_and_what_could_be_fetched() {
    let folder = folder_with("kes", &executable());
    let env = variables(&[("PATH", folder.path())]);
    let store = Store::new(&[OFFICIAL], &[]);
    let inventory = inventory(&crate::manifest::Manifest::default(), &store, None, &env).await.unwrap();
    let [kes, official, silo, frozen] = inventory.items.as_slice() else { panic!("{inventory:#?}") };
    assert_eq!((kes.role, kes.chosen, kes.used, kes.here), ("kes", true, false, true));
    assert!(kes.digest.as_ref().is_some_and(|digest| digest.starts_with("sha256:")), "{kes:#?}");
    assert_eq!((official.flavour, official.standing), (Some(Flavour::Minio), Some(Standing::Frozen)));
    assert_eq!((official.release.as_deref(), defects(official)), (Some("RELEASE.2025-09-07T16-13-09Z"), Some(8)));
    assert!(official.chosen && official.advice.as_ref().unwrap().contains("docker.io/pgsty/silo"), "{official:#?}");
    assert_eq!((silo.flavour, silo.standing, silo.here), (Some(Flavour::Silo), Some(Standing::Maintained), false));
    assert_eq!(defects(silo), None, "an image that names no release");
    assert!(silo.advice.as_ref().unwrap().starts_with("defects unknown"), "{silo:#?}");
    assert_eq!(frozen.digest.as_deref(), FROZEN.split_once('@').map(|(_, digest)| digest));
    assert_eq!(defects(frozen), Some(8), "the digest is that of a known release");
}

/// How many defects an item has.
fn defects(item: &Item) -> Option<usize> {
    item.defects.as_ref().map(Vec::len)
}

/// A program that answers `--version`, in a folder of that name.
fn program_in(folder: &Path, name: &str, answer: &str) -> PathBuf {
    let path = folder.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, format!("#!/bin/sh\necho '{answer}'\n")).unwrap();
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    path
}

#[tokio::test]
async fn a_program_is_what_it_says_wherever_it_lies() {
    let folder = tempfile::tempdir().unwrap();
    let kes = program_in(folder.path(), "kes", "Version 1");
    let (old, new) = ("RELEASE.2025-09-07T16-13-09Z", "RELEASE.2026-09-16T00-00-00Z");
    for (place, answer, flavour, count) in [
        ("silo-tools/minio", "minio version DEVELOPMENT.GOGET (commit-id=x)".to_owned(), Some(Flavour::Minio), Some(7)),
        ("bin/silo", format!("silo version {old}"), Some(Flavour::Minio), Some(8)),
        ("minio-old/minio", format!("minio version {new}"), Some(Flavour::Silo), Some(0)),
        ("minio/silo", "silo version DEVELOPMENT.GOGET".to_owned(), Some(Flavour::Silo), None),
        ("silo/minio", "no answer".to_owned(), None, None),
        ("silo/s3", "store version 1.0".to_owned(), None, None),
    ] {
        let minio = program_in(folder.path(), place, &answer);
        let env = variables(&[("MINIO_BINARY", &minio), ("KESTACK_KES_BINARY", &kes)]);
        let processes = Store::of(EngineKind::Process, &[], &[]);
        let inventory = inventory(&crate::manifest::Manifest::default(), &processes, None, &env).await.unwrap();
        let item = inventory.items.iter().find(|item| item.role == "minio").unwrap();
        assert_eq!((item.flavour, defects(item)), (flavour, count), "{place}: {item:#?}");
        let unknown = item.advice.as_ref().is_some_and(|advice| advice.starts_with("defects unknown"));
        assert_eq!(unknown, count.is_none(), "{place}: {item:#?}");
        let source = minio_without_containers(&minio);
        let warning = warning(&source, &env).await.unwrap();
        assert_eq!(warning.is_some(), count != Some(0), "{place}: {warning:?}");
    }
}

fn minio_without_containers(program: &Path) -> ImageSource {
    ImageSource { reference: program.display().to_string(), ways: vec![Way::Program(program.to_owned())] }
}

#[tokio::test]
async fn who_deploys_a_minio_is_warned_of_its_defects() {
    let told = async |name: Option<&str>| warning(&minio_image(name), &variables(&[])).await.unwrap();
    assert_eq!(minio_image(None).reference(), SILO, "the maintained fork comes first");
    let official = told(Some(OFFICIAL)).await.unwrap();
    assert!(official.contains("8 known defects") && official.contains(SILO.trim_end_matches(":latest")), "{official}");
    assert!(told(None).await.unwrap().contains("defects unknown"));
    assert!(told(Some("registry.example/store:1")).await.unwrap().contains("defects unknown"));
    assert_eq!(told(Some("docker.io/pgsty/silo:RELEASE.2026-09-16T00-00-00Z")).await, None);
}

#[tokio::test]
async fn a_program_that_cannot_be_an_image_is_passed_over() {
    let (script, binary) = (folder_with("minio", b"#!/bin/sh\n"), folder_with("minio", &executable()));
    let path = std::env::join_paths([script.path(), binary.path()]).unwrap();
    let env = variables(&[("PATH", Path::new(&path))]);
    let source = minio(&MinioSection::default(), &Store::new(&[], &[]), &env).await.unwrap();
    assert!(source.to_string().contains(&binary.path().display().to_string()), "{source}");
}

#[tokio::test]
async fn a_pulled_image_is_found_again_under_the_same_name() {
    let store = Store::new(&[], &[REGISTRIES[1]]);
    let source = minio(&MinioSection::default(), &store, &variables(&[])).await.unwrap();
    assert!(!source.is_local());
    source.obtain(&store, &Silent).await.unwrap();
    let again = minio(&MinioSection::default(), &store, &variables(&[])).await.unwrap();
    assert_eq!(again.reference(), source.reference());
    assert!(again.is_local());
}

#[tokio::test]
async fn nothing_to_be_had_lists_everything_tried() {
    let store = Store::new(&[], &[]);
    let source = minio(&MinioSection::default(), &store, &variables(&[])).await.unwrap();
    let error = source.obtain(&store, &Silent).await.unwrap_err().to_string();
    for expected in [REGISTRIES[0], REGISTRIES[1], "MINIO_BINARY", "minio.image"] {
        assert!(error.contains(expected), "{error}");
    }
}

#[tokio::test]
async fn the_official_module_follows_pulls_that_fail() {
    // A `go` that writes a MinIO to the given place.
    let go = folder_with("go", b"#!/bin/sh\ncp \"$(dirname \"$0\")/made\" \"$GOBIN/minio\"\n");
    std::fs::write(go.path().join("made"), executable()).unwrap();
    let cache = tempfile::tempdir().unwrap();
    let path = std::env::join_paths([go.path(), Path::new("/usr/bin"), Path::new("/bin")]).unwrap();
    let env = variables(&[("PATH", Path::new(&path)), ("XDG_CACHE_HOME", cache.path())]);
    let build = GoBuild::plan(cache_folder(&env), &env).unwrap();
    assert!(!build.is_done());
    let words = from_network(&env).to_string();
    assert!(words.find("quay.io").unwrap() < words.find("built from").unwrap(), "{words}");
    let binary = build.run().await.unwrap();
    assert_eq!(std::fs::read(&binary).unwrap(), executable());
    assert!(from_network(&env).is_local(), "what was built once is not built or pulled again");
}

#[tokio::test]
async fn a_build_that_fails_shows_the_last_words_of_go() {
    let go = folder_with("go", b"#!/bin/sh\necho noise >&2\necho 'dial tcp: no route to host' >&2\nexit 1\n");
    let cache = tempfile::tempdir().unwrap();
    let env = variables(&[("PATH", go.path()), ("XDG_CACHE_HOME", cache.path())]);
    let error = GoBuild::plan(cache_folder(&env), &env).unwrap().run().await.unwrap_err().to_string();
    assert!(error.contains("no route to host") && error.contains("go install"), "{error}");
    assert_eq!(std::fs::read_dir(cache.path().join("kestack")).unwrap().count(), 0, "nothing is left");
}

#[test]
fn kes_is_found_in_path_or_its_absence_is_explained() {
    let folder = folder_with("kes", &executable());
    let source = kes(&SECTION, &info(EngineKind::Podman), &variables(&[("PATH", folder.path())])).unwrap();
    assert!(source.reference().starts_with("localhost/kestack/kes:"), "{source}");
    let folder = folder_with("kes", b"not a program");
    let error =
        kes(&SECTION, &info(EngineKind::Podman), &variables(&[("PATH", folder.path())])).unwrap_err().to_string();
    assert!(error.contains("not a Linux executable") && error.contains("KESTACK_KES_BINARY"), "{error}");
}

#[tokio::test]
async fn without_containers_programs_are_run_as_they_are() {
    let (named, found) = (folder_with("named", b"#!/bin/sh\n"), folder_with("minio", b"#!/bin/sh\n"));
    let processes = Store::of(EngineKind::Process, &[SUPPLIED, REGISTRIES[0]], &[REGISTRIES[1]]);
    let env = variables(&[("PATH", found.path())]);
    let source = minio(&MinioSection::default(), &processes, &env).await.unwrap();
    assert_eq!(
        crate::engine::image::program_of(source.reference()),
        found.path().join("minio"),
        "no image comes before it"
    );
    assert!(source.is_local());
    let section = MinioSection { binary: Some(named.path().join("named")), ..MinioSection::default() };
    let source = minio(&section, &processes, &env).await.unwrap();
    assert_eq!(crate::engine::image::program_of(source.reference()), named.path().join("named"));
    let section = MinioSection { image: Some("example.org/minio:1".into()), ..MinioSection::default() };
    let error = minio(&section, &processes, &env).await.unwrap_err().to_string();
    assert!(
        error.starts_with("minio.image in kestack.yaml names an image") && error.contains("minio.binary"),
        "{error}"
    );
}

#[tokio::test]
async fn kestack_under_the_name_of_minio_is_passed_over() {
    let (own, found) = (tempfile::tempdir().unwrap(), folder_with("minio", &executable()));
    std::os::unix::fs::symlink(std::env::current_exe().unwrap(), own.path().join("minio")).unwrap();
    let path = std::env::join_paths([own.path(), found.path()]).unwrap();
    let env = variables(&[("PATH", Path::new(&path))]);
    let theirs = found.path().join("minio");
    let processes = Store::of(EngineKind::Process, &[], &[]);
    let source = minio(&MinioSection::default(), &processes, &env).await.unwrap();
    assert_eq!(source.program(), Some(theirs.clone()));
    assert_eq!(minio_to_pack(None, &env).unwrap().program(), Some(theirs.clone()));
    let podman = Store::of(EngineKind::Podman, &[], &[]);
    assert_eq!(minio(&MinioSection::default(), &podman, &env).await.unwrap().binary(), Some(theirs.as_path()));
}

#[tokio::test]
async fn without_containers_the_module_is_the_last_resort() {
    let processes = Store::of(EngineKind::Process, &[], &[]);
    let error = minio(&MinioSection::default(), &processes, &variables(&[])).await.unwrap_err().to_string();
    for expected in ["MINIO_BINARY: not set", "there is no `go`", "minio.binary", "install Go"] {
        assert!(error.contains(expected), "{error}");
    }
    let go = folder_with("go", b"#!/bin/sh\nprintf x > \"$GOBIN/minio\"\n");
    let cache = tempfile::tempdir().unwrap();
    let env = variables(&[("PATH", go.path()), ("XDG_CACHE_HOME", cache.path())]);
    let source = minio(&MinioSection::default(), &processes, &env).await.unwrap();
    assert!(!source.is_local());
    source.obtain(&processes, &Silent).await.unwrap();
    assert_eq!(std::fs::read(source.reference()).unwrap(), b"x");
    let again = minio(&MinioSection::default(), &processes, &env).await.unwrap();
    assert_eq!(again.reference(), source.reference(), "the build does not change what is referred to");
    assert!(again.is_local());
}

#[test]
fn one_program_or_image_is_listed_once() {
    let folder = tempfile::tempdir().unwrap();
    let (program, link) = (folder.path().join("minio"), folder.path().join("link"));
    std::fs::write(&program, "").unwrap();
    std::os::unix::fs::symlink(&program, &link).unwrap();
    let of = |reference: &str, way: Way| ImageSource { reference: reference.to_owned(), ways: vec![way] };
    let mut all = vec![
        of(SUPPLIED, Way::Present),
        of("/bin/minio@sha256:1", Way::Program(program)),
        of("/usr/bin/minio@sha256:1", Way::Program(link)),
        of(SUPPLIED, Way::Pull(SILO.to_owned())),
        of(SILO, Way::Pull(SILO.to_owned())),
    ];
    keep_first(&mut all);
    let kept: Vec<_> = all.iter().map(ImageSource::reference).collect();
    assert_eq!(kept, [SUPPLIED, "/bin/minio@sha256:1", SILO]);
}
