//! The arguments of MinIO's `server`, as far as they decide what kestack does.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// Options of `server` without a value. Every other one has a value, behind `=` or as the next word.
const SWITCHES: [&str; 8] = ["quiet", "json", "anonymous", "no-compat", "log-compress", "help", "h", "version"];

/// Where MinIO listens unless the call says otherwise.
const ADDRESS: &str = ":9000";

/// A call of `server`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Server {
    /// Where S3 is wanted, such as `:9000` or `127.0.0.1:9000`.
    pub(super) address: String,
    /// Where the console is wanted, if the call chooses its port.
    pub(super) console: Option<String>,
    /// Folder of MinIO's certificates, if one is named.
    pub(super) certs: Option<PathBuf>,
    /// Whether MinIO writes JSON.
    pub(super) json: bool,
    /// Whether MinIO says nothing at its start.
    pub(super) quiet: bool,
    /// The drives as they are written; several, or a pattern of them.
    pub(super) drives: Vec<String>,
    /// The arguments without the addresses.
    pub(super) rest: Vec<OsString>,
}

/// Reads the arguments after `server`; `env` says what MinIO's variables are. Every mistake is added to `mistakes`.
pub(super) fn read(arguments: &[OsString], env: &dyn Fn(&str) -> Option<String>, mistakes: &mut Vec<String>) -> Server {
    let mut server = Server {
        address: env("MINIO_ADDRESS").unwrap_or_else(|| ADDRESS.to_owned()),
        console: env("MINIO_CONSOLE_ADDRESS"),
        certs: env("MINIO_CERTS_DIR").map(PathBuf::from),
        json: env("MINIO_JSON").is_some_and(|value| crate::manifest::is_on(&value)),
        quiet: env("MINIO_QUIET").is_some_and(|value| crate::manifest::is_on(&value)),
        drives: Vec::new(),
        rest: Vec::new(),
    };
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        let text = word.to_string_lossy();
        let Some((name, value)) = option(&text) else {
            server.drives.push(text.into_owned());
            server.rest.push(word.clone());
            continue;
        };
        if SWITCHES.contains(&name) {
            server.json |= name == "json" && value != Some("false");
            server.quiet |= name == "quiet" && value != Some("false");
            server.rest.push(word.clone());
            continue;
        }
        let next = if value.is_none() { words.next() } else { None };
        let Some(value) = value.map(str::to_owned).or_else(|| next.map(|next| next.to_string_lossy().into_owned()))
        else {
            mistakes.push(format!("`{text}` needs a value"));
            continue;
        };
        if server.takes(name, &value, mistakes) {
            server.rest.extend([word.clone()].into_iter().chain(next.cloned()));
        }
    }
    server.complete(env, mistakes);
    server
}

/// The name of an option, and the value that is written into the same word.
fn option(word: &str) -> Option<(&str, Option<&str>)> {
    let name = word.strip_prefix("--").or_else(|| word.strip_prefix('-')).filter(|name| !name.is_empty())?;
    Some(name.split_once('=').map_or((name, None), |(name, value)| (name, Some(value))))
}

impl Server {
    /// True if MinIO gets this option as it is.
    fn takes(&mut self, name: &str, value: &str, mistakes: &mut Vec<String>) -> bool {
        match name {
            "address" => value.clone_into(&mut self.address),
            "console-address" => self.console = Some(value.to_owned()),
            "certs-dir" | "S" => self.certs = Some(value.into()),
            "config-dir" | "C" if self.certs.is_none() => self.certs = Some(Path::new(value).join("certs")),
            "config" => mistakes.push(format!(
                "`--config {value}`: kestack does not read MinIO's own configuration file; write drives and options as arguments"
            )),
            _ => {}
        }
        !matches!(name, "address" | "console-address" | "config")
    }

    fn complete(&mut self, env: &dyn Fn(&str) -> Option<String>, mistakes: &mut Vec<String>) {
        if self.drives.is_empty() {
            let named = ["MINIO_VOLUMES", "MINIO_ENDPOINTS", "MINIO_ARGS"].into_iter().find_map(env);
            self.drives = named.unwrap_or_default().split_whitespace().map(str::to_owned).collect();
        }
        if self.drives.is_empty() {
            mistakes.push("no drive is named: write its folder, such as `/data`, or set MINIO_VOLUMES".to_owned());
        }
        if let Some(node) =
            self.drives.iter().find(|drive| drive.starts_with("http://") || drive.starts_with("https://"))
        {
            mistakes.push(format!(
                "`{node}` is a drive of another node: kestack serves one node; for several, run MinIO itself, with the KES of \
                 `kestack up` or of your own"
            ));
        }
        if port(&self.address).is_none() {
            mistakes.push(format!(
                "`--address {}`: write a host and a port, such as `:9000` or `127.0.0.1:9000`",
                self.address
            ));
        }
        if let Some(console) = &self.console
            && port(console).is_some()
            && port(console) == port(&self.address)
        {
            mistakes
                .push(format!("`--console-address {console}` has the port of S3: write another one, such as `:9001`"));
        }
    }

