//! The certificates of a stack: read from its folder, renewed in memory if they cannot be used any longer, and the
//! state of those in the folder.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

use jiff::Timestamp;
use serde::Serialize;

use super::Layout;
use super::material::read;
use crate::error::Error;
use crate::manifest::{HostName, Manifest};
use crate::pki::{self, Authority, Leaf, LeafSpec, Mismatch, PkiError, Validity};

/// Authority and leafs of a stack, in their wanted state.
pub(super) struct Certificates {
    pub(super) authority: Authority,
    pub(super) kes: Leaf,
    pub(super) minio: Leaf,
    pub(super) admin: Leaf,
    /// MinIO's as a server, if it has one.
    pub(super) s3: Option<Leaf>,
    pub(super) renewed: Vec<Renewal>,
}

/// A certificate that is another than the one in the folder. Its key, and with it the identity at KES, stays wherever
/// the old key can be read.
#[derive(Debug, Clone, Serialize, schemars::JsonSchema)]
pub struct Renewal {
    /// Which: `ca`, `kes-server`, `minio`, `admin`, `s3`.
    pub name: &'static str,
    /// Why the old one cannot go on being used.
    pub why: Mismatch,
    /// What somebody has to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
}

/// How a certificate in the stack's folder is.
#[derive(Debug, Serialize, schemars::JsonSchema)]
pub struct CertificateState {
    /// Which: `ca`, `kes-server`, `minio`, `admin`, `s3`.
    pub name: &'static str,
    /// Whether it is good.
    pub state: Lifetime,
    /// Days until it expires; negative once it has.
    pub days_left: Option<i64>,
    /// Days until `kestack up` renews it; negative once it would.
    pub renewed_in_days: Option<i64>,
}

/// Where a certificate is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Lifetime {
    /// Accepted, and for long enough.
    Good,
    /// Accepted, but `kestack up` would renew it.
    Due,
    /// Accepted by nobody: it has expired, or the clock is before its first second.
    Expired,
    /// Its file does not hold a certificate.
    Broken,
}

impl Certificates {
    /// Reads what is there and makes what is missing, does not fit any more or has lived two thirds of its life.
    pub(super) fn complete(layout: &Layout, manifest: &Manifest, now: Timestamp) -> Result<Self, Error> {
        let mut renewed = Vec::new();
        let authority = authority(layout, manifest, now, &mut renewed)?;
        let mut leaf = |name, spec: &LeafSpec, cert: &Path, key: &Path| -> Result<Leaf, Error> {
            let (Some(cert), Some(key_pem)) = (read(cert)?, read(key)?) else { return Ok(authority.issue(spec, now)?) };
            let found = Leaf { cert_pem: cert.to_string(), key_pem };
            let Err(why) = pki::leaf_matches(&found, spec, &authority, now) else { return Ok(found) };
            renewed.push(Renewal { name, why, advice: None });
            Ok(authority.reissue(&found, spec, now)?)
        };
        let kes = leaf("kes-server", &kes_leaf(manifest), &layout.kes_cert(), &layout.kes_key())?;
        let minio = leaf("minio", &client_leaf("minio"), &layout.minio_cert(), &layout.minio_key())?;
        let admin = leaf("admin", &client_leaf("admin"), &layout.admin_cert(), &layout.admin_key())?;
        let mut s3 = None;
        if manifest.minio.tls {
            s3 = Some(leaf("s3", &s3_leaf(manifest), &layout.s3_cert(), &layout.s3_key())?);
        }
        Ok(Self { authority, kes, minio, admin, s3, renewed })
    }
}

