//! Who is asked by way of a proxy, and who is not: the variables of a shell must not send what stays on this machine
//! anywhere else.

use std::process::Output;
use std::sync::Arc;

use crate::fake::Fake;
use crate::fake::vault::{ROLE_ID, SECRET_ID, Vault};
use crate::namespace::{FAR, Namespace, OTHER, run};
use crate::servers::{Server, proxy};
use crate::support::Folder;

const PROXY: &str = "http://10.9.9.9:3128";
const HOSTS: &str = "127.0.0.1 localhost\n10.1.2.3 vault.corp.test\n";

/// What `kes` does with the keystore at `endpoint`, with these variables.
fn migrate(folder: &Folder, endpoint: &str, variables: &[(&str, &str)]) -> Output {
    let head = "admin: { identity: disabled }\ntls: { key: k, cert: c }\n";
    let vault = format!("{{ vault: {{ endpoint: '{endpoint}', approle: {{ id: {ROLE_ID}, secret: {SECRET_ID} }} }} }}");
    folder.write("vault.yaml", &format!("{head}keystore: {vault}\n"));
    folder.write("fs.yaml", &format!("{head}keystore: {{ fs: {{ path: copies }} }}\n"));
    let mut command = folder.command(&["migrate", "--from", "vault.yaml", "--to", "fs.yaml", "--dry-run"]);
    command.envs(variables.iter().copied()).output().unwrap()
}

/// Fails unless the keystore was reached, and the proxy was not.
fn is_direct(folder: &Folder, server: &Server, endpoint: &str, variables: &[(&str, &str)]) {
    let ended = migrate(folder, endpoint, variables);
    assert!(ended.status.success(), "{endpoint} {variables:?}: {}", crate::support::stderr(&ended));
    assert_eq!(server.asked(), Vec::<String>::new(), "{endpoint} {variables:?}");
}

const ALL: [(&str, &str); 6] = [
    ("HTTP_PROXY", PROXY),
    ("http_proxy", PROXY),
    ("HTTPS_PROXY", PROXY),
    ("https_proxy", PROXY),
    ("ALL_PROXY", PROXY),
    ("all_proxy", PROXY),
];

#[test]
#[ignore = "needs root, who may make namespaces"]
fn what_is_on_this_machine_never_reaches_a_proxy() {
    let name = "proxies::what_is_on_this_machine_never_reaches_a_proxy";
    let Some(_inside) = Namespace::enter(name, HOSTS, "") else { return };
    run(async {
        let proxy = proxy(OTHER).await;
        let _vault = Fake::start_at(([0, 0, 0, 0], 8200).into(), Arc::<Vault>::default()).await;
        let folder = Folder::new();
        for host in ["127.0.0.1", "localhost", "127.0.0.7", "0.0.0.0"] {
            is_direct(&folder, &proxy, &format!("http://{host}:8200"), &ALL);
        }
        let _server = folder.serve();
        for server in [folder.address.clone(), folder.address.replace("127.0.0.1", "localhost")] {
            let status = folder.command(&["status", "-k"]).envs(ALL).env("MINIO_KES_SERVER", server).output().unwrap();
            assert!(status.status.success(), "{}", crate::support::stderr(&status));
        }
        assert_eq!(proxy.asked(), Vec::<String>::new());
    });
}

#[test]
#[ignore = "needs root, who may make namespaces"]
fn exceptions_and_schemes_count_as_in_go() {
    let Some(_inside) = Namespace::enter("proxies::exceptions_and_schemes_count_as_in_go", HOSTS, "") else { return };
    run(async {
        let proxy = proxy(OTHER).await;
        let _vault = Fake::start_at((FAR, 8200).into(), Arc::<Vault>::default()).await;
        let folder = Folder::new();
        for (host, exception) in [
            ("10.1.2.3", "10.1.2.3:8200"),
            ("10.1.2.3", "10.0.0.0/8"),
            ("10.1.2.3", "*"),
            ("vault.corp.test", "*.corp.test"),
            ("vault.corp.test", ".corp.test"),
            ("vault.corp.test", "other.test, vault.corp.test:8200"),
        ] {
            let variables = [&ALL[..], &[("NO_PROXY", exception)]].concat();
            is_direct(&folder, &proxy, &format!("http://{host}:8200"), &variables);
        }
        let others = [("ALL_PROXY", PROXY), ("all_proxy", PROXY), ("HTTPS_PROXY", PROXY)];
        is_direct(&folder, &proxy, "http://10.1.2.3:8200", &others);

        let ended = migrate(&folder, "http://vault.corp.test:8200", &[("HTTP_PROXY", PROXY), ("NO_PROXY", ".test:1")]);
        assert!(!ended.status.success());
        let told = crate::support::stderr(&ended);
        assert!(told.contains("through the proxy http://10.9.9.9:3128 answered 403"), "{told}");
        assert_eq!(proxy.asked().first().unwrap(), "PUT http://vault.corp.test:8200/v1/auth/approle/login HTTP/1.1");
        let ended = migrate(&folder, "http://vault.corp.test:8200", &[("HTTP_PROXY", "socks5://10.9.9.9:3128")]);
        let told = crate::support::stderr(&ended);
        assert!(told.contains("HTTP_PROXY is not the URL of an HTTP proxy"), "{told}");
    });
}

#[test]
#[ignore = "needs root, who may make namespaces"]
fn the_command_line_uses_the_proxy_to_a_server_that_is_far() {
    let name = "proxies::the_command_line_uses_the_proxy_to_a_server_that_is_far";
    let Some(_inside) = Namespace::enter(name, HOSTS, "") else { return };
    run(async {
        let (proxy, folder) = (proxy(OTHER).await, Folder::new());
        let status = |variable: &str, exception: &str| {
            let mut command = folder.command(&["status", "-k"]);
            command.env("MINIO_KES_SERVER", "10.1.2.3:7373").env(variable, PROXY).env("NO_PROXY", exception);
            let ended = command.output().unwrap();
            assert!(!ended.status.success(), "nobody listens there");
            let (asked, told) = (proxy.asked(), crate::support::stderr(&ended));
            assert_eq!(told.contains("through the proxy http://10.9.9.9:3128"), !asked.is_empty(), "{told}");
            asked
        };
        assert_eq!(status("HTTPS_PROXY", "").first().unwrap(), "CONNECT 10.1.2.3:7373 HTTP/1.1");
        assert_eq!(status("https_proxy", "corp.test").first().unwrap(), "CONNECT 10.1.2.3:7373 HTTP/1.1");
        assert_eq!(status("HTTPS_PROXY", "10.0.0.0/8"), Vec::<String>::new());
        assert_eq!(status("HTTP_PROXY", ""), Vec::<String>::new());
        assert_eq!(status("ALL_PROXY", ""), Vec::<String>::new());
    });
}
