//! `export kube`: one Pod for `podman kube play`, of Podman 4.3 and later. Its files are hostPath mounts: Podman reads
//! Secrets rightly only from 4.4 on.

use super::{Deployment, Export};
use crate::error::Error;

const POD: &str = "export/kube/pod.yaml.tera";

/// The stack as a Pod.
///
/// # Errors
/// Those of the templates.
pub fn kube(deployment: &Deployment) -> Result<Export, Error> {
    let mut export = deployment.export("kube")?;
    export.files.push(deployment.rendered(
        "pod.yaml",
        POD,
        include_str!("../../../templates/export/kube/pod.yaml.tera"),
    )?);
    let userns = if deployment.is_root() { "" } else { "--userns=keep-id:uid=1000,gid=1000 " };
    let pod = deployment.command_path("pod.yaml");
    export.next.push(format!("podman kube play {userns}{pod}"));
    export.next.extend(deployment.finish_commands());
    Ok(export)
}
