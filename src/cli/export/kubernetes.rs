//! `kestack export kubernetes`

use clap::Args;

use super::super::output::Output;
use super::super::session::Wish;
use super::cluster::{ClusterOptions, Issuance, Told};
use crate::error::Error;
use crate::transfer::export;

#[derive(Debug, Args)]
pub(in crate::cli) struct Kubernetes {
    #[command(flatten)]
    options: ClusterOptions,
    /// Issuer of certificates
    #[arg(long, value_enum, value_name = "WHO", default_value_t = Issuance::Own)]
    certificates: Issuance,
}

impl Kubernetes {
    pub(in crate::cli) async fn run(&self, wish: Wish, output: &Output) -> Result<(), Error> {
        let cluster = self.options.cluster(wish, self.certificates)?;
        let documents = export::kubernetes(&cluster)?;
        let told = Told { notes: export::kubernetes_notes(&cluster), next: export::kubernetes_next };
        self.options.finish("kubernetes", &cluster, documents, told, output).await
    }
}
