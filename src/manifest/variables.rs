//! Variables of MinIO's environment file: those that MinIO reads from there, by their exact names.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use strsim::osa_distance;

/// MinIO's switch for `auto_encryption`.
pub(crate) const AUTO_ENCRYPTION: &str = "MINIO_KMS_AUTO_ENCRYPTION";

/// Keeps MinIO from doing to objects what nobody asked for at the moment, such as expiring them.
pub(crate) const WITHOUT_SCANNER: (&str, &str) = ("_MINIO_SCANNER", "off");

/// Variables that MinIO takes for booleans, and for off where it does not understand them.
const SWITCHES: [&str; 2] = [AUTO_ENCRYPTION, "MINIO_KMS_REPLICATE_KEYID"];
/// Words for on and off that MinIO understands.
const ON: [&str; 5] = ["on", "true", "1", "enabled", "t"];
const OFF: [&str; 5] = ["off", "false", "0", "disabled", "f"];

/// All names that MinIO reads, one a line; ` *` behind one says that it may end with `_` and the name of a target.
const KNOWN: &str = include_str!("minio-variables.txt");

/// Why some variables cannot be set, by their exact names.
const REFUSED: [(&str, &[&str]); 6] = [
    (
        "the stack sets this itself",
        &[
            "MINIO_VOLUMES",
            "MINIO_ARGS",
            "MINIO_ENDPOINTS",
            "MINIO_CONFIG_ENV_FILE",
            "MINIO_ADDRESS",
            "MINIO_CONSOLE_ADDRESS",
            "MINIO_UPDATE",
            "MINIO_BROWSER_REDIRECT_URL",
            "MINIO_KMS_KES_ENDPOINT",
            "MINIO_KMS_KES_CERT_FILE",
            "MINIO_KMS_KES_KEY_FILE",
            "MINIO_KMS_KES_CAPATH",
            "MINIO_KMS_KES_CA_PATH",
        ],
    ),
    (
        "the stack sets this itself: write it as `minio.root_user` and `minio.root_password`",
        &[
            "MINIO_ROOT_USER",
            "MINIO_ROOT_PASSWORD",
            "MINIO_ROOT_USER_FILE",
            "MINIO_ROOT_PASSWORD_FILE",
            "MINIO_ACCESS_KEY",
            "MINIO_SECRET_KEY",
            "MINIO_ACCESS_KEY_FILE",
            "MINIO_SECRET_KEY_FILE",
        ],
    ),
    ("the stack sets this itself: write it as `minio.default_key`", &["MINIO_KMS_KES_KEY_NAME"]),
    (
        "MinIO takes either this or KES, which the stack sets itself",
        &[
            "MINIO_KMS_SECRET_KEY",
            "MINIO_KMS_SECRET_KEY_FILE",
            "MINIO_KMS_SERVER",
            "MINIO_KMS_ENCLAVE",
            "MINIO_KMS_SSE_KEY",
            "MINIO_KMS_API_KEY",
            "MINIO_KMS_KES_API_KEY",
            "MINIO_KMS_KES_KEY_PASSWORD",
        ],
    ),
    (
        "has no effect: MinIO, or its runtime, reads it before its environment file",
        &[
            "MINIO_CERTS_DIR",
            "MINIO_CONFIG_DIR",
            "MINIO_ANONYMOUS",
            "MINIO_JSON",
            "MINIO_QUIET",
            "MINIO_LICENSE",
            "MINIO_FTP",
            "MINIO_SFTP",
            "MINIO_IDLE_TIMEOUT",
            "MINIO_READ_HEADER_TIMEOUT",
            "MINIO_CONN_READ_DEADLINE",
            "MINIO_CONN_WRITE_DEADLINE",
            "MINIO_CONN_CLIENT_READ_DEADLINE",
            "MINIO_CONN_CLIENT_WRITE_DEADLINE",
            "MINIO_CONN_USER_TIMEOUT",
            "MINIO_DNS_CACHE_TTL",
            "MINIO_MAX_IDLE_CONNS_PER_HOST",
            "MINIO_CROSSDOMAIN_XML",
            "MINIO_INTERFACE",
            "MINIO_SHUTDOWN_TIMEOUT",
            "MINIO_LOG_DIR",
            "MINIO_LOG_SIZE",
            "MINIO_LOG_COMPRESS",
            "MINIO_LOG_PREFIX",
            "MINIO_RECV_BUF_SIZE",
            "MINIO_SEND_BUF_SIZE",
            "GOMAXPROCS",
            "GOGC",
            "GOMEMLIMIT",
            "GODEBUG",
            "GOTRACEBACK",
            "GORACE",
            "HOME",
            "PATH",
            "LD_PRELOAD",
            "LD_LIBRARY_PATH",
        ],
    ),
    (
        "has no effect: MinIO does not read it",
        &["MINIO_OPTS", "MINIO_KMS_KES_ENCLAVE", "MINIO_KMS_MASTER_KEY", "MINIO_SSE_AUTO_ENCRYPTION"],
    ),
];

