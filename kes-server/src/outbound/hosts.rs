//! The hosts file: names that this machine knows without asking anybody.

use std::net::IpAddr;

/// The addresses that the text of a hosts file has for a name, IPv6 first. What is not an address, or not text, is
/// passed over.
pub(super) fn addresses(content: &[u8], name: &str) -> Vec<IpAddr> {
    let name = name.trim_end_matches('.');
    let content = String::from_utf8_lossy(content);
    let lines = content.trim_start_matches('\u{feff}').lines();
    let mut found: Vec<IpAddr> = lines.filter_map(|line| address(line, name)).collect();
    found.sort_by_key(IpAddr::is_ipv4);
    found.dedup();
    found
}

/// The address of a line, if the line is about that name: `10.1.2.3 vault.corp.test vault # comment`.
fn address(line: &str, name: &str) -> Option<IpAddr> {
    let mut words = line.split('#').next()?.split_whitespace();
    let address = words.next()?;
    let is_it = |word: &str| word.trim_end_matches('.').eq_ignore_ascii_case(name);
    words.any(is_it).then(|| address.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_the_addresses_of_its_lines() {
        let content = b"\xef\xbb\xbf10.0.0.1 first\n# 10.0.0.9 vault\n10.1.2.3\tvault.corp.test Vault_1 # vault-2\n\
            caf\xe9 is not an address\nfd00::3 vault.corp.test.\n10.1.2.3 vault.corp.test\n\
            fe80::1%lo vault.corp.test\n";
        let of = |name| addresses(content, name).iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(of("vault.corp.test"), ["fd00::3", "10.1.2.3"]);
        assert_eq!(of("VAULT.corp.test."), ["fd00::3", "10.1.2.3"]);
        assert_eq!(of("vault_1"), ["10.1.2.3"]);
        assert_eq!(of("first"), ["10.0.0.1"]);
        for absent in ["vault", "vault-2", "corp.test", "10.1.2.3", "not", ""] {
            assert!(of(absent).is_empty(), "{absent}");
        }
    }
}
