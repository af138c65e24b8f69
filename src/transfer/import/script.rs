//! What the one-shot containers of a deployment make: buckets and keys, read from the lines of `mc` and `kes` in their
//! commands. Nothing is run; what a stack cannot take over is named.

use std::collections::{BTreeMap, BTreeSet};

use super::words::{commands, words};

/// Most commands that are looked at, with every turn of a loop.
const MAX_COMMANDS: usize = 1_000;
/// Words of a shell that are before a command.
const KEYWORDS: [&str; 14] =
    ["do", "then", "else", "elif", "if", "while", "until", "!", "(", "{", "time", "exec", "command", "sudo"];
/// Commands of `mc` that change nothing that a stack keeps.
const LOOKS: [&str; 13] =
    ["alias", "config", "ready", "ls", "stat", "ping", "cat", "du", "find", "tree", "head", "diff", "info"];
/// Commands of `mc` that another word follows.
const GROUPS: [&str; 14] = [
    "admin",
    "ilm",
    "anonymous",
    "policy",
    "event",
    "tag",
    "version",
    "encrypt",
    "retention",
    "replicate",
    "quota",
    "legalhold",
    "idp",
    "batch",
];

/// A bucket that is made.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Made {
    /// Its name.
    pub(super) name: String,
    /// Its default encryption, if one is set; SSE-KMS may name a key.
    pub(super) encryption: Option<Encryption>,
    /// Whether it keeps versions.
    pub(super) versioning: bool,
}

/// A default encryption that is set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Encryption {
    /// `sse-s3`
    S3,
    /// `sse-kms`, with the key that is named.
    Kms(Option<String>),
}

/// What is made, and what else is done.
#[derive(Debug, Default)]
pub(super) struct Script {
    /// Buckets, in the order in which they are made.
    pub(super) buckets: Vec<Made>,
    /// Keys.
    pub(super) keys: BTreeSet<String>,
    /// Commands that are not taken over: their first words, never their arguments.
    pub(super) others: BTreeSet<String>,
}

impl Script {
    /// Reads a script that finds these variables.
    pub(super) fn read(&mut self, script: &str, mut env: BTreeMap<String, String>) {
        let mut loops: Vec<(String, Vec<String>)> = Vec::new();
        let mut looked_at = 0;
        for command in commands(script) {
            let command = command.trim();
            // a subshell is read as if it were none
            let command = command.strip_prefix('(').map_or(command, |inside| inside.trim_end_matches(')'));
            for turn in turns(&loops) {
                looked_at += 1;
                if looked_at > MAX_COMMANDS {
                    self.others.insert("more than 1,000 commands".into());
                    return;
                }
                let env = |name: &str| turn.get(name).or_else(|| env.get(name)).cloned();
                self.command(command, &env);
            }
            step(command, &mut loops, &mut env);
        }
    }

    /// Adds what another script makes and does.
    pub(super) fn extend(&mut self, other: Self) {
        for made in other.buckets {
            let own = self.bucket(&made.name);
            own.versioning |= made.versioning;
            own.encryption = made.encryption.or(own.encryption.take());
        }
        self.keys.extend(other.keys);
        self.others.extend(other.others);
    }

