//! The pages of the interface: what forms do, whatever the names; nothing that a browser would run; flat memory.

use std::os::unix::fs::FileExt as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::interface::{memory, wait};
use crate::sandbox::{Sandbox, text};

/// An interface, and a browser that came in by its link.
struct Browser<'a> {
    stack: &'a Sandbox,
    child: Child,
    url: String,
    jar: std::path::PathBuf,
}

impl<'a> Browser<'a> {
    fn new(stack: &'a Sandbox) -> Self {
        let said = stack.root().join("said");
        let output = std::fs::File::create(&said).unwrap();
        let child = stack.command(&["ui", "--output", "json"]).stdout(output).stderr(Stdio::null()).spawn().unwrap();
        let mut record = serde_json::Value::Null;
        wait("the link", || {
            record = serde_json::from_slice(&std::fs::read(&said).unwrap()).unwrap_or_default();
            !record.is_null()
        });
        let of = |name: &str| record[name].as_str().unwrap().to_owned();
        let browser = Self { stack, child, url: of("url"), jar: stack.root().join("jar") };
        let (status, page) = browser.asks(&[&of("link").replace(&browser.url, "")]);
        assert_eq!(status, 200, "{page}");
        browser
    }

    /// What curl gets with these arguments, the last of which is a path.
    fn asks(&self, arguments: &[&str]) -> (u16, String) {
        self.asks_once(&[&["-L"][..], arguments].concat())
    }

    /// The same, wherever the answer leads.
    fn asks_once(&self, arguments: &[&str]) -> (u16, String) {
        let (path, more) = arguments.split_last().unwrap();
        let mut curl = Command::new("curl");
        curl.args(["-s", "--max-time", "120", "-w", "\n%{http_code}", "-H", "Accept: text/html"]);
        curl.args(["-b", self.jar.to_str().unwrap(), "-c", self.jar.to_str().unwrap()]);
        curl.args(["-H", &format!("Origin: {}", self.url)]).args(more).arg(format!("{}{path}", self.url));
        let said = text(&curl.output().unwrap().stdout);
        let (body, status) = said.rsplit_once('\n').unwrap();
        (status.parse().unwrap(), body.to_owned())
    }

    fn page(&self, path: &str) -> String {
        let (status, page) = self.asks(&[path]);
        assert_eq!(status, 200, "{path}: {page}");
        page
    }

    /// Sends a form; returns the page to which it leads.
    fn sends(&self, path: &str, fields: &[(&str, &str)]) -> (u16, String) {
        let fields: Vec<_> = fields.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let fields = fields.iter().flat_map(|field| ["--data-urlencode", field.as_str()]);
        // a form without fields is sent, too
        self.asks(&[&["--data", ""], fields.collect::<Vec<_>>().as_slice(), &[path]].concat())
    }

    fn must(&self, path: &str, fields: &[(&str, &str)]) -> String {
        let (status, page) = self.sends(path, fields);
        assert_eq!(status, 200, "{path}: {page}");
        page
    }
}

impl Drop for Browser<'_> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_file(self.stack.root().join("interface.json"));
    }
}

const STRANGE: &str = "<script>alert(1)</script>";
const ODD: &str = "<b>ü\"'&?#%+ =;\\^|`~,!$*()[]{}@:é€𝄞-\u{7f}\t/";
/// Bytes of a large upload: `KESTACK_E2E_UPLOAD` in MiB, such as 5120.
fn large() -> u64 {
    let given = std::env::var("KESTACK_E2E_UPLOAD").ok().map(|text| text.parse::<u64>().unwrap());
    given.unwrap_or(256) << 20
}

