//! `kestack env`

use std::net::IpAddr;
use std::path::Path;

use clap::Args;

use super::Globals;
use super::clients::{S3Program, Setup};
use super::output::{self, Output};
use super::session::{self, Intent, Options, environment};
use super::shell::Shell;
use crate::error::Error;
use crate::stack::{AUTHORITY, STALE, variable_names};

/// Variables that name a proxy for all requests.
const PROXIES: [&str; 6] = ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"];

#[derive(Debug, Args)]
pub(super) struct Env {
    /// Language of the output [default: that of the shell that runs kestack]
    #[arg(short, long, value_enum)]
    shell: Option<Shell>,
    /// Only the settings of this client, in its own format if it reads no variables
    #[arg(long, value_enum, conflicts_with = "unset")]
    client: Option<S3Program>,
    /// The same as `--output json`
    #[arg(long, conflicts_with = "shell")]
    json: bool,
    /// Remove the variables instead; the stack need not exist
    #[arg(long, conflicts_with = "json")]
    unset: bool,
}

impl Env {
    pub(super) async fn run(&self, globals: &Globals, output: &Output) -> Result<(), Error> {
        if self.unset {
            return self.remove(globals);
        }
        let stack = session::known(globals, Intent::Read).await?.stack;
        let output = if self.json { &output.as_json() } else { output };
        let variables = match self.client.map(|client| client.setup(&stack)).transpose()? {
            None => stack.variables(),
            Some(Setup::Variables(variables)) => variables,
            Some(Setup::Text(text)) => return self.text(&text, output),
        };
        print(variables, stack.ports.host, self.shell, output)
    }

    /// What a client reads that knows no variables.
    fn text(&self, text: &str, output: &Output) -> Result<(), Error> {
        if self.shell.is_some() {
            return Err(Error::Usage {
                what: "--shell is for variables, and this client reads none".into(),
                hint: "leave out --shell, and write the output to a file: `umask 077` first, it holds secrets".into(),
            });
        }
        output.result(&serde_json::json!({ "text": text }), |_| text.to_owned())
    }

    fn remove(&self, globals: &Globals) -> Result<(), Error> {
        let options = Options::load(globals, Intent::Read)?;
        let mut names = variable_names(options.manifest.name.as_str());
        // another authority's are the user's own
        let ca = options.layout().ca_cert();
        let is_ours = |name: &&str| environment(name).is_some_and(|value| ca == Path::new(&value));
        names.extend(AUTHORITY.into_iter().filter(is_ours).map(str::to_owned));
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        let text = self.shell.unwrap_or_else(Shell::of_caller).remove(&names).ok_or_else(|| Error::Usage {
            what: "this language has no way to remove a variable".into(),
            hint: "take --shell sh, fish or powershell".into(),
        })?;
        output::line(&text)?;
        Ok(())
    }
}

/// Prints the variables for clients of servers on that address.
pub(super) fn print(
    mut variables: Vec<(String, String)>,
    host: IpAddr,
    shell: Option<Shell>,
    output: &Output,
) -> Result<(), Error> {
    variables.extend(without_proxy(host, environment));
    if shell == Some(Shell::Json) || shell.is_none() && output.json() {
        let map: serde_json::Map<_, _> = variables.into_iter().map(|(name, value)| (name, value.into())).collect();
        return output.as_json().result(&map, |_| String::new());
    }
    output::line(&shell.unwrap_or_else(Shell::of_caller).write(&variables, &STALE))
}

/// Where the caller has a proxy, the servers of this machine are named as hosts that are reached without it, in both
/// spellings: clients differ in which one they read.
fn without_proxy(host: IpAddr, env: impl Fn(&str) -> Option<String>) -> Vec<(String, String)> {
    if PROXIES.iter().all(|name| env(name).is_none()) {
        return vec![];
    }
    let host = crate::stack::ports::reachable(host).to_string();
    let known = env("no_proxy").or_else(|| env("NO_PROXY")).unwrap_or_default();
    let mut hosts: Vec<_> = known.split(',').map(str::trim).filter(|known| !known.is_empty()).collect();
    if !hosts.contains(&host.as_str()) {
        hosts.push(&host);
    }
    let hosts = hosts.join(",");
    vec![("NO_PROXY".into(), hosts.clone()), ("no_proxy".into(), hosts)]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn a_proxy_is_not_asked_for_the_servers() {
        let host = IpAddr::from([0, 0, 0, 0]);
        let of = |variables: &[(&str, &str)]| {
            let variables: BTreeMap<_, _> = variables.iter().copied().collect();
            without_proxy(host, |name| variables.get(name).map(|value| (*value).to_owned()))
        };
        let both = |hosts: &str| ["NO_PROXY", "no_proxy"].map(|name| (name.to_owned(), hosts.to_owned())).to_vec();
        assert_eq!(of(&[("NO_PROXY", "example.org")]), []);
        assert_eq!(of(&[("HTTP_PROXY", "http://proxy:3128")]), both("127.0.0.1"));
        let proxy = ("https_proxy", "http://proxy:3128");
        assert_eq!(of(&[("NO_PROXY", "a.example, .b"), proxy]), both("a.example,.b,127.0.0.1"));
        assert_eq!(of(&[("no_proxy", "127.0.0.1"), ("NO_PROXY", "other"), proxy]), both("127.0.0.1"));
    }
}
