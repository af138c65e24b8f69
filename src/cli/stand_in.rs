//! `curl` and `mc` as health checks call them, in an image that has neither: kestack by their names.
//!
//! Both do only what checks of MinIO do. Everything else is refused with the next step, so that nobody takes them for the
//! real ones.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Parser;
use reqwest::Url;

use super::output;
use crate::operate::serve;
use crate::servers::health::{self, Question, Reply, Unanswered};

/// How long a connection and an answer may take if nobody says so.
const PATIENCE: f64 = 30.0;
/// The longest wait.
const DAY: Duration = Duration::from_secs(86_400);
/// Options of `mc ping` and of all of mc whose value is the next word.
const MC_WITH_VALUE: [&str; 8] = ["--count", "-c", "--interval", "-i", "--error-count", "-e", "--config-dir", "-C"];
/// Exit codes of curl.
const USAGE: u8 = 2;
const MALFORMED: u8 = 3;
const UNCONNECTED: u8 = 7;
const REFUSED: u8 = 22;
const UNWRITTEN: u8 = 23;
const LATE: u8 = 28;
const BROKEN: u8 = 56;
/// What `mc` can do here.
const MC: &str = "this `mc` is kestack's, and only checks the server of this container: `mc ready local`, `mc ping local`\n  \
                  for all of mc, build the image with `kestack image build --mc PROGRAM`, or run mc in a container of its own";

/// A program that kestack stands in for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum StandIn {
    /// `curl`, with its arguments and its name.
    Curl(Vec<OsString>),
    /// `mc`, with its arguments.
    Mc(Vec<OsString>),
}

/// The options that checks of MinIO use. Those without a meaning here are taken, because they change nothing.
#[derive(Debug, Parser)]
#[command(
    name = "curl",
    about = "kestack's own curl, for health checks: one GET or HEAD",
    disable_version_flag = true,
    args_override_self = true
)]
#[expect(clippy::struct_excessive_bools, reason = "the options of curl")]
struct Curl {
    /// Exit with 22 if the server refuses
    #[arg(short, long)]
    fail: bool,
    /// Say nothing of errors
    #[arg(short, long)]
    silent: bool,
    /// Say them, also with --silent
    #[arg(short = 'S', long)]
    show_error: bool,
    /// Ask for the head only
    #[arg(short = 'I', long)]
    head: bool,
    /// Accept any certificate
    #[arg(short = 'k', long)]
    insecure: bool,
    /// Taken, without a meaning: redirects are answers
    #[arg(short = 'L', long)]
    location: bool,
    /// Taken, without a meaning: there is nothing more to say
    #[arg(short, long)]
    verbose: bool,
    /// Taken, without a meaning: the server listens on the addresses of both families
    #[arg(short = '4', long)]
    ipv4: bool,
    /// Taken, without a meaning, as well
    #[arg(short = '6', long)]
    ipv6: bool,
    /// GET or HEAD
    #[arg(short = 'X', long, value_name = "METHOD", value_parser = ["GET", "HEAD"])]
    request: Option<String>,
    /// How often to ask again if the server is late or says that it cannot answer now
    #[arg(long, value_name = "TIMES", default_value_t = 0)]
    retry: u32,
    /// Seconds until then
    #[arg(long, value_name = "SECONDS", default_value_t = 1.0)]
    retry_delay: f64,
    /// Also retry if the connection is refused
    #[arg(long)]
    retry_connrefused: bool,
    /// Write the answer there
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Write this after it, with `%{http_code}` replaced
    #[arg(short, long, value_name = "FORMAT")]
    write_out: Option<String>,
    /// Seconds for all of it
    #[arg(short, long, value_name = "SECONDS", default_value_t = PATIENCE)]
    max_time: f64,
    /// Seconds until there is a connection
    #[arg(long, value_name = "SECONDS", default_value_t = PATIENCE)]
    connect_timeout: f64,
    /// Address
    #[arg(value_name = "URL")]
    url: String,
}

impl StandIn {
    /// The program whose name this one was started by.
    pub(super) fn by(arguments: &[OsString]) -> Option<Self> {
        let (program, rest) = arguments.split_first()?;
        match Path::new(program).file_name()?.to_str()? {
            "curl" => Some(Self::Curl(arguments.to_vec())),
            "mc" => Some(Self::Mc(rest.to_vec())),
            _ => None,
        }
    }

