//! Where a host is: what the hosts file has needs no name server, and a name server may be silent in part.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::fake::Fake;
use crate::fake::vault::{ROLE_ID, SECRET_ID, Vault};
use crate::namespace::{FAR, Namespace, OTHER, run};
use crate::servers::{Answers, name_server};
use crate::support::{Folder, eventually};

const SILENT: &str = "nameserver 10.9.9.9\n";
const GOOD: &str = "nameserver 127.0.0.1\n";
/// Longest time for what takes a moment here, on a machine with much else to do.
const SOON: Duration = Duration::from_secs(20);

/// A Vault on port 8200 of this address.
async fn vault(address: [u8; 4]) -> (Fake, Arc<Vault>) {
    let service = Arc::<Vault>::default();
    (Fake::start_at((address, 8200).into(), service.clone()).await, service)
}

/// A folder whose server keeps its keys in a Vault at that endpoint.
fn folder(endpoint: &str) -> Folder {
    let folder = Folder::new();
    let fs = format!("  fs:\n    path: {}\n", folder.path("keys"));
    let vault = format!("  vault: {{ endpoint: '{endpoint}', approle: {{ id: {ROLE_ID}, secret: {SECRET_ID} }} }}\n");
    let config = folder.config("keys");
    assert!(config.contains(&fs));
    folder.write("config.yaml", &config.replace(&fs, &vault));
    folder
}

fn kes(folder: &Folder, arguments: &[&str]) -> bool {
    folder.kes(arguments).status.success()
}

#[test]
#[ignore = "needs root, who may make namespaces"]
fn the_hosts_file_needs_no_name_server() {
    let hosts = "127.0.0.1 localhost kes.corp.test\n10.1.2.3 vault.corp.test\n";
    let Some(_inside) = Namespace::enter("names::the_hosts_file_needs_no_name_server", hosts, SILENT) else { return };
    run(async {
        let (silent, (_vault, _)) = (name_server(OTHER, Answers::Nothing).await, vault(FAR).await);
        let folder = folder("http://vault.corp.test:8200");
        let start = Instant::now();
        let _server = folder.serve();
        assert!(kes(&folder, &["key", "create", "k1", "-k"]));
        let address = folder.address.replace("127.0.0.1", "kes.corp.test");
        let status = folder.command(&["status", "-k"]).env("MINIO_KES_SERVER", address).output().unwrap();
        assert!(status.status.success(), "{}", crate::support::stderr(&status));
        assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
        println!("ready, created and asked by name after {:?}", start.elapsed());
        assert_eq!(silent.asked(), Vec::<String>::new());
    });
}

#[test]
#[ignore = "needs root, who may make namespaces"]
fn ipv4_is_used_when_nothing_answers_for_ipv6() {
    let test = "names::ipv4_is_used_when_nothing_answers_for_ipv6";
    let Some(_inside) = Namespace::enter(test, "127.0.0.1 localhost\n", SILENT) else { return };
    run(async {
        let (server, (_vault, _)) = (name_server(OTHER, Answers::OnlyIpv4(FAR)).await, vault(FAR).await);
        let folder = folder("http://vault.corp.test:8200");
        let start = Instant::now();
        let _server = folder.serve();
        assert!(kes(&folder, &["key", "create", "k1", "-k"]));
        assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
        println!("ready and created after {:?}", start.elapsed());
        assert!(server.asked().iter().any(|line| line.starts_with("[0, 28]")), "it was asked for IPv6 too");
    });
}

/// Nobody reloads it: a machine that moves to another network has other name servers.
#[test]
#[ignore = "needs root, who may make namespaces"]
fn other_name_servers_are_noticed() {
    let test = "names::other_name_servers_are_noticed";
    let Some(inside) = Namespace::enter(test, "127.0.0.1 localhost\n", GOOD) else { return };
    run(async {
        let ((_first, here), (_second, there)) = (vault(FAR).await, vault(OTHER).await);
        let _good = name_server([127, 0, 0, 1], Answers::OnlyIpv4(FAR)).await;
        let _silent = name_server(OTHER, Answers::Nothing).await;
        let _moved = name_server([127, 0, 0, 2], Answers::OnlyIpv4(OTHER)).await;
        let folder = folder("http://vault.corp.test:8200");
        let _server = folder.serve();
        assert!(kes(&folder, &["key", "create", "k1", "-k"]));
        assert!(here.stored("kv", "k1").is_some());
        inside.set_resolv(SILENT);
        assert!(!kes(&folder, &["key", "create", "k2", "-k"]), "the name server of now does not answer");
        inside.set_resolv("nameserver 127.0.0.2\n");
        let start = Instant::now();
        eventually("the new name server is asked", || kes(&folder, &["key", "create", "k3", "-k"]));
        println!("the new one counted after {:?}", start.elapsed());
        assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
        assert!(there.stored("kv", "k3").is_some() && here.stored("kv", "k3").is_none());
    });
}
