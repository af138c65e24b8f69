//! The arguments of MinIO's `server`, as far as they decide what kestack does.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// Options before the verb whose value is the next word, unless it is behind `=`.
const BEFORE: [&str; 4] = ["certs-dir", "S", "config-dir", "C"];

/// Options by which MinIO prints something and does nothing.
const ASKS: [&str; 2] = ["help", "h"];

/// What ends the options.
const END: &str = "--";

/// Options of `server` without a value. Every other one has a value, behind `=` or as the next word.
const SWITCHES: [&str; 8] = ["quiet", "json", "anonymous", "no-compat", "log-compress", "help", "h", "version"];

/// Variables of the options that open a port of MinIO's at once.
const OTHER_PORTS: [&str; 2] = ["MINIO_FTP", "MINIO_SFTP"];

/// Most drives of one node.
const MOST: usize = 1024;

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
        if text == END {
            server.ends_options(words.by_ref(), mistakes);
            continue;
        }
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

/// Splits a call of MinIO: what is before the verb, and the rest from the verb on.
pub(crate) fn at_verb(words: &[OsString]) -> (&[OsString], &[OsString]) {
    let mut at = 0;
    while let Some(word) = words.get(at) {
        let text = word.to_string_lossy();
        at += match option(&text) {
            Some((name, None)) if BEFORE.contains(&name) => 2,
            None if text != END => break,
            _ => 1,
        };
    }
    words.split_at(at.min(words.len()))
}

/// True if one of the options asks for help. A value, or a drive of that name, does not.
pub(crate) fn ask_for_help(words: &[OsString]) -> bool {
    let mut words = words.iter().take_while(|word| *word != END);
    while let Some(word) = words.next() {
        let text = word.to_string_lossy();
        let Some((name, value)) = option(&text) else { continue };
        if ASKS.contains(&name) && value != Some("false") {
            return true;
        }
        if value.is_none() && !SWITCHES.contains(&name) {
            words.next();
        }
    }
    false
}

/// The name of an option, and the value that is written into the same word.
fn option(word: &str) -> Option<(&str, Option<&str>)> {
    let name = word.strip_prefix("--").or_else(|| word.strip_prefix('-')).filter(|name| !name.is_empty())?;
    Some(name.split_once('=').map_or((name, None), |(name, value)| (name, Some(value))))
}

impl Server {
    /// Behind `--` all words are drives. MinIO gets them without it, because options follow.
    fn ends_options<'a>(&mut self, words: impl Iterator<Item = &'a OsString>, mistakes: &mut Vec<String>) {
        for word in words {
            let text = word.to_string_lossy();
            if text.starts_with('-') {
                mistakes.push(format!("`{text}` is a drive behind `--`: write `./{text}`"));
            }
            self.drives.push(text.into_owned());
            self.rest.push(word.clone());
        }
    }

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
            "ftp" | "sftp" => mistakes.push(ungated(&format!("--{name} {value}"))),
            _ => {}
        }
        !matches!(name, "address" | "console-address" | "config" | "ftp" | "sftp")
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
        for pattern in self.drives.iter().filter(|drive| expanded(drive).is_none()) {
            mistakes.push(format!(
                "`{pattern}` does not say which drives: write `{{1...4}}`, from the smaller to the larger, at most {MOST}"
            ));
        }
        mistakes.extend(OTHER_PORTS.into_iter().filter(|name| env(name).is_some()).map(ungated));
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

    /// Every drive: `/data{1...4}` stands for four.
    pub(super) fn all_drives(&self) -> Vec<PathBuf> {
        self.drives.iter().filter_map(|drive| expanded(drive)).flatten().map(PathBuf::from).collect()
    }
}

/// Why an option or variable that opens a further port is refused.
fn ungated(named: &str) -> String {
    format!(
        "`{named}`: MinIO would open that port before it encrypts; kestack opens the ports of S3 and of the console only"
    )
}

/// The drives that a pattern stands for; `None` if one of its ranges is none, or they are too many.
fn expanded(written: &str) -> Option<Vec<String>> {
    let Some((before, range, behind)) = first_range(written) else { return Some(vec![written.to_owned()]) };
    let (parts, rest) = (parts(range)?, expanded(behind)?);
    let all = parts.iter().flat_map(|part| rest.iter().map(move |rest| format!("{before}{part}{rest}")));
    (parts.len() * rest.len() <= MOST).then(|| all.collect())
}

