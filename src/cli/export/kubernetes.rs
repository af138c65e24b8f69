//! `kestack export kubernetes`

use clap::Args;

use super::super::output::Output;
use super::super::session::Options;
use super::cluster::{Advice, ClusterArguments, Issuance};
use crate::error::Error;
use crate::transfer::export;

#[derive(Debug, Args)]
pub(in crate::cli) struct Kubernetes {
    #[command(flatten)]
    options: ClusterArguments,
    /// Issuer of certificates
    #[arg(long, value_enum, value_name = "WHO", default_value_t = Issuance::Own)]
    certificates: Issuance,
}

impl Kubernetes {
    pub(in crate::cli) async fn run(&self, options: Options, output: &Output) -> Result<(), Error> {
        let cluster = self.options.cluster(options, self.certificates)?;
        let documents = export::kubernetes(&cluster)?;
        let advice = Advice { notes: export::kubernetes_notes(&cluster), next: export::kubernetes_next };
        self.options.finish("kubernetes", &cluster, documents, advice, output).await
    }
}
