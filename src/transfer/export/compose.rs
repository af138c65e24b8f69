//! `export compose`: one file for Compose, with Docker or Podman below it.

use super::{Deployment, Export, PUBLIC, file};
use crate::error::Error;
use crate::stack::{View, minio_env_at};
use crate::template;

const COMPOSE: &str = "export/compose/compose.yaml.tera";

/// The stack as two services of Compose.
///
/// # Errors
/// Those of the templates.
pub fn compose(deployment: &Deployment) -> Result<Export, Error> {
    let mut export = deployment.export("compose")?;
    let text = include_str!("../../../templates/export/compose/compose.yaml.tera");
    let rendered = template::render(COMPOSE, text, &deployment.context(COMPOSE)?)?;
    export.files.push(file(deployment.path("compose.yaml"), &rendered, PUBLIC));
    // the services have networks of their own: MinIO asks for KES by its name
    let path = deployment.stack.layout.minio_env();
    let replicas = deployment.stack.replicas().into_iter();
    let kes: Vec<_> = replicas.map(|replica| format!("https://{}:{}", replica.service, replica.port)).collect();
    let env = minio_env_at(&deployment.stack, &kes.join(","), View::in_containers().minio_paths())?;
    for file in export.files.iter_mut().filter(|file| file.path == path) {
        file.content = env.as_bytes().to_vec().into();
    }
    if !deployment.is_root() {
        export.notes.push("with rootless Podman set KESTACK_USERNS=keep-id, so that files stay yours".into());
    }
    let compose = deployment.command_path("compose.yaml");
    export.next.push(format!("docker compose -f {compose} up -d --wait"));
    export.next.extend(deployment.finish_commands());
    Ok(export)
}