/// Names, and beginnings of names that a target follows.
static NAMES: LazyLock<(BTreeSet<&str>, BTreeSet<&str>)> = LazyLock::new(|| {
    let lines = || KNOWN.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let names = lines().map(|line| line.trim_end_matches(" *")).collect();
    (names, lines().filter_map(|line| line.strip_suffix(" *")).collect())
});

/// True if MinIO takes that value for on.
pub(crate) fn is_on(value: &str) -> bool {
    ON.contains(&value)
}

/// True if MinIO understands this value of a switch as off.
pub(crate) fn is_off(value: &str) -> bool {
    OFF.contains(&value)
}

/// Refuses a variable of `minio.env` that the stack itself sets, that has no effect, or that the file cannot carry.
///
/// # Errors
/// The reason.
pub(crate) fn check_variable(name: &str, value: &str) -> Result<(), String> {
    if let Some((why, _)) = REFUSED.iter().find(|(_, names)| names.contains(&name)) {
        return Err((*why).to_owned());
    }
    if !is_known(name) {
        let near = nearest(name).map(|near| format!("; did you mean {near}?")).unwrap_or_default();
        return Err(format!("has no effect: MinIO reads no variable of this name{near}"));
    }
    if SWITCHES.contains(&name) && !is_on(value) && !is_off(value) {
        return Err(format!("MinIO does not understand '{value}', and reads it as off: write on or off"));
    }
    if !carried(value) {
        return Err(
            "MinIO's environment file cannot carry this value: no line breaks, no blanks or quotes at its ends".into(),
        );
    }
    Ok(())
}

/// True if MinIO reads the value back from its environment file as it is written.
pub(crate) fn carried(value: &str) -> bool {
    value.trim() == value && !value.contains(['\n', '\r', '\0']) && !is_quoted(value)
}

/// True if one pair of quotes is around the complete value, which MinIO removes.
fn is_quoted(value: &str) -> bool {
    ['"', '\''].into_iter().any(|quote| value.strip_prefix(quote).is_some_and(|rest| rest.ends_with(quote)))
}

fn is_known(name: &str) -> bool {
    let (names, families) = &*NAMES;
    let target = |(end, _): (usize, char)| name.get(..end).is_some_and(|family| families.contains(family));
    names.contains(name) || name.char_indices().filter(|(_, letter)| *letter == '_').any(target)
}

/// The known name that a misspelt one is most like.
fn nearest(name: &str) -> Option<&'static str> {
    let near = NAMES.0.iter().map(|known| (osa_distance(name, known), *known));
    near.filter(|(distance, _)| *distance <= 3).min().map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_minio_reads_from_its_file_is_taken() {
        for (name, value) in [
            ("MINIO_SITE_NAME", "a=b # c"),
            ("MINIO_KMS_REPLICATE_KEYID", "off"),
            ("MINIO_KMS_AUTO_ENCRYPTION", "on"),
            ("MINIO_BROWSER", "off"),
            ("MINIO_NOTIFY_WEBHOOK_ENDPOINT_primary", "http://127.0.0.1:1"),
            ("MINIO_NOTIFY_WEBHOOK_ENDPOINT", "http://127.0.0.1:1"),
            ("MINIO_IDENTITY_OPENID_CLIENT_SECRET", "secret"),
            ("HTTPS_PROXY", "http://proxy:3128"),
        ] {
            check_variable(name, value).unwrap_or_else(|why| panic!("{name}: {why}"));
        }
    }

    #[test]
    fn what_cannot_work_is_refused_with_the_reason() {
        for (name, value, reason) in [
            ("MINIO_CERTS_DIR", "/certs", "before its environment file"),
            ("GOMAXPROCS", "2", "before its environment file"),
            ("MINIO_OPTS", "--json", "MinIO does not read it"),
            ("MINIO_KMS_KES_ENCLAVE", "one", "MinIO does not read it"),
            ("MINIO_KMS_SECRET_KEY", "x", "either this or KES"),
            ("MINIO_KMS_KES_KEY_NAME", "x", "`minio.default_key`"),
            ("MINIO_ROOT_PASSWORD", "x", "`minio.root_password`"),
            ("MINIO_VOLUMES", "/data", "the stack sets this itself"),
            ("MINIO_KMS_AUTO_ENCRYPTION", "yes", "reads it as off"),
            ("MINIO_KMS_REPLICATE_KEYIDS", "off", "did you mean MINIO_KMS_REPLICATE_KEYID?"),
            ("MINIO_BROWSR", "off", "did you mean MINIO_BROWSER?"),
            ("minio_browser", "off", "no variable of this name"),
            ("MINIO_SITE_NAME_primary", "x", "no variable of this name"),
            ("A B", "x", "no variable of this name"),
            ("MINIO_SITE_NAME", "two\nlines", "cannot carry"),
            ("MINIO_SITE_NAME", "'quoted'", "cannot carry"),
        ] {
            let why = check_variable(name, value).unwrap_err();
            assert!(why.contains(reason), "{name}: {why}");
        }
    }

    #[test]
    fn no_variable_is_both_known_and_refused() {
        for name in REFUSED.iter().flat_map(|(_, names)| *names) {
            assert!(!is_known(name), "{name}");
        }
    }
}
