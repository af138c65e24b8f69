//! The first page: what runs, what encrypts what, and how programs reach it.

use std::collections::BTreeMap;

use axum::extract::State;
use serde::Serialize;

use super::frame::Shown;
use super::picture::Picture;
use crate::data::drive::Count;
use crate::error::Error;
use crate::interface::Interface;
use crate::interface::problem::completed;
use crate::operate::inventory::Report;
use crate::operate::status::{self, Status};
use crate::operate::{buckets, status::State as Health};

/// Programs that find address and credentials in their environment.
const CODE: [(&str, &str); 4] = [
    ("Python, boto3", "import boto3\n\ns3 = boto3.client(\"s3\")\nprint(s3.list_buckets()[\"Buckets\"])"),
    (
        "Java, AWS SDK 2",
        "S3Client s3 = S3Client.builder().forcePathStyle(true).build();\n\
         s3.listBuckets().buckets().forEach(System.out::println);",
    ),
    (
        "Go, AWS SDK 2",
        "cfg, err := config.LoadDefaultConfig(ctx)\n\
         client := s3.NewFromConfig(cfg, func(o *s3.Options) { o.UsePathStyle = true })",
    ),
    (
        "JavaScript, AWS SDK 3",
        "import { S3Client, ListBucketsCommand } from \"@aws-sdk/client-s3\";\n\n\
         const s3 = new S3Client({ forcePathStyle: true });\n\
         console.log(await s3.send(new ListBucketsCommand({})));",
    ),
];

/// What the page shows.
#[derive(Serialize)]
struct View {
    verdict: Verdict,
    status: Status,
    picture: Option<Picture>,
    snippets: Vec<Snippet>,
}

/// One sentence on what is encrypted.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Verdict {
    /// How good that is: `good`, `warn`, `bad` or `off`.
    tone: &'static str,
    headline: String,
    detail: String,
}

/// How one client reaches the stack. The credentials stay in its environment.
#[derive(Serialize)]
struct Snippet {
    client: &'static str,
    code: String,
}

pub(super) async fn show(State(interface): State<Interface>) -> Shown {
    let reach = interface.0.known.reach().await?;
    let (stack, context) = (reach.stack(), reach.context());
    let status = status::status(stack, context, reach.pod.as_ref()).await?;
    let on_drive = interface.on_drive(interface.0.known.options().await?).await;
    let ready = status.endpoints.get("s3").is_some_and(|s3| s3.ready);
    let listed = if ready { buckets::list(stack, context).await.ok() } else { None };
    let listed = listed.map(|listed| listed.buckets).unwrap_or_default();
    let picture = on_drive.as_ref().ok().map(|report| Picture::of(report, &listed, status.keys.clone()));
    let verdict = Verdict::of(&status, on_drive.as_deref());
    let served = stack.layout.is_served().then(|| stack.s3_endpoint());
    let snippets = snippets(&status.name, served.as_deref());
    interface.show("overview.html", ("Overview", "overview"), &View { verdict, status, picture, snippets }).await
}

impl Verdict {
    fn of(status: &Status, on_drive: Result<&Report, &Error>) -> Self {
        let new = |tone, headline: &str, detail: String| Self { tone, headline: headline.to_owned(), detail };
        if let Some(fault) = &status.fault {
            return new("warn", "A fault is in force", completed(&fault.advice));
        }
        match status.state {
            Health::Stopped => return new("off", "The stack does not run", completed("`kestack up` starts it")),
            Health::Degraded => {
                let hint = "`kestack up` repairs what it can; `kestack logs` shows why";
                return new("warn", "A server does not answer", completed(hint));
            }
            Health::Running => {}
        }
        if let names @ [_, ..] = status.exposed_buckets.as_slice() {
            let detail = format!("buckets without encryption that kestack.yaml does not allow: {}", names.join(", "));
            return new("bad", "New objects would be stored in clear", detail);
        }
        Self::of_content(status, on_drive)
    }

    /// The verdict on a stack that runs, and does with new objects what it should.
    fn of_content(status: &Status, on_drive: Result<&Report, &Error>) -> Self {
        let new = |tone, headline: &str, detail: String| Self { tone, headline: headline.to_owned(), detail };
        let stored = match on_drive {
            Ok(report) => stored(report),
            Err(error) => {
                let detail =
                    format!("The content of this drive is not known: {}. {}", error.parts().0, new_objects(status));
                return new("warn", "The drive cannot be read from here", detail);
            }
        };
        match stored {
            Stored { in_clear: 1.., .. } => {
                new("warn", "Not everything that is stored here is encrypted", stored.to_string())
            }
            Stored { not_understood: 1.., .. } => {
                new("warn", "Not everything here could be checked", format!("{stored}. {}", new_objects(status)))
            }
            Stored { encrypted: 0, .. } => new("good", "Nothing is stored here yet", new_objects(status)),
            _ => {
                let detail = format!("{stored}. {}", new_objects(status));
                new("good", "Everything that is stored here is encrypted", detail)
            }
        }
    }
}

/// What becomes of new objects.
fn new_objects(status: &Status) -> String {
    let plain = status.buckets.iter().filter(|(_, encryption)| *encryption == "none").map(|(name, _)| name.as_str());
    match plain.collect::<Vec<_>>().as_slice() {
        [] => "New objects are encrypted.".to_owned(),
        names => format!("New objects are encrypted, except in {}.", names.join(", ")),
    }
}