#[test]
#[ignore = "needs an engine and MinIO"]
fn people_do_on_pages_what_programs_do() {
    let stack = Sandbox::new("");
    stack.ok(&["up"]);
    let browser = Browser::new(&stack);
    let start = browser.page("/");
    assert!(
        start.contains("Nothing is stored here yet")
            && start.contains("New objects are encrypted.")
            && start.contains("<svg"),
        "{start}"
    );
    let bucket =
        [("name", "papers"), ("encryption", "sse-kms"), ("key", "paper-key"), ("versioning", "on"), ("new", "yes")];
    assert!(browser.must("/buckets", &bucket).contains("Bucket papers encrypts with key paper-key."));
    let plain = [("name", "open"), ("encryption", "none"), ("key", "ignored"), ("new", "yes")];
    browser.must("/buckets", &plain);
    let papers = stack.json(&["bucket", "info", "papers"]);
    assert!(papers["key"] == "paper-key" && papers["versioning"] == true, "{papers}");
    let again = [("name", "papers"), ("encryption", "none"), ("new", "yes")];
    let (status, refused) = browser.sends("/buckets", &again);
    assert!(status == 409 && refused.contains("exists already"), "{status} {refused}");
    assert_eq!(stack.json(&["bucket", "info", "papers"]), papers);

    let file = stack.root().join("file");
    std::fs::write(&file, "Dear reader, ".repeat(400)).unwrap();
    let field = format!("file=@{};filename=letter.txt", file.display());
    let (status, object) = browser.asks(&["-F", "prefix=a/", "-F", &field, "/buckets/papers/upload"]);
    assert_eq!(status, 200, "{object}");
    for shown in ["SSE-KMS", "paper-key", "Dear rea", "44 65 61 72 20 72 65 61", "a/letter.txt", "aws:kms"] {
        assert!(object.contains(shown), "{shown}: {object}");
    }
    let (_, drive) = object.split_once("The drive holds").unwrap();
    assert!(!drive.contains("44 65 61 72 20 72") && drive.contains("/xl.meta"), "{drive}");

    let (status, refused) = browser.sends("/keys/delete", &[("name", "paper-key")]);
    assert_eq!(status, 409, "{refused}");
    assert!(refused.contains("1 object in bucket"), "{refused}");
    assert!(refused.contains("<h1>"), "a page: {refused}");
    let rotated = browser.must("/keys/rotate", &[("old", "paper-key"), ("new", "other-key")]);
    assert!(rotated.contains("Key other-key replaces paper-key. Versions moved: 1"), "{rotated}");
    assert!(browser.must("/keys/delete", &[("name", "paper-key")]).contains("Key paper-key was deleted."));

    browser.must("/snapshots", &[("name", "before")]);
    browser.must("/buckets/papers/delete", &[("force", "on")]);
    let (status, page) = browser.sends("/snapshots/restore", &[("name", "before"), ("confirmation", "befor")]);
    assert!(status == 400 && page.contains("type its name"), "{page}");
    browser.must("/snapshots/restore", &[("name", "before"), ("confirmation", "before")]);
    assert!(browser.page("/buckets/papers").contains("a/letter.txt"));

    assert!(browser.must("/faults", &[("fault", "kes-deny"), ("seconds", "600")]).contains("Heal now"));
    assert!(browser.must("/faults/try", &[]).contains(">fails<"));
    browser.must("/faults/heal", &[]);
    assert!(browser.must("/faults/try", &[]).contains(">works<"));
    assert!(browser.must("/proof", &[("bucket", "encrypted")]).contains("<h2>Proven</h2>"));
    assert!(browser.page("/proof/evidence.json").contains("\"proven\":true"));
    assert!(browser.page("/live").contains("/v1/key/decrypt/"));
    // the script of another tab does not throw away what this one has to say
    let sent = browser.asks_once(&["-d", "name=told-once", "/keys"]);
    assert_eq!(sent.0, 303, "{}", sent.1);
    assert_eq!(browser.asks(&["-H", "Kestack-Part: 1", "/live"]).0, 200);
    assert!(browser.page("/keys").contains("Key told-once is made."));
}