/// The first `{FROM...TO}` of a pattern, with the text before and behind it.
fn first_range(written: &str) -> Option<(&str, &str, &str)> {
    let (before, after) = written.split_once('{')?;
    let (range, behind) = after.split_once('}')?;
    range.contains("...").then_some((before, range, behind))
}

/// The parts of a range of letters or numbers, decimal or hexadecimal, as long as the first where that begins with a zero.
fn parts(range: &str) -> Option<Vec<String>> {
    let (from, to) = range.split_once("...")?;
    let letter = |text: &str| text.parse::<char>().ok().filter(char::is_ascii_lowercase);
    if let Some((from, to)) = letter(from).zip(letter(to)) {
        return (from <= to).then(|| (from..=to).map(String::from).collect());
    }
    let width = if from.starts_with('0') { from.len() } else { 0 };
    let bounds = |radix| Some((usize::from_str_radix(from, radix).ok()?, usize::from_str_radix(to, radix).ok()?));
    let (bounds, is_decimal) = bounds(10).map_or_else(|| (bounds(16), false), |bounds| (Some(bounds), true));
    let (first, last) = bounds.filter(|(first, last)| first <= last && last - first < MOST)?;
    let written = |number| if is_decimal { format!("{number:0width$}") } else { format!("{number:0width$x}") };
    Some((first..=last).map(written).collect())
}

/// The port of an address, unless it is any one.
pub(super) fn port(address: &str) -> Option<u16> {
    let (_, port) = address.rsplit_once(':')?;
    port.parse().ok().filter(|port| *port != 0)
}

/// A fixed port of one address, or of all.
pub(super) fn socket(text: &str) -> Option<SocketAddr> {
    let text = if text.starts_with(':') { format!("0.0.0.0{text}") } else { text.to_owned() };
    text.parse::<SocketAddr>().ok().filter(|address| address.port() != 0)
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
        let (server, mistakes) = read_line("--address :1 -- /a /b", &[]);
        assert_eq!((server.drives.join(" "), server.rest.len(), mistakes.len()), ("/a /b".to_owned(), 2, 0));
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
            ("/data --ftp address=:8021", "would open that port before it encrypts"),
            ("/data --sftp=address=:8022", "would open that port before it encrypts"),
            ("/data{4...1}", "does not say which drives"),
            ("/data{1...9999999}", "does not say which drives"),
            ("/{1...100}/{1...100}/{1...100}", "does not say which drives"),
            ("/data{x...10}", "does not say which drives"),
            ("/data --config x.yaml", "does not read MinIO's own configuration file"),
            ("-- -x", "write `./-x`"),
        ] {
            let (_, mistakes) = read_line(line, &[]);
            assert!(mistakes.len() == 1 && mistakes[0].contains(said), "{line}: {mistakes:?}");
        }
        assert_eq!(read_line("--address x --config y", &[]).1.len(), 3);
    }

    #[test]
    fn a_pattern_stands_for_all_its_drives() {
        for (line, first, last, count) in [
            ("/data", "/data", "/data", 1),
            ("/data{1...4}", "/data1", "/data4", 4),
            ("/data{9...11}", "/data9", "/data11", 3),
            ("/rack{a...c}/disk{01...16}", "/racka/disk01", "/rackc/disk16", 48),
            ("/disk{0e...10}", "/disk0e", "/disk10", 3),
            ("/data{x...z}", "/datax", "/dataz", 3),
            ("/a /b", "/a", "/b", 2),
            ("/odd{name", "/odd{name", "/odd{name", 1),
            ("/odd{name}/x", "/odd{name}/x", "/odd{name}/x", 1),
        ] {
            let (server, mistakes) = read_line(line, &[]);
            let all = server.all_drives();
            assert_eq!((all.len(), mistakes.len()), (count, 0), "{line}: {all:?} {mistakes:?}");
            assert_eq!((all[0].as_path(), all[count - 1].as_path()), (Path::new(first), Path::new(last)), "{line}");
        }
        assert_eq!(read_line("/data --quiet", &[("MINIO_SFTP", "address=:8022")]).1.len(), 1);
    }
}
