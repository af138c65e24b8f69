//! `kestack image`

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use schemars::JsonSchema;
use serde::Serialize;

use super::Globals;
use super::output::{Output, table};
use super::session::environment;
use crate::engine::discover::{Connection, EngineOptions, connect};
use crate::engine::host::find_program;
use crate::engine::image::{Architecture, Archive, check_static_for};
use crate::engine::{Engine, EngineInfo};
use crate::error::Error;
use crate::host::blocking::blocking;
use crate::host::disk::folder_of;
use crate::host::quote::shell_word;
use crate::manifest::EngineKind;
use crate::supply::{self, Waiting};
use crate::transfer::image::{self, Content, Shell};

/// Name of the image if the user gives none.
const NAME: &str = "localhost/kestack:latest";
/// Names under which distributions have the shell, those that are always static first.
const BASH: [&str; 2] = ["bash-static", "bash"];
const BUSYBOX: [&str; 3] = ["busybox", "busybox-static", "busybox.static"];

#[derive(Debug, Subcommand)]
pub(super) enum Image {
    /// Compose the image from programs of this host, without a registry: the same programs give the same image
    Build(Box<Build>),
}

#[derive(Debug, Args)]
pub(super) struct Build {
    /// Name of the image; may be given several times [default: localhost/kestack:latest]
    #[arg(long = "tag", short = 't', value_name = "NAME")]
    tags: Vec<String>,
    /// Write the image into this file (a docker-archive, which Docker, Podman, skopeo and kind load) and into no engine
    #[arg(long, value_name = "FILE.tar")]
    archive: Option<PathBuf>,
    /// Platform of the image: linux/amd64 or linux/arm64 [default: this machine's]; for another one, name all programs
    #[arg(long, value_name = "PLATFORM")]
    platform: Option<Architecture>,
    /// MinIO or Silo [default: as `kestack up --engine process` finds it]
    #[arg(long, value_name = "PROGRAM")]
    minio: Option<PathBuf>,
    /// KES [default: the `kes` next to kestack, or in PATH]
    #[arg(long, value_name = "PROGRAM")]
    kes: Option<PathBuf>,
    /// kestack [default: this program]
    #[arg(long, value_name = "PROGRAM")]
    kestack: Option<PathBuf>,
    /// MinIO's client, for scripts that call it in the image [default: kestack answers to `mc ready` and `mc ping`]
    #[arg(long, value_name = "PROGRAM")]
    mc: Option<PathBuf>,
    /// A static bash, the image's `sh` [default: `bash-static` in PATH]
    #[arg(long, value_name = "PROGRAM")]
    bash: Option<PathBuf>,
    /// A static busybox, for the commands that scripts call [default: `busybox` in PATH]
    #[arg(long, value_name = "PROGRAM")]
    busybox: Option<PathBuf>,
    /// Leave out shell and busybox: no `docker exec … sh`, and no health check or entry point that is a script
    #[arg(long, conflicts_with_all = ["bash", "busybox"])]
    no_shell: bool,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct Built {
    /// Names of the image.
    names: Vec<String>,
    /// SHA-256 of its configuration: the same programs give the same ID.
    id: String,
    /// What it is for.
    platform: String,
    /// Its bytes, uncompressed.
    size: u64,
    /// The engine that has it now.
    engine: Option<String>,
    /// The file that holds it.
    archive: Option<PathBuf>,
    /// True if nothing had to be done, because the engine had it.
    present: bool,
    /// The programs in it.
    programs: Vec<Program>,
}

/// A program in the image.
#[derive(Serialize, JsonSchema)]
struct Program {
    /// Its name there.
    name: &'static str,
    /// Where it comes from.
    path: PathBuf,
    /// Its release, if it says so.
    release: Option<String>,
}

impl Image {
    pub(super) async fn run(&self, globals: &Globals, output: &Output) -> Result<(), Error> {
        let Self::Build(build) = self;
        build.run(globals, output).await
    }
}

impl Build {
    async fn run(&self, globals: &Globals, output: &Output) -> Result<(), Error> {
        let names = self.names()?;
        self.check_named()?;
        let connection = self.connection(globals).await?;
        let engine = connection.as_ref().map(|connection| connection.engine.as_ref());
        let progress = output.progress_with(true);
        let content = self.content(progress.as_ref()).await?;
        let composed = {
            let (content, names) = (content.clone(), names.clone());
            blocking("read", &content.minio.clone(), move || Ok::<_, Error>(image::compose(&content, &names)?)).await?
        };
        let mut built = Built::new(names, &composed, &content, engine.map(Engine::info));
        match (engine, &self.archive) {
            (Some(engine), _) => built.present = bring(engine, composed, &built.names).await?,
            (None, Some(file)) => {
                composed.write(file).await.map_err(Error::file("write", file))?;
                built.archive = Some(file.clone());
            }
            (None, None) => {}
        }
        let client = client(&built, globals);
        output.done(&built, |built| human(built, &client))
    }