    /// Does what was asked.
    ///
    /// # Errors
    /// The exit code; what there is to say was said.
    pub(super) async fn run(self) -> Result<(), u8> {
        match self {
            Self::Curl(arguments) => match Curl::try_parse_from(arguments) {
                Ok(curl) => curl.run().await,
                Err(error) if error.use_stderr() => {
                    output::foreground(false, &format!("curl: {}", error.to_string().trim_end()));
                    Err(USAGE)
                }
                Err(help) => output::line(&help.to_string()).map_err(|_| UNWRITTEN),
            },
            Self::Mc(arguments) => mc(&arguments).await,
        }
    }
}

impl Curl {
    async fn run(&self) -> Result<(), u8> {
        let text = if self.url.contains("://") { self.url.clone() } else { format!("http://{}", self.url) };
        let url = Url::parse(&text).ok().filter(|url| ["http", "https"].contains(&url.scheme()));
        let url = url.ok_or_else(|| self.failed(MALFORMED, &format!("'{}' is not an address of HTTP", self.url)))?;
        let question = Question {
            url,
            head: self.head || self.request.as_deref() == Some("HEAD"),
            insecure: self.insecure,
            connect: seconds(self.connect_timeout),
            total: seconds(self.max_time),
        };
        let reply = self.ask(&question).await.map_err(|why| self.failed(code(&why), &why.to_string()))?;
        let is_refused = self.fail && (reply.status.is_client_error() || reply.status.is_server_error());
        if !is_refused {
            self.write(&reply.body)?;
        }
        if let Some(format) = &self.write_out {
            let status = reply.status.as_u16().to_string();
            let text =
                format.replace("%{http_code}", &status).replace("%{response_code}", &status).replace("\\n", "\n");
            output::raw(text.as_bytes()).map_err(|_| UNWRITTEN)?;
        }
        if is_refused {
            return Err(self.failed(REFUSED, &format!("the server answered {}", reply.status)));
        }
        Ok(())
    }

    async fn ask(&self, question: &Question) -> Result<Reply, Unanswered> {
        let mut left = self.retry;
        loop {
            let reply = health::ask(question).await;
            if left == 0 || !self.may_pass(&reply) {
                return reply;
            }
            left -= 1;
            tokio::time::sleep(Duration::try_from_secs_f64(self.retry_delay).unwrap_or_default().min(DAY)).await;
        }
    }

    /// True if the same question may have another answer soon.
    fn may_pass(&self, reply: &Result<Reply, Unanswered>) -> bool {
        match reply {
            Ok(reply) => matches!(reply.status.as_u16(), 408 | 429 | 500 | 502..=504),
            Err(Unanswered::Late) => true,
            Err(Unanswered::Unconnected(_)) => self.retry_connrefused,
            Err(Unanswered::Other(_)) => false,
        }
    }

    fn write(&self, body: &[u8]) -> Result<(), u8> {
        match &self.output {
            Some(file) if file != Path::new("-") => std::fs::write(file, body)
                .map_err(|error| self.failed(UNWRITTEN, &format!("'{}': {error}", file.display()))),
            _ => output::raw(body).map_err(|_| UNWRITTEN),
        }
    }

    /// Says what failed, unless that is not wanted.
    fn failed(&self, code: u8, what: &str) -> u8 {
        if !self.silent || self.show_error {
            output::foreground(false, &format!("curl: ({code}) {what}"));
        }
        code
    }
}

fn code(why: &Unanswered) -> u8 {
    match why {
        Unanswered::Late => LATE,
        Unanswered::Unconnected(_) => UNCONNECTED,
        Unanswered::Other(_) => BROKEN,
    }
}

/// As curl reads it: no time means any; more than a day is one.
fn seconds(given: f64) -> Duration {
    Duration::try_from_secs_f64(given).ok().filter(|given| !given.is_zero()).map_or(DAY, |given| given.min(DAY))
}

/// `mc ready` and `mc ping` of the server in this container; more honest than the real ones, which succeed without KES.
async fn mc(arguments: &[OsString]) -> Result<(), u8> {
    if !is_check_of_local(arguments) {
        output::foreground(false, MC);
        return Err(1);
    }
    match serve::check(&[]).await {
        Ok(checked) => output::line(&format!("{} is ready", checked.endpoint)).map_err(|_| 1),
        Err(error) => {
            output::foreground(false, &format!("mc: {error}"));
            Err(1)
        }
    }
}

