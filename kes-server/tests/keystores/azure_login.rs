//! Azure Key Vault: who we are, and who learns it.

use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use kes_server::config::{AzureAuth, AzureConfig, KeyStoreConfig};
use kes_server::keystore::{Backend, Environment, KeyStore as _, KeyStoreError};

use super::azure::{client, connect, environment, start};
use super::conformance::VALUE;
use super::fake::azure::{FEDERATED, SECRET};
use super::fake::{Fake, Fault, Reply};
use super::remote;

/// What came of a first call, and the calls that it took, without those of the vault.
async fn logins(fake: &Fake, auth: AzureAuth, variables: &[(&str, &str)]) -> (Result<(), String>, Vec<String>) {
    let store = connect(fake, auth, &environment(fake, variables)).await.unwrap();
    fake.trace();
    let result = store.list("").await.map(|_| ()).map_err(|error| error.to_string());
    let lines = fake.trace().into_iter().filter(|line| !line.contains("/secrets"));
    (result, lines.map(|line| line.split('&').next().unwrap().to_owned()).collect())
}

#[tokio::test]
async fn a_wrong_secret_is_told_by_the_first_call() {
    let (fake, _) = start().await;
    let (result, _) = logins(&fake, client("wrong-secret"), &[]).await;
    let text = result.unwrap_err();
    assert!(text.contains("/tenant/oauth2/v2.0/token answered 401") && text.contains("AADSTS7000215"), "{text}");
    assert!(!text.contains("wrong-secret"), "{text}");
}

#[tokio::test]
async fn the_default_chain_takes_the_first_that_is_there() {
    let (fake, _) = start().await;
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    std::fs::write(&token, format!("{FEDERATED}\n")).unwrap();
    let application = [("AZURE_TENANT_ID", "tenant"), ("AZURE_CLIENT_ID", "client")];
    let token = [("AZURE_FEDERATED_TOKEN_FILE", token.to_str().unwrap())];
    let metadata = [("AZURE_POD_IDENTITY_AUTHORITY_HOST", &*fake.url())];
    let chain = async |variables: &[&[(&str, &str)]]| {
        let (result, calls) = logins(&fake, AzureAuth::Default, &variables.concat()).await;
        result.unwrap();
        calls
    };
    let oauth = ["POST /tenant/oauth2/v2.0/token grant_type=client_credentials"];
    assert_eq!(chain(&[&application, &[("AZURE_CLIENT_SECRET", SECRET)], &token, &metadata]).await, oauth);
    assert_eq!(chain(&[&application, &token, &metadata]).await, oauth);
    let imds = "GET /metadata/identity/oauth2/token?api-version=2018-02-01";
    assert_eq!(chain(&[&metadata]).await, [imds, imds], "the first looks if it is there");
    assert_eq!(chain(&[&metadata, &[("AZURE_CLIENT_ID", "identity")]]).await, [imds, imds]);
    let service = format!("{}/msi/token", fake.url());
    let service = [("IDENTITY_ENDPOINT", &*service), ("IDENTITY_HEADER", "header")];
    assert_eq!(chain(&[&metadata, &service]).await, ["GET /msi/token?api-version=2019-08-01"]);
}

#[tokio::test]
async fn a_cluster_s_token_is_read_anew_each_time() {
    let (fake, service) = start().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    let variables = [
        ("AZURE_TENANT_ID", "tenant"),
        ("AZURE_CLIENT_ID", "client"),
        ("AZURE_FEDERATED_TOKEN_FILE", file.to_str().unwrap()),
    ];
    let store = connect(&fake, AzureAuth::Default, &environment(&fake, &variables)).await.unwrap();
    let text = store.list("").await.unwrap_err().to_string();
    assert!(text.contains("cannot read the token of AZURE_FEDERATED_TOKEN_FILE"), "{text}");
    std::fs::write(&file, "old").unwrap();
    assert!(store.list("").await.unwrap_err().to_string().contains("answered 401"));
    std::fs::write(&file, FEDERATED).unwrap();
    store.list("").await.unwrap();
    assert_eq!(service.tokens(), 1);
}