    fn platform(&self) -> Architecture {
        self.platform.unwrap_or(Architecture::HOST)
    }

    fn names(&self) -> Result<Vec<String>, Error> {
        if self.tags.is_empty() {
            return Ok(vec![NAME.to_owned()]);
        }
        self.tags.iter().map(|name| image::complete_name(name)).collect()
    }

    /// Programs of this host do not run on another kind of processor.
    fn check_named(&self) -> Result<(), Error> {
        let shell = |given: &Option<PathBuf>| given.is_some() || self.no_shell;
        let needed = [
            ("--minio", self.minio.is_some()),
            ("--kes", self.kes.is_some()),
            ("--kestack", self.kestack.is_some()),
            ("--bash (or --no-shell)", shell(&self.bash)),
            ("--busybox (or --no-shell)", shell(&self.busybox)),
        ];
        let missing: Vec<_> = needed.iter().filter(|(_, given)| !given).map(|(option, _)| *option).collect();
        if self.platform() == Architecture::HOST || missing.is_empty() {
            return Ok(());
        }
        Err(Error::Usage {
            what: format!("this machine has no programs for {}", self.platform()),
            hint: format!("name those that are: {}", missing.join(", ")),
        })
    }

    /// The engine to load into; none if the image goes into a file.
    async fn connection(&self, globals: &Globals) -> Result<Option<Connection>, Error> {
        if let Some(file) = &self.archive {
            let folder = folder_of(file);
            if folder.is_dir() && !file.is_dir() {
                return Ok(None);
            }
            return Err(Error::Usage {
                what: format!(
                    "'{}' cannot be written: its folder must exist, and no folder may have its name",
                    file.display()
                ),
                hint: "name another one with --archive".into(),
            });
        }
        let kind = globals.engine.unwrap_or(EngineKind::Auto);
        let stack = Path::new("/nonexistent/image");
        let options = EngineOptions { kind, host: globals.host.clone(), env: &environment, stack, program: None };
        let connection = connect(&options).await?;
        if connection.engine.info().has_containers() {
            return Ok(Some(connection));
        }
        Err(Error::Environment {
            what: "there is no container engine to load the image into".into(),
            hint: "write it into a file with --archive FILE.tar, or choose an engine: --engine podman, --engine docker"
                .into(),
        })
    }

    async fn content(&self, waiting: &dyn Waiting) -> Result<Content, Error> {
        let shell = self.shell()?;
        let kes = match &self.kes {
            Some(kes) => kes.clone(),
            None => supply::kes_program(None, &environment)?,
        };
        let kestack = match &self.kestack {
            Some(kestack) => kestack.clone(),
            None => std::env::current_exe().map_err(Error::file("find", "kestack"))?,
        };
        let named = [Some(&kes), Some(&kestack), self.minio.as_ref(), self.mc.as_ref()];
        for program in named.into_iter().flatten() {
            check_static_for(program, self.platform())?;
        }
        let minio = supply::minio_to_pack(self.minio.as_deref(), &environment)?;
        let warning = supply::warning(&minio, &environment).await?;
        let minio = minio.made(waiting).await?;
        if let Some(warning) = warning {
            tracing::warn!("{warning}; name another one with --minio");
        }
        let release =
            if self.platform() == Architecture::HOST { supply::release_of(&minio, &environment).await } else { None };
        let (architecture, mc, sources) = (self.platform(), self.mc.clone(), supply::sources()?);
        Ok(Content { architecture, minio, release, kes, kestack, mc, shell, sources })
    }

    fn shell(&self) -> Result<Option<Shell>, Error> {
        if self.no_shell {
            return Ok(None);
        }
        let bash = self.part("--bash", self.bash.as_ref(), &BASH)?;
        Ok(Some(Shell { bash, busybox: self.part("--busybox", self.busybox.as_ref(), &BUSYBOX)? }))
    }

