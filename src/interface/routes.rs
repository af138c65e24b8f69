//! Every route, with its handler and its description.

use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::from_fn_with_state;
use axum::response::Response;
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use super::given::{Asked, LARGEST};
use super::problem::Problem;
use super::surface::{BUCKET, KEY, Operation, SANDBOX, SNAPSHOT, Surface};
use super::{Interface, buckets, complete, events, faults, gate, keys, page, sandboxes, snapshots, told};
use crate::operate::{buckets as stored, chaos, inventory, keys as known, reset, sandbox, snapshot, status, verify};

/// The routes, behind the gate.
pub(super) fn router(interface: Interface) -> Router {
    let (router, document) = table();
    router
        .route("/v1/openapi.json", get(async move || Json(document)))
        .fallback(absent)
        .method_not_allowed_fallback(unsupported)
        .layer(DefaultBodyLimit::max(LARGEST))
        .layer(from_fn_with_state(interface.clone(), gate::pass))
        .layer(from_fn_with_state(interface.clone(), page::explain))
        .with_state(interface)
}

/// The OpenAPI document of the interface.
#[cfg(test)]
pub(crate) fn document() -> Value {
    table().1
}

fn table() -> (Router<Interface>, Value) {
    let mut surface = Surface::new();
    add_complete(&mut surface);
    add_keys(&mut surface);
    add_buckets(&mut surface);
    add_sandboxes(&mut surface);
    add_snapshots(&mut surface);
    add_faults(&mut surface);
    page::add(&mut surface);
    // whoever only looks at a link must not use it up
    surface.hidden(gate::ENTRANCE, get(enter).head(unsupported));
    surface.finish()
}

fn add_complete(surface: &mut Surface) {
    let answers = surface.answers::<status::Status>(200, "The state, also of a stack that does not run");
    let summary = "Show servers, endpoints, keys, buckets and certificates";
    surface.add(Operation::new("get", "/v1/status", "status", summary, &answers), get(complete::status));
    let answers = surface.answers::<inventory::Report>(200, "What each key protects");
    let summary = "Show which key protects which objects, versions and bytes on the drive";
    surface.add(Operation::new("get", "/v1/inventory", "inventory", summary, &answers), get(complete::inventory));
    let answers = surface.answers::<complete::Evidence>(200, "The proof that was made last");
    let summary = "Show the last proof that this interface made";
    surface.add(Operation::new("get", "/v1/evidence", "evidence", summary, &answers), get(complete::evidence));
    let (answers, body) = (surface.answers::<verify::Report>(200, "The findings"), surface.body::<complete::Proving>());
    let verify = Operation::new("post", "/v1/verify", "verify", "Prove that the stack encrypts", &answers);
    surface.add(verify.with(&body, false).locking(), post(complete::verify));
    let (answers, body) =
        (surface.answers::<reset::Report>(200, "The stack is fresh"), surface.body::<complete::Resetting>());
    let reset = Operation::new("post", "/v1/reset", "reset", "Return the stack to its fresh state", &answers);
    surface.add(reset.with(&body, false).locking(), post(complete::reset));
    let answers = surface.answers::<gate::Link>(201, "The link");
    let summary = "Make a link that lets one browser in, once";
    surface.add(Operation::new("post", "/v1/link", "createLink", summary, &answers), post(gate::new_link));
    let stream = told::described(surface);
    let summary = "Follow KES's audit log, faults and resources as they change";
    surface.add(Operation::new("get", "/v1/events", "events", summary, &stream), get(events::follow));
}

fn add_keys(surface: &mut Surface) {
    let answers = surface.answers::<known::Listed>(200, "All keys");
    surface.add(Operation::new("get", "/v1/keys", "listKeys", "List the keys", &answers), get(keys::list));
    let (answers, body) = (surface.answers::<known::Created>(201, "The keys exist"), surface.body::<keys::Wanted>());
    let create =
        Operation::new("post", "/v1/keys", "createKeys", "Create keys; existing ones stay as they are", &answers);
    surface.add(create.with(&body, true).locking(), post(keys::create));
    let answers = surface.answers::<known::Entry>(200, "The key");
    let info = Operation::new("get", "/v1/keys/{name}", "showKey", "Show one key", &answers);
    surface.add(info.named(KEY), get(keys::one));
    let answers = surface.answers::<known::Deleted>(200, "The key was deleted");
    let summary = "Delete a key that protects nothing";
    let gone = Operation::new("delete", "/v1/keys/{name}", "deleteKey", summary, &answers);
    surface.add(gone.named(KEY).locking(), delete(keys::delete));
}