#[test]
#[ignore = "needs an engine and MinIO"]
fn names_and_secrets_are_safe_on_pages() {
    let stack = Sandbox::new("");
    stack.ok(&["up"]);
    let browser = Browser::new(&stack);
    let odd: String = ODD.chars().cycle().take(900).collect();
    let odd = cut(&odd, 1023);
    for prefix in [STRANGE, odd] {
        let path = stack.root().join("file");
        std::fs::write(&path, "content").unwrap();
        let (prefix_field, file) = (stack.root().join("prefix"), format!("file=@{};filename=x", path.display()));
        std::fs::write(&prefix_field, prefix).unwrap();
        let prefix_field = format!("prefix=<{}", prefix_field.display());
        let page = browser.asks(&["-F", &prefix_field, "-F", &file, "/buckets/encrypted/upload"]);
        assert_eq!(page.0, 200, "{prefix:?}: {}", page.1);
        let name = format!("{prefix}x");
        let query: String = form_urlencoded::byte_serialize(name.as_bytes()).collect();
        let page = browser.page(&format!("/buckets/encrypted/object?name={query}"));
        assert!(!page.contains("<script>") && !page.contains("<b>"), "{page}");
        assert!(page.contains("SSE-KMS") && page.contains("63 6f 6e 74 65 6e 74"), "{name:?}: {page}");
        assert!(page.contains("/xl.meta"), "it lies on the drive: {page}");
        let list = browser.page("/buckets/encrypted");
        assert!(!list.contains("<script>") && list.contains(&format!("name={query}\"")), "{query}: {list}");
    }
    let query: String = form_urlencoded::byte_serialize(STRANGE.as_bytes()).collect();
    for path in ["/buckets", "/buckets/x", "/keys", "/sandboxes", "/snapshots", "/faults"] {
        let (status, page) = browser.asks(&[&format!("{path}?name={query}&prefix={query}&after={query}")]);
        assert!(status < 500 && !page.contains("<script>"), "{path}: {status} {page}");
    }
    for name in ["", "..", "../minio/admin/v3/export-iam", "a/../../open/x", "a/./b"] {
        let query: String = form_urlencoded::byte_serialize(name.as_bytes()).collect();
        let (status, page) = browser.asks(&[&format!("/buckets/encrypted/object?name={query}")]);
        assert!(status == 400 && page.contains("the name of an object has"), "{name}: {status} {page}");
    }
    let file = format!("file=@{};filename=x", stack.root().join("file").display());
    let (status, page) = browser.asks(&["-F", "prefix=../open/", "-F", &file, "/buckets/encrypted/upload"]);
    assert!(status == 400 && page.contains("no part"), "{status} {page}");
    let (_, page) = browser.sends("/keys", &[("name", STRANGE)]);
    assert!(page.contains("&lt;script&gt;") && !page.contains("<script>"), "{page}");

    let secrets = ["AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID"].map(|name| stack.variable(name));
    let token = std::fs::read_to_string(stack.root().join("interface.json")).unwrap();
    let token: serde_json::Value = serde_json::from_str(&token).unwrap();
    for path in
        ["/", "/buckets", "/buckets/encrypted", "/keys", "/live", "/faults", "/proof", "/sandboxes", "/snapshots"]
    {
        let page = browser.page(path);
        assert!(!page.contains(token["token"].as_str().unwrap()), "{path}");
        assert!(secrets.iter().all(|secret| !page.contains(secret)), "{path}");
        assert!(!page.contains(" style=") && !page.contains(" onclick=") && !page.contains("<style"), "{path}: {page}");
    }
    let made = browser.must("/sandboxes", &[("name", "mine")]);
    assert!(made.contains("unset AWS_") && made.contains("export AWS_SECRET_ACCESS_KEY="), "{made}");
    assert!(!browser.page("/sandboxes").contains("AWS_SECRET_ACCESS_KEY"), "only once");

    let curl = |more: &[&str]| {
        let mut curl = Command::new("curl");
        let output = curl.args(["-s", "-D", "-", "-H", "Accept: text/html"]).args(more).output().unwrap();
        text(&output.stdout).to_lowercase()
    };
    let stranger = curl(&[&browser.url]);
    assert!(stranger.starts_with("http/1.1 401") && stranger.contains("kestack ui"), "{stranger}");
    assert!(!stranger.contains(&stack.name) && !stranger.contains("/buckets"), "{stranger}");
    assert!(stranger.contains("content-security-policy: default-src 'none'; style-src 'self'"), "{stranger}");
    assert!(!stranger.contains("unsafe-"), "{stranger}");
    // the entrance is open to strangers, and says no more
    let own = format!("Origin: {}", browser.url);
    let entrance = format!("{}/enter", browser.url);
    for mut asked in [vec!["-X", "POST", "-H", own.as_str()], vec![]] {
        asked.push(entrance.as_str());
        let refused = curl(&asked);
        assert!(refused.starts_with("http/1.1 40") && refused.contains("<h1>"), "{refused}");
        assert!(!refused.contains(&stack.name), "{refused}");
    }
    assert!(browser.page("/enter?code=used").contains("url=/\""), "whoever came in before is led on");
    assert!(curl(&[&format!("{}/page/style.css", browser.url)]).starts_with("http/1.1 200"));
    let jar = browser.jar.to_str().unwrap();
    let foreign = ["-b", jar, "-H", "Origin: http://evil.example", "-d", "name=evil", &format!("{}/keys", browser.url)];
    assert!(curl(&foreign).starts_with("http/1.1 403"));
    let none = ["-b", jar, "-d", "name=evil", &format!("{}/keys", browser.url)];
    assert!(curl(&none).starts_with("http/1.1 403"));
    assert!(!stack.ok(&["key", "list"]).contains("evil"));
}

