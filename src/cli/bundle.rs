//! `kestack bundle`

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use schemars::JsonSchema;
use serde::Serialize;

use super::Globals;
use super::output::{Output, table};
use super::session::{Intent, Opened, Options, Reached, environment};
use crate::engine::Engine;
use crate::engine::image::{Archive, check_static};
use crate::error::Error;
use crate::host::blocking::blocking;
use crate::host::disk::folder_of;
use crate::host::interrupt::Interrupt;
use crate::host::scratch::Scratch;
use crate::manifest::Manifest;
use crate::supply::{self, ImageSource, Waiting};
use crate::transfer::bundle::{self, Content, Kind, MANIFEST, Member, Saved, Staged};

#[derive(Debug, Subcommand)]
pub(super) enum Bundle {
    /// Put KES, MinIO and kestack.yaml into one file
    Save(Save),
    /// Load a bundle on another machine, without network
    Load(Load),
}

#[derive(Debug, Args)]
pub(super) struct Save {
    /// File to write
    #[arg(value_name = "BUNDLE")]
    bundle: PathBuf,
}

#[derive(Debug, Args)]
pub(super) struct Load {
    /// File that `kestack bundle save` wrote
    #[arg(value_name = "BUNDLE")]
    bundle: PathBuf,
    /// SHA-256 that the file must have, as `save` printed it
    #[arg(long, value_name = "HEX")]
    sha256: Option<String>,
    /// Folder for kestack.yaml
    #[arg(long, value_name = "DIR", default_value = ".")]
    to: PathBuf,
    /// Overwrite another kestack.yaml there
    #[arg(long)]
    force: bool,
}

/// A bundle that was made.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "BundleSaved")]
pub(super) struct Made {
    #[serde(flatten)]
    saved: Saved,
    /// Files and folders that kestack.yaml names and that are not in it.
    also_needed: Vec<PathBuf>,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct Loaded {
    /// The manifest that was written.
    manifest: PathBuf,
    /// Programs that were installed.
    programs: Vec<PathBuf>,
    /// Names of images that were loaded into the engine.
    images: Vec<String>,
}

impl Bundle {
    pub(super) async fn run(&self, globals: &Globals, output: &Output, interrupt: &Interrupt) -> Result<(), Error> {
        match self {
            Self::Save(save) => save.run(globals, output, interrupt).await,
            Self::Load(load) => load.run(globals, output, interrupt).await,
        }
    }
}

impl Save {
    async fn run(&self, globals: &Globals, output: &Output, interrupt: &Interrupt) -> Result<(), Error> {
        let folder = folder_of(&self.bundle);
        let staging = Scratch::new_in(folder, ".kestack-staging-").map_err(Error::file("write", &self.bundle))?;
        let (contents, also_needed) = interrupt.ends(Box::pin(gather(globals, output, staging.path()))).await?;
        let (file, interrupt) = (self.bundle.clone(), interrupt.clone());
        let saved = blocking("write", &self.bundle, move || bundle::save(&contents, &file, &interrupt)).await?;
        output.done(&Made { saved, also_needed }, saved_text)?;
        Ok(())
    }
}

/// Everything that goes into the bundle of the stack that the command line names, and what that stack needs in addition.
async fn gather(globals: &Globals, output: &Output, staging: &Path) -> Result<(Vec<Content>, Vec<PathBuf>), Error> {
    let opened = Opened::of(globals, Intent::Read).await?;
    refuse_named_programs(&opened.options.manifest)?;
    let reached = opened.connect().await?;
    let progress = output.progress(reached.engine().info());
    let contents = contents(&reached.options, reached.engine().as_ref(), staging, progress.as_ref()).await?;
    Ok((contents, bundle::also_needed(&reached.options.manifest)))
}

/// What the manifest names by its path would not be found there.
fn refuse_named_programs(manifest: &Manifest) -> Result<(), Error> {
    for (setting, binary) in [("kes.binary", &manifest.kes.binary), ("minio.binary", &manifest.minio.binary)] {
        if let Some(binary) = binary {
            return Err(Error::Usage {
                what: format!("{setting} in kestack.yaml names '{}', which is only on this machine", binary.display()),
                hint: "remove the setting; for this call, name the program with KESTACK_KES_BINARY or MINIO_BINARY"
                    .into(),
            });
        }
    }
    Ok(())
}

/// All that goes into the bundle; content that has no file yet is written into `staging`.
async fn contents(
    options: &Options,
    engine: &dyn Engine,
    staging: &Path,
    waiting: &dyn Waiting,
) -> Result<Vec<Content>, Error> {
    let text = |name: &'static str, kind, text: &[u8]| {
        let file = staging.join(name);
        std::fs::write(&file, text).map_err(Error::file("write", &file))?;
        Ok::<_, Error>(Content { name, kind, reference: None, file })
    };
    let mine = match &options.path {
        Some(path) => std::fs::read(path).map_err(Error::file("read", path))?,
        None => b"version: v1\n".to_vec(),
    };
    let kes = supply::kes(&options.manifest.kes, engine.info(), &environment)?;
    let minio = supply::minio(&options.manifest.minio, engine, &environment).await?;
    Ok(vec![
        text(bundle::SOURCES, Kind::Text, supply::sources()?.as_bytes())?,
        text(MANIFEST, Kind::Manifest, &mine)?,
        content("kes", &kes, engine, staging, waiting).await?,
        content("minio", &minio, engine, staging, waiting).await?,
    ])
}