fn add_buckets(surface: &mut Surface) {
    let answers = surface.answers::<stored::Listed>(200, "All buckets");
    surface.add(Operation::new("get", "/v1/buckets", "listBuckets", "List the buckets", &answers), get(buckets::list));
    let (answers, body) =
        (surface.answers::<stored::Entry>(201, "The bucket is as wanted"), surface.body::<buckets::Wanted>());
    let summary = "Create a bucket with a default encryption; an existing bucket gets this encryption";
    let create = Operation::new("post", "/v1/buckets", "createBucket", summary, &answers);
    surface.add(create.with(&body, true).locking(), post(buckets::create));
    let answers = surface.answers::<stored::Entry>(200, "The bucket");
    let info = Operation::new("get", "/v1/buckets/{name}", "showBucket", "Show one bucket", &answers);
    surface.add(info.named(BUCKET), get(buckets::one));
    let answers = surface.answers::<stored::Deleted>(200, "The bucket was deleted");
    let gone = Operation::new("delete", "/v1/buckets/{name}", "deleteBucket", "Delete a bucket", &answers);
    let force = json!({ "type": "boolean", "default": false });
    let about = "Also delete all objects and versions in it, forever";
    surface.add(gone.named(BUCKET).asked("force", about, &force).locking(), delete(buckets::delete));
}

fn add_sandboxes(surface: &mut Surface) {
    let answers = surface.answers::<sandbox::Listed>(200, "All sandboxes");
    let list = Operation::new("get", "/v1/sandboxes", "listSandboxes", "List the sandboxes", &answers);
    surface.add(list, get(sandboxes::list));
    let (answers, body) = (
        surface.answers::<sandbox::Created>(201, "The sandbox and its user's password"),
        surface.body::<sandboxes::Wanted>(),
    );
    let summary = "Create a sandbox: a bucket, the key that encrypts it, and a user that may use only these two";
    let create = Operation::new("post", "/v1/sandboxes", "createSandbox", summary, &answers);
    surface.add(create.with(&body, false), post(sandboxes::create));
    let answers = surface.answers::<sandbox::Sandbox>(200, "The sandbox");
    let info = Operation::new("get", "/v1/sandboxes/{name}", "showSandbox", "Show one sandbox", &answers);
    surface.add(info.named(SANDBOX), get(sandboxes::one));
    let answers = surface.answers::<sandbox::DropReport>(200, "The sandbox was dropped");
    let gone =
        Operation::new("delete", "/v1/sandboxes/{name}", "dropSandbox", "Drop a sandbox with its content", &answers);
    surface.add(gone.named(SANDBOX), delete(sandboxes::drop));
}

fn add_snapshots(surface: &mut Surface) {
    let answers = surface.answers::<snapshot::Listed>(200, "All snapshots, oldest first");
    let list = Operation::new("get", "/v1/snapshots", "listSnapshots", "List the snapshots", &answers);
    surface.add(list, get(snapshots::list));
    let (answers, body) =
        (surface.answers::<snapshot::Saved>(201, "The snapshot exists"), surface.body::<snapshots::Wanted>());
    let summary = "Take a snapshot of keystore, drive and configuration; MinIO is stopped meanwhile";
    let save = Operation::new("post", "/v1/snapshots", "saveSnapshot", summary, &answers);
    surface.add(save.with(&body, true).locking(), post(snapshots::save));
    let answers = surface.answers::<snapshot::Restored>(200, "The stack is as it was at the snapshot");
    let summary = "Restore a snapshot; everything that was written since is lost";
    let restore = Operation::new("post", "/v1/snapshots/{name}/restore", "restoreSnapshot", summary, &answers);
    surface.add(restore.named(SNAPSHOT).locking(), post(snapshots::restore));
    let answers = surface.answers::<snapshot::Removed>(200, "The snapshot was removed");
    let gone = Operation::new("delete", "/v1/snapshots/{name}", "removeSnapshot", "Remove a snapshot", &answers);
    surface.add(gone.named(SNAPSHOT).locking(), delete(snapshots::remove));
}

fn add_faults(surface: &mut Surface) {
    let answers = surface.answers::<faults::InForce>(200, "The fault in force, or null");
    surface
        .add(Operation::new("get", "/v1/faults", "showFault", "Show the fault in force", &answers), get(faults::list));
    let (answers, body) =
        (surface.answers::<faults::Begun>(201, "The fault is in force"), surface.body::<faults::Wanted>());
    let summary = "Break something for a while; answers when the fault is active";
    let begin = Operation::new("post", "/v1/faults", "beginFault", summary, &answers);
    surface.add(begin.with(&body, true).locking(), post(faults::begin));
    let answers = surface.answers::<chaos::Report>(200, "Both servers answer again");
    let summary = "End the fault in force, also one that an interrupted chaos left";
    surface.add(Operation::new("delete", "/v1/faults", "healFault", summary, &answers).locking(), delete(faults::heal));
}

/// The code of the one-time link.
#[derive(Deserialize)]
struct Code {
    code: String,
}

async fn enter(
    State(interface): State<Interface>,
    headers: HeaderMap,
    Asked(Code { code }): Asked<Code>,
) -> Result<Response, Problem> {
    interface.enter(&code, &headers).await
}

async fn absent() -> Problem {
    Problem::refused(StatusCode::NOT_FOUND, "there is no such path", "`/v1/openapi.json` names all paths")
}

async fn unsupported() -> Problem {
    let hint = "`/v1/openapi.json` names the methods of each path";
    Problem::refused(StatusCode::METHOD_NOT_ALLOWED, "this path does not have that method", hint)
}
