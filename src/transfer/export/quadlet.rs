//! `export quadlet`: units for Podman's systemd generator. Podman 5.0 and later get a pod and two containers; 4.4 to
//! 4.9, which have no `.pod`, get one `.kube` unit over the Pod of `export kube`.

use std::fmt;
use std::str::FromStr;

use super::{Deployment, Export, kube};
use crate::error::Error;

/// A version of Podman: major and minor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct PodmanVersion(u32, u32);

/// First version with a generator.
const FIRST: PodmanVersion = PodmanVersion(4, 4);
/// First version with `.pod` units and `Notify=healthy`.
const PODS: PodmanVersion = PodmanVersion(5, 0);

const KUBE: &str = "export/quadlet/stack.kube.tera";
const POD: &str = "export/quadlet/stack.pod.tera";
const KES: &str = "export/quadlet/kes.container.tera";
const MINIO: &str = "export/quadlet/minio.container.tera";

impl FromStr for PodmanVersion {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut numbers = text.split('.').map(str::parse::<u32>);
        let version = match (numbers.next(), numbers.next()) {
            (Some(Ok(major)), Some(Ok(minor))) => Self(major, minor),
            (Some(Ok(major)), None) => Self(major, 0),
            _ => return Err(format!("'{text}' is not a valid version: write 4.9 or 5.0")),
        };
        if version < FIRST {
            return Err(format!("Podman {version} has no quadlet: use `kestack export kube`, or Podman 4.4 or later"));
        }
        Ok(version)
    }
}

impl fmt::Display for PodmanVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

/// The stack as units of that version of Podman.
///
/// # Errors
/// Those of the templates: unit files cannot carry paths with blanks or quotes.
pub fn quadlet(deployment: &Deployment, version: PodmanVersion) -> Result<Export, Error> {
    let name = deployment.stack.manifest.name.to_string();
    let mut export = if version < PODS { kube(deployment)? } else { deployment.export("quadlet")? };
    export.target = "quadlet";
    let unit = |suffix: &str, template, text| deployment.rendered(&format!("{name}{suffix}"), template, text);
    let (units, service) = if version < PODS {
        let kube = unit(".kube", KUBE, include_str!("../../../templates/export/quadlet/stack.kube.tera"))?;
        (vec![kube], name.clone())
    } else {
        deployment.check_volumes()?;
        let mut units = vec![unit(".pod", POD, include_str!("../../../templates/export/quadlet/stack.pod.tera"))?];
        units.extend(deployment.for_each_replica(
            |service| format!("{name}-{service}.container"),
            KES,
            include_str!("../../../templates/export/quadlet/kes.container.tera"),
        )?);
        let minio = include_str!("../../../templates/export/quadlet/minio.container.tera");
        units.push(unit("-minio-server.container", MINIO, minio)?);
        (units, format!("{name}-pod"))
    };
    let paths: Vec<_> =
        units.iter().filter_map(|unit| Some(deployment.command_path(unit.path.file_name()?.to_str()?))).collect();
    export.next = deployment.export("quadlet")?.next;
    export.next.extend(start(deployment, &paths.join(" "), &service));
    export.next.extend(deployment.finish_commands());
    export.files.extend(units);
    Ok(export)
}

/// `[Install]` works through the generator: there is nothing to enable.
fn start(deployment: &Deployment, units: &str, service: &str) -> Vec<String> {
    if deployment.is_root() {
        return vec![
            format!("install -m 644 -D -t /etc/containers/systemd {units}"),
            format!("systemctl daemon-reload && systemctl start {service}"),
        ];
    }
    vec![
        format!("install -m 644 -D -t ~/.config/containers/systemd {units}"),
        "loginctl enable-linger".into(),
        format!("systemctl --user daemon-reload && systemctl --user start {service}"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_without_a_generator_are_refused() {
        assert_eq!("5".parse::<PodmanVersion>().unwrap(), PODS);
        assert_eq!("4.9.3".parse::<PodmanVersion>().unwrap().to_string(), "4.9");
        let error = "4.3.1".parse::<PodmanVersion>().unwrap_err();
        assert!(error.contains("Podman 4.3 has no quadlet: use `kestack export kube`"), "{error}");
        assert!("new".parse::<PodmanVersion>().is_err());
    }
}
