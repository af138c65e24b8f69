//! Shared by all exports for a cluster: options, where the documents go, notes.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::super::output::{self, Output};
use super::super::session::{Options, environment};
use super::{Printed, human, printed, report};
use crate::error::Error;
use crate::stack::{Layout, Material};
use crate::supply;
use crate::transfer::export::{self, Certificates, Cluster, ClusterOptions, Document, Export, Fleet, Monitoring};

#[derive(Debug, Args)]
pub(super) struct ClusterArguments {
    /// Folder to write to instead of standard output; certificates and credentials there are kept at the next export
    #[arg(short = 'd', long, value_name = "DIR")]
    output_dir: Option<PathBuf>,
    /// Overwrite the files in the folder
    #[arg(long, requires = "output_dir")]
    force: bool,
    /// Also write a kustomization.yaml
    #[arg(long, requires = "output_dir")]
    kustomize: bool,
    /// Also write the minimal permissions of KES at the keystore
    #[arg(long, requires = "output_dir")]
    with_iam: bool,
    /// Also write alerts, a dashboard and the access to KES for Prometheus Operator and Grafana; Prometheus is in that
    /// namespace [default: monitoring]
    #[arg(long, value_name = "NAMESPACE", num_args = 0..=1, default_missing_value = "monitoring")]
    monitoring: Option<String>,
    /// Namespace, which must exist [default: one of the stack's name, which the export makes]
    #[arg(long, value_name = "NAME")]
    namespace: Option<String>,
    /// Domain of the cluster
    #[arg(long, value_name = "DOMAIN", default_value = "cluster.local")]
    domain: String,
    /// Image of KES that the cluster can pull [default: kes.image of the manifest]
    #[arg(long, value_name = "IMAGE")]
    kes_image: Option<String>,
    /// Image of MinIO that the cluster can pull [default: minio.image of the manifest, else that of Silo, the
    /// maintained fork]
    #[arg(long, value_name = "IMAGE")]
    minio_image: Option<String>,
    /// Secret for pulling images
    #[arg(long, value_name = "NAME")]
    pull_secret: Option<String>,
    /// Pods of KES [default: kes.replicas of the manifest, else 3]
    #[arg(long, value_name = "COUNT")]
    kes_replicas: Option<u16>,
    /// Pods of MinIO
    #[arg(long, value_name = "COUNT", default_value_t = 4)]
    servers: u16,
    /// Volumes of each pod of MinIO
    #[arg(long, value_name = "COUNT", default_value_t = 4)]
    volumes: u16,
    /// Size of a volume
    #[arg(long, value_name = "SIZE", default_value = "1Ti", value_parser = quantity)]
    storage: String,
    /// Storage class [default: the cluster's]
    #[arg(long, value_name = "NAME")]
    storage_class: Option<String>,
    /// Issuer of cert-manager: a name, or ClusterIssuer/NAME
    #[arg(long, value_name = "ISSUER")]
    issuer: Option<String>,
    /// Identity of KES at the keystore, without credentials: ARN of a role (AWS), client ID (Azure), e-mail (GCP)
    #[arg(long, value_name = "IDENTITY")]
    workload_identity: Option<String>,
    /// Workload identity pool and provider of a Google fleet
    #[arg(long, value_name = "POOL=PROVIDER", requires = "workload_identity")]
    fleet: Option<Fleet>,
}

/// Notes to the user, in addition to the documents.
pub(super) struct Advice {
    pub(super) notes: Vec<String>,
    /// Commands that go on, given the paths of what was written.
    pub(super) next: fn(&Cluster, &[PathBuf]) -> Vec<String>,
}

/// Who issues certificates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Issuance {
    /// The stack's own authority
    Own,
    /// The cluster, asked by the Operator
    Cluster,
    /// cert-manager, with --issuer
    CertManager,
}

/// Pods of KES, unless somebody says how many.
const REPLICAS: u16 = 3;

