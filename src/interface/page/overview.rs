//! The first page: what runs, what encrypts what, and how programs reach it.

use axum::extract::State;
use serde::Serialize;

use super::frame::Shown;
use super::picture::Picture;
use crate::interface::Interface;
use crate::interface::problem::completed;
use crate::operate::inventory::{self, Report};
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
    let on_drive = inventory::take(&interface.0.known.options().await?).await.ok();
    let ready = status.endpoints.get("s3").is_some_and(|s3| s3.ready);
    let listed = if ready { buckets::list(stack, context).await.ok() } else { None };
    let listed = listed.map(|listed| listed.buckets).unwrap_or_default();
    let picture = on_drive.as_ref().map(|report| Picture::of(report, &listed, status.keys.clone()));
    let verdict = Verdict::of(&status, on_drive.as_ref());
    let snippets = snippets(&status.name);
    interface.show("overview.html", ("Overview", "overview"), &View { verdict, status, picture, snippets }).await
}

impl Verdict {
    fn of(status: &Status, on_drive: Option<&Report>) -> Self {
        let new = |tone, headline: &str, detail: String| Self { tone, headline: headline.to_owned(), detail };
        let stored = on_drive.map(stored).unwrap_or_default();
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
        match (status.exposed_buckets.as_slice(), stored.in_clear) {
            ([], 0) if stored.encrypted == 0 => new("good", "Nothing is stored here yet", new_objects(status)),
            ([], 0) => {
                let detail = format!("{stored}. {}", new_objects(status));
                new("good", "Everything that is stored here is encrypted", detail)
            }
            ([], _) => new("warn", "Not everything that is stored here is encrypted", stored.to_string()),
            (names, _) => {
                let detail =
                    format!("buckets without encryption that kestack.yaml does not allow: {}", names.join(", "));
                new("bad", "New objects would lie in clear", detail)
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

/// How much lies on the drive.
#[derive(Debug, Default)]
struct Stored {
    encrypted: u64,
    in_clear: u64,
    keys: usize,
}

impl std::fmt::Display for Stored {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let objects = |count: u64| format!("{count} object{}", if count == 1 { "" } else { "s" });
        let keys = format!("{} key{}", self.keys, if self.keys == 1 { "" } else { "s" });
        write!(f, "{} under {keys}", objects(self.encrypted))?;
        if self.in_clear > 0 {
            write!(f, ", {} in clear", objects(self.in_clear))?;
        }
        Ok(())
    }
}

fn stored(report: &Report) -> Stored {
    let used = report.inventory.keys.values().filter(|used| !used.buckets.is_empty());
    Stored {
        encrypted: used.clone().map(|used| used.total().objects).sum(),
        in_clear: report.inventory.unencrypted.values().map(|count| count.objects).sum(),
        keys: used.count(),
    }
}

fn snippets(stack: &str) -> Vec<Snippet> {
    let alias = stack.replace('-', "_");
    let shell = |client: &str, then: &str| completed(&format!("eval \"$(kestack env{client})\"")) + then;
    let programs = CODE.map(|(client, code)| Snippet { client, code: code.to_owned() });
    [Snippet { client: "Shell", code: shell("", "") }]
        .into_iter()
        .chain(programs)
        .chain([
            Snippet { client: "rclone", code: shell(" --client rclone", &format!("\nrclone lsd {alias}:")) },
            Snippet { client: "mc", code: shell(" --client mc", &format!("\nmc ls {alias}")) },
        ])
        .collect()
}