/// How much is on the drive.
#[derive(Debug)]
struct Stored {
    /// Under keys of KES and of clients.
    encrypted: u64,
    in_clear: u64,
    keys: usize,
    /// Of these only clients have the keys.
    of_clients: u64,
    /// Versions of a form that is not known here.
    not_understood: u64,
}

impl std::fmt::Display for Stored {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let objects = |count: u64| format!("{count} object{}", if count == 1 { "" } else { "s" });
        let keys = format!("{} key{}", self.keys, if self.keys == 1 { "" } else { "s" });
        write!(f, "{} under {keys}", objects(self.encrypted - self.of_clients))?;
        if self.of_clients > 0 {
            write!(f, ", {} under keys that only clients have (SSE-C)", objects(self.of_clients))?;
        }
        if self.in_clear > 0 {
            write!(f, ", {} in clear", objects(self.in_clear))?;
        }
        if self.not_understood > 0 {
            write!(f, ", not understood: {}", self.not_understood)?;
        }
        Ok(())
    }
}

fn stored(report: &Report) -> Stored {
    let used = report.inventory.keys.values().filter(|used| !used.buckets.is_empty());
    let objects = |counts: &BTreeMap<String, Count>| counts.values().map(|count| count.objects).sum::<u64>();
    let of_clients = objects(&report.inventory.client_keys);
    Stored {
        encrypted: used.clone().map(|used| used.total().objects).sum::<u64>() + of_clients,
        in_clear: objects(&report.inventory.unencrypted),
        keys: used.count(),
        of_clients,
        not_understood: report.inventory.not_understood,
    }
}

/// How clients reach the stack; one in the foreground, whose URL is `served`, has no `kestack env`.
fn snippets(stack: &str, served: Option<&str>) -> Vec<Snippet> {
    let alias = stack.replace('-', "_");
    let shell = |client: &str, then: &str| completed(&format!("eval \"$(kestack env{client})\"")) + then;
    let programs = CODE.map(|(client, code)| Snippet { client, code: code.to_owned() });
    if let Some(url) = served {
        let code = format!(
            "export AWS_ENDPOINT_URL={url} AWS_REGION=us-east-1\n\
             export AWS_ACCESS_KEY_ID=…      # the root user, or that of a sandbox\n\
             export AWS_SECRET_ACCESS_KEY=…"
        );
        return [Snippet { client: "Shell", code }].into_iter().chain(programs).collect();
    }
    [Snippet { client: "Shell", code: shell("", "") }]
        .into_iter()
        .chain(programs)
        .chain([
            Snippet { client: "rclone", code: shell(" --client rclone", &format!("\nrclone lsd {alias}:")) },
            Snippet { client: "mc", code: shell(" --client mc", &format!("\nmc ls {alias}")) },
        ])
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::drive::{Inventory, KeyUse};

    fn status() -> Status {
        Status {
            name: "a".into(),
            state: Health::Running,
            fault: None,
            engine: String::new(),
            folder: String::new(),
            containers: BTreeMap::new(),
            interface: None,
            endpoints: BTreeMap::new(),
            kes_locked_kib: None,
            keys: vec![],
            buckets: BTreeMap::new(),
            exposed_buckets: vec![],
            auto_encryption: false,
            certificate_days_left: BTreeMap::new(),
            certificates: vec![],
        }
    }

    #[test]
    fn nothing_is_called_good_that_was_not_seen() {
        let count = BTreeMap::from([("docs".to_owned(), Count { objects: 2, versions: 2, bytes: 2 })]);
        let of = |inventory: Inventory| {
            let report = Report { name: "a".into(), inventory, unused_keys: vec![] };
            let verdict = Verdict::of(&status(), Ok(&report));
            (verdict.tone, verdict.headline, verdict.detail)
        };
        assert_eq!(
            (of(Inventory::default()).0, of(Inventory::default()).1.as_str()),
            ("good", "Nothing is stored here yet")
        );
        let used = KeyUse { buckets: count.clone(), ..KeyUse::default() };
        let sealed =
            Inventory { keys: [("one".to_owned(), used)].into(), client_keys: count.clone(), ..Inventory::default() };
        let (tone, headline, detail) = of(sealed.clone());
        assert_eq!((tone, headline.as_str()), ("good", "Everything that is stored here is encrypted"));
        assert!(
            detail.starts_with("2 objects under 1 key, 2 objects under keys that only clients have (SSE-C)."),
            "{detail}"
        );
        let (tone, headline, detail) = of(Inventory { not_understood: 3, ..sealed.clone() });
        assert_eq!((tone, headline.as_str()), ("warn", "Not everything here could be checked"));
        assert!(detail.contains("not understood: 3"), "{detail}");
        assert_eq!(of(Inventory { not_understood: 1, ..Inventory::default() }).0, "warn");
        assert_eq!(of(Inventory { unencrypted: count, ..sealed }).1, "Not everything that is stored here is encrypted");
        let error = Error::file("read", "/drive")(std::io::ErrorKind::PermissionDenied.into());
        let verdict = Verdict::of(&status(), Err(&error));
        assert_eq!((verdict.tone, verdict.headline.as_str()), ("warn", "The drive cannot be read from here"));
        assert!(verdict.detail.contains("permission denied"), "{}", verdict.detail);
    }
}
