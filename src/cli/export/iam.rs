//! `kestack export iam`

use clap::Args;

use super::super::output::{self, Output};
use super::super::session::Options;
use super::{Printed, printed};
use crate::error::Error;
use crate::stack::Material;
use crate::transfer::export::{self, Certificates, Cluster, ClusterOptions};

#[derive(Debug, Args)]
pub(in crate::cli) struct Iam {
    /// Namespace of KES's pods, which is part of their identity at the keystore [default: the stack's name]
    #[arg(long, value_name = "NAME")]
    namespace: Option<String>,
    /// Identity of KES at the keystore, without credentials: ARN of a role (AWS), client ID (Azure), e-mail (GCP)
    #[arg(long, value_name = "IDENTITY")]
    workload_identity: Option<String>,
}

impl Iam {
    /// Prints what the keystore's side must allow KES, and no more; nothing in it is secret.
    pub(in crate::cli) fn run(&self, options: Options, output: &Output) -> Result<(), Error> {
        let material = Material::complete(&options.layout(), &options.manifest)?;
        // only the keystore matters for what is printed
        let settings = ClusterOptions {
            namespace: self.namespace.clone(),
            domain: "cluster.local".into(),
            kes_image: Some("kes".into()),
            minio_image: None,
            pull_secret: None,
            replicas: 3,
            servers: 4,
            volumes: 4,
            storage: "1Ti".into(),
            storage_class: None,
            certificates: Certificates::Own,
            workload_identity: self.workload_identity.clone(),
            fleet: None,
            monitoring: None,
        };
        let cluster = Cluster::resolve(options.manifest, material, settings)?;
        let documents = export::iam(&cluster)?;
        if output.json() {
            let printed = Printed { target: "iam", documents: printed(&documents), notes: vec![], next: vec![] };
            return output.result(&printed, |_| String::new());
        }
        for document in documents {
            output::note(&format!("# {}", document.name));
            output::raw(document.text.as_bytes())?;
        }
        Ok(())
    }
}
