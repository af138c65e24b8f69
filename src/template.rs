//! Rendering of the files that the servers read: strict Tera over embedded templates, an undefined variable is an
//! error. A configuration of KES is parsed back by the server's own parser before anybody sees it (docs/architecture.md
//! §3.11).

use std::collections::BTreeMap;

use kes_server::config::{Config, ConfigError};
use serde::Serialize;
use serde_json::Value;
use tera::{Context, Kwargs, State, Tera, TeraResult};
use zeroize::Zeroizing;

use crate::host::quote::shell_word;
use crate::manifest::{CacheTimes, carried, check_variable};

/// Why a file cannot be rendered.
#[derive(Debug, thiserror::Error)]
pub enum TemplateError {
    /// KES would not take the configuration: something of the manifest is wrong that only its parser sees.
    #[error("KES refuses its configuration: {0}\n  correct the keystore section of kestack.yaml")]
    Kes(#[from] ConfigError),
    /// The template or a value is broken.
    #[error("cannot render {template}: {reason}")]
    Render {
        /// Which template.
        template: &'static str,
        /// Why not.
        reason: String,
    },
    /// A variable that the stack itself sets, or a value that the file cannot carry.
    #[error("minio.env in kestack.yaml: {name}: {reason}")]
    Variable {
        /// Name of the variable.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// What the configuration of KES depends on.
#[derive(Debug, Serialize)]
pub struct KesConfigContext {
    /// Address to listen on.
    pub address: String,
    /// Identity of the stack's admin.
    pub admin: String,
    /// Identities with MinIO's policy.
    pub identities: Vec<String>,
    /// Identities that may read the metrics, and nothing else.
    pub monitors: Vec<String>,
    /// Keys that must exist.
    pub keys: Vec<String>,
    /// True if MinIO may make no key, and none is made for it.
    pub read_only: bool,
    /// The keystore section, as KES must read it.
    pub keystore: Value,
}

/// What MinIO's environment file depends on.
#[derive(Serialize)]
pub struct MinioEnvContext {
    /// Access key of the root user.
    pub root_user: String,
    /// Secret key of the root user.
    #[serde(serialize_with = "plain")]
    pub root_password: Zeroizing<String>,
    /// URL of KES.
    pub kes_endpoint: String,
    /// Where the server finds its drive and its certificates.
    pub paths: MinioPaths,
    /// Key of the backend, of SSE-S3, and of SSE-KMS without a key.
    pub default_key: String,
    /// Whether buckets without an encryption of their own encrypt with that key.
    pub auto_encryption: bool,
    /// Where browsers find the console, if not at the port that MinIO thinks.
    pub console_redirect: Option<String>,
    /// The user's own variables.
    pub env: BTreeMap<String, String>,
}

/// Where MinIO finds what its environment file names.
#[derive(Debug, Clone, Serialize)]
pub struct MinioPaths {
    /// The drive; `None` if it is among the server's arguments.
    pub drive: Option<String>,
    /// Client certificate towards KES.
    pub cert: String,
    /// Its key; `None` if another part of the environment names it.
    pub key: Option<String>,
    /// Certificate authority of KES.
    pub ca: String,
}

/// Where KES finds its certificate, and what its configuration says of itself.
#[derive(Debug, Clone, Serialize)]
pub struct KesPlace<'a> {
    /// Which command writes the file.
    pub origin: &'a str,
    /// Key of the server certificate.
    pub tls_key: &'a str,
    /// The server certificate.
    pub tls_cert: &'a str,
    /// Times of the cache, if they are not KES's own.
    pub cache: Option<CacheTimes>,
}

const KES: &str = "kes/config.yaml.tera";
const MINIO: &str = "minio/env.tera";

/// Renders `kes-config.yaml`. Variables of the environment that its keystore section names count as set.
pub fn render_kes_config(values: &KesConfigContext, place: &KesPlace<'_>) -> Result<Zeroizing<String>, TemplateError> {
    let mut context = context(KES, values)?;
    // as text: a map's order in the template engine is not fixed, and a changed file restarts its reader
    context.insert("keystore", &values.keystore.to_string());
    context.insert("place", place);
    let text = render(KES, include_str!("../templates/kes/config.yaml.tera"), &context)?;
    Config::parse(&text, &|name| Some(name.to_owned()))?;
    Ok(text)
}

/// Renders MinIO's environment file.
pub fn render_minio_env(values: &MinioEnvContext) -> Result<Zeroizing<String>, TemplateError> {
    for (name, value) in &values.env {
        let refuse = |reason| TemplateError::Variable { name: name.clone(), reason };
        check_variable(name, value).map_err(refuse)?;
    }
    render(MINIO, include_str!("../templates/minio/env.tera"), &context(MINIO, values)?)
}

/// Reads an environment file the way MinIO does (docs/minio-kms-client.md §1.3).
pub fn parse_env(text: &str) -> BTreeMap<String, String> {
    text.lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .filter_map(|line| line.strip_prefix("export ").unwrap_or(line).split_once('='))
        .map(|(name, value)| (name.to_owned(), unquoted(value).to_owned()))
        .collect()
}

/// Removes one pair of quotes around the complete value.
fn unquoted(value: &str) -> &str {
    ['"', '\''].into_iter().find_map(|quote| value.strip_prefix(quote)?.strip_suffix(quote)).unwrap_or(value)
}

pub(crate) fn context(template: &'static str, values: &impl Serialize) -> Result<Context, TemplateError> {
    Context::from_serialize(values).map_err(|error| TemplateError::Render { template, reason: error.to_string() })
}

/// Renders one template. Filters: `yaml`, `block`, `compose`, `kubernetes`, `line`, `unit`, `exec`, `shell`, each for one kind of file,
/// and `seconds`. What goes into a page of HTML is escaped.
pub(crate) fn render(name: &'static str, text: &str, context: &Context) -> Result<Zeroizing<String>, TemplateError> {
    let broken = |error: tera::Error| TemplateError::Render { template: name, reason: error.to_string() };
    let mut tera = Tera::default();
    tera.register_filter("yaml", yaml);
    tera.register_filter("block", block);
    tera.register_filter("compose", compose);
    tera.register_filter("line", line);
    tera.register_filter("unit", unit);
    tera.register_filter("exec", exec);
    tera.register_filter("shell", shell);
    tera.register_filter("kubernetes", kubernetes);
    tera.register_filter("seconds", seconds);
    tera.add_raw_template(name, text).map_err(broken)?;
    tera.render(name, context).map(Zeroizing::new).map_err(broken)
}

/// JSON is YAML, quoted so that no value can be taken for anything but itself.
#[expect(clippy::needless_pass_by_value, reason = "the form of a filter")]
fn yaml(value: tera::Value, _: Kwargs, _: &State<'_>) -> TeraResult<String> {
    serde_json::to_string(&value).map_err(|error| tera::Error::message(error.to_string()))
}

/// A text of several lines as a literal block of YAML, so that people can read it; `indent` more than its key has.
#[expect(clippy::needless_pass_by_value, reason = "the form of a filter")]
fn block(value: &str, arguments: Kwargs, _: &State<'_>) -> TeraResult<String> {
    let indent = " ".repeat(arguments.must_get::<usize>("indent")?);
    let literal = |line: &str| !line.starts_with([' ', '\t']) && !line.contains(char::is_control);
    let readable = value.ends_with('\n') && !value.ends_with("\n\n") && value.lines().next().is_some_and(literal);
    if !readable || value.lines().any(|line| line.contains(char::is_control)) {
        return serde_json::to_string(value).map_err(|error| tera::Error::message(error.to_string()));
    }
    let lines = value.lines().map(|line| if line.is_empty() { "\n".into() } else { format!("\n{indent}{line}") });
    Ok(lines.fold("|".to_owned(), |text, line| text + &line))
}

/// As `yaml`, for files in which Compose puts variables in place of `$NAME`.
fn compose(value: tera::Value, arguments: Kwargs, state: &State<'_>) -> TeraResult<String> {
    Ok(yaml(value, arguments, state)?.replace('$', "$$"))
}

/// A word of a unit file of systemd: `%` begins a specifier there, blanks and quotes end a word.
fn unit(value: &str, _: Kwargs, _: &State<'_>) -> TeraResult<String> {
    if value.contains(|letter: char| letter.is_whitespace() || letter.is_control() || "\"'\\".contains(letter)) {
        return Err(tera::Error::message(format!(
            "a unit file cannot carry '{value}': no blanks, quotes, backslashes"
        )));
    }
    Ok(value.replace('%', "%%"))
}

/// The same in a unit of Podman's generator, which makes a command of it: systemd puts variables in place of `$NAME` there.
fn exec(value: &str, arguments: Kwargs, state: &State<'_>) -> TeraResult<String> {
    if value.contains('$') {
        return Err(tera::Error::message(format!("a command of a unit file cannot carry '{value}': no `$`")));
    }
    unit(value, arguments, state)
}

/// A word of a shell script.
#[expect(clippy::unnecessary_wraps, reason = "the form of a filter")]
fn shell(value: &str, _: Kwargs, _: &State<'_>) -> TeraResult<String> {
    Ok(shell_word(value))
}

/// As `yaml`, for an environment of Kubernetes, which puts variables in place of `$(NAME)`.
fn kubernetes(value: tera::Value, arguments: Kwargs, state: &State<'_>) -> TeraResult<String> {
    Ok(yaml(value, arguments, state)?.replace("$(", "$$("))
}

/// Milliseconds as people read them.
#[expect(clippy::unnecessary_wraps, reason = "the form of a filter")]
fn seconds(milliseconds: u64, _: Kwargs, _: &State<'_>) -> TeraResult<String> {
    Ok(format!("{}.{} s", milliseconds / 1000, milliseconds % 1000 / 100))
}

/// A value of MinIO's environment file.
fn line(value: &str, _: Kwargs, _: &State<'_>) -> TeraResult<String> {
    if carried(value) { Ok(value.to_owned()) } else { Err(tera::Error::message("the file cannot carry this value")) }
}

fn plain<S: serde::Serializer>(text: &Zeroizing<String>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(text)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn kes(keystore: Value) -> KesConfigContext {
        KesConfigContext {
            address: "0.0.0.0:7373".into(),
            admin: "ad".repeat(32),
            identities: vec!["c0".repeat(32)],
            monitors: vec![],
            keys: vec!["one".into(), "two".into()],
            read_only: false,
            keystore,
        }
    }

    fn minio(env: &[(&str, &str)]) -> MinioEnvContext {
        minio_on(Some("/mnt/minio"), env)
    }

    const PLACE: KesPlace<'_> = KesPlace {
        origin: "a test",
        tls_key: "/certs/kes-server.key",
        tls_cert: "/certs/kes-server.cert",
        cache: None,
    };

    fn minio_on(drive: Option<&str>, env: &[(&str, &str)]) -> MinioEnvContext {
        MinioEnvContext {
            root_user: "user".into(),
            root_password: Zeroizing::new("pass word#1=".into()),
            kes_endpoint: "https://127.0.0.1:7373".into(),
            paths: MinioPaths {
                drive: drive.map(str::to_owned),
                cert: "/certs/minio-kes.cert".into(),
                key: Some("/certs/minio-kes.key".into()),
                ca: "/certs/ca.cert".into(),
            },
            default_key: "one".into(),
            auto_encryption: true,
            console_redirect: Some("http://127.0.0.1:9".into()),
            env: env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        }
    }

    #[test]
    fn nothing_is_made_in_a_keystore_that_is_only_read() {
        let values = KesConfigContext { read_only: true, ..kes(json!({ "fs": { "path": "/mnt/keys" } })) };
        let config = Config::parse(&render_kes_config(&values, &PLACE).unwrap(), &|_| None).unwrap();
        assert!(config.keys.is_empty());
        let minio = kes_server::auth::Identity::new("c0".repeat(32));
        for (path, allowed) in [("create", false), ("delete", false), ("generate", true), ("decrypt", true)] {
            let path = format!("/v1/key/{path}/a");
            assert_eq!(config.access.decide(&minio, &path).is_allowed(), allowed, "{path}");
        }
    }

    #[test]
    fn the_rendered_configuration_is_what_was_meant() {
        let text = render_kes_config(&kes(json!({ "fs": { "path": "/mnt/keys" } })), &PLACE).unwrap();
        let config = Config::parse(&text, &|_| None).unwrap();
        assert_eq!(config.keys, ["one", "two"]);
        assert_eq!(
            config.keystore,
            kes_server::config::KeyStoreConfig::Fs(kes_server::config::FsConfig::plain("/mnt/keys"))
        );
        let minio = kes_server::auth::Identity::new("c0".repeat(32));
        for (path, allowed) in [
            ("/v1/key/create/a", true),
            ("/v1/key/generate/a", true),
            ("/v1/key/decrypt/a", true),
            ("/v1/key/describe/a", true),
            ("/v1/key/list/", true),
            ("/v1/status", true),
            ("/v1/key/delete/a", false),
            ("/v1/key/import/a", false),
            ("/v1/policy/read/minio", false),
        ] {
            assert_eq!(config.access.decide(&minio, path).is_allowed(), allowed, "{path}");
        }
    }

    #[test]
    fn each_language_gets_its_own_quotes() {
        let write = |filter: &str, value: &str| {
            let text = format!("{{{{ value | {filter} }}}}");
            render("a test", &text, &context("a test", &json!({ "value": value })).unwrap())
                .map(|text| text.to_string())
        };
        for (filter, value, expected) in [
            ("shell", "/srv/100%/keys", "/srv/100%/keys"),
            ("shell", "/srv/it's $HOME", r"'/srv/it'\''s $HOME'"),
            ("shell", "", "''"),
            ("unit", "/srv/100%/$a", "/srv/100%%/$a"),
            ("exec", "/srv/100%/keys", "/srv/100%%/keys"),
            ("compose", "$HOME", "\"$$HOME\""),
            ("kubernetes", "$(HOME) $x", "\"$$(HOME) $x\""),
        ] {
            assert_eq!(write(filter, value).unwrap(), expected, "{filter}");
        }
        for (filter, value) in [("exec", "/srv/$HOME"), ("exec", "a b"), ("unit", "it's")] {
            assert!(write(filter, value).unwrap_err().to_string().contains("cannot carry"), "{filter}");
        }
    }

    #[test]
    fn a_keystore_that_kes_refuses_is_an_error_here() {
        let error = render_kes_config(&kes(json!({ "fs": {}, "vault": { "endpoint": "x" } })), &PLACE).unwrap_err();
        assert!(error.to_string().contains("more than once keystore specified"), "{error}");
    }

    #[test]
    fn the_environment_reads_back() {
        let text = render_minio_env(&minio(&[("MINIO_SITE_NAME", "a=b # c")])).unwrap();
        let read = parse_env(&text);
        assert_eq!(read["MINIO_ROOT_PASSWORD"], "pass word#1=");
        assert_eq!(read["MINIO_KMS_KES_KEY_NAME"], "one");
        assert_eq!(read["MINIO_KMS_AUTO_ENCRYPTION"], "on");
        assert_eq!(read["MINIO_VOLUMES"], "/mnt/minio");
        let without = render_minio_env(&minio_on(None, &[])).unwrap();
        assert!(!without.contains("MINIO_VOLUMES"), "the drive is an argument");
        assert_eq!(read["MINIO_SITE_NAME"], "a=b # c");
        assert_eq!(read["MINIO_BROWSER_REDIRECT_URL"], "http://127.0.0.1:9");
        assert_eq!(parse_env("export A=\"x y\"\r\n#B=1\n C='d'\n")["A"], "x y");
    }

    #[test]
    fn a_file_that_is_rendered_again_is_the_same() {
        let names = ["COMMENT", "DELIVERY_MODE", "EXCHANGE", "NO_WAIT", "QUEUE_DIR", "URL"];
        let variables = names.map(|name| (format!("MINIO_NOTIFY_AMQP_{name}"), name.to_owned()));
        let variables: Vec<_> = variables.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let first = render_minio_env(&minio(&variables)).unwrap();
        let found: Vec<_> = first.lines().filter(|line| line.starts_with("MINIO_NOTIFY_AMQP_")).collect();
        assert!(found.len() == 6 && found.is_sorted(), "{found:?}");
        assert_eq!(render_minio_env(&minio(&variables)).unwrap(), first);
    }

    #[test]
    fn variables_that_would_break_the_stack_are_refused() {
        let error = render_minio_env(&minio(&[("MINIO_VOLUMES", "/data")])).unwrap_err().to_string();
        assert!(error.contains("the stack sets this itself") && error.contains("MINIO_VOLUMES"), "{error}");
    }
}