/// The authority in the folder, renewed once it is due; another one if a part of it is missing.
fn authority(
    layout: &Layout,
    manifest: &Manifest,
    now: Timestamp,
    renewed: &mut Vec<Renewal>,
) -> Result<Authority, Error> {
    let (cert, key) = (read(&layout.ca_cert())?, read(&layout.ca_key())?);
    let (Some(cert), Some(key)) = (&cert, &key) else {
        if cert.is_some() || key.is_some() {
            let advice =
                format!("give '{}' to everybody who has a copy: the old one is no longer valid", shown(layout));
            renewed.push(Renewal { name: "ca", why: Mismatch::Broken, advice: Some(advice) });
        }
        return Ok(Authority::generate(manifest.name.as_str(), now)?);
    };
    let broken = |error| broken_authority(layout, &error);
    let found = Authority::load(cert, key).map_err(broken)?;
    let validity = Validity::of(cert).map_err(broken)?;
    if !validity.is_due(now) {
        return Ok(found);
    }
    let until = validity.to.strftime("%Y-%m-%d");
    let advice = format!("give '{}' to everybody who has a copy: the old one is valid until {until}", shown(layout));
    renewed.push(Renewal { name: "ca", why: Mismatch::Due, advice: Some(advice) });
    Ok(found.renew(now)?)
}

/// An authority that cannot be read may be one that other machines trust: nothing is made in its place unasked.
fn broken_authority(layout: &Layout, error: &PkiError) -> Error {
    Error::Environment {
        what: format!("'{}' and its ca.key cannot be used: {error}", shown(layout)),
        hint:
            "bring both back from a backup, or remove both: `kestack up` then makes a new authority and certificates; \
               identities, keys and data stay"
                .into(),
    }
}

fn shown(layout: &Layout) -> String {
    layout.ca_cert().display().to_string()
}

/// KES is dialled inside the pod as 127.0.0.1, by people and from containers with networks of their own under these
/// names and those of the manifest. All replicas have the same certificate.
pub(super) fn kes_leaf(manifest: &Manifest) -> LeafSpec {
    let mut dns = vec!["kes-server".to_owned()];
    if manifest.kes.replicas > 1 {
        dns.extend((1..=manifest.kes.replicas).map(|number| format!("kes-server-{number}")));
    }
    server_leaf("kes-server", dns, manifest.host, &manifest.kes.names)
}

/// MinIO is dialled by people, by its console and from other containers.
fn s3_leaf(manifest: &Manifest) -> LeafSpec {
    let mut dns = domains(manifest);
    dns.push("minio-server".to_owned());
    server_leaf("minio-server", dns, manifest.host, &manifest.minio.names)
}

/// With `MINIO_DOMAIN` buckets are names below that.
fn domains(manifest: &Manifest) -> Vec<String> {
    let domains = manifest.minio.env.get("MINIO_DOMAIN").map(String::as_str).unwrap_or_default();
    let domains = domains.split(',').filter_map(|domain| domain.trim().parse::<HostName>().ok());
    let domains = domains.filter(|domain| domain.address().is_none());
    domains.flat_map(|domain| [domain.to_string(), format!("*.{domain}")]).collect()
}

/// Names and addresses that the manifest gives a server, wherever that runs.
#[derive(Debug, Default)]
pub(crate) struct GivenNames {
    /// DNS names.
    pub(crate) dns: Vec<String>,
    /// Addresses.
    pub(crate) ip: Vec<IpAddr>,
}

impl GivenNames {
    /// Those of KES.
    pub(crate) fn of_kes(manifest: &Manifest) -> Self {
        Self::default().and(&manifest.kes.names)
    }

    /// Those of MinIO.
    pub(crate) fn of_minio(manifest: &Manifest) -> Self {
        Self { dns: domains(manifest), ip: vec![] }.and(&manifest.minio.names)
    }

    fn and(mut self, names: &[HostName]) -> Self {
        for name in names {
            match name.address() {
                Some(address) => self.ip.push(address),
                None => self.dns.push(name.to_string()),
            }
        }
        self
    }
}