    /// The address of the console, if its port is known before MinIO starts.
    pub(super) fn console(&self) -> Option<&str> {
        self.console.as_deref().filter(|address| port(address).is_some())
    }

    /// The first drive, made of the first of each pattern: `/data{1...4}` begins with `/data1`.
    pub(super) fn first_drive(&self) -> PathBuf {
        let written = self.drives.first().map(String::as_str).unwrap_or_default();
        let mut first = String::new();
        let mut rest = written;
        while let Some((before, after)) = rest.split_once('{') {
            let Some((range, behind)) = after.split_once('}') else { break };
            let Some((from, _)) = range.split_once("...") else { break };
            first.push_str(before);
            first.push_str(from);
            rest = behind;
        }
        first.push_str(rest);
        first.into()
    }
}

/// The port of an address, unless it is any one.
pub(super) fn port(address: &str) -> Option<u16> {
    let (_, port) = address.rsplit_once(':')?;
    port.parse().ok().filter(|port| *port != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_line(line: &str, env: &[(&str, &str)]) -> (Server, Vec<String>) {
        let words: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
        let mut mistakes = Vec::new();
        let variable = |name: &str| env.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        (read(&words, &variable, &mut mistakes), mistakes)
    }

    #[test]
    fn the_address_is_taken_out_and_the_rest_stays_in_order() {
        for line in
            ["--address 1.2.3.4:1 --json /data", "/data --json --address=1.2.3.4:1", "--json /data -address 1.2.3.4:1"]
        {
            let (server, mistakes) = read_line(line, &[]);
            assert_eq!((server.address.as_str(), server.json, mistakes.len()), ("1.2.3.4:1", true, 0), "{line}");
            assert_eq!(server.drives, ["/data"], "{line}");
            assert!(!server.rest.iter().any(|word| word.to_string_lossy().contains("1.2.3.4")), "{line}");
            assert_eq!(server.rest.len(), 2, "{line}");
        }
        let (server, _) = read_line("--console-address :9001 -S /certs /a /b --quiet", &[]);
        assert_eq!((server.drives.len(), server.address.as_str(), server.quiet), (2, ":9000", true));
        assert_eq!((server.certs.as_deref(), server.rest.len()), (Some(Path::new("/certs")), 5));
        assert_eq!(server.console(), Some(":9001"));
    }

    #[test]
    fn variables_stand_in_for_arguments() {
        let env = [("MINIO_VOLUMES", "/a /b"), ("MINIO_ADDRESS", ":1"), ("MINIO_CERTS_DIR", "/c")];
        let (server, mistakes) = read_line("", &env);
        assert_eq!((server.drives.len(), server.address.as_str(), mistakes.len()), (2, ":1", 0));
        let (server, _) = read_line("--address :2 /c", &env);
        assert_eq!((server.drives.join(" ").as_str(), server.address.as_str()), ("/c", ":2"));
    }

    #[test]
    fn mistakes_are_named_all_at_once() {
        for (line, said) in [
            ("", "no drive is named"),
            ("http://node{1...4}/data", "is a drive of another node"),
            ("/data --address", "needs a value"),
            ("/data --address 9000", "write a host and a port"),
            ("/data --address :0", "write a host and a port"),
            ("/data --console-address :9000", "has the port of S3"),
            ("/data --config x.yaml", "does not read MinIO's own configuration file"),
        ] {
            let (_, mistakes) = read_line(line, &[]);
            assert!(mistakes.len() == 1 && mistakes[0].contains(said), "{line}: {mistakes:?}");
        }
        assert_eq!(read_line("--address x --config y", &[]).1.len(), 3);
    }

    #[test]
    fn patterns_begin_with_their_first_drive() {
        for (line, first) in [
            ("/data", "/data"),
            ("/data{1...4}", "/data1"),
            ("/rack{a...c}/disk{01...16}", "/racka/disk01"),
            ("/a /b", "/a"),
            ("/odd{name", "/odd{name"),
        ] {
            assert_eq!(read_line(line, &[]).0.first_drive(), Path::new(first), "{line}");
        }
    }
}