    /// Adds buckets by their names; empty ones are none.
    pub(super) fn add_buckets<'a>(&mut self, names: impl Iterator<Item = &'a str>) {
        for name in names.map(str::trim).filter(|name| !name.is_empty()) {
            self.bucket(name);
        }
    }

    /// Reads a command as it is written.
    fn command(&mut self, command: &str, env: &dyn Fn(&str) -> Option<String>) {
        match words(command, Some(env)) {
            Ok(words) => self.run(&words),
            Err(why) => {
                let raw = words(command, None).unwrap_or_default();
                let shown = shown(program(&raw));
                let looks = LOOKS.iter().any(|verb| shown == format!("mc {verb}"));
                if !looks && (shown.starts_with("mc ") || shown.starts_with("kes ")) {
                    self.others.insert(format!("{shown} ({why})"));
                }
            }
        }
    }

    /// Takes a command over, or remembers that it is not.
    pub(super) fn run(&mut self, words: &[String]) {
        let words = program(words);
        let (name, arguments) = match words.split_first() {
            Some((name, arguments)) => (base(name), without_options(arguments)),
            None => return,
        };
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let taken = match name {
            "mc" | "mcli" => self.mc(&arguments, words),
            "kes" => match arguments.as_slice() {
                ["key", "create", keys @ ..] => {
                    self.keys.extend(keys.iter().map(|key| (*key).to_owned()));
                    true
                }
                ["key", ..] => false,
                _ => true,
            },
            "mkdir" => {
                // a folder on the drive becomes a bucket when MinIO starts
                let folders = arguments.iter().filter_map(|path| path.strip_prefix("/data/"));
                let names = folders.map(|name| name.trim_end_matches('/')).filter(|name| !name.contains('/'));
                self.add_buckets(names);
                true
            }
            "aws" | "s3cmd" | "s5cmd" | "rclone" => false,
            _ => true,
        };
        if !taken {
            self.others.insert(shown(words));
        }
    }

    fn mc(&mut self, arguments: &[&str], words: &[String]) -> bool {
        match arguments {
            ["mb", targets @ ..] => self.make(targets, words),
            ["encrypt", "set", kind, rest @ ..] => self.encrypt(kind, rest),
            ["version", "enable", target, ..] => {
                let Some(name) = bucket(target) else { return false };
                self.bucket(name).versioning = true;
                true
            }
            ["admin", "kms", "key", "create", _, keys @ ..] => {
                self.keys.extend(keys.iter().map(|key| (*key).to_owned()));
                true
            }
            ["admin", "info" | "kms" | "service" | "trace" | "logs", ..] | [] => true,
            [verb, ..] => LOOKS.contains(verb),
        }
    }

    /// `mc mb`. A stack declares no object lock.
    fn make(&mut self, targets: &[&str], words: &[String]) -> bool {
        let has = |options: &[&str]| words.iter().any(|word| options.contains(&word.as_str()));
        let lock = has(&["--with-lock", "-l"]);
        let versioning = lock || has(&["--with-versioning"]);
        for name in targets.iter().filter_map(|target| bucket(target)) {
            self.bucket(name).versioning |= versioning;
        }
        !lock
    }

    /// `mc encrypt set`.
    fn encrypt(&mut self, kind: &str, rest: &[&str]) -> bool {
        let encryption = match (kind.to_ascii_lowercase().as_str(), rest) {
            ("sse-s3", _) => Encryption::S3,
            ("sse-kms", [key, _, ..]) => Encryption::Kms(Some((*key).to_owned())),
            ("sse-kms", _) => Encryption::Kms(None),
            _ => return false,
        };
        let Some(name) = rest.last().and_then(|target| bucket(target)) else { return false };
        self.bucket(name).encryption = Some(encryption);
        true
    }

    fn bucket(&mut self, name: &str) -> &mut Made {
        let found = self.buckets.iter().position(|made| made.name == name);
        let position = found.unwrap_or_else(|| {
            self.buckets.push(Made { name: name.to_owned(), ..Made::default() });
            self.buckets.len() - 1
        });
        #[expect(clippy::indexing_slicing, reason = "found, or pushed just now")]
        &mut self.buckets[position]
    }
}

/// Every combination of the values of the loops that are open.
fn turns(loops: &[(String, Vec<String>)]) -> Vec<BTreeMap<String, String>> {
    let mut turns = vec![BTreeMap::new()];
    for (name, values) in loops {
        let one = |turn: &BTreeMap<String, String>, value: &String| {
            let mut turn = turn.clone();
            turn.insert(name.clone(), value.clone());
            turn
        };
        turns =
            turns.iter().flat_map(|turn| values.iter().map(move |value| one(turn, value))).take(MAX_COMMANDS).collect();
    }
    turns
}

/// Follows loops and assignments.
fn step(command: &str, loops: &mut Vec<(String, Vec<String>)>, env: &mut BTreeMap<String, String>) {
    let lookup = |name: &str| env.get(name).cloned();
    let read = words(command, Some(&lookup)).unwrap_or_default();
    let read = read.iter().position(|word| word != "do").map_or(&[][..], |start| read.get(start..).unwrap_or_default());
    let first = command.split_whitespace().find(|word| *word != "do").unwrap_or_default();
    match (first, read) {
        ("for", [_, name, _, values @ ..]) => loops.push((name.clone(), values.to_vec())),
        ("for", _) => loops.push((String::new(), vec![])),
        ("while" | "until", _) => loops.push((String::new(), vec![String::new()])),
        ("done", _) => drop(loops.pop()),
        (_, [assignment]) | ("export" | "local", [_, assignment]) => {
            let set = assignment.split_once('=').filter(|(name, _)| super::variables::name(name).1.is_empty());
            env.extend(set.map(|(name, value)| (name.to_owned(), value.to_owned())));
        }
        _ => {}
    }
}

/// The words from the program on, without keywords and assignments before it.
pub(super) fn program(words: &[String]) -> &[String] {
    let is_before = |word: &String| {
        let assigns =
            word.split_once('=').is_some_and(|(name, _)| !name.is_empty() && super::variables::name(name).1.is_empty());
        KEYWORDS.contains(&word.as_str()) || assigns
    };
    let start = words.iter().position(|word| !is_before(word)).unwrap_or(words.len());
    words.get(start..).unwrap_or_default()
}