    /// A part of the shell: what is named, or the first in `PATH` that can run without anything else.
    fn part(&self, option: &str, named: Option<&PathBuf>, names: &[&str]) -> Result<PathBuf, Error> {
        if let Some(named) = named {
            check_static_for(named, self.platform())?;
            return Ok(named.clone());
        }
        let path = environment("PATH");
        let mut found = names.iter().filter_map(|name| find_program(name, path.as_deref()));
        let is_fit = |program: &PathBuf| check_static_for(program, self.platform()).is_ok();
        found.find(is_fit).ok_or_else(|| Error::Environment {
            what: format!("there is no static {} in PATH", option.trim_start_matches('-')),
            hint: format!(
                "install Debian's: `apt install bash-static busybox-static`; name yours with {option}; or build without: --no-shell"
            ),
        })
    }
}

/// Loads the image unless the engine has it, under all its names. True if it had.
async fn bring(engine: &dyn Engine, archive: Archive, names: &[String]) -> Result<bool, Error> {
    let id = archive.identity().id.clone();
    let mut present = true;
    for name in names {
        present &= engine.image(name).await?.is_some_and(|found| found.trim_start_matches("sha256:") == id);
    }
    if !present {
        engine.images()?.load(archive).await?;
    }
    Ok(present)
}

impl Built {
    fn new(names: Vec<String>, archive: &Archive, content: &Content, engine: Option<&EngineInfo>) -> Self {
        let program = |name, path: &Path| Program { name, path: path.to_owned(), release: None };
        let mut programs = vec![Program { release: content.release.clone(), ..program("minio", &content.minio) }];
        programs.extend([program("kes", &content.kes), program("kestack", &content.kestack)]);
        programs.extend(content.mc.iter().map(|mc| program("mc", mc)));
        if let Some(shell) = &content.shell {
            programs.extend([program("bash", &shell.bash), program("busybox", &shell.busybox)]);
        }
        Self {
            names,
            id: archive.identity().id.clone(),
            platform: content.architecture.to_string(),
            size: archive.size(),
            engine: engine.map(|info| format!("{} {}", info.kind, info.version)),
            archive: None,
            present: false,
            programs,
        }
    }
}

/// The engine's own client, with the engine that was named.
fn client(built: &Built, globals: &Globals) -> String {
    let has = built.engine.as_ref().is_some_and(|engine| engine.to_lowercase().starts_with("docker"));
    let (client, option) =
        if has || globals.engine == Some(EngineKind::Docker) { ("docker", "--host") } else { ("podman", "--url") };
    globals.host.as_ref().map_or_else(|| client.to_owned(), |host| format!("{client} {option} {}", shell_word(host)))
}

fn human(built: &Built, client: &str) -> String {
    let place = match (&built.archive, &built.engine) {
        (Some(file), _) => format!("in {}", file.display()),
        (None, Some(engine)) if built.present => format!("was in {engine} already"),
        (None, engine) => format!("in {}", engine.as_deref().unwrap_or_default()),
    };
    let size = built.size.div_ceil(1_000_000);
    let mut text = format!("{} for {}, {size} MB, {place}\n", built.names.join(" "), built.platform);
    let row = |program: &Program| {
        let release = program.release.clone().unwrap_or_else(|| "-".to_owned());
        vec![program.name.to_owned(), release, program.path.display().to_string()]
    };
    text.push_str(&table(&["program", "release", "from"], &built.programs.iter().map(row).collect::<Vec<_>>()));
    let name = built.names.first().map(String::as_str).unwrap_or_default();
    let load = built.archive.as_ref().map(|file| shell_word(&file.display().to_string()));
    let load = load.map(|file| format!("\n  {client} load --input {file}"));
    let _ = write!(
        text,
        "\nnext:{}\n  {client} run --detach --publish 127.0.0.1:9000:9000 --publish 127.0.0.1:9001:9001 --volume minio:/data {name}",
        load.unwrap_or_default()
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser as _;

    #[test]
    fn the_next_steps_can_be_copied() {
        let said = |options: &str, engine: Option<&str>| {
            let words = ["kestack", "image", "build"].into_iter().chain(options.split_whitespace());
            let cli = super::super::Cli::try_parse_from(words).unwrap();
            let built = Built {
                names: vec![NAME.to_owned()],
                id: String::new(),
                platform: String::new(),
                size: 0,
                engine: engine.map(str::to_owned),
                archive: engine.is_none().then(|| "my images/all.tar".into()),
                present: false,
                programs: vec![],
            };
            human(&built, &client(&built, &cli.globals))
        };
        let text = said("", None);
        assert!(text.contains("podman load --input 'my images/all.tar'\n  podman run"), "{text}");
        assert!(said("--engine docker", None).contains("docker load --input 'my"));
        let host = "unix:///run/other.sock";
        let text = said(&format!("--host {host}"), Some("docker 20.10"));
        assert!(text.contains(&format!("docker --host {host} run")), "{text}");
        let text = said(&format!("--host {host}"), Some("podman 4.3.1"));
        assert!(text.contains(&format!("podman --url {host} run")), "{text}");
    }
}