impl ClusterArguments {
    /// The model of the export.
    pub(super) fn cluster(&self, options: Options, issuance: Issuance) -> Result<Cluster, Error> {
        let source = self.source(&options);
        let material = Material::complete(&source, &options.manifest)?;
        let monitoring = self.monitoring.clone().map(|namespace| Monitoring::new(namespace, &source)).transpose()?;
        let declared = options.manifest.kes.replicas;
        let settings = ClusterOptions {
            namespace: self.namespace.clone(),
            domain: self.domain.clone(),
            kes_image: self.kes_image.clone(),
            minio_image: self.minio_image.clone(),
            pull_secret: self.pull_secret.clone(),
            replicas: self.kes_replicas.unwrap_or(if declared > 1 { declared } else { REPLICAS }),
            servers: self.servers,
            volumes: self.volumes,
            storage: self.storage.clone(),
            storage_class: self.storage_class.clone(),
            certificates: self.certificates(issuance)?,
            workload_identity: self.workload_identity.clone(),
            fleet: self.fleet.clone(),
            monitoring,
        };
        Cluster::resolve(options.manifest, material, settings)
    }

    /// What an earlier export left, else what the stack of `up` has.
    fn source(&self, options: &Options) -> Layout {
        let written = self.output_dir.as_ref().map(|folder| Layout::new(folder, options.manifest.name.as_str()));
        written.filter(|layout| layout.ca_key().exists()).unwrap_or_else(|| options.layout())
    }

    fn certificates(&self, issuance: Issuance) -> Result<Certificates, Error> {
        match (issuance, &self.issuer) {
            (Issuance::Own, None) => Ok(Certificates::Own),
            (Issuance::Cluster, None) => Ok(Certificates::Cluster),
            (Issuance::CertManager, Some(issuer)) => {
                let (kind, name) = issuer.split_once('/').unwrap_or(("Issuer", issuer));
                Ok(Certificates::CertManager { kind: kind.into(), name: name.into() })
            }
            (Issuance::CertManager, None) => Err(Error::Usage {
                what: "cert-manager needs an issuer".into(),
                hint: "name it: --issuer NAME, or --issuer ClusterIssuer/NAME".into(),
            }),
            (_, Some(_)) => Err(Error::Usage {
                what: "--issuer is for --certificates cert-manager only".into(),
                hint: "give both of them, or none".into(),
            }),
        }
    }

    /// Writes or prints the documents and says how to go on.
    pub(super) async fn finish(
        &self,
        target: &'static str,
        cluster: &Cluster,
        mut documents: Vec<Document>,
        mut advice: Advice,
        output: &Output,
    ) -> Result<(), Error> {
        let warning = supply::warning(&supply::minio_image(Some(cluster.minio_image())), &environment).await?;
        advice.notes.extend(warning.map(|warning| format!("{warning}; name an image with --minio-image")));
        let Some(folder) = &self.output_dir else {
            if output.json() {
                let next = (advice.next)(cluster, &[]);
                let printed = Printed { target, documents: printed(&documents), notes: advice.notes, next };
                return output.result(&printed, |_| String::new());
            }
            let texts: Vec<_> = documents.iter().map(|document| document.text.trim_end()).collect();
            output::raw(format!("{}\n", texts.join("\n---\n")).as_bytes())?;
            let lines = advice.notes.iter().map(|note| format!("note: {note}"));
            let next = (advice.next)(cluster, &[]);
            let next = ["next:".to_owned()].into_iter().chain(next.iter().map(|command| format!("  {command}")));
            output::note(&lines.chain(next).collect::<Vec<_>>().join("\n"));
            return Ok(());
        };
        if self.kustomize {
            documents.push(export::kustomization(&documents));
        }
        if self.with_iam {
            documents.extend(export::iam(cluster)?);
        }
        let folder = std::path::absolute(folder).map_err(Error::file("find", folder))?;
        let mut files: Vec<_> = documents.iter().map(|document| document.file(&folder)).collect();
        let paths: Vec<_> = files.iter().map(|file| file.path.clone()).collect();
        let (folders, kept) = cluster.keepsakes(&folder);
        files.extend(kept);
        let next = (advice.next)(cluster, &paths);
        let export = Export { target, folders, files, images: vec![], notes: advice.notes, next };
        let report = report(cluster.name().to_owned(), &folder, &export);
        export::write(export, &folder, self.force).await?;
        output.done(&report, human)?;
        Ok(())
    }
}

/// A quantity of Kubernetes: a number and a unit.
fn quantity(text: &str) -> Result<String, String> {
    let unit = text.trim_start_matches(|letter: char| letter.is_ascii_digit());
    let number = text.strip_suffix(unit).unwrap_or_default();
    let known = ["", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
    if number.trim_start_matches('0').is_empty() || !known.contains(&unit) {
        return Err(format!("'{text}' is not a valid size: write 500Gi or 1Ti"));
    }
    Ok(text.to_owned())
}