/// Name of a program without its folder.
pub(super) fn base(program: &str) -> &str {
    program.rsplit('/').next().unwrap_or(program)
}

/// Arguments without options, and the values of those that have one.
fn without_options(arguments: &[String]) -> Vec<String> {
    const WITH_VALUE: [&str; 7] = ["--config-dir", "-C", "--region", "--enclave", "-e", "--key", "--cert"];
    let (mut kept, mut skip) = (Vec::new(), false);
    for argument in arguments {
        if skip {
            skip = false;
        } else if argument.starts_with('-') && argument.len() > 1 {
            skip = WITH_VALUE.contains(&argument.as_str());
        } else if !matches!(argument.as_str(), ")" | "}") {
            kept.push(argument.clone());
        }
    }
    kept
}

/// The bucket of `ALIAS/BUCKET`.
fn bucket(target: &str) -> Option<&str> {
    let (_, path) = target.split_once('/')?;
    let name = path.trim_matches('/').split('/').next().unwrap_or_default();
    (!name.is_empty()).then_some(name)
}

/// A command without its arguments, which may be secrets.
fn shown(words: &[String]) -> String {
    let Some((name, arguments)) = words.split_first() else { return String::new() };
    let arguments = without_options(arguments);
    let first = arguments.first().map(String::as_str).unwrap_or_default();
    let count = match first {
        "admin" | "idp" => 3,
        "key" => 2,
        verb if GROUPS.contains(&verb) => 2,
        _ => 1,
    };
    let words = arguments.into_iter().take(count);
    [base(name).to_owned()].into_iter().chain(words).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Script {
        let mut script = Script::default();
        script.read(text, [("NAMES".into(), "one two".into()), ("KEY".into(), "k-1".into())].into());
        script
    }

    #[test]
    fn buckets_and_keys_are_taken_over() {
        let script = read(
            "until (/usr/bin/mc alias set local http://minio:9000 \"$USER\" $PASSWORD) do echo wait; sleep 1; done;\n\
             /usr/bin/mc mb --ignore-existing local/first local/second/ && mc --insecure mb -p --with-versioning 'local/third';\n\
             P=pre; for b in a b; do for c in x \"$KEY\"; do mc mb local/$P-$b-$c || true; done; done\n\
             for n in $NAMES; do\n  mc mb local/$n\ndone\n\
             mc encrypt set sse-kms \"$KEY\" local/first; mc encrypt set SSE-S3 local/second; mc version enable local/one\n\
             mc admin kms key create local k-2; kes key create k-3 -k 2>/dev/null || true; exit 0",
        );
        let names: Vec<_> = script.buckets.iter().map(|made| made.name.as_str()).collect();
        assert_eq!(names, ["first", "second", "third", "pre-a-x", "pre-a-k-1", "pre-b-x", "pre-b-k-1", "one", "two"]);
        let of = |name: &str| script.buckets.iter().find(|made| made.name == name).unwrap();
        assert_eq!(of("first").encryption, Some(Encryption::Kms(Some("k-1".into()))));
        assert_eq!(of("second").encryption, Some(Encryption::S3));
        assert!(of("third").versioning && of("one").versioning && !of("two").versioning);
        assert_eq!(script.keys.iter().collect::<Vec<_>>(), ["k-2", "k-3"]);
        assert!(script.others.is_empty(), "{:?}", script.others);
    }

    #[test]
    fn the_rest_is_named_without_its_arguments() {
        let script = read(
            "mc admin user add local joe s3cret-1; mc admin policy attach local readwrite --user joe\nmc anonymous set public \
             local/a; (mc cp /seed/x local/a/x); aws s3 mb s3://b; mc mb local/$(hostname); mc mb local/$UNKNOWN; mc mb -l local/kept",
        );
        let others: Vec<_> = script.others.iter().map(String::as_str).collect();
        assert_eq!(
            others,
            [
                "aws s3",
                "mc admin policy attach",
                "mc admin user add",
                "mc anonymous set",
                "mc cp",
                "mc mb",
                "mc mb (UNKNOWN is not set)",
                "mc mb (only running it gives the word)",
            ]
        );
        assert!(!format!("{script:?}").contains("s3cret"));
        assert_eq!(script.buckets.len(), 1, "{:?}", script.buckets);
    }

    #[test]
    fn loops_within_loops_end() {
        let values = "v ".repeat(1000);
        let script = read(&format!(
            "for a in {values}; do for b in {values}; do for c in {values}; do mc mb l/$a$b$c; done; done; done"
        ));
        assert!(script.buckets.len() <= MAX_COMMANDS);
        assert!(script.others.iter().any(|other| other.contains("1,000")));
    }
}
