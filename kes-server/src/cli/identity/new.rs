//! `kes identity new`: an API key, or a private key and its certificate in files (docs/kes-protocol.md §9).

use std::{
    io,
    net::IpAddr,
    path::{Path, PathBuf},
};

use clap::Args;
use jiff::SignedDuration;
use rcgen::{ExtendedKeyUsagePurpose, SanType};
use zeroize::Zeroizing;

use super::super::{
    CliError,
    output::{self, Output},
    password,
    successor::Successor,
    time,
};
use crate::{auth::ApiKey, crypto::encrypted_pem};

const MONTH: SignedDuration = SignedDuration::from_hours(720);

#[derive(Debug, Args)]
pub(in crate::cli) struct NewArguments {
    /// Common name of the certificate; the identity by default
    #[arg(value_name = "common name")]
    name: Option<String>,
    /// File for the private key
    #[arg(long, value_name = "file")]
    pub(super) key: Option<PathBuf>,
    /// File for the certificate
    #[arg(long, value_name = "file")]
    pub(super) cert: Option<PathBuf>,
    /// IP addresses of the certificate
    #[arg(long, value_name = "IP", value_delimiter = ',')]
    ip: Vec<IpAddr>,
    /// Domain names of the certificate
    #[arg(long, value_name = "domain", value_delimiter = ',')]
    dns: Vec<String>,
    /// How long the certificate is valid [default: 720h]
    #[arg(
        long,
        short_alias = 't',
        alias = "time",
        value_name = "duration",
        value_parser = time::signed,
        allow_hyphen_values = true
    )]
    expiry: Option<SignedDuration>,
    /// Encrypt the private key with a password
    #[arg(long)]
    encrypt: bool,
    /// Overwrite existing files
    #[arg(short, long)]
    force: bool,
    /// Older spelling: certificates serve both sides now
    #[arg(long, hide = true)]
    server: bool,
}

pub(super) fn run(arguments: &NewArguments, output: Output) -> Result<(), CliError> {
    let api_key = ApiKey::generate().map_err(CliError::plain)?;
    match (&arguments.key, &arguments.cert) {
        (Some(key), Some(cert)) => write_files(arguments, &api_key, key, cert)?,
        (Some(_), None) => {
            return Err(CliError::message("private key file but no certificate file specified: add --cert"));
        }
        (None, Some(_)) => {
            return Err(CliError::message("certificate file but no private key file specified: add --key"));
        }
        (None, None) => refuse_file_flags(arguments)?,
    }
    if arguments.expiry.is_some_and(|life| life <= SignedDuration::ZERO) {
        output.warning("the certificate has expired already: '--expiry' is not longer than zero");
    }
    output::print(&announcement(&api_key, arguments.key.as_deref().zip(arguments.cert.as_deref())))
}

fn refuse_file_flags(arguments: &NewArguments) -> Result<(), CliError> {
    let flags = [
        ("--ip", !arguments.ip.is_empty()),
        ("--dns", !arguments.dns.is_empty()),
        ("--expiry", arguments.expiry.is_some()),
        ("--encrypt", arguments.encrypt),
        ("--force", arguments.force),
    ];
    match flags.iter().find(|(_, is_given)| *is_given) {
        Some((flag, _)) => Err(CliError::message(format!("'{flag}' needs files: add --key and --cert"))),
        None => Ok(()),
    }
}

/// What is said, line by line where MinIO KES says it: scripts take the third line, and the ninth.
fn announcement(api_key: &ApiKey, files: Option<(&Path, &Path)>) -> Zeroizing<String> {
    let (key, identity) = (api_key.reveal(), api_key.identity());
    let (stored, again) = files.map_or_else(Default::default, |(key_file, cert_file)| {
        let (key_file, cert_file) = (key_file.display(), cert_file.display());
        let stored =
            format!("The private key is in the file: {key_file}\nThe certificate is in the file: {cert_file}\n\n");
        (stored, format!("    kes identity of {cert_file}\n"))
    });
    Zeroizing::new(format!(
        "Your API key:\n\n   {}\n\nIt is shown only now. Keep it secret.\n\n\
         Your Identity:\n\n   {identity}\n\n\
         The identity is not a secret. Policies name it, and a server\nknows by it whose API key is used.\n\n\
         {stored}To compute the identity again:\n\n    kes identity of {}\n{again}",
        *key, *key
    ))
}

fn write_files(arguments: &NewArguments, api_key: &ApiKey, key_file: &Path, cert_file: &Path) -> Result<(), CliError> {
    if key_file == cert_file {
        return Err(CliError::message("private key and certificate need a file each: change --key or --cert"));
    }
    for (what, file) in [("private key", key_file), ("certificate", cert_file)] {
        if file.is_dir() {
            return Err(CliError::message(format!("{what} '{}' is a folder: name a file", file.display())));
        }
        if !arguments.force && file.exists() {
            return Err(CliError::message(format!(
                "{what} '{}' already exists. Use --force to overwrite it",
                file.display()
            )));
        }
    }
    let certificate = certificate(arguments, api_key)?;
    let key = api_key.private_key();
    let key = if arguments.encrypt {
        encrypted_pem::encrypt("PRIVATE KEY", key.secret_der(), &new_password()?).map_err(CliError::plain)?
    } else {
        Zeroizing::new(pem("PRIVATE KEY", key.secret_der()))
    };
    let failed = |file: &Path, error: &io::Error| CliError::file("open", file, error);
    // the key is for nobody else, whatever the mode of a former one
    let key = Successor::of(key_file, key.as_bytes(), 0o600, 0o007);
    let key = key.map_err(|error| failed(key_file, &error))?;
    let certificate = Successor::of(cert_file, certificate.as_bytes(), 0o644, 0);
    let certificate = certificate.map_err(|error| failed(cert_file, &error))?;
    // whatever happens in between, a private key that was there goes last
    certificate.put().map_err(|error| failed(cert_file, &error))?;
    key.put().map_err(|error| failed(key_file, &error))
}

fn pem(label: &str, der: &[u8]) -> String {
    let config = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
    pem::encode_config(&pem::Pem::new(label, der), config)
}

fn new_password() -> Result<Zeroizing<String>, CliError> {
    let password = password::ask("Enter password for private key: ")?;
    let again = password::ask("Confirm password for private key: ")?;
    if password == again { Ok(password) } else { Err(CliError::message("passwords don't match")) }
}

/// Self-signed, for both sides of a connection.
fn certificate(arguments: &NewArguments, api_key: &ApiKey) -> Result<String, CliError> {
    let name = arguments.name.as_deref().unwrap_or(api_key.identity().as_str());
    let usages = vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
    let mut sans = Vec::new();
    for domain in &arguments.dns {
        let domain = domain
            .as_str()
            .try_into()
            .map_err(|_| CliError::message(format!("'{domain}' is not a valid domain name")))?;
        sans.push(SanType::DnsName(domain));
    }
    sans.extend(arguments.ip.iter().copied().map(SanType::IpAddress));
    let certificate = api_key.certificate_for(name, arguments.expiry.unwrap_or(MONTH), usages, sans);
    Ok(pem("CERTIFICATE", &certificate.map_err(CliError::plain)?))
}
