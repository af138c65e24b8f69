//! Random verbs and faults against a small model of what a stack is. `KESTACK_E2E_STEPS` says how many, `KESTACK_E2E_SEED`
//! replays a run.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::json;

use crate::bounded::ended;
use crate::engine::{kill, kind, processes};
use crate::faults::{Dice, seeded, times};
use crate::sandbox::{Sandbox, text};

/// The key that encrypts the declared bucket, and the backend.
const DEFAULT_KEY: &str = "minio-backend-key";

/// What must be true of a stack: everything that was acknowledged, and nothing else.
#[derive(Debug, Default)]
struct Model {
    up: bool,
    keys: BTreeSet<String>,
    /// Buckets with their keys.
    buckets: BTreeMap<String, String>,
    /// Objects by path.
    objects: BTreeMap<String, Vec<u8>>,
}

impl Model {
    /// As `up` leaves a folder without anything in it.
    fn fresh() -> Self {
        Self {
            up: true,
            keys: [DEFAULT_KEY.to_owned()].into(),
            buckets: [("encrypted".to_owned(), DEFAULT_KEY.to_owned())].into(),
            objects: BTreeMap::new(),
        }
    }

    /// Compares the stack with what it must be.
    fn check(&self, stack: &Sandbox) {
        if !self.up {
            stack.fails(&["status"], 3);
            assert_eq!(kind().members(&stack.name), Vec::<String>::new());
            return;
        }
        let status = stack.json(&["status"]);
        assert_eq!(status["keys"], json!(self.keys), "{status}");
        let encryption = |key: &String| format!("SSE-KMS with key '{key}'");
        let buckets: BTreeMap<_, _> = self.buckets.iter().map(|(name, key)| (name, encryption(key))).collect();
        assert_eq!(status["buckets"], json!(buckets), "{status}");
        for (path, body) in &self.objects {
            assert!(stack.read(path) == *body, "{path}");
        }
    }
}

/// Something that is done to a stack, and to the model.
type Step = fn(&mut Run);

/// A run: the stack and what it must be.
struct Run {
    stack: Sandbox,
    model: Model,
    dice: Dice,
    count: u32,
}

impl Run {
    /// What can be done to a stack, the frequent things more than once.
    const STEPS: &[(&str, Step)] = &[
        ("up", Self::up),
        ("up", Self::up),
        ("down", Self::down),
        ("down --data", Self::down_data),
        ("reset", Self::reset),
        ("verify", Self::verify),
        ("put", Self::put),
        ("put", Self::put),
        ("put", Self::put),
        ("delete", Self::delete),
        ("key create", Self::create_key),
        ("bucket create", Self::create_bucket),
        ("kill a server", Self::kill_server),
        ("kill a supervisor", Self::kill_supervisor),
        ("kill up", |run| run.interrupt("up")),
        ("kill down", |run| run.interrupt("down")),
        ("cut a file", Self::cut_file),
    ];

    fn step(&mut self) {
        self.count += 1;
        let (name, step) = *self.dice.pick(Self::STEPS);
        eprintln!("{}: {name}", self.count);
        step(self);
        self.model.check(&self.stack);
    }

    fn name(&self, kind: &str) -> String {
        format!("{kind}-{}", self.count)
    }

    fn up(&mut self) {
        let changed = self.stack.json(&["up"])["changed"].as_u64().unwrap();
        assert!(!self.model.up || changed == 0, "{changed} changes to a stack that is up");
        if self.model.keys.is_empty() {
            self.model = Model::fresh();
        }
        self.model.up = true;
    }

    fn down(&mut self) {
        self.stack.ok(&["down"]);
        self.model.up = false;
    }

    fn down_data(&mut self) {
        // it takes all there is to lose: one time in three
        if self.dice.below(3) > 0 {
            return;
        }
        self.stack.ok(&["down", "--data"]);
        self.model = Model::default();
        assert!(!self.stack.root().exists());
    }

    fn reset(&mut self) {
        if self.refused_while_down(&["reset"]) {
            return;
        }
        self.stack.ok(&["reset"]);
        self.model = Model::fresh();
    }