fn is_check_of_local(arguments: &[OsString]) -> bool {
    let mut words = arguments.iter().filter_map(|word| word.to_str());
    let mut plain = Vec::new();
    while let Some(word) = words.next() {
        if MC_WITH_VALUE.contains(&word) {
            words.next();
        } else if !word.starts_with('-') {
            plain.push(word);
        }
    }
    matches!(plain.as_slice(), ["ready" | "ping", alias, ..] if alias.eq_ignore_ascii_case("local"))
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;

    use super::*;

    fn words(line: &str) -> Vec<OsString> {
        line.split(' ').map(OsString::from).collect()
    }

    /// Answers once with this status; returns where.
    fn server(status: &'static str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            let (mut client, _) = listener.accept().unwrap();
            let _ = client.read(&mut [0; 4096]);
            let _ = write!(client, "HTTP/1.1 {status}\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok");
        });
        format!("http://{address}/minio/health/live")
    }

    async fn curl(options: &str, url: &str) -> Result<(), u8> {
        StandIn::by(&words(&format!("/usr/bin/curl {options} {url}"))).unwrap().run().await
    }

    #[tokio::test]
    async fn curl_fails_as_health_checks_expect() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("answer");
        let quiet = format!("-fsS -o {} -m 5", file.display());
        assert_eq!(curl(&quiet, &server("200 OK")).await, Ok(()));
        assert_eq!(std::fs::read(&file).unwrap(), b"ok");
        assert_eq!(curl(&quiet, &server("503 Service Unavailable")).await, Err(REFUSED));
        assert_eq!(curl(&format!("-s -o {}", file.display()), &server("503 Service Unavailable")).await, Ok(()));
        let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        assert_eq!(curl("--fail --silent", &format!("http://{closed}/")).await, Err(UNCONNECTED));
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", silent.local_addr().unwrap());
        assert_eq!(curl("-f -m 0.2", &url).await, Err(LATE));
        assert_eq!(curl("-f", "ftp://127.0.0.1/").await, Err(MALFORMED));
        assert_eq!(curl("-X POST", &url).await, Err(USAGE));
        let usual = format!("{quiet} -v -4 -f --retry 3 --retry-connrefused -X GET");
        assert_eq!(curl(&usual, &server("200 OK")).await, Ok(()));
    }

    #[tokio::test]
    async fn curl_asks_again_as_often_as_it_shall() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            for status in ["503 Busy", "503 Busy", "503 Busy", "200 OK"] {
                let (mut client, _) = listener.accept().unwrap();
                let _ = client.read(&mut [0; 4096]);
                let _ = write!(client, "HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            }
        });
        assert_eq!(curl("-fs", &url).await, Err(REFUSED));
        assert_eq!(curl("-fs --retry 1 --retry-delay 0", &url).await, Err(REFUSED));
        assert_eq!(curl("-fs --retry 1 --retry-delay 0", &url).await, Ok(()));
    }

    /// The port of a server that starts is closed at first.
    #[tokio::test]
    async fn curl_waits_for_a_closed_port_if_it_shall() {
        let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let begun = std::time::Instant::now();
        let again = "-s --retry 2 --retry-delay 0.05 --retry-connrefused";
        assert_eq!(curl(again, &format!("http://{closed}/")).await, Err(UNCONNECTED));
        assert!(begun.elapsed() >= Duration::from_millis(100), "it was asked once");
    }

    #[test]
    fn mc_finds_the_alias_behind_the_values_of_options() {
        for line in [
            "ready local",
            "ping local --count 1",
            "ping --count 1 local",
            "ping -c 1 -i 2 LOCAL",
            "ping --count=1 local",
            "--config-dir /tmp ready local",
            "-C /tmp --quiet ready local",
        ] {
            assert!(is_check_of_local(&words(line)), "{line}");
        }
        for line in ["ping 1", "ping --count local", "mb local/b", "ready"] {
            assert!(!is_check_of_local(&words(line)), "{line}");
        }
    }

    #[test]
    fn only_their_names_make_a_stand_in() {
        assert!(matches!(StandIn::by(&words("mc ready local")), Some(StandIn::Mc(rest)) if rest.len() == 2));
        assert_eq!(StandIn::by(&words("/usr/bin/kestack curl")), None);
        assert_eq!(StandIn::by(&[]), None);
    }

    #[tokio::test]
    async fn mc_refuses_what_it_cannot_do() {
        for line in ["mc", "mc mb local/b", "mc ready other", "mc alias set local http://a b c"] {
            assert_eq!(StandIn::by(&words(line)).unwrap().run().await, Err(1), "{line}");
        }
    }

    #[test]
    fn no_time_is_any_time() {
        assert_eq!(seconds(0.0), Duration::from_secs(86_400));
        assert_eq!(seconds(-1.0), Duration::from_secs(86_400));
        assert_eq!(seconds(2.5), Duration::from_millis(2_500));
    }
}