#[test]
#[ignore = "needs an engine and MinIO"]
fn the_page_shows_what_was_measured_last_by_whomever() {
    let stack = Sandbox::new("auto_encryption: false\n");
    stack.ok(&["up"]);
    let browser = Browser::new(&stack);
    assert!(browser.page("/bench").contains("Nothing was measured yet"));
    let form = |sizes: &str, seconds: &str| {
        browser.sends("/bench", &[("sizes", sizes), ("clients", "2"), ("seconds", seconds)])
    };
    for (sizes, seconds) in [(STRANGE, "3"), ("", "3"), ("1KiB", "2"), ("1KiB", "601")] {
        let (status, page) = form(sizes, seconds);
        assert!(status == 400 && !page.contains("<script>alert"), "{sizes} {seconds}: {status} {page}");
    }
    let (status, page) = form("1KiB,32KiB", "3");
    assert!(status == 200 && page.contains("Measured: the figures are below."), "{status} {page}");
    for seen in ["Objects of 1KiB in a second", "Objects of 32KiB in a second", "SSE-KMS", "in clear"] {
        assert!(page.contains(seen), "{seen}: {page}");
    }
    // three kinds of work in three kinds of buckets
    assert_eq!((page.matches("<rect ").count(), page.matches("class=\"spread\"").count()), (18, 18), "{page}");
    stack.ok(&["bench", "--size", "2KiB", "--clients", "2", "--for", "3s"]);
    let page = browser.page("/bench");
    assert!(page.contains("Objects of 2KiB in a second") && page.matches("<rect ").count() == 9, "{page}");
    std::fs::write(stack.root().join("measured.json"), "{").unwrap();
    assert!(browser.page("/bench").contains("Nothing was measured yet"));
    assert_eq!(stack.json(&["status"])["buckets"].as_object().unwrap().len(), 1, "no bucket of a measurement stays");
}

#[test]
#[ignore = "needs an engine and MinIO"]
fn a_large_upload_takes_no_memory_and_one_that_is_cut_off_leaves_nothing() {
    let stack = Sandbox::new("");
    stack.ok(&["up"]);
    let browser = Browser::new(&stack);
    let (path, large) = (stack.root().join("large"), large());
    // a file that takes no room, with marks at its ends and where two parts meet
    let file = std::fs::File::create(&path).unwrap();
    file.set_len(large).unwrap();
    let marks = [0, (8 << 20) - 4, large - 8].map(|at| (at, format!("at{at:012}").into_bytes()[6..].to_vec()));
    for (at, mark) in &marks {
        file.write_all_at(mark, *at).unwrap();
    }
    let (before, begun) = (memory(browser.child.id()), Instant::now());
    let mut most = before;
    let mut curl = Command::new("curl");
    curl.args(["-s", "-o", "/dev/null", "-w", "%{http_code}", "-b", browser.jar.to_str().unwrap()]);
    curl.args(["-H", &format!("Origin: {}", browser.url), &format!("{}/buckets/encrypted/upload", browser.url)]);
    let form = |name: &str| ["-F".to_owned(), format!("file=@{};filename={name}", path.display())];
    let mut running = curl.args(form("large")).stdout(Stdio::piped()).spawn().unwrap();
    while running.try_wait().unwrap().is_none() {
        most = most.max(memory(browser.child.id()));
        std::thread::sleep(Duration::from_millis(20));
    }
    let seconds = begun.elapsed().as_secs_f64();
    eprintln!("{} MiB in {seconds:.1} s; KiB of memory: {before} before, {most} at most", large >> 20);
    assert_eq!(text(&running.wait_with_output().unwrap().stdout), "303");
    assert!(most < before + 64 * 1024, "KiB: {before} before, {most} at most");
    let user = (stack.variable("AWS_ACCESS_KEY_ID"), stack.variable("AWS_SECRET_ACCESS_KEY"));
    for (at, mark) in &marks {
        let range = format!("Range: bytes={at}-{}", at + 7);
        let read = stack.s3_as(&user, "GET", "/encrypted/large", None, &[&range]);
        assert_eq!((read.0, &read.1), (206, mark), "{range}");
    }
    assert!(browser.page("/buckets/encrypted/object?name=large").contains(&large.to_string()));

    curl.args(form("cut")).args(["--limit-rate", "20M", "--max-time", "2"]);
    assert!(!curl.status().unwrap().success(), "it was cut off");
    let uploads = || text(&stack.s3("GET", "/encrypted?uploads=", None).1);
    wait("what was sent to be removed", || !uploads().contains("<Upload>"));
    assert!(!browser.page("/buckets/encrypted").contains(">cut<"));
}

/// The longest start of a text that has so many bytes, and ends with a complete sign.
fn cut(text: &str, most: usize) -> &str {
    let end = (0..=most).rev().find(|end| text.is_char_boundary(*end)).unwrap();
    &text[..end]
}
