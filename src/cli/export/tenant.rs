//! `kestack export tenant`

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use serde_json::Value;
use tokio::process::Command;

use super::super::output::Output;
use super::super::session::Options;
use super::cluster::{Advice, ClusterArguments, Issuance};
use crate::error::Error;
use crate::transfer::export;

/// How long the cluster may take to answer.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Debug, Args)]
pub(in crate::cli) struct Tenant {
    #[command(flatten)]
    options: ClusterArguments,
    /// Issuer of certificates
    #[arg(long, value_enum, value_name = "WHO", default_value_t = Issuance::Cluster)]
    certificates: Issuance,
    /// Write values of the Operator's tenant chart instead of the Tenant
    #[arg(long, requires = "output_dir", conflicts_with_all = ["kustomize", "check"])]
    helm_values: bool,
    /// Compare the Tenant with the definition of the cluster that kubectl reaches, or of a file
    #[arg(long, value_name = "FILE", num_args = 0..=1, default_missing_value = "-")]
    check: Option<PathBuf>,
}

impl Tenant {
    pub(in crate::cli) async fn run(&self, options: Options, output: &Output) -> Result<(), Error> {
        let cluster = self.options.cluster(options, self.certificates)?;
        let documents = if self.helm_values { export::helm_values(&cluster)? } else { export::tenant(&cluster)? };
        if let Some(source) = &self.check {
            let schema = export::tenant_schema(&definition(source).await?)?;
            for document in &documents {
                export::check_tenant(&document.text, &schema)?;
            }
        }
        let advice = Advice { notes: export::tenant_notes(&cluster), next: export::tenant_next };
        self.options.finish("tenant", &cluster, documents, advice, output).await
    }
}

/// The definition of Tenants, from a file or the cluster.
async fn definition(source: &Path) -> Result<Value, Error> {
    let text = if source == Path::new("-") {
        ask_cluster().await?
    } else {
        std::fs::read_to_string(source).map_err(Error::file("read", source))?
    };
    serde_yaml::from_str(&text).map_err(|error| Error::Usage {
        what: format!("the definition of Tenants is not valid YAML or JSON: {error}"),
        hint: "use the output of `kubectl get crd tenants.minio.min.io -o yaml`".into(),
    })
}

async fn ask_cluster() -> Result<String, Error> {
    let arguments = ["get", "crd", "tenants.minio.min.io", "--output", "json", "--request-timeout", "20s"];
    let asked = Command::new("kubectl").args(arguments).kill_on_drop(true).output();
    let failed = |why: String| Error::Environment {
        what: format!("cannot ask the cluster for its definition of Tenants: {why}"),
        hint: format!("try it: `kubectl {}`; or give --check a file with its answer", arguments.join(" ")),
    };
    let answer = tokio::time::timeout(PATIENCE, asked)
        .await
        .map_err(|_| failed(format!("no answer within {} s", PATIENCE.as_secs())))?
        .map_err(|error| failed(error.to_string()))?;
    if !answer.status.success() {
        return Err(failed(String::from_utf8_lossy(&answer.stderr).trim().to_owned()));
    }
    Ok(String::from_utf8_lossy(&answer.stdout).into_owned())
}