#[tokio::test]
async fn a_managed_identity_is_asked_for_by_its_client_id() {
    let (fake, _) = start().await;
    let metadata = [("AZURE_POD_IDENTITY_AUTHORITY_HOST", &*fake.url())];
    let identity = |client_id: &str| AzureAuth::ManagedIdentity { client_id: client_id.into() };
    let (result, calls) = logins(&fake, identity("identity"), &metadata).await;
    assert_eq!((result, calls.len()), (Ok(()), 1));
    let (result, _) = logins(&fake, identity("unknown"), &metadata).await;
    assert!(result.unwrap_err().contains("/metadata/identity/oauth2/token answered 400"));
    // the metadata service does not know an identity at once
    fake.fail("/metadata", 2, Fault::Answer(Reply::status(404)));
    let (result, calls) = remote::hurry(logins(&fake, identity("identity"), &metadata)).await;
    assert_eq!((result, calls.len()), (Ok(()), 3));
    let arc = [("IDENTITY_ENDPOINT", "http://localhost:1"), ("IMDS_ENDPOINT", "http://localhost:1")];
    assert!(logins(&fake, identity("identity"), &arc).await.0.unwrap_err().contains("Azure Arc is not supported"));
}

#[tokio::test(flavor = "multi_thread")]
async fn managed_identities_are_not_asked_for_by_way_of_a_proxy() {
    let (near, service) = start().await;
    let vault = Fake::start_tls(service.clone()).await;
    let folder = tempfile::tempdir().unwrap();
    let config = |name: &str, keystore: &str| {
        let server = "admin: { identity: disabled }\ntls: { key: k, cert: c }\n";
        std::fs::write(folder.path().join(name), format!("{server}keystore: {keystore}\n")).unwrap();
    };
    config("azure.yaml", &format!("{{ azure: {{ keyvault: {{ endpoint: \"{}\" }} }} }}", vault.url()));
    config("fs.yaml", "{ fs: { path: keys } }");
    let token = format!("{}/msi/token", near.url());
    for variables in [
        vec![("IDENTITY_ENDPOINT", &*token), ("IDENTITY_HEADER", "header")],
        vec![("AZURE_POD_IDENTITY_AUTHORITY_HOST", &*near.url())],
    ] {
        let mut kes = tokio::process::Command::new(env!("CARGO_BIN_EXE_kes"));
        kes.args(["migrate", "--from", "azure.yaml", "--to", "fs.yaml", "--dry-run"]).current_dir(&folder);
        kes.env_clear().envs(variables).env("SSL_CERT_FILE", vault.ca().unwrap());
        kes.env("KES_AZURE_SKIP_DOMAIN_CHECK", "on").env("HTTP_PROXY", "http://127.0.0.1:1").kill_on_drop(true);
        let ended = tokio::time::timeout(Duration::from_secs(60), kes.output()).await.unwrap().unwrap();
        assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    }
    assert_eq!(service.tokens(), 2);
}

#[tokio::test]
async fn the_command_lines_come_last() {
    let (fake, service) = start().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap().to_owned();
    let nobody = [("AZURE_POD_IDENTITY_AUTHORITY_HOST", "http://127.0.0.1:1"), ("PATH", &*path)];
    let (result, calls) = logins(&fake, AzureAuth::Default, &nobody).await;
    let text = result.unwrap_err();
    for part in [
        "environment: AZURE_TENANT_ID",
        "workload identity: ",
        "no metadata service answers",
        "az: not installed",
        "azd: not installed",
    ] {
        assert!(text.contains(part), "{text}");
    }
    assert_eq!(calls, Vec::<String>::new());
    let certificate = [&nobody[..], &[("AZURE_CLIENT_CERTIFICATE_PATH", "/cert.pem")]].concat();
    let text = logins(&fake, AzureAuth::Default, &certificate).await.0.unwrap_err();
    assert!(text.contains("AZURE_CLIENT_CERTIFICATE_PATH is not supported; set AZURE_CLIENT_SECRET"), "{text}");
    install(&folder, "az", "echo \"Please run 'az login'\" >&2; exit 1");
    install(&folder, "azd", "echo '{\"token\":\"token-1\",\"expiresOn\":\"2099-01-01T00:00:00Z\"}'");
    assert_eq!(service.grant(), "token-1");
    assert_eq!(logins(&fake, AzureAuth::Default, &nobody).await.0, Ok(()));
    install(&folder, "az", "echo \"{\\\"accessToken\\\":\\\"token-1\\\",\\\"asked\\\":\\\"$*\\\"}\" | tee $0.out");
    assert_eq!(logins(&fake, AzureAuth::Default, &nobody).await.0, Ok(()));
    let asked = std::fs::read_to_string(folder.path().join("az.out")).unwrap();
    assert!(
        asked.contains("account get-access-token --output json --resource https://vault.azure.net --tenant tenant")
    );
}