/// The program that a source is made from, since it serves every engine; else the image, which comes into the engine's
/// store first if it is not there.
async fn content(
    role: &'static str,
    source: &ImageSource,
    engine: &dyn Engine,
    staging: &Path,
    waiting: &dyn Waiting,
) -> Result<Content, Error> {
    let program = || source.program().filter(|program| program.is_file());
    if program().is_none() {
        source.obtain(engine, waiting).await?;
    }
    if let Some(program) = program() {
        check_static(&program)?;
        let is_silo = program.file_name().is_some_and(|name| name == "silo");
        let name = if role == "minio" && is_silo { "silo" } else { role };
        return Ok(Content { name, kind: Kind::Program, reference: None, file: program });
    }
    let reference = source.reference();
    if reference.contains('@') {
        return Err(Error::Usage {
            what: format!("the image '{reference}' is named by its digest, and a file does not keep that name"),
            hint: format!("give it a tag, and name that in `{role}.image` of kestack.yaml"),
        });
    }
    let (name, file) = match role {
        "kes" => ("kes.tar", staging.join("kes.tar")),
        _ => ("minio.tar", staging.join("minio.tar")),
    };
    engine.images()?.save(reference, &file).await?;
    Ok(Content { name, kind: Kind::Image, reference: Some(reference.to_owned()), file })
}

impl Load {
    async fn run(&self, globals: &Globals, output: &Output, interrupt: &Interrupt) -> Result<(), Error> {
        let programs = supply::programs_folder(&environment).ok_or_else(|| Error::Environment {
            what: "there is no folder for the programs of a bundle".into(),
            hint: "set HOME or XDG_DATA_HOME".into(),
        })?;
        let (file, sha256, base) = (self.bundle.clone(), self.sha256.clone(), programs.clone());
        let signals = interrupt.clone();
        let open = move || Staged::open(&file, sha256.as_deref(), &base, &signals);
        let staged = blocking("read", &self.bundle, open).await?;
        if !self.force {
            staged.check_manifest(&self.to)?;
        }
        // before anything is changed: a folder that cannot be written to would otherwise show last
        let manifest = staged.write_manifest(&self.to)?;
        let of = |kind| staged.members().iter().filter(move |member| member.kind == kind);
        let images: Vec<&Member> = of(Kind::Image).collect();
        if !images.is_empty() {
            interrupt.ends(Box::pin(load_images(globals, &staged, &images))).await?;
        }
        interrupt.check()?;
        staged.install_programs(&programs)?;
        let loaded = Loaded {
            manifest: manifest.install()?,
            programs: of(Kind::Program).map(|member| programs.join(&member.name)).collect(),
            images: images.iter().filter_map(|image| image.reference.clone()).collect(),
        };
        output.done(&loaded, loaded_text)?;
        Ok(())
    }
}

async fn load_images(globals: &Globals, staged: &Staged, images: &[&Member]) -> Result<(), Error> {
    let reached = Reached::of(globals, Intent::Read).await?;
    let engine = reached.engine().as_ref();
    for image in images {
        let Some(reference) = &image.reference else { continue };
        engine.images()?.load(Archive::of_file(staged.path(image), image.size, reference)).await?;
        if engine.image(reference).await?.is_none() {
            return Err(Error::Environment {
                what: format!("the bundle's '{}' does not hold the image '{reference}'", image.name),
                hint: "make the bundle again with `kestack bundle save`".into(),
            });
        }
    }
    Ok(())
}

fn saved_text(Made { saved, also_needed }: &Made) -> String {
    let row = |member: &Member| {
        let size = format!("{} kB", member.size.div_ceil(1000));
        vec![member.name.clone(), size, member.sha256.clone()]
    };
    let mut text = table(&["member", "size", "sha256"], &saved.members.iter().map(row).collect::<Vec<_>>());
    for file in also_needed {
        let _ = write!(text, "\nnote: kestack.yaml names '{}', which is not in it: copy that, too", file.display());
    }
    let _ = write!(
        text,
        "\n{} is complete; protect it as you protect your kestack.yaml, which is in it\nnext, on the other machine:\n  kestack bundle load --sha256 {} BUNDLE",
        saved.file, saved.sha256
    );
    text
}

fn loaded_text(loaded: &Loaded) -> String {
    let programs = loaded.programs.iter().map(|program| format!("  program   {}\n", program.display()));
    let images = loaded.images.iter().map(|image| format!("  image     {image}\n"));
    let all: String = programs.chain(images).collect();
    format!("loaded\n{all}  manifest  {}\nnext:\n  kestack up   needs no network", loaded.manifest.display())
}
