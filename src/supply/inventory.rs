//! Lists the KES and MinIO that a stack uses or would use, in the order of choice, with their quality.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::judgement::Judgement;
use super::releases::{Defect, Flavour, Releases, Standing};
use super::{ImageSource, SupplyError, Way, cache_folder, kes, minio_candidates, version};
use crate::engine::image::program_reference;
use crate::engine::{ContainerState, Engine, Env, ImageDescription, LABEL_ROLE, PodState};
use crate::manifest::Manifest;

/// All that a stack can be made of.
#[derive(Debug, Serialize, schemars::JsonSchema)]
pub struct Supplies {
    /// Day of the list of releases and their defects.
    pub as_of: String,
    /// The available ones, in the order of choice.
    pub items: Vec<Item>,
}

/// One KES or MinIO.
#[derive(Debug, Serialize, schemars::JsonSchema)]
pub struct Item {
    /// `kes` or `minio`.
    pub role: &'static str,
    /// True if the stack runs it now.
    pub used: bool,
    /// True if `up` would run it.
    pub chosen: bool,
    /// True if the network is not needed for it.
    pub here: bool,
    /// Its source, in words.
    pub source: String,
    /// Which flavour of MinIO it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flavour: Option<Flavour>,
    /// Its release or version, as it says itself.
    pub release: Option<String>,
    /// `sha256:` and 64 hex digits: of the program, or of the image.
    pub digest: Option<String>,
    /// Bytes of the program, or of the image unpacked.
    pub size: Option<u64>,
    /// Whether there will be releases that repair what is found.
    pub standing: Option<Standing>,
    /// Published defects that it has; `None` if nobody knows, because its release is not known.
    pub defects: Option<Vec<Defect>>,
    /// The next step for the user.
    pub advice: Option<String>,
}

/// Looks at everything that is here, and names what could be fetched; fetches nothing.
///
/// # Errors
/// [`SupplyError`] if what is named cannot be used, or the engine does not answer.
pub async fn inventory(
    manifest: &Manifest,
    engine: &dyn Engine,
    pod: Option<&PodState>,
    env: &Env<'_>,
) -> Result<Supplies, SupplyError> {
    let releases = Releases::known().map_err(SupplyError::Releases)?;
    let look = Look { engine, env, releases: &releases };
    let has_containers = engine.info().has_containers();
    let running = |role: &str| {
        let mut members = pod.iter().flat_map(|pod| &pod.containers);
        let found = members.find(|member| member.labels.get(LABEL_ROLE).is_some_and(|is| is == role))?;
        Some(Running { image: &found.image, program: if has_containers { None } else { program_of(found) } })
    };
    let kes = [kes(&manifest.kes, engine.info(), env)?];
    let mut items = look.all("kes", &kes, running("kes")).await?;
    let minio = minio_candidates(&manifest.minio, engine, env).await?;
    items.extend(look.all("minio", &minio, running("minio")).await?);
    Ok(Supplies { as_of: releases.as_of, items })
}

/// What a server is running now.
struct Running<'a> {
    /// ID of its image.
    image: &'a str,
    /// Its program, if it is a process of this host.
    program: Option<PathBuf>,
}

impl Running<'_> {
    fn is(&self, source: &ImageSource, id: Option<&str>) -> bool {
        let program = || source.program().and_then(|program| program.canonicalize().ok());
        id == Some(self.image) || self.program.is_some() && self.program == program()
    }

    fn source(&self) -> ImageSource {
        match &self.program {
            Some(path) => ImageSource { reference: path.display().to_string(), ways: vec![Way::Program(path.clone())] },
            None => ImageSource { reference: self.image.to_owned(), ways: vec![Way::Present] },
        }
    }
}

/// The program of a process, as the kernel knows it.
fn program_of(server: &ContainerState) -> Option<PathBuf> {
    std::fs::read_link(format!("/proc/{}/exe", server.pid?)).ok()
}

struct Look<'a> {
    engine: &'a dyn Engine,
    env: &'a Env<'a>,
    releases: &'a Releases,
}

impl Look<'_> {
    async fn all(
        &self,
        role: &'static str,
        sources: &[ImageSource],
        running: Option<Running<'_>>,
    ) -> Result<Vec<Item>, SupplyError> {
        let mut items = Vec::new();
        for source in sources {
            let mut item = self.source(role, source).await?;
            let id = self.engine.image(source.reference()).await?;
            let is_running = running.as_ref().is_some_and(|running| running.is(source, id.as_deref()));
            item.used = source.is_local() && is_running;
            item.chosen = items.is_empty();
            items.push(item);
        }
        if let Some(running) = running.filter(|_| !items.iter().any(|item| item.used)) {
            items.insert(0, Item { used: true, chosen: false, ..self.source(role, &running.source()).await? });
        }
        Ok(items)
    }

    async fn source(&self, role: &'static str, source: &ImageSource) -> Result<Item, SupplyError> {
        let program = source.program().filter(|program| program.is_file());
        let image = match &program {
            Some(_) => None,
            None => match self.engine.images() {
                Ok(store) => store.describe(source.reference()).await?,
                Err(_) => None,
            },
        };
        let mut item = Item {
            role,
            used: false,
            chosen: false,
            here: source.is_local(),
            source: source.to_string(),
            flavour: None,
            release: None,
            digest: None,
            size: None,
            standing: None,
            defects: None,
            advice: None,
        };
        let answer = match (&program, &image) {
            (Some(program), _) => {
                self.add_program(&mut item, program);
                version::of_program(program, cache_folder(self.env).as_deref()).await
            }
            (None, Some(image)) => {
                add_image(&mut item, image);
                version::of_image(image)
            }
            (None, None) => {
                let digest = item.source.rsplit_once('@').map(|(_, digest)| digest.to_owned());
                item.digest = digest.filter(|digest| digest.starts_with("sha256:"));
                source.promise()
            }
        };
        if role == "minio" {
            let Judgement { flavour, standing, defects, advice } = self.releases.judge(&answer);
            item = Item { flavour, standing, defects, advice, ..item };
        } else {
            item = Item { standing: Some(Standing::Maintained), defects: Some(vec![]), ..item };
        }
        item.release = answer.release;
        Ok(item)
    }

    fn add_program(&self, item: &mut Item, program: &Path) {
        item.size = std::fs::metadata(program).ok().map(|found| found.len());
        let reference = program_reference(program, cache_folder(self.env).as_deref()).ok();
        item.digest = reference.and_then(|reference| Some(reference.rsplit_once('@')?.1.to_owned()));
    }
}

fn add_image(item: &mut Item, image: &ImageDescription) {
    item.size = Some(image.size);
    let digest = image.digests.first().and_then(|digest| Some(digest.rsplit_once('@')?.1.to_owned()));
    item.digest = digest.or_else(|| Some(format!("sha256:{}", image.id)));
}