    fn verify(&mut self) {
        if !self.refused_while_down(&["verify"]) {
            assert_eq!(self.stack.json(&["verify"])["proven"], true);
        }
    }

    fn put(&mut self) {
        if !self.model.up {
            return;
        }
        let buckets: Vec<_> = self.model.buckets.keys().cloned().collect();
        let path = format!("/{}/{}", self.dice.pick(&buckets), self.name("object"));
        // small ones stand in MinIO's metadata, large ones in files of their own
        let body = vec![u8::try_from(self.count % 256).unwrap(); *self.dice.pick(&[0, 100, 300_000])];
        self.stack.put(&path, &body);
        self.model.objects.insert(path, body);
    }

    fn delete(&mut self) {
        let paths: Vec<_> = self.model.objects.keys().cloned().collect();
        if !self.model.up || paths.is_empty() {
            return;
        }
        let path = self.dice.pick(&paths).clone();
        let (status, answer) = self.stack.s3("DELETE", &path, None);
        assert_eq!(status, 204, "{}", text(&answer));
        self.model.objects.remove(&path);
    }

    fn create_key(&mut self) {
        let key = self.name("key");
        if !self.refused_while_down(&["key", "create", &key]) {
            assert_eq!(self.stack.json(&["key", "create", &key])["created"], true);
            self.model.keys.insert(key);
        }
    }

    fn create_bucket(&mut self) {
        let bucket = self.name("bucket");
        let keys: Vec<_> = self.model.keys.iter().cloned().collect();
        if self.refused_while_down(&["bucket", "create", &bucket]) {
            return;
        }
        let key = self.dice.pick(&keys).clone();
        self.stack.ok(&["bucket", "create", &bucket, "--key", &key]);
        self.model.buckets.insert(bucket, key);
    }

    /// True if the stack is down, which the verb must say.
    fn refused_while_down(&self, verb: &[&str]) -> bool {
        if !self.model.up {
            self.stack.fails(verb, 3);
        }
        !self.model.up
    }

    fn kill_server(&mut self) {
        if self.model.up {
            let server = *self.dice.pick(&["kes-server", "minio-server"]);
            kind().kill(&format!("{}-{server}", self.stack.name));
            self.mend();
        }
    }

    /// Its server ends with it.
    fn kill_supervisor(&mut self) {
        if self.model.up {
            let supervisors = processes(&self.stack.name, "kestack");
            let pid = self.dice.pick(&supervisors).split(' ').next().unwrap().to_owned();
            kill(&[pid]);
            self.mend();
        }
    }

    /// Kills the verb at some moment. What it left is anything between before and after, so `up` decides.
    fn interrupt(&mut self, verb: &str) {
        let moment = self.dice.moment(Duration::from_millis(900));
        let mut child = self.stack.start(&[verb]);
        std::thread::sleep(moment);
        let _ = child.kill();
        ended(&mut child);
        self.mend();
    }

    fn cut_file(&mut self) {
        let file = *self.dice.pick(&["config/kes-config.yaml", "certs/minio-kes.cert", "certs/admin.cert"]);
        let path = self.stack.root().join(file);
        if let Ok(whole) = std::fs::read(&path) {
            std::fs::write(&path, &whole[..whole.len() / 3]).unwrap();
            self.mend();
        }
    }

    fn mend(&mut self) {
        self.stack.ok(&["up"]);
        if self.model.keys.is_empty() {
            self.model = Model::fresh();
        }
        self.model.up = true;
    }
}

#[test]
#[ignore = "needs the process engine"]
fn a_stack_is_what_the_model_says() {
    let dice = seeded();
    let mut run = Run { stack: Sandbox::new(""), model: Model::default(), dice, count: 0 };
    run.up();
    for _ in 0..times("KESTACK_E2E_STEPS", 25) {
        run.step();
    }
    run.stack.ok(&["down", "--data"]);
    assert_eq!(kind().members(&run.stack.name), Vec::<String>::new());
    assert!(!run.stack.root().exists());
}