/// A server of this machine that is also known under those names.
fn server_leaf(common_name: &str, mut dns: Vec<String>, host: IpAddr, names: &[HostName]) -> LeafSpec {
    dns.push("localhost".to_owned());
    let ip = vec![IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
    let GivenNames { mut dns, mut ip } = GivenNames { dns, ip }.and(names);
    ip.extend(Some(host).filter(|host| !host.is_unspecified()));
    ip.sort_unstable();
    ip.dedup();
    dns.sort_unstable();
    dns.dedup();
    LeafSpec { common_name: common_name.into(), dns, ip, server: true, client: false }
}

fn client_leaf(name: &str) -> LeafSpec {
    LeafSpec { common_name: name.into(), dns: vec![], ip: vec![], server: false, client: true }
}

/// The certificates in a stack's folder, not those that `up` would make; none before the first `up`.
pub fn on_disk(layout: &Layout, now: Timestamp) -> Result<Vec<CertificateState>, Error> {
    let files = [
        ("ca", layout.ca_cert()),
        ("kes-server", layout.kes_cert()),
        ("minio", layout.minio_cert()),
        ("admin", layout.admin_cert()),
        ("s3", layout.s3_cert()),
    ];
    let states = files.into_iter().filter_map(|(name, path)| match read(&path) {
        Ok(pem) => Some(Ok(CertificateState::of(name, &pem?, now))),
        Err(error) => Some(Err(error)),
    });
    states.collect()
}

impl CertificateState {
    fn of(name: &'static str, pem: &str, now: Timestamp) -> Self {
        let Ok(validity) = Validity::of(pem) else {
            return Self { name, state: Lifetime::Broken, days_left: None, renewed_in_days: None };
        };
        let state = match (validity.is_over(now), validity.is_due(now)) {
            (true, _) => Lifetime::Expired,
            (false, true) => Lifetime::Due,
            (false, false) => Lifetime::Good,
        };
        let (left, renewed) = (validity.days_left(now), validity.days_to_renewal(now));
        Self { name, state, days_left: Some(left), renewed_in_days: Some(renewed) }
    }
}

impl std::fmt::Display for CertificateState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (left, renewed) = (self.days_left.unwrap_or_default(), self.renewed_in_days.unwrap_or_default());
        match self.state {
            Lifetime::Good => write!(f, "{}  {left} days left, `kestack up` renews it in {renewed} days", self.name),
            Lifetime::Due => write!(f, "{}  {left} days left, due: `kestack up` renews it", self.name),
            Lifetime::Expired if left < 0 => {
                write!(f, "{}  expired {} days ago: `kestack up` renews it", self.name, -left)
            }
            Lifetime::Expired => write!(f, "{}  not valid yet: check the clock; `kestack up` renews it", self.name),
            Lifetime::Broken => write!(f, "{}  is not a valid certificate: `kestack up` makes a new one", self.name),
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::Span;

    use super::*;

    struct Folder {
        _folder: tempfile::TempDir,
        layout: Layout,
    }

    fn day(days: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000).unwrap() + Span::new().hours(days * 24)
    }

    impl Folder {
        /// A stack that was brought up on day 0.
        fn new(manifest: &Manifest) -> Self {
            let folder = tempfile::tempdir().unwrap();
            let layout = Layout::new(folder.path(), "test");
            std::fs::create_dir_all(layout.certs()).unwrap();
            let new = Self { _folder: folder, layout };
            new.up(manifest, 0);
            new
        }

        /// What `up` renews on that day.
        fn up(&self, manifest: &Manifest, on: i64) -> Vec<(&'static str, Mismatch)> {
            let layout = &self.layout;
            let made = Certificates::complete(layout, manifest, day(on)).unwrap();
            std::fs::write(layout.ca_cert(), &made.authority.cert_pem).unwrap();
            std::fs::write(layout.ca_key(), made.authority.key_pem.as_bytes()).unwrap();
            let leafs = [
                (made.kes, layout.kes_cert(), layout.kes_key()),
                (made.minio, layout.minio_cert(), layout.minio_key()),
                (made.admin, layout.admin_cert(), layout.admin_key()),
            ];
            for (leaf, cert, key) in leafs {
                std::fs::write(cert, leaf.cert_pem).unwrap();
                std::fs::write(key, leaf.key_pem.as_bytes()).unwrap();
            }
            made.renewed.iter().map(|renewal| (renewal.name, renewal.why)).collect()
        }

        fn states(&self, on: i64) -> Vec<Lifetime> {
            on_disk(&self.layout, day(on)).unwrap().iter().map(|state| state.state).collect()
        }

        fn identity(&self) -> String {
            let pem = std::fs::read_to_string(self.layout.minio_cert()).unwrap();
            pki::identity(&pem).unwrap().to_string()
        }
    }

    const LEAFS: [(&str, Mismatch); 3] =
        [("kes-server", Mismatch::Due), ("minio", Mismatch::Due), ("admin", Mismatch::Due)];

    #[test]
    fn leafs_are_renewed_at_two_thirds_and_keep_their_identity() {
        use Lifetime::{Due, Expired, Good};
        let manifest = Manifest::default();
        let folder = Folder::new(&manifest);
        let identity = folder.identity();
        assert_eq!(folder.up(&manifest, 240), []);
        assert_eq!(folder.states(240), [Good; 4]);
        assert_eq!(folder.states(250), [Good, Due, Due, Due]);
        assert_eq!(folder.states(370), [Good, Expired, Expired, Expired]);
        assert_eq!(folder.up(&manifest, 370), LEAFS);
        assert_eq!(folder.states(370), [Good; 4]);
        assert_eq!(folder.identity(), identity);
        assert_eq!(folder.up(&manifest, 300).len(), 3, "the clock was set back");
    }

    #[test]
    fn the_authority_is_renewed_and_its_leafs_live_on() {
        let manifest = Manifest::default();
        let folder = Folder::new(&manifest);
        folder.up(&manifest, 2400);
        assert_eq!(folder.up(&manifest, 2440), [("ca", Mismatch::Due)]);
        assert_eq!(folder.up(&manifest, 2441), []);
        let expired = Folder::new(&manifest);
        let renewed = Certificates::complete(&expired.layout, &manifest, day(4000)).unwrap().renewed;
        let advice = renewed[0].advice.as_deref().unwrap();
        assert!(advice.contains("certs/ca.cert") && advice.ends_with("valid until 2037-01-12"), "{advice}");
        assert_eq!(expired.up(&manifest, 4000).len(), 4);
        assert_eq!(expired.states(4000), [Lifetime::Good; 4]);
    }

    #[test]
    fn another_authority_issues_everything_anew() {
        let manifest = Manifest::default();
        let folder = Folder::new(&manifest);
        std::fs::remove_file(folder.layout.ca_key()).unwrap();
        let expected = [("ca", Mismatch::Broken), ("kes-server", Mismatch::Issuer)];
        assert_eq!(folder.up(&manifest, 1)[..2], expected);
        std::fs::write(folder.layout.minio_cert(), "torn").unwrap();
        assert_eq!(folder.states(1)[2], Lifetime::Broken);
        assert_eq!(folder.up(&manifest, 1), [("minio", Mismatch::Broken)]);
    }

    #[test]
    fn names_of_the_manifest_are_in_the_certificate() {
        let mut manifest = Manifest::default();
        let folder = Folder::new(&manifest);
        manifest.kes.names = vec!["kes.example.org".parse().unwrap(), "192.0.2.7".parse().unwrap()];
        assert_eq!(folder.up(&manifest, 1), [("kes-server", Mismatch::Names)]);
        manifest.host = "192.0.2.7".parse().unwrap();
        assert_eq!(folder.up(&manifest, 1), [], "it is there already");
        manifest.host = "0.0.0.0".parse().unwrap();
        assert_eq!(folder.up(&manifest, 1), [], "nobody dials 0.0.0.0");
    }

    #[test]
    fn minio_has_a_certificate_of_its_own_with_tls() {
        let mut manifest = Manifest::default();
        assert!(Certificates::complete(&Folder::new(&manifest).layout, &manifest, day(0)).unwrap().s3.is_none());
        manifest.minio.tls = true;
        manifest.minio.names = vec!["s3.example.org".parse().unwrap()];
        manifest.minio.env.insert("MINIO_DOMAIN".into(), "buckets.example, 192.0.2.1, not valid".into());
        let spec = s3_leaf(&manifest);
        assert_eq!(spec.dns, ["*.buckets.example", "buckets.example", "localhost", "minio-server", "s3.example.org"]);
        assert_eq!(spec.ip.len(), 2);
        let folder = Folder::new(&manifest);
        let made = Certificates::complete(&folder.layout, &manifest, day(0)).unwrap();
        assert_eq!(pki::leaf_matches(&made.s3.unwrap(), &spec, &made.authority, day(0)), Ok(()));
    }
}
