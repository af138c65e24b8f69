//! Makes a client from the environment and the common flags (docs/kes-protocol.md §9).

use std::{collections::HashMap, ffi::OsString, fs, io, path::Path};

use zeroize::Zeroizing;

use super::{
    CliError,
    output::{self, Output},
    password,
};
use crate::{
    auth::ApiKey,
    client::{Client, Credentials, Proxies, Timeouts, Trust},
    crypto::{encrypted_pem, private_key},
};

const SERVER: [&str; 3] = ["MINIO_KES_SERVER", "KES_SERVER", "MINIO_KMS_KES_ENDPOINT"];
const API_KEY: [&str; 3] = ["MINIO_KES_API_KEY", "KES_API_KEY", "MINIO_KMS_KES_API_KEY"];
const KEY_FILE: [&str; 3] = ["MINIO_KES_KEY_FILE", "KES_CLIENT_KEY", "MINIO_KES_CLIENT_KEY"];
const CERT_FILE: [&str; 3] = ["MINIO_KES_CERT_FILE", "KES_CLIENT_CERT", "MINIO_KES_CLIENT_CERT"];

/// Ours: MinIO KES has no way to name a CA but `SSL_CERT_FILE`, which changes it for every program of a shell.
const CA_PATH: [&str; 3] = ["MINIO_KES_CA_PATH", "KES_CA_PATH", MINIO_CA_PATH];

/// `MinIO`'s: CAs in addition to those of the system, and a path that does not exist is none (docs/minio-kms-client.md).
const MINIO_CA_PATH: &str = "MINIO_KMS_KES_CAPATH";

const DEFAULT_SERVER: &str = "127.0.0.1:7373";

/// The variables of the process, read once at start.
#[derive(Clone)]
pub(super) struct Environment(HashMap<OsString, OsString>);

impl Environment {
    pub(super) fn of_process() -> Self {
        Self(std::env::vars_os().collect())
    }

    pub(super) fn get(&self, name: &str) -> Option<String> {
        self.0.get(&OsString::from(name)).map(|value| value.to_string_lossy().into_owned())
    }

    /// The same, for backends of clouds.
    pub(super) fn for_keystores(&self) -> crate::keystore::Environment {
        let variables = self.clone();
        crate::keystore::Environment::new(move |name| variables.get(name))
    }

    /// The proxies that the variables name.
    pub(super) fn proxies(&self) -> Proxies {
        Proxies::of(|name| self.get(name))
    }

    /// The first variable that is set decides, even if it is empty.
    fn first(&self, names: &[&str]) -> String {
        names.iter().find_map(|name| self.get(name)).unwrap_or_default()
    }
}

/// Flags of every command that talks to a server.
#[derive(Debug, clap::Args)]
pub(super) struct ServerFlags {
    /// Skip the verification of the server's certificate
    #[arg(short = 'k', long)]
    insecure: bool,
    /// Ignored, for old scripts: there are no enclaves any more
    #[arg(short = 'e', long = "enclave", value_name = "name", hide = true)]
    _enclave: Option<String>,
}

/// What a command needs to reach its server.
pub(super) struct Session<'a> {
    pub(super) environment: &'a Environment,
    pub(super) output: Output,
}

impl Session<'_> {
    /// The client that environment and flags describe.
    pub(super) fn client(&self, flags: &ServerFlags) -> Result<Client, CliError> {
        self.client_for(flags, None, None)
    }

    /// As [`Self::client`]; what the command line names beats the environment.
    pub(super) fn client_for(
        &self,
        flags: &ServerFlags,
        servers: Option<&str>,
        api_key: Option<&str>,
    ) -> Result<Client, CliError> {
        let credentials = self.credentials(api_key)?;
        let trust = if flags.insecure { Trust::Insecure } else { self.trust()? };
        let (proxies, servers) = (self.environment.proxies(), self.servers(servers));
        Ok(Client::by_way_of(proxies, &servers, credentials, &trust, Timeouts::default())?)
    }

    /// The CAs that the environment names, else the system's roots.
    fn trust(&self) -> Result<Trust, CliError> {
        let named = CA_PATH.iter().find_map(|name| Some((*name, self.environment.get(name)?)));
        let Some((name, path)) = named.filter(|(_, path)| !path.is_empty()) else { return Ok(Trust::System) };
        match authorities(Path::new(&path)) {
            Ok(pem) if name == MINIO_CA_PATH => Ok(Trust::Also(pem)),
            Ok(pem) => Ok(Trust::Pem(pem)),
            Err(error) if name == MINIO_CA_PATH && error.kind() == io::ErrorKind::NotFound => Ok(Trust::System),
            Err(error) => Err(CliError::message(format!(
                "cannot read CA '{path}': {error}; set {name} to a PEM file, or a folder of them"
            ))),
        }
    }

    /// The servers of the command line, else of the environment, else the default one.
    pub(super) fn servers(&self, given: Option<&str>) -> Vec<String> {
        let text = given.map_or_else(|| self.environment.first(&SERVER), str::to_owned);
        let servers: Vec<String> =
            text.split(',').map(str::trim).filter(|s| !s.is_empty()).map(str::to_owned).collect();
        if servers.is_empty() { vec![DEFAULT_SERVER.to_owned()] } else { servers }
    }

    /// The API key of the command line, else what the environment names.
    pub(super) fn credentials(&self, given: Option<&str>) -> Result<Credentials, CliError> {
        let api_key = Zeroizing::new(given.map_or_else(|| self.environment.first(&API_KEY), str::to_owned));
        let key_file = self.environment.first(&KEY_FILE);
        let cert_file = self.environment.first(&CERT_FILE);
        match (api_key.is_empty(), key_file.is_empty(), cert_file.is_empty()) {
            (true, true, true) => fail("no API key specified. Consider setting MINIO_KES_API_KEY"),
            (false, false, _) => fail("API key and private key file cannot be used at the same time"),
            (false, true, false) => fail("API key and certificate file cannot be used at the same time"),
            (true, false, true) => fail("no certificate file specified. Consider setting MINIO_KES_CERT_FILE"),
            (true, true, false) => fail("no private key file specified. Consider setting MINIO_KES_KEY_FILE"),
            (false, true, true) => from_api_key(&api_key),
            (true, false, false) => key_pair(Path::new(&cert_file), Path::new(&key_file)),
        }
    }
}

