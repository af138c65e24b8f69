//! Programs of this host, for the engine that runs them as they are: what the user names, else what is found, else
//! the official Go module. There are no images, and nothing is pulled.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::module::GoBuild;
use super::{ImageSource, Search, SupplyError, Way, cache_folder};
use crate::engine::Env;
use crate::engine::host::is_executable;
use crate::engine::image::{ImageError, program_reference};

/// What to do if there is no MinIO.
const MINIO_ADVICE: &str = "do one of:\n  \
    name a `silo` or `minio` program: MINIO_BINARY=/path/silo, or `minio.binary` in kestack.yaml\n  \
    put one next to kestack or into PATH\n  \
    install Go (https://go.dev/dl): kestack then builds the official module";
/// What to do if a stack in the foreground finds no MinIO: it builds none while somebody waits for its port.
const FOREGROUND_ADVICE: &str = "do one of:\n  \
    name a `silo` or `minio` program: KESTACK_MINIO=/path/silo\n  \
    put one next to kestack or into PATH\n  \
    run `kestack up --engine process` once where there is a `go`: it builds the official module, which is found then";
/// What to do if there is no `kes`.
const KES_ADVICE: &str = "put the `kes` that came with kestack next to it, or name it: KESTACK_KES_BINARY=/path/kes, \
                          or `kes.binary` in kestack.yaml";

/// The `kes` to run.
pub(super) fn kes(search: &Search, setting: Option<&PathBuf>, env: &Env<'_>) -> Result<ImageSource, SupplyError> {
    match on_this_host(search, setting, env)? {
        Ok(source) => Ok(source),
        Err(tried) => Err(SupplyError::Exhausted { what: "KES", tried, advice: KES_ADVICE }),
    }
}

/// The `minio` to run.
pub(super) fn minio(search: &Search, setting: Option<&PathBuf>, env: &Env<'_>) -> Result<ImageSource, SupplyError> {
    let mut tried = match on_this_host(search, setting, env)? {
        Ok(source) => return Ok(source),
        Err(tried) => tried,
    };
    let Some(build) = GoBuild::plan(cache_folder(env), env) else {
        tried.push("the Go module: there is no `go` in PATH".into());
        return Err(SupplyError::Exhausted { what: "MinIO", tried, advice: MINIO_ADVICE });
    };
    Ok(made(build))
}

/// Where an image has its programs, unless it was built for another place.
const IMAGE: &str = match option_env!("KESTACK_LIBEXEC") {
    Some(folder) => folder,
    None => "/usr/libexec/kestack",
};

/// A program that runs as it is, without a digest of it.
pub(super) fn to_run(search: &Search, setting: Option<&Path>, env: &Env<'_>) -> Result<PathBuf, SupplyError> {
    let variable = format!("KESTACK_{}", search.name.to_uppercase());
    let named = env(&variable).map(|path| (variable.clone(), PathBuf::from(path)));
    if let Some((by, path)) = named.or_else(|| search.named(setting, env)) {
        if is_executable(&path) {
            return Ok(path);
        }
        return Err(SupplyError::Named { by, source: ImageError::NotExecutable { path } });
    }
    let of_image = Path::new(IMAGE).join(search.name);
    let built = if search.go { GoBuild::plan(cache_folder(env), env).map(|build| build.binary()) } else { None };
    let mut found = [of_image.clone()].into_iter().chain(search.places(env)).chain(built);
    let found = found.find(|path| is_executable(path) && !is_self(path));
    let (what, advice) = if search.go { ("MinIO", FOREGROUND_ADVICE) } else { ("KES", KES_ADVICE) };
    found.ok_or_else(|| SupplyError::Exhausted {
        what,
        tried: vec![format!("{variable}: not set"), format!("'{}'", of_image.display()), search.quoted()],
        advice,
    })
}

/// True if that is this very program: in an image `minio` is a name of kestack.
pub(super) fn is_self(path: &Path) -> bool {
    let of = |path: &Path| std::fs::metadata(path).map(|found| (found.dev(), found.ino())).ok();
    of(path).is_some_and(|found| of(Path::new("/proc/self/exe")) == Some(found))
}

/// Every program that is found, and the module, in the order of choice.
pub(super) fn candidates(search: &Search, env: &Env<'_>) -> Vec<ImageSource> {
    let cache = cache_folder(env);
    let found = search.places(env).into_iter().filter_map(|path| {
        let reference = program_reference(&path, cache.as_deref()).ok()?;
        Some(ImageSource { reference, ways: vec![Way::Program(path)] })
    });
    found.chain(GoBuild::plan(cache.clone(), env).map(made)).collect()
}

/// The module's folder is named after its version: the path alone says what it is, also before it is built.
fn made(build: GoBuild) -> ImageSource {
    ImageSource { reference: build.binary().display().to_string(), ways: vec![Way::Make(build)] }
}

/// What is named or found; the inner error is what was found and cannot be used.
fn on_this_host(
    search: &Search,
    setting: Option<&PathBuf>,
    env: &Env<'_>,
) -> Result<Result<ImageSource, Vec<String>>, SupplyError> {
    let cache = cache_folder(env);
    let source = |path: PathBuf| {
        let reference = program_reference(&path, cache.as_deref())?;
        Ok(ImageSource { reference, ways: vec![Way::Program(path)] })
    };
    if let Some((by, path)) = search.named(setting.map(PathBuf::as_path), env) {
        return source(path).map(Ok).map_err(|source| SupplyError::Named { by, source });
    }
    let mut tried = vec![search.unset()];
    for path in search.places(env) {
        match source(path) {
            Ok(source) => return Ok(Ok(source)),
            Err(error) => tried.push(error.to_string()),
        }
    }
    tried.push(search.nowhere());
    Ok(Err(tried))
}
