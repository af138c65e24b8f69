//! YAML files of an export for a cluster, to be printed or written.

use std::path::{Path, PathBuf};

use serde_json::Value;
use zeroize::Zeroizing;

use super::{PUBLIC, SECRET, file, quoted};
use crate::error::Error;
use crate::resource::FileResource;
use crate::template;

/// One file of documents.
pub struct Document {
    /// Its name.
    pub name: String,
    /// What it holds.
    pub text: Zeroizing<String>,
    /// True if only its owner may read it.
    pub secret: bool,
}

impl std::fmt::Debug for Document {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Document({})", self.name)
    }
}

impl Document {
    pub(super) fn secret(name: &str, text: Zeroizing<String>) -> Self {
        Self { name: name.into(), text, secret: true }
    }

    pub(super) fn public(name: &str, text: Zeroizing<String>) -> Self {
        Self { name: name.into(), text, secret: false }
    }

    /// As a file in a folder.
    pub fn file(&self, folder: &Path) -> FileResource {
        file(folder.join(&self.name), &self.text, if self.secret { SECRET } else { PUBLIC })
    }
}

/// `kustomization.yaml` over documents.
pub fn kustomization(documents: &[Document]) -> Document {
    let names = documents.iter().map(|document| document.name.as_str()).filter(|name| is_yaml(name));
    let list: Vec<_> = names.map(|name| format!("  - {name}")).collect();
    let head = "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources:\n";
    Document::public("kustomization.yaml", Zeroizing::new(format!("{head}{}\n", list.join("\n"))))
}

/// The text of a template with these values.
pub(super) fn rendered(name: &'static str, text: &str, values: &Value) -> Result<Zeroizing<String>, Error> {
    Ok(template::render(name, text, &template::context(name, values)?)?)
}

/// How to bring written documents to the cluster; nothing if they were printed.
pub(super) fn apply_commands(files: &[PathBuf], namespace: &str) -> Vec<String> {
    if let Some(file) = files.iter().find(|file| file.ends_with("kustomization.yaml")) {
        return vec![format!("kubectl apply -k {}", quoted(file.parent().unwrap_or(file)))];
    }
    let commands = |file: &PathBuf| {
        let path = quoted(file);
        if !file.ends_with("values.yaml") {
            return vec![format!("kubectl apply -f {path}")];
        }
        vec![
            "helm repo add minio-operator https://operator.min.io".into(),
            // values.yaml names no namespace, and its Secrets are in this one
            format!("helm upgrade --install --namespace {namespace} tenant minio-operator/tenant -f {path}"),
        ]
    };
    files.iter().filter(|file| file.to_str().is_some_and(is_yaml)).flat_map(commands).collect()
}

fn is_yaml(name: &str) -> bool {
    Path::new(name).extension().is_some_and(|extension| extension == "yaml")
}