/// Says which of several servers answers, unless it is the one that was `named` before.
pub(super) fn name_server(client: &Client, named: &mut Option<String>) {
    let (all, server) = (client.endpoints().len(), client.endpoint());
    if all > 1 && named.as_ref() != Some(&server) {
        output::note(&format!("'{server}' answers, one of {all} servers"));
        *named = Some(server);
    }
}

/// The text of a file, or of all files of a folder.
fn authorities(path: &Path) -> io::Result<Vec<u8>> {
    if !path.is_dir() {
        return fs::read(path);
    }
    let mut all = Vec::new();
    for entry in fs::read_dir(path)? {
        let file = entry?.path();
        if file.is_file() {
            all.extend(fs::read(file)?);
            all.push(b'\n');
        }
    }
    Ok(all)
}

fn key_pair(cert_file: &Path, key_file: &Path) -> Result<Credentials, CliError> {
    let certificate = read(cert_file)?;
    let mut key = Zeroizing::new(read(key_file)?);
    let blocks = pem::parse_many(&*key).unwrap_or_default();
    if let Some(block) = private_key::find(&blocks)
        && encrypted_pem::is_encrypted(block)
    {
        let password = password::ask("Enter password for private key: ")?;
        let der = encrypted_pem::decrypt(block, &password).map_err(|_| CliError::message("incorrect password"))?;
        key = Zeroizing::new(pem::encode(&pem::Pem::new("PRIVATE KEY", der.to_vec())).into_bytes());
    }
    Ok(Credentials::from_pem(&certificate, &key)?)
}

/// Reads a file; the text of an error is the one that Go programs give.
pub(super) fn read(file: &Path) -> Result<Vec<u8>, CliError> {
    fs::read(file).map_err(|error| CliError::file("open", file, &error))
}

fn from_api_key(text: &str) -> Result<Credentials, CliError> {
    let parsing = |error: &dyn std::fmt::Display| CliError::message(format!("parsing API key: {error}"));
    let api_key: ApiKey = text.parse().map_err(|error| parsing(&error))?;
    let certificate = api_key.certificate().map_err(|error| parsing(&error))?;
    Ok(Credentials::new(vec![certificate], api_key.private_key()))
}

fn fail<T>(text: &str) -> Result<T, CliError> {
    Err(CliError::message(text))
}

#[cfg(test)]
mod tests {

    use super::*;

    fn environment(variables: &[(&str, &str)]) -> Environment {
        Environment(variables.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect())
    }

    fn servers(variables: &[(&str, &str)]) -> Vec<String> {
        let environment = environment(variables);
        Session { output: Output::new(&environment), environment: &environment }.servers(None)
    }

    fn refusal(variables: &[(&str, &str)]) -> String {
        let environment = environment(variables);
        let session = Session { output: Output::new(&environment), environment: &environment };
        session
            .client(&ServerFlags { insecure: true, _enclave: None })
            .err()
            .map(|error| error.to_string())
            .unwrap_or_default()
    }

    #[test]
    fn the_first_variable_that_is_set_names_the_servers() {
        assert_eq!(servers(&[]), ["127.0.0.1:7373"]);
        assert_eq!(servers(&[("KES_SERVER", "a:1, b:2"), ("MINIO_KMS_KES_ENDPOINT", "c:3")]), ["a:1", "b:2"]);
        assert_eq!(servers(&[("MINIO_KES_SERVER", ""), ("KES_SERVER", "a:1")]), ["127.0.0.1:7373"]);
    }

    #[test]
    fn credentials_must_be_one_of_two_kinds() {
        let (api_key, key, cert) = (("KES_API_KEY", "k"), ("KES_CLIENT_KEY", "f"), ("KES_CLIENT_CERT", "f"));
        assert_eq!(refusal(&[]), "no API key specified. Consider setting MINIO_KES_API_KEY");
        assert_eq!(refusal(&[api_key, key]), "API key and private key file cannot be used at the same time");
        assert_eq!(refusal(&[api_key, cert]), "API key and certificate file cannot be used at the same time");
        assert_eq!(refusal(&[key]), "no certificate file specified. Consider setting MINIO_KES_CERT_FILE");
        assert_eq!(refusal(&[cert]), "no private key file specified. Consider setting MINIO_KES_KEY_FILE");
        assert_eq!(refusal(&[("MINIO_KES_API_KEY", ""), api_key]), refusal(&[]));
    }
}