fn install(folder: &tempfile::TempDir, name: &str, script: &str) {
    let path = folder.path().join(name);
    std::fs::write(&path, format!("#!/bin/sh\nPATH=/usr/bin:/bin\n{script}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

/// A vault that belongs to somebody else gets no token, and nobody is asked for one.
#[tokio::test]
async fn foreign_challenges_are_refused() {
    let (fake, service) = start().await;
    service.set(|settings| settings.tenant = "other");
    let (result, calls) = logins(&fake, client(SECRET), &[]).await;
    assert!(result.unwrap_err().contains("the vault belongs to tenant 'other' and not to 'tenant'"));
    assert_eq!(calls, Vec::<String>::new());
    service.set(|settings| settings.tenant = "tenant");
    for value in ["", "off", "true"] {
        let (result, calls) = logins(&fake, client(SECRET), &[("KES_AZURE_SKIP_DOMAIN_CHECK", value)]).await;
        assert!(result.unwrap_err().contains("'127.0.0.1' asks for a token for 'https://vault.azure.net'"));
        assert_eq!(calls, Vec::<String>::new());
    }
    fake.fail("/secrets", 1, Fault::Answer(Reply::status(401)));
    let text = logins(&fake, client(SECRET), &[]).await.0.unwrap_err();
    assert!(text.ends_with("/secrets answered 401: it does not say where to log in; is this an Azure Key Vault?"));
    for endpoint in ["http://my.vault.azure.net", "ftp://x"] {
        let config = AzureConfig { endpoint: endpoint.into(), auth: client(SECRET) };
        let refused = Backend::connect(&KeyStoreConfig::Azure(config), &Environment::empty()).await;
        assert!(matches!(refused, Err(KeyStoreError::Other(_))), "{endpoint}");
    }
}

#[tokio::test]
async fn tokens_are_renewed_in_time_and_kept_while_that_fails() {
    let (fake, service) = start().await;
    let store = connect(&fake, client(SECRET), &environment(&fake, &[])).await.unwrap();
    store.create("a", VALUE).await.unwrap();
    remote::pass(Duration::from_secs(3600 - 310)).await;
    store.get("a").await.unwrap();
    assert_eq!(service.tokens(), 1);
    remote::pass(Duration::from_secs(20)).await;
    fake.fail("/token", 8, Fault::Answer(Reply::status(400)));
    store.get("a").await.unwrap();
    assert_eq!(service.tokens(), 1, "the token is still valid");
    fake.trace();
    store.get("a").await.unwrap();
    assert!(fake.trace().iter().all(|line| !line.contains("/token")), "not asked for at each call");
    fake.heal();
    remote::pass(Duration::from_secs(6)).await;
    store.get("a").await.unwrap();
    assert_eq!(service.tokens(), 2);
}

#[tokio::test]
async fn a_token_that_is_refused_is_replaced_once_for_all() {
    let (fake, service) = start().await;
    let store = connect(&fake, client(SECRET), &environment(&fake, &[])).await.unwrap();
    store.create("a", VALUE).await.unwrap();
    service.expire();
    assert!(store.get("a").await.unwrap_err().to_string().contains("answered 401"), "too young to be the reason");
    remote::pass(Duration::from_secs(2)).await;
    let all = futures_util::future::join_all((0..9).map(|_| store.get("a"))).await;
    assert!(all.into_iter().all(|value| value.unwrap().as_slice() == VALUE));
    assert_eq!(service.tokens(), 2);
}
